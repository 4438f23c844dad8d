"""The registers and their fields: what software sees, and nothing of how it is built."""

from __future__ import annotations

from dataclasses import dataclass

from golden_model.config import MAX_ITERATIONS, MAX_LABELS
from golden_model.exits import MAX_WINDOW, ExitMode
from golden_model.numerics import ENTROPY_BITS, PROBABILITY_BITS
from hw.interfaces import (
    COUNTER_BITS,
    ITERATION_BITS,
    LABEL_BITS,
    MARGIN_BITS,
    PATIENCE_BITS,
    ErrorCode,
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
