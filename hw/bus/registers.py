"""The registers: one description, from which hardware, C header, docs table and driver come.

``python -m hw.bus.registers`` rewrites hw/include/elbert_registers.h and docs/registers.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from golden_model.config import MAX_ITERATIONS, MAX_LABELS, ElbertConfig
from golden_model.exits import MAX_WINDOW, ExitMode
from golden_model.files import write_text
from golden_model.numerics import ENTROPY_BITS, PROBABILITY_BITS
from golden_model.provenance import ROOT
from hw.bus.axi import Axi4Lite
from hw.bus.axi_lite import AxiLiteSlave
from hw.interfaces import (
    COUNTER_BITS,
    ITERATION_BITS,
    LABEL_BITS,
    MARGIN_BITS,
    PATIENCE_BITS,
    CommandPort,
    ErrorCode,
    ResultPort,
)

WORD_BITS = 32
ID_VALUE = int.from_bytes(b"ELBT", "big")
VERSION = (0, 1, 0)

ACCESS = {
    "ro": "read only",
    "rw": "read and write",
    "w1c": "read; writing 1 clears",
    "pulse": "writing 1 acts, reads 0",
}


@dataclass(frozen=True)
class Field:
    """Some bits of a register.

    Raises:
        ValueError: the bits leave the word, or ``access`` is unknown.
    """

    name: str
    bit: int
    """Lowest bit."""
    width: int
    doc: str
    access: str = "ro"
    reset: int = 0
    signed: bool = False

    def __post_init__(self) -> None:
        if not (self.bit >= 0 and self.width >= 1 and self.bit + self.width <= WORD_BITS):
            raise ValueError(f"field {self.name}: bits {self.bit}+{self.width} are outside 0..{WORD_BITS}")
        if self.access not in ACCESS:
            raise ValueError(f"field {self.name}: access {self.access!r} is not one of {tuple(ACCESS)}")

    @property
    def mask(self) -> int:
        """The field's bits in the word."""
        return ((1 << self.width) - 1) << self.bit

    def extract(self, word: int) -> int:
        """The field's value in a register word."""
        value = (word & self.mask) >> self.bit
        return value - (1 << self.width) if self.signed and value >> (self.width - 1) else value

    def insert(self, value: int, word: int = 0) -> int:
        """``word`` with the field set.

        Raises:
            ValueError: ``value`` does not fit.
        """
        low, high = (-(1 << (self.width - 1)), 1 << (self.width - 1)) if self.signed else (0, 1 << self.width)
        if not low <= value < high:
            raise ValueError(f"field {self.name}: {value} is outside {low}..{high - 1}")
        return (word & ~self.mask) | (value << self.bit & self.mask)


@dataclass(frozen=True)
class Register:
    """One 32-bit register, or ``count`` of them in a row."""

    name: str
    offset: int
    doc: str
    fields: tuple[Field, ...]
    count: int = 1

    def __post_init__(self) -> None:
        if self.offset % 4:
            raise ValueError(f"register {self.name}: offset {self.offset:#x} is not a multiple of 4")
        used = 0
        for field in self.fields:
            if used & field.mask:
                raise ValueError(f"register {self.name}: field {field.name} overlaps another")
            used |= field.mask

    @property
    def writable(self) -> bool:
        """A write is not answered with an error."""
        return any(field.access != "ro" for field in self.fields)

    def address(self, index: int = 0) -> int:
        """Byte offset of entry ``index``.

        Raises:
            IndexError: ``index`` is not below ``count``.
        """
        if not 0 <= index < self.count:
            raise IndexError(f"register {self.name}: index {index} is outside 0..{self.count - 1}")
        return self.offset + 4 * index

    def field(self, name: str) -> Field:
        """The field of that name.

        Raises:
            KeyError: there is none.
        """
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(f"register {self.name} has no field {name!r}")


def _one(name: str, offset: int, width: int, doc: str, *, signed: bool = False, count: int = 1) -> Register:
    return Register(name, offset, doc, (Field("value", 0, width, doc, signed=signed),), count)


def _setting(name: str, offset: int, width: int, doc: str) -> Register:
    return Register(name, offset, doc, (Field("value", 0, width, doc, access="rw"),))


EXIT_MODES: dict[str, int] = {mode.name.upper(): mode.value for mode in ExitMode}
"""POLICY's values."""
ERROR_CODES: dict[str, int] = {name: int(code.value) for name, code in ErrorCode.__members__.items()}
"""ERROR's values."""


def _values(names: dict[str, int]) -> str:
    return ", ".join(f"{value} {name.lower()}" for name, value in names.items())


_DESCRIPTION = (
    Register("ID", 0x000, "Constant.", (Field("value", 0, 32, "ASCII ELBT", reset=ID_VALUE),)),
    Register(
        "VERSION",
        0x004,
        "Version of this register map.",
        (
            Field("patch", 0, 8, "", reset=VERSION[2]),
            Field("minor", 8, 8, "", reset=VERSION[1]),
            Field("major", 16, 8, "", reset=VERSION[0]),
        ),
    ),
    Register(
        "GEOMETRY",
        0x008,
        "The array.",
        (
            Field("rows", 0, 8, "array rows"),
            Field("cols", 8, 8, "array columns"),
            Field("axi_bits", 16, 16, "bits of a beat of the AXI4 master"),
        ),
    ),
    Register(
        "MODEL",
        0x00C,
        "The model the hardware was generated for.",
        (Field("hidden", 0, 16, "hidden_size"), Field("embedding", 16, 16, "embedding_size")),
    ),
    Register(
        "LAYER",
        0x010,
        "The model's layer.",
        (
            Field("intermediate", 0, 16, "intermediate_size"),
            Field("heads", 16, 8, "num_attention_heads"),
            Field("labels", 24, 8, "num_labels"),
        ),
    ),
    Register(
        "VOCABULARY",
        0x014,
        "The model's vocabulary.",
        (Field("tokens", 0, 24, "vocab_size"), Field("types", 24, 8, "type_vocab_size")),
    ),
    _one("MAX_LENGTH", 0x018, 16, "Longest sentence, in tokens."),
    _one("MAX_ITERATIONS", 0x01C, 8, "Iterations that have parameters."),
    Register(
        "CONTROL",
        0x020,
        "Actions; abort wins over start.",
        (
            Field("start", 0, 1, "check the settings, take them over and start a sentence", access="pulse"),
            Field("abort", 1, 1, "drop the running sentence: done, ERROR aborted", access="pulse"),
        ),
    ),
    Register(
        "STATUS",
        0x024,
        "State; the interrupt line is `done`.",
        (
            Field("busy", 0, 1, "a sentence runs, or its reads are still draining; a start would be refused"),
            Field("done", 1, 1, "the last sentence ended, with or without an error", access="w1c"),
            Field("error", 2, 1, "ERROR is not none"),
        ),
    ),
    Register(
        "ERROR",
        0x028,
        "Why the last start or sentence failed; kept until the next accepted start. "
        "`busy`: a start was refused while a sentence ran; that sentence is not disturbed.",
        (Field("code", 0, 4, _values(ERROR_CODES)),),
    ),
    _setting("LENGTH", 0x040, 32, "Tokens of the sentence, 1..MAX_LENGTH."),
    _setting("ITERATIONS", 0x044, 32, "Iterations at most, 1..MAX_ITERATIONS."),
    _setting("POLICY", 0x048, 32, f"Exit policy: {_values(EXIT_MODES)}."),
    _setting("DELTA", 0x04C, ENTROPY_BITS, "Entropy threshold, Q16."),
    _setting("WINDOW", 0x050, 32, f"Iterations of the confidence window, 1..{MAX_WINDOW}; bias policies."),
    _setting("MARGIN", 0x054, MARGIN_BITS, "Margin m of the window, Q16."),
    _setting("RANGE", 0x058, MARGIN_BITS, "Range r of the window, Q16; bias_3."),
    _setting("PATIENCE", 0x05C, PATIENCE_BITS, "Iterations the class must stay after its first; patience."),
    _setting("WATCHDOG", 0x060, 32, "Cycles after which a sentence is dropped; 0 is never."),
    _setting(
        "TOKENS_BASE", 0x080, 32, "Token words: id in bits 0..23, type in 24..31. Bases: multiples of 64."
    ),
    _setting("EMBEDDING_BASE", 0x084, 32, "Word rows, int8 [vocab_size, E]."),
    _setting("POSITION_BASE", 0x088, 32, "Position/type rows, int16 [types, max length, E]."),
    _setting("LAYER_BASE", 0x08C, 32, "Weights of the layer image."),
    _setting("PARAMETERS_BASE", 0x090, 32, "Per-iteration parameters, iteration 1 first."),
    _setting("EMBEDDING_LAYER_BASE", 0x094, 32, "Weights and parameters of the embedding projection."),
    _one("LABEL", 0x0C0, LABEL_BITS, "The class."),
    _one("EXIT_ITERATION", 0x0C4, ITERATION_BITS, "The iteration that answered, from 1."),
    _one("ENTROPY", 0x0C8, ENTROPY_BITS, "Entropy at the exit, Q16."),
    _one("CYCLES_LO", 0x0CC, 32, "Cycles of the last sentence, low word."),
    _one("CYCLES_HI", 0x0D0, 32, "Cycles of the last sentence, high word."),
    _one("LOGIT", 0x100, 32, "Logits, LSB 2^-10, sign extended.", signed=True, count=MAX_LABELS),
    _one("PROBABILITY", 0x120, PROBABILITY_BITS, "Probabilities, Q16.", count=MAX_LABELS),
    _one("ACTIVE", 0x140, COUNTER_BITS, "Cycles the array multiplied."),
    _one("IDLE_WEIGHTS", 0x144, COUNTER_BITS, "Cycles the array waited for weights."),
    _one("IDLE_DRAIN", 0x148, COUNTER_BITS, "Cycles it waited for the drain of a tile."),
    _one("IDLE_SOFTMAX", 0x14C, COUNTER_BITS, "Cycles it waited for the softmax."),
    _one("IDLE_LAYERNORM", 0x150, COUNTER_BITS, "Cycles it waited for the LayerNorm."),
    _one("IDLE_EXIT", 0x154, COUNTER_BITS, "Cycles it waited for the exit decision."),
    _one("IDLE_FILL", 0x158, COUNTER_BITS, "Cycles of pipeline fill and of the embedding."),
    Register(
        "CONFIDENCE",
        0x200,
        "Per iteration (entry 0 is iteration 1): valid up to EXIT_ITERATION.",
        (
            Field("confidence", 0, PROBABILITY_BITS, "probability of the class, Q16"),
            Field("label", 20, LABEL_BITS, "the class"),
        ),
        MAX_ITERATIONS,
    ),
    _one("ENTROPY_AT", 0x280, ENTROPY_BITS, "Entropy per iteration, Q16.", count=MAX_ITERATIONS),
)

REGISTERS: dict[str, Register] = {register.name: register for register in _DESCRIPTION}
"""The register map by name, for drivers and benches."""

TABLES = ("CONFIDENCE", "ENTROPY_AT")
"""Registers that are memories."""

COUNTERS = {
    "ACTIVE": "active",
    "IDLE_WEIGHTS": "weights",
    "IDLE_DRAIN": "drain",
    "IDLE_SOFTMAX": "softmax",
    "IDLE_LAYERNORM": "layernorm",
    "IDLE_EXIT": "exit",
    "IDLE_FILL": "fill",
}
"""Register name to field of `hw.interfaces.Counters`."""


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


def header() -> str:
    """The C header's text."""
    lines = [
        "/* Generated by `python -m hw.bus.registers`; do not edit. */",
        "#ifndef ELBERT_REGISTERS_H",
        "#define ELBERT_REGISTERS_H",
        "",
    ]
    for register in REGISTERS.values():
        prefix = f"ELBERT_{register.name}"
        lines.append(f"/* {register.doc} */")
        lines.append(f"#define {prefix}_OFFSET 0x{register.offset:03x}u")
        if register.count > 1:
            lines.append(f"#define {prefix}_COUNT {register.count}u")
        if (len(register.fields), register.fields[0].width) != (1, WORD_BITS):
            for field in register.fields:
                name = prefix if field.name == "value" else f"{prefix}_{field.name.upper()}"
                lines.append(f"#define {name}_SHIFT {field.bit}u")
                lines.append(f"#define {name}_MASK 0x{field.mask:08x}u")
        lines.append("")
    lines.append(f"#define ELBERT_ID_VALUE 0x{ID_VALUE:08x}u")
    lines.append("")
    for prefix, names in (("POLICY", EXIT_MODES), ("ERROR", ERROR_CODES)):
        lines += [f"#define ELBERT_{prefix}_{name} {value}u" for name, value in names.items()]
        lines.append("")
    lines += ["#endif", ""]
    return "\n".join(lines)


def markdown() -> str:
    """The docs page's text."""
    lines = [
        "# Registers",
        "",
        "Generated by `python -m hw.bus.registers` from the description in hw/bus/registers.py; do not edit.",
        "",
        "AXI4-Lite, 32-bit words, 4 KB. Byte strobes are honoured. Bits not listed read 0 and ignore writes.",
        "An address not listed, and a write to a register that is all read only, answers SLVERR and changes",
        "nothing. Reset values are 0 where not given; the geometry's constants are those of the generated",
        "hardware.",
        "",
        "A sentence: write the settings and bases, write CONTROL.start, wait for STATUS.done (or the",
        "interrupt), read ERROR and the results, write 1 to STATUS.done. Settings are copied at the start;",
        "the next sentence's may be written meanwhile.",
        "",
        "| offset | register | bits | field | access | reset | meaning |",
        "|---|---|---|---|---|---|---|",
    ]
    for register in REGISTERS.values():
        offset, name = f"0x{register.offset:03x}", register.name
        if register.count > 1:
            offset += f" + 4·i, i < {register.count}"
            name += "[i]"
        single = len(register.fields) == 1 and register.fields[0].name == "value"
        if not single:
            lines.append(f"| {offset} | **{name}** | | | | | {register.doc} |")
        for field in register.fields:
            top = field.bit + field.width - 1
            bits = str(field.bit) if field.width == 1 else f"{top}:{field.bit}"
            reset = f"0x{field.reset:x}" if field.reset else ""
            first = f"{offset} | **{name}**" if single else " | "
            label = "" if single else field.name
            lines.append(f"| {first} | {bits} | {label} | {field.access} | {reset} | {field.doc} |")
    lines += ["", "Access: " + "; ".join(f"`{key}` {text}" for key, text in ACCESS.items()) + ".", ""]
    return "\n".join(lines)


GENERATED = {"hw/include/elbert_registers.h": header, "docs/registers.md": markdown}
"""Path below the repository's root to the function that makes the text."""


def write_generated(root: Path) -> None:
    """Rewrites the generated files below ``root``, each whole."""
    for name, text in GENERATED.items():
        write_text(root / name, text())


if __name__ == "__main__":
    write_generated(ROOT)
