"""The residual stream's balanced pair: hidden = 256·hi + lo."""

from __future__ import annotations

from torch import Tensor

from golden_model.integer.ops.fixed import saturate, saturate_signed
from golden_model.numerics import HIDDEN_MAX, RESIDUAL_BITS


def saturate_hidden(x: Tensor) -> Tensor:
    """Saturates to the range the pair can hold, ±32639."""
    return saturate(x, -HIDDEN_MAX, HIDDEN_MAX)


def split_hidden(hidden: Tensor) -> tuple[Tensor, Tensor]:
    """(hi, lo) with hi = floor((hidden + 128) / 256) in -127..127 and lo in -128..127."""
    hi = (hidden + 128) >> 8
    return hi, hidden - (hi << 8)


def hidden_operand(hidden: Tensor, shift: int, limit: int) -> Tensor:
    """What a matmul reads of a hidden state: round_half_up(hidden / 2^shift), saturated to ±limit.

    With a shift of 8 and a limit of 127 it is ``hi``, and nothing saturates.
    """
    return saturate((hidden + (1 << (shift - 1))) >> shift, -limit, limit)


def join_hidden(hi: Tensor, lo: Tensor) -> Tensor:
    """256·hi + lo."""
    return (hi << 8) + lo


def add_residual(hidden: Tensor, update: Tensor) -> Tensor:
    """hidden + update, saturated to RESIDUAL_BITS: the input of LayerNorm."""
    return saturate_signed(hidden + update, RESIDUAL_BITS)
