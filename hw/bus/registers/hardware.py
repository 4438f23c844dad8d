"""The register file in hardware: AXI4-Lite on one side, command and result of the engine on the other."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from golden_model.config import ElbertConfig
from golden_model.exits import MAX_WINDOW
from golden_model.numerics import PROBABILITY_BITS
from hw.bus.axi import Axi4Lite
from hw.bus.axi_lite import AxiLiteSlave
from hw.bus.registers.description import COUNTERS, EXIT_MODES, REGISTERS, TABLES, WORD_BITS
from hw.interfaces import CommandPort, ErrorCode, ResultPort


class Registers(wiring.Component):
    """AXI4-Lite register file; starts, watches and ends sentences.

    Illegal addresses, and writes to registers without a writable field, answer SLVERR and change
    nothing. CONTROL.start checks the settings (length, policy, iterations, window, in that order);
    a bad one sets ERROR and ``done`` without disturbing the engine. Good settings are copied, so
    the driver may write the next sentence's while one runs. The watchdog lives here: whatever the
    engine does, a sentence ends.

    Parameters
    ----------
    config : ElbertConfig
    rows, cols, axi_bits : int
        What GEOMETRY shows.

    Members
    -------
    s_axil : In(Axi4Lite())
    irq : Out(1)
        Level, STATUS.done.
    command : Out(CommandPort())
        ``start`` comes 1 cycle after the write of CONTROL is taken.
    result : In(ResultPort())
    """

    def __init__(self, config: ElbertConfig, rows: int, cols: int, axi_bits: int) -> None:
        self.config = config
        self.constants = {
            ("GEOMETRY", "rows"): rows,
            ("GEOMETRY", "cols"): cols,
            ("GEOMETRY", "axi_bits"): axi_bits,
            ("MODEL", "hidden"): config.hidden_size,
            ("MODEL", "embedding"): config.embedding_size,
            ("LAYER", "intermediate"): config.intermediate_size,
            ("LAYER", "heads"): config.num_attention_heads,
            ("LAYER", "labels"): config.num_labels,
            ("VOCABULARY", "tokens"): config.vocab_size,
            ("VOCABULARY", "types"): config.type_vocab_size,
            ("MAX_LENGTH", "value"): config.max_position_embeddings,
            ("MAX_ITERATIONS", "value"): config.num_hidden_layers,
        }
        for (register, field), value in self.constants.items():
            REGISTERS[register].field(field).insert(value)  # does it fit?
        super().__init__(
            {
                "s_axil": In(Axi4Lite()),
                "irq": Out(1),
                "command": Out(CommandPort()),
                "result": In(ResultPort()),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.slave = slave = AxiLiteSlave()
        connect(m, flipped(self.s_axil), slave.s_axil)
        bus = slave.bus

        stored = self._storage(m, bus)
        control = stored["CONTROL", "start"], stored["CONTROL", "abort"], stored["STATUS", "done"]
        status = self._sequence(m, stored, *control)
        self._read(m, bus, stored | status)
        return m

    def _storage(self, m: Module, bus) -> dict[tuple[str, str], Signal]:
        """Writable fields: values of ``rw``, pulses of ``pulse`` and ``w1c`` fields."""
        stored: dict[tuple[str, str], Signal] = {}
        m.d.comb += bus.write_error.eq(1)
        with m.Switch(bus.write_address):
            for register in REGISTERS.values():
                if not register.writable:
                    continue
                with m.Case(register.offset // 4):
                    m.d.comb += bus.write_error.eq(0)
                    for field in register.fields:
                        if field.access == "ro":
                            continue
                        name = f"{register.name}_{field.name}".lower()
                        signal = Signal(field.width, name=name, init=field.reset)
                        stored[register.name, field.name] = signal
                        for byte in range(4):
                            low = max(field.bit, 8 * byte)
                            high = min(field.bit + field.width, 8 * byte + 8)
                            if low >= high:
                                continue
                            part = signal[low - field.bit : high - field.bit]
                            with m.If(bus.write & bus.write_strobe[byte]):
                                if field.access == "rw":
                                    m.d.sync += part.eq(bus.write_data[low:high])
                                else:
                                    m.d.comb += part.eq(bus.write_data[low:high])
        return stored

    def _sequence(self, m: Module, stored, start, abort, clear_done) -> dict[tuple[str, str], Signal]:
        """Start, end and watchdog. Returns the read-only fields."""
        result, command = self.result, self.command
        running, done = Signal(), Signal()
        busy = Signal()
        error, checked = Signal(ErrorCode), Signal(ErrorCode)
        cycles = Signal(64)

        length, iterations = stored["LENGTH", "value"], stored["ITERATIONS", "value"]
        policy, window = stored["POLICY", "value"], stored["WINDOW", "value"]
        limit = stored["WATCHDOG", "value"]
        m.d.comb += [busy.eq(running | ~result.idle), self.irq.eq(done), checked.eq(ErrorCode.NONE)]
        # The last one that holds wins.
        with m.If((policy >= EXIT_MODES["BIAS_1"]) & ((window == 0) | (window > MAX_WINDOW))):
            m.d.comb += checked.eq(ErrorCode.WINDOW)
        with m.If((iterations == 0) | (iterations > self.config.num_hidden_layers)):
            m.d.comb += checked.eq(ErrorCode.ITERATIONS)
        with m.If(policy > max(EXIT_MODES.values())):
            m.d.comb += checked.eq(ErrorCode.MODE)
        with m.If((length == 0) | (length > self.config.max_position_embeddings)):
            m.d.comb += checked.eq(ErrorCode.LENGTH)

        expired = Signal()
        m.d.comb += expired.eq((limit != 0) & (cycles[:WORD_BITS] >= limit))
        m.d.sync += [command.start.eq(0), command.abort.eq(0)]
        with m.If(clear_done):
            m.d.sync += done.eq(0)
        with m.If(running):
            m.d.sync += cycles.eq(cycles + 1)
        with m.If(abort):
            m.d.sync += command.abort.eq(1)
        with m.If(running & (abort | expired | result.done)):
            m.d.sync += [running.eq(0), done.eq(1)]
            with m.If(result.done), m.If(result.error != ErrorCode.NONE):
                m.d.sync += error.eq(result.error)
            with m.Elif(abort):
                m.d.sync += error.eq(ErrorCode.ABORTED)
            with m.Else():
                m.d.sync += [error.eq(ErrorCode.WATCHDOG), command.abort.eq(1)]
        with m.If(start & ~abort):
            with m.If(busy):
                m.d.sync += error.eq(ErrorCode.BUSY)
                with m.If(~running):
                    m.d.sync += done.eq(1)
            with m.Elif(checked != ErrorCode.NONE):
                m.d.sync += [error.eq(checked), done.eq(1)]
            with m.Else():
                m.d.sync += [
                    running.eq(1),
                    done.eq(0),
                    error.eq(ErrorCode.NONE),
                    cycles.eq(0),
                    command.start.eq(1),
                ]
                settings = command.settings
                for name in ("length", "iterations", "delta", "window", "margin", "range", "patience"):
                    m.d.sync += settings[name].eq(stored[name.upper(), "value"])
                m.d.sync += settings.mode.as_value().eq(policy)
                for name in ("tokens", "embedding", "position", "layer", "parameters", "embedding_layer"):
                    m.d.sync += settings[f"{name}_base"].eq(stored[f"{name}_base".upper(), "value"])

        answer = result.result
        fields: dict[tuple[str, str], Signal] = {
            ("STATUS", "busy"): busy,
            ("STATUS", "done"): done,
            ("STATUS", "error"): error != ErrorCode.NONE,
            ("ERROR", "code"): error.as_value(),
            ("LABEL", "value"): answer.label,
            ("EXIT_ITERATION", "value"): answer.exit_iteration,
            ("ENTROPY", "value"): answer.entropy,
            ("CYCLES_LO", "value"): cycles[:WORD_BITS],
            ("CYCLES_HI", "value"): cycles[WORD_BITS:],
        }
        for name, counter in COUNTERS.items():
            fields[name, "value"] = result.counters[counter]
        return fields

    def _read(self, m: Module, bus, fields: dict[tuple[str, str], Signal]) -> None:
        """The read multiplexer, one register deep, beside the confidence tables' memories."""
        result = self.result
        word, error = Signal(WORD_BITS), Signal()
        m.d.comb += error.eq(1)
        with m.Switch(bus.read_address):
            for register in REGISTERS.values():
                for index in range(register.count):
                    with m.Case(register.address(index) // 4):
                        m.d.comb += error.eq(0)
                        if register.name in TABLES:
                            continue
                        for field in register.fields:
                            if field.access == "pulse":
                                continue
                            key = register.name, field.name
                            part = word[field.bit : field.bit + field.width]
                            if register.name == "LOGIT":
                                m.d.comb += part.eq(result.result.logits[index])
                            elif register.name == "PROBABILITY":
                                m.d.comb += part.eq(result.result.probabilities[index])
                            elif key in fields:
                                m.d.comb += part.eq(fields[key])
                            else:
                                m.d.comb += part.eq(self.constants.get(key, field.reset))
        held, selected = Signal(WORD_BITS), Signal(len(TABLES))
        m.d.sync += [held.eq(word), bus.read_error.eq(error)]

        answers = held
        record = result.record
        for position, name in enumerate(TABLES):
            register = REGISTERS[name]
            shape = Cat(record.confidence, record.label) if name == "CONFIDENCE" else record.entropy
            table = memory.Memory(shape=len(shape), depth=register.count, init=[])
            m.submodules[name.lower()] = table
            write, read = table.write_port(), table.read_port()
            m.d.comb += [
                write.addr.eq(record.iteration - 1),
                write.data.eq(shape),
                write.en.eq(result.record_valid),
                read.addr.eq(bus.read_address),
                read.en.eq(1),
            ]
            first = register.offset // 4
            m.d.sync += selected[position].eq(
                (bus.read_address >= first) & (bus.read_address < first + register.count)
            )
            entry = Signal(WORD_BITS, name=f"{name.lower()}_entry")
            if name == "CONFIDENCE":
                for field_name, part in (
                    ("confidence", read.data[:PROBABILITY_BITS]),
                    ("label", read.data[PROBABILITY_BITS:]),
                ):
                    bit = register.field(field_name).bit
                    m.d.comb += entry[bit : bit + len(part)].eq(part)
            else:
                m.d.comb += entry.eq(read.data)
            answers = Mux(selected[position], entry, answers)
        m.d.comb += bus.read_data.eq(answers)
