"""The widths of the integer contract that a study may change; what the hardware runs are the defaults.

:mod:`golden_model.numerics` has the constants that the hardware is built from. A checkpoint of another
contract is run by the golden model all the same, and refused by the accelerator's image
(docs/quantisation.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from golden_model.documents import quote
from golden_model.integer.ops.layernorm import NORM_INTEGER_BITS
from golden_model.numerics import (
    EXP_BITS,
    EXP_INDEX_BITS,
    NORM_FRACTION_BITS,
    OPERAND_BITS,
    RSQRT_BITS,
    TABLE_INDEX_BITS,
)

HIDDEN_BITS = 16
"""Of the residual stream between LayerNorms, hi and lo together."""

_BOUNDS: dict[str, tuple[int, int]] = {
    "hidden_headroom": (0, 7),
    "exp_index_bits": (3, EXP_INDEX_BITS),  # 2 bits would leave the far end of the table above 0
    "ffn_index_bits": (3, 16),
    "pooler_index_bits": (3, 16),
    "norm_fraction_bits": (2, 14),  # N·y << 14 needs 45 bits
    "rsqrt_bits": (4, 20),  # R²·M of three times as many bits is formed in int64
}
"""Lowest and highest value of every field that is no operand's width."""
_OPERAND_BOUNDS = (2, OPERAND_BITS)
"""An operand is stored in int8, and 28 bits hold 4096 products of the widest."""

OPERANDS: dict[str, str] = {
    "embedding.normalized": "embedding_normalized_bits",
    "hidden": "hidden_bits",
    "attention.hidden": "attention_hidden_bits",
    "pooler.hidden": "pooler_hidden_bits",
    "attention.query": "query_bits",
    "attention.key": "key_bits",
    "attention.value": "value_bits",
    "attention.exponentials": "exponentials_bits",
    "attention.context": "context_bits",
    "ffn.activation": "ffn_activation_bits",
    "pooler.output": "pooler_output_bits",
}
"""What a matmul reads to the field that tells its bits. ``hidden`` is read by query, key and value of the
next iteration (of ``embedding.hidden`` too), ``attention.hidden`` by the feed-forward network,
``pooler.hidden`` by the pooler: the hidden states themselves keep 16 bits, of which the matmul reads the
upper ones."""

HIDDEN_OPERANDS = ("hidden", "attention.hidden", "pooler.hidden")
"""Those that are read out of a hidden state."""


def signed_limit(bits: int) -> int:
    """Largest integer of a symmetric range of ``bits`` bits: 127 of 8."""
    return (1 << (bits - 1)) - 1


@dataclass(frozen=True)
class Contract:
    """Widths of operands and tables, and the precision of LayerNorm.

    A signed operand of b bits lies in ±(2^(b-1) - 1); a matmul or table that makes it saturates there. Of a
    hidden state the matmul reads clamp((hidden + 2^(s-1)) >> s) with s = 16 - b - hidden_headroom.

    Members:
        embedding_normalized_bits .. pooler_output_bits: Of the operand that :data:`OPERANDS` names, 2..8.
        exponentials_bits: Unsigned: the table holds 0..2^b - 1.
        hidden_headroom: Bits by which the operand of a hidden state saturates before the hidden state does.
        exp_index_bits: Of the exponentials' table, which always spans 8 nat: the index is
            min(distance, 255) >> (8 - bits).
        ffn_index_bits, pooler_index_bits: Of the tables of GELU and tanh.
        norm_fraction_bits: Of LayerNorm's scaled deviation and normalised value.
        rsqrt_bits: Of LayerNorm's reciprocal root and of the variance's mantissa.

    Raises:
        TypeError: a member is no integer.
        ValueError: a member is out of its bounds; the message names it and both.
    """

    embedding_normalized_bits: int = OPERAND_BITS
    hidden_bits: int = OPERAND_BITS
    attention_hidden_bits: int = OPERAND_BITS
    pooler_hidden_bits: int = OPERAND_BITS
    query_bits: int = OPERAND_BITS
    key_bits: int = OPERAND_BITS
    value_bits: int = OPERAND_BITS
    exponentials_bits: int = EXP_BITS
    context_bits: int = OPERAND_BITS
    ffn_activation_bits: int = OPERAND_BITS
    pooler_output_bits: int = OPERAND_BITS
    hidden_headroom: int = 0
    exp_index_bits: int = EXP_INDEX_BITS
    ffn_index_bits: int = TABLE_INDEX_BITS
    pooler_index_bits: int = TABLE_INDEX_BITS
    norm_fraction_bits: int = NORM_FRACTION_BITS
    rsqrt_bits: int = RSQRT_BITS

    def __post_init__(self) -> None:
        """Checks every member against its bounds."""
        for name, value in asdict(self).items():
            low, high = _BOUNDS.get(name, _OPERAND_BOUNDS)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"contract: {name} is {quote(value)}, expected an integer in {low}..{high}")
            if not low <= value <= high:
                raise ValueError(f"contract: {name} is {value}, not in {low}..{high}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Contract:
        """The contract that differs from the hardware's in ``values`` (:meth:`differences`).

        Raises:
            ValueError: a name is not known, or a value not an integer within its bounds.
        """
        known = {each.name for each in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"contract: {quote(unknown[0])} is not one of {', '.join(sorted(known))}")
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(str(error)) from error

    def differences(self) -> dict[str, int]:
        """The members that are not the hardware's; empty for the hardware's contract."""
        own, hardware = asdict(self), asdict(HARDWARE)
        return {name: value for name, value in own.items() if value != hardware[name]}

    @property
    def is_hardware(self) -> bool:
        """Whether the accelerator computes with these widths."""
        return not self.differences()

    def check_hardware(self) -> None:
        """Refuses what the accelerator does not run.

        Raises:
            ValueError: a member is not the hardware's; the message names it and both values.
        """
        for name, value in self.differences().items():
            raise ValueError(
                f"checkpoint contract: {name} is {value}, the hardware's is {getattr(HARDWARE, name)}: "
                "the golden model alone runs it"
            )

    # ------------------------------------------------------------------ what follows from the members

    def bits(self, operand: str) -> int:
        """Bits of what a matmul reads, by its name in :data:`OPERANDS`; KeyError for another."""
        value: int = getattr(self, OPERANDS[operand])
        return value

    def limit(self, operand: str) -> int:
        """Largest integer of what a matmul reads: 2^(b-1) - 1, of the exponentials 2^b - 1."""
        bits = self.bits(operand)
        return (1 << bits) - 1 if operand == "attention.exponentials" else signed_limit(bits)

    def hidden_shift(self, operand: str) -> int:
        """Bits of a hidden state below the operand's LSB (8 in hardware); KeyError for another operand."""
        if operand not in HIDDEN_OPERANDS:
            raise KeyError(operand)
        return HIDDEN_BITS - self.bits(operand) - self.hidden_headroom

    def operands(self) -> Iterator[tuple[str, int]]:
        """(operand, bits), in the order of the computation."""
        for operand in OPERANDS:
            yield operand, self.bits(operand)

    @property
    def norm_bits(self) -> int:
        """Of LayerNorm's scaled deviation, two's complement."""
        return self.norm_fraction_bits + NORM_INTEGER_BITS


HARDWARE = Contract()
"""What the accelerator computes with."""
