"""The residual stream's word: a hidden value as its two bytes, or a residual sum before LayerNorm."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value, signed
from amaranth.lib import data

from golden_model.numerics import OPERAND_BITS, RESIDUAL_BITS

HIDDEN_WORD = data.FlexibleLayout(
    RESIDUAL_BITS,
    {
        "lo": data.Field(signed(OPERAND_BITS), 0),
        "hi": data.Field(signed(OPERAND_BITS), OPERAND_BITS),
    },
)
"""256·hi + lo: hi alone is the matmuls' operand. A residual sum takes all RESIDUAL_BITS instead."""


def split_hidden(m: Module, value: Value, name: str) -> Value:
    """The word of a hidden ``value`` (signed, within ±HIDDEN_MAX); ``name`` is for its high byte.

    Golden: ``golden_model.integer.ops.hidden.split_hidden``.
    """
    high = Signal(signed(OPERAND_BITS), name=name)
    m.d.comb += high.eq((value + (1 << (OPERAND_BITS - 1))) >> OPERAND_BITS)
    return Cat(value[:OPERAND_BITS], high)


def join_hidden(word: Value) -> Value:
    """The value of a hidden word. Golden: ``golden_model.integer.ops.hidden.join_hidden``."""
    pair = HIDDEN_WORD(word)
    return (pair.hi << OPERAND_BITS) + pair.lo
