"""The register file in hardware: AXI4-Lite on one side, command and result of the engine on the other.

Storage, byte enables, access modes, reset values and the read multiplexer come from elbert.rdl; what is
written by hand is what starts and ends a sentence.
"""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from golden_model.config import ElbertConfig
from golden_model.exits import MAX_WINDOW
from hw.bus.axi import Axi4Lite
from hw.bus.axi_lite import AxiLiteSlave
from hw.bus.registers.model import EXIT_MODES, WORD_BITS, Field, Register, machine_registers
from hw.interfaces import COUNTERS, Command, CommandPort, Counters, ErrorCode, ResultPort

CYCLE_BITS = 64
Snapshot = data.StructLayout({"cycles": CYCLE_BITS, "counters": Counters})
"""What a sentence took so far."""
GROUP_WORDS = 8
"""Neighbouring words that a read picks from in its first cycle."""
ACTIONS = ("start", "abort", "snapshot", "reset")
"""CONTROL's."""
BASES = tuple(name for name in Command.members if name.endswith("_base"))


class Registers(wiring.Component):
    """AXI4-Lite register file; starts, watches and ends sentences.

    Illegal addresses, and writes to registers without a writable field, answer SLVERR and change
    nothing. Settings are checked as they are written (length, policy, iterations, window, alignment of
    the bases, in that order); with a bad one CONTROL.start sets ERROR and STATUS.done without disturbing
    the engine, and one while busy sets STATUS.refused alone. Good settings, the watchdog's included, are
    copied, so the driver may write the next sentence's while one runs. The watchdog lives here: whatever
    the engine does, a sentence ends. Cycles and counters are read from a copy, made in one cycle when a
    sentence ends and by CONTROL.snapshot.

    Parameters
    ----------
    config : ElbertConfig
    rows, cols, axi_bits : int
        What GEOMETRY shows.

    Members
    -------
    s_axil : In(Axi4Lite())
    irq : Out(1)
        Level: a flag of STATUS and its bit of IRQ_ENABLE.
    command : Out(CommandPort())
        ``start`` comes 3 cycles after the write of CONTROL is taken, ``abort`` 2 after it.
    result : In(ResultPort())

    Raises
    ------
    ValueError
        A constant does not fit its field.
    """

    def __init__(self, config: ElbertConfig, rows: int, cols: int, axi_bits: int) -> None:
        self.config = config
        self.beat_bits = (axi_bits // 8 - 1).bit_length()
        self.registers = machine_registers(config, rows, cols, axi_bits)
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
        stored = self._storage(m, slave.bus)
        values = self._sequence(m, stored)
        self._read(m, slave.bus, stored | values)
        return m

    def _storage(self, m: Module, bus) -> dict[tuple[str, str], Signal]:
        """The writable fields' signals: settings, sticky flags, and pulses of a cycle.

        A flag's clearing by software is in the statements made here, so that a set that follows wins.
        """
        stored: dict[tuple[str, str], Signal] = {}
        m.d.comb += bus.write_error.eq(1)
        with m.Switch(bus.write_address):
            for register in self.registers.values():
                if not register.writable:
                    continue
                with m.Case(register.offset // 4):
                    m.d.comb += bus.write_error.eq(0)
                    for field in register.fields:
                        if field.access in ("ro", "constant"):
                            continue
                        name = f"{register.name}_{field.name}".lower()
                        signal = Signal(field.width, name=name, init=field.reset)
                        stored[register.name, field.name] = signal
                        for byte in range(WORD_BITS // 8):
                            self._write(m, bus, field, signal, byte)
        return stored

    @staticmethod
    def _write(m: Module, bus, field: Field, signal: Signal, byte: int) -> None:
        """One byte of a write, as far as it reaches the field."""
        low, high = max(field.bit, 8 * byte), min(field.bit + field.width, 8 * byte + 8)
        if low >= high:
            return
        part, written = signal[low - field.bit : high - field.bit], bus.write_data[low:high]
        with m.If(bus.write & bus.write_strobe[byte]):
            if field.access == "rw":
                m.d.sync += part.eq(written)
            elif field.access == "w1c":
                m.d.sync += part.eq(part & ~written)
            else:
                m.d.comb += part.eq(written)

    def _checked(self, m: Module, stored: dict[tuple[str, str], Signal], reset: Signal) -> Signal:
        """The error that the settings would end in: two cycles late, as a start is behind the last setting.

        Every check has a register, and so has their verdict: a start looks at that alone.
        """
        length, iterations = stored["LENGTH", "value"], stored["ITERATIONS", "value"]
        policy, window = stored["POLICY", "value"], stored["WINDOW", "value"]
        checks = {
            ErrorCode.LENGTH: (length == 0) | (length > self.config.max_position_embeddings),
            ErrorCode.MODE: policy > max(EXIT_MODES.values()),
            ErrorCode.ITERATIONS: (iterations == 0) | (iterations > self.config.num_hidden_layers),
            ErrorCode.WINDOW: (policy >= EXIT_MODES["BIAS_1"]) & ((window == 0) | (window > MAX_WINDOW)),
            ErrorCode.ALIGNMENT: Cat(stored[name.upper(), "value"][: self.beat_bits] for name in BASES).any(),
        }
        checked = Signal(ErrorCode)
        verdict: Value = Const(ErrorCode.NONE.value, checked.shape())
        for code, failed in reversed(checks.items()):  # the first wins
            found = Signal(name=f"bad_{code.name.lower()}")
            # A reset sets LENGTH to 0, a cycle after the write that asks for it.
            m.d.sync += found.eq(failed | reset if code == ErrorCode.LENGTH else failed)
            verdict = Mux(found, Const(code.value, verdict.shape()), verdict)
        m.d.sync += checked.eq(verdict)
        return checked

    @staticmethod
    def _pulse(m: Module, stored: dict[tuple[str, str], Signal], action: str) -> Signal:
        """One of CONTROL's actions, a cycle after its write; before anyone can read what it did."""
        pulse = Signal(name=f"{action}_asked")
        m.d.sync += pulse.eq(stored["CONTROL", action])
        return pulse

    def _sequence(self, m: Module, stored: dict[tuple[str, str], Signal]) -> dict[tuple[str, str], Value]:
        """Start, end, watchdog, interrupt. Returns the values that the hardware shows."""
        result, command = self.result, self.command
        start, abort, take, reset = (self._pulse(m, stored, name) for name in ACTIONS)
        done, refused = stored["STATUS", "done"], stored["STATUS", "refused"]
        running, copying, busy = Signal(), Signal(), Signal()
        error = Signal(ErrorCode)
        cycles = Signal(CYCLE_BITS)
        # The watchdog counts down: a look for 1, not a comparison of two numbers, ends the sentence.
        watched, left = Signal(), Signal(WORD_BITS)
        checked = self._checked(m, stored, reset)
        m.d.comb += [
            busy.eq(running | copying | ~result.idle),
            self.irq.eq((done & stored["IRQ_ENABLE", "done"]) | (refused & stored["IRQ_ENABLE", "refused"])),
        ]

        expired, ended = Signal(), Signal()
        m.d.sync += [left.eq(left - 1), expired.eq(running & watched & (left == 1))]
        m.d.sync += [copying.eq(0), command.start.eq(copying), command.abort.eq(0), ended.eq(0)]
        with m.If(running):
            m.d.sync += cycles.eq(cycles + 1)
        with m.If(abort):
            m.d.sync += command.abort.eq(1)
        with m.If(running & (abort | expired | result.done)):
            m.d.sync += [running.eq(0), done.eq(1), ended.eq(1)]
            with m.If(result.done), m.If(result.error != ErrorCode.NONE):
                m.d.sync += error.eq(result.error)
            with m.Elif(abort):
                m.d.sync += error.eq(ErrorCode.ABORTED)
            with m.Else():
                m.d.sync += [error.eq(ErrorCode.WATCHDOG), command.abort.eq(1)]
        with m.If(start & ~abort):
            with m.If(busy):
                m.d.sync += refused.eq(1)
            with m.Elif(checked != ErrorCode.NONE):
                m.d.sync += [error.eq(checked), done.eq(1)]
            with m.Else():
                m.d.sync += [copying.eq(1), done.eq(0), refused.eq(0), error.eq(ErrorCode.NONE)]
        # A few hundred registers hang on this one.
        with m.If(copying):
            watchdog = stored["WATCHDOG", "value"]
            m.d.sync += [running.eq(1), cycles.eq(0), left.eq(watchdog), watched.eq(watchdog.any())]
            for name, setting in command.settings.shape():
                register = "POLICY" if name == "mode" else name.upper()
                target = Value.cast(command.settings)[setting.offset : setting.offset + setting.width]
                m.d.sync += target.eq(stored[register, "value"])

        # A cycle after the end, when the last one is counted.
        snapshot = Signal(Snapshot)
        with m.If(take | ended):
            m.d.sync += [snapshot.cycles.eq(cycles), snapshot.counters.eq(result.counters)]

        with m.If(reset):
            m.d.sync += [running.eq(0), copying.eq(0), ended.eq(0), error.eq(0), snapshot.eq(0)]
            m.d.sync += [command.start.eq(0), command.abort.eq(1)]
            m.d.sync += [s.eq(s.init) for (name, _), s in stored.items() if name != "CONTROL"]

        answer = result.result
        return {
            ("STATUS", "busy"): busy,
            ("STATUS", "error"): error != ErrorCode.NONE,
            ("ERROR", "code"): error.as_value(),
            ("LABEL", "value"): answer.label,
            ("EXIT_ITERATION", "value"): answer.exit_iteration,
            ("ENTROPY", "value"): answer.entropy,
            ("CYCLES_LO", "value"): snapshot.cycles[:WORD_BITS],
            ("CYCLES_HI", "value"): snapshot.cycles[WORD_BITS:],
            **{(name, "value"): snapshot.counters[counter] for name, counter in COUNTERS.items()},
        }

    def _read(self, m: Module, bus, values: dict[tuple[str, str], Value]) -> None:
        """The read multiplexer, one register deep, beside the tables' memories.

        In front of that register each group of words picks by the address's low bits alone, behind it the
        group is chosen. The whole multiplexer in one cycle is the slowest path of a small machine.
        """
        arrays = {"LOGIT": self.result.result.logits, "PROBABILITY": self.result.result.probabilities}
        groups: dict[int, dict[int, Signal]] = {}
        for register in self.registers.values():
            if register.external:
                continue
            for index in range(register.count):
                address = register.address(index) // 4
                word = Signal(WORD_BITS, name=f"{register.name.lower()}_{index}_word")
                groups.setdefault(address // GROUP_WORDS, {})[address % GROUP_WORDS] = word
                for field in register.fields:
                    if field.access == "pulse":
                        continue
                    part = word[field.bit : field.bit + field.width]
                    if field.access == "constant":
                        m.d.comb += part.eq(field.reset)
                    elif register.name in arrays:
                        m.d.comb += part.eq(arrays[register.name][index])
                    else:
                        m.d.comb += part.eq(values[register.name, field.name])
        legal = [r.address(i) // 4 for r in self.registers.values() for i in range(r.count)]
        m.d.sync += bus.read_error.eq(1)
        with m.Switch(bus.read_address), m.Case(*legal):
            m.d.sync += bus.read_error.eq(0)

        low_bits = (GROUP_WORDS - 1).bit_length()
        answer: Value = Const(0, WORD_BITS)
        for group, words in groups.items():
            picked = Signal(WORD_BITS, name=f"group_{group}_picked")
            held = Signal(WORD_BITS, name=f"group_{group}_held")
            chosen = Signal(name=f"group_{group}_chosen")
            with m.Switch(bus.read_address[:low_bits]):
                for low, word in words.items():
                    with m.Case(low):
                        m.d.comb += picked.eq(word)
            m.d.sync += [held.eq(picked), chosen.eq(bus.read_address[low_bits:] == group)]
            answer = answer | Mux(chosen, held, 0)
        record = self.result.record
        tables = {
            "CONFIDENCE": {"confidence": record.confidence, "label": record.label},
            "ENTROPY_AT": {"value": record.entropy},
        }
        for name, parts in tables.items():
            selected, entry = self._table(m, bus, self.registers[name], parts)
            answer = Mux(selected, entry, answer)
        m.d.comb += bus.read_data.eq(answer)

    def _table(self, m: Module, bus, register: Register, parts: dict[str, Value]) -> tuple[Signal, Signal]:
        """A memory with a record of every iteration; (its turn to answer, its word)."""
        layout = data.StructLayout({name: part.shape() for name, part in parts.items()})
        m.submodules[register.name.lower()] = table = memory.Memory(
            shape=layout, depth=register.count, init=[]
        )
        write, read = table.write_port(), table.read_port()
        m.d.comb += [
            write.addr.eq(self.result.record.iteration - 1),
            write.en.eq(self.result.record_valid),
            read.addr.eq(bus.read_address),
            read.en.eq(1),
        ]
        m.d.comb += [write.data[name].eq(part) for name, part in parts.items()]
        first = register.offset // 4
        selected = Signal(name=f"{register.name.lower()}_selected")
        m.d.sync += selected.eq((bus.read_address >= first) & (bus.read_address < first + register.count))
        entry = Signal(WORD_BITS, name=f"{register.name.lower()}_entry")
        for name in parts:
            field = register.field(name)
            m.d.comb += entry[field.bit : field.bit + field.width].eq(read.data[name])
        return selected, entry
