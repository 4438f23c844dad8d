"""elbert.rdl compiled: SystemRDL's object model, and the little of it that hardware and driver need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from systemrdl import RDLCompileError, RDLCompiler
from systemrdl.messages import MessagePrinter, Severity
from systemrdl.node import AddrmapNode, FieldNode, RegNode, RootNode
from systemrdl.rdltypes import AccessType, OnWriteType
from systemrdl.source_ref import SourceRefBase

from golden_model.config import ElbertConfig

SOURCE = Path(__file__).with_name("elbert.rdl")
TOP = "elbert"
WORD_BITS = 32


@dataclass(frozen=True)
class Field:
    """Some bits of a register."""

    name: str
    bit: int
    """Lowest bit."""
    width: int
    access: str = "ro"
    """``constant``; ``ro``, a value of the hardware; ``rw``, a setting; ``w1c``, a sticky flag; ``pulse``."""
    reset: int = 0
    signed: bool = False
    values: dict[str, int] = field(default_factory=dict)
    """The enumeration that the field holds, if any."""
    meanings: dict[str, str] = field(default_factory=dict)

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
    fields: tuple[Field, ...]
    count: int = 1
    external: bool = False
    """A memory beside the registers."""

    @property
    def writable(self) -> bool:
        """A write is not answered with an error."""
        return any(field.access not in ("ro", "constant") for field in self.fields)

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
        for candidate in self.fields:
            if candidate.name == name:
                return candidate
        raise KeyError(f"register {self.name} has no field {name!r}")


def geometry_parameters(config: ElbertConfig, rows: int, columns: int, axi_bits: int) -> dict[str, int]:
    """elbert.rdl's parameters for a machine."""
    return {
        "ROWS": rows,
        "COLUMNS": columns,
        "AXI_BITS": axi_bits,
        "HIDDEN": config.hidden_size,
        "EMBEDDING": config.embedding_size,
        "INTERMEDIATE": config.intermediate_size,
        "HEADS": config.num_attention_heads,
        "LABELS": config.num_labels,
        "TOKENS": config.vocab_size,
        "TYPES": config.type_vocab_size,
        "LENGTH_BOUND": config.max_position_embeddings,
        "ITERATION_BOUND": config.num_hidden_layers,
    }


class _Errors(MessagePrinter):
    """Keeps what the compiler says instead of printing it."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def print_message(self, severity: Severity, text: str, src_ref: SourceRefBase | None) -> None:
        if severity == Severity.ERROR:
            self.texts.append(text)


def compile_registers(parameters: Mapping[str, int] | None = None) -> RootNode:
    """The elaborated description; constants of the geometry are 0 without ``parameters``.

    Raises:
        ValueError: a constant does not fit its field, or the description is wrong.
    """
    printer = _Errors()
    compiler = RDLCompiler(message_printer=printer)
    try:
        compiler.compile_file(str(SOURCE))
        return compiler.elaborate(top_def_name=TOP, inst_name=TOP, parameters={**(parameters or {})})
    except RDLCompileError as error:
        raise ValueError(f"{SOURCE.name}: {'; '.join(printer.texts)}") from error


def _access(node: FieldNode) -> str:
    """How hardware builds the field; see elbert.rdl.

    Raises:
        ValueError: a mix of properties that it does not know.
    """
    software, hardware = node.get_property("sw"), node.get_property("hw")
    if software == AccessType.r:
        return "constant" if hardware == AccessType.na else "ro"
    if software == AccessType.w and node.get_property("singlepulse"):
        return "pulse"
    if software == AccessType.rw:
        on_write = node.get_property("onwrite")
        if on_write == OnWriteType.woclr and node.get_property("hwset"):
            return "w1c"
        if on_write is None:
            return "rw"
    raise ValueError(f"{node.get_path()}: hardware for its access is not known")


def _field(node: FieldNode) -> Field:
    encode, reset = node.get_property("encode"), node.get_property("reset")
    members = list(encode) if encode else []
    return Field(
        name=node.inst_name,
        bit=node.low,
        width=node.width,
        access=_access(node),
        reset=reset if isinstance(reset, int) else 0,
        signed=bool(node.get_property("is_signed", default=False)),
        values={member.name: int(member.value) for member in members},
        meanings={member.name: member.rdl_desc or "" for member in members},
    )


def _register(node: RegNode) -> Register:
    return Register(
        name=node.inst_name,
        offset=node.raw_address_offset,
        fields=tuple(_field(field) for field in node.fields()),
        count=node.array_dimensions[0] if node.array_dimensions else 1,
        external=node.external,
    )


def read_registers(top: AddrmapNode) -> dict[str, Register]:
    """The registers of an elaborated description by name, in the order of their addresses."""
    return {node.inst_name: _register(node) for node in top.registers(unroll=False)}


@lru_cache
def _registers(parameters: tuple[tuple[str, int], ...]) -> dict[str, Register]:
    return read_registers(compile_registers(dict(parameters)).top)


def machine_registers(config: ElbertConfig, rows: int, columns: int, axi_bits: int) -> dict[str, Register]:
    """The registers of a machine, its constants in their reset values."""
    return _registers(tuple(geometry_parameters(config, rows, columns, axi_bits).items()))


REGISTERS = _registers(())
"""The register map by name, for drivers and benches; constants of the geometry are 0."""
EXIT_MODES = REGISTERS["POLICY"].field("value").values
"""POLICY's values."""
ERROR_CODES = REGISTERS["ERROR"].field("code").values
"""ERROR's values."""
