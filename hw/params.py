"""One frozen description of a machine: model geometry, array shape, and every width derived from them."""

from __future__ import annotations

from functools import cached_property

from pydantic import BaseModel, ConfigDict, model_validator

from golden_model.config import ElbertConfig
from golden_model.numerics import CHANNEL_PARAMETER_BYTES
from hw.arith.check import check_technology
from hw.arith.widths import ceil_div

ARRAY_COLUMNS = (4, 8, 16, 32)
"""Legal array widths: a weight word of Q bytes is one AXI beat of 32 to 256 bits."""


def parse_array(text: str) -> tuple[int, int]:
    """Rows and columns of ``ROWSxCOLS``.

    Raises:
        ValueError: if ``text`` has another form.
    """
    rows, cross, columns = text.lower().partition("x")
    if not (cross and rows.isdecimal() and columns.isdecimal()):
        raise ValueError(f"array {text!r} is not of the form ROWSxCOLUMNS, such as 4x4")
    return int(rows), int(columns)


class Machine(BaseModel):
    """An accelerator for ``model`` with an array of ``rows`` x ``columns`` multipliers.

    Raises:
        pydantic.ValidationError: naming the value and the bound it breaks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    model: ElbertConfig
    rows: int
    columns: int
    layernorm_lanes: int | None = None
    """Elements normalised per cycle, a divisor of ``rows`` (default: ``rows``)."""
    technology: str = "generic"
    dense_memories: bool = False
    """Takes as few block memories as possible, with multiplexers behind (`hw.memory.block_ram`)."""
    trace: bool = False
    """Adds the trace ports through which a simulation sees every named tensor."""

    @model_validator(mode="after")
    def _check(self) -> Machine:
        m, p, q = self.model, self.rows, self.columns
        if q not in ARRAY_COLUMNS:
            raise ValueError(f"array columns {q} is not one of {ARRAY_COLUMNS}")
        if p < 1 or p & (p - 1) or p > q:
            raise ValueError(f"array rows {p} is not a power of two in 1..{q} (the columns)")
        for name, value in (
            ("hidden_size", m.hidden_size),
            ("intermediate_size", m.intermediate_size),
            ("head_dim", m.head_dim),
        ):
            if value % q:
                raise ValueError(f"{name} {value} is not a multiple of the array's {q} columns")
        if m.hidden_size < 2 * q:
            raise ValueError(f"hidden_size {m.hidden_size} is below two weight tiles of {q} columns")
        if m.intermediate_size < 2 * m.hidden_size:
            raise ValueError(
                f"intermediate_size {m.intermediate_size} is below 2 * hidden_size {m.hidden_size}: "
                "query and context share the feed-forward's memory"
            )
        if m.embedding_size % max(q, 8):
            raise ValueError(
                f"embedding_size {m.embedding_size} is not a multiple of {max(q, 8)} bytes, the bus beat"
            )
        check_technology(self.technology)
        lanes = self.layernorm_lanes
        if lanes is not None and (lanes < 1 or p % lanes):
            raise ValueError(f"layernorm_lanes {lanes} does not divide the array's {p} rows")
        return self

    # -- tokens -------------------------------------------------------------------------------

    @property
    def normalize_lanes(self) -> int:
        """LayerNorm elements per cycle."""
        return self.layernorm_lanes or self.rows

    @property
    def groups(self) -> int:
        """Token blocks (of P tokens) in one memory word (of Q tokens)."""
        return self.columns // self.rows

    @property
    def word_blocks(self) -> int:
        """Blocks of Q tokens that hold the longest sentence."""
        return ceil_div(self.model.max_position_embeddings, self.columns)

    @property
    def token_blocks(self) -> int:
        """Blocks of P tokens that the memories hold."""
        return self.word_blocks * self.groups

    # -- matmul tiling ------------------------------------------------------------------------

    @cached_property
    def chunk(self) -> int:
        """K of one weight tile of the second feed-forward matrix: the largest divisor of
        intermediate_size not above hidden_size."""
        m = self.model
        return max(d for d in range(1, m.hidden_size + 1) if m.intermediate_size % d == 0)

    @property
    def chunks(self) -> int:
        """Weight tiles along K of the second feed-forward matrix."""
        return self.model.intermediate_size // self.chunk

    @property
    def bank_words(self) -> int:
        """Words of Q bytes in one weight bank."""
        return self.model.hidden_size

    # -- memories (words) ---------------------------------------------------------------------

    @property
    def activation_stride(self) -> int:
        """Features per Q-token block of the activation memory: query and context, or feed-forward."""
        return max(2 * self.model.hidden_size, self.model.intermediate_size)

    @property
    def hidden_words(self) -> int:
        return self.word_blocks * self.model.hidden_size

    @property
    def activation_words(self) -> int:
        return self.word_blocks * self.activation_stride

    @property
    def key_words(self) -> int:
        return self.word_blocks * self.model.hidden_size

    @property
    def value_words(self) -> int:
        return (self.model.hidden_size // self.columns) * self.model.max_position_embeddings

    # -- multipliers --------------------------------------------------------------------------

    @property
    def requantizer_high_in_logic(self) -> bool:
        """Requantisers take one multiplier each instead of two. Multipliers are what an ECP5 has least of: a
        4x4 machine on the 25F and an 8x16 one on the 85F fit only so."""
        return self.technology == "ecp5"

    # -- bus ----------------------------------------------------------------------------------

    @property
    def axi_bits(self) -> int:
        """AXI data width: one weight word per beat."""
        return 8 * self.columns

    @property
    def header_bytes(self) -> int:
        """Channel parameters of one weight tile."""
        return self.columns * CHANNEL_PARAMETER_BYTES
