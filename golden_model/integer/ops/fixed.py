"""Rounding, saturation and requantisation."""

from __future__ import annotations

import torch
from torch import Tensor

from golden_model.numerics import MULTIPLIER_BITS, SHIFT_BITS


def saturate(x: Tensor, low: int, high: int) -> Tensor:
    """Clamps ``x`` to ``low..high``."""
    return x.clamp(low, high)


def saturate_signed(x: Tensor, bits: int) -> Tensor:
    """Clamps to the two's-complement range of ``bits`` bits."""
    return x.clamp(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def round_shift(x: Tensor, shift: Tensor | int) -> Tensor:
    """``floor(x / 2^shift + 1/2)``: round half up. ``shift`` >= 0, broadcast against ``x`` (int64)."""
    shift = torch.as_tensor(shift, dtype=torch.int64, device=x.device)
    half = (torch.ones_like(shift) << (shift - 1).clamp(min=0)) * (shift > 0)
    return (x + half) >> shift


def requantize(
    accumulator: Tensor,
    offset: Tensor | int,
    multiplier: Tensor | int,
    shift: Tensor | int,
    low: int,
    high: int,
) -> Tensor:
    """``saturate(round_half_up((accumulator + offset) · multiplier / 2^shift))``, int64 in and out.

    The one rescaling rule of the project; ``offset``, ``multiplier`` (0..65535) and ``shift``
    (0..63) broadcast against ``accumulator``.
    """
    product = (accumulator.to(torch.int64) + offset) * multiplier
    return saturate(round_shift(product, shift), low, high)


def quantize_multiplier(factor: float) -> tuple[int, int]:
    """Splits a positive real ``factor`` into a normalised (multiplier, shift): m / 2^s ~ factor.

    Returns:
        ``2^15 <= m < 2^16`` and ``0 <= s < 64``; (0, 0) for a factor that is 0 or vanishes.

    Raises:
        ValueError: ``factor`` is negative, not finite or 2^16 or more.
    """
    top = 1 << MULTIPLIER_BITS
    if not 0 <= factor < top:
        raise ValueError(f"factor {factor} is outside 0..{top}")
    if factor == 0:
        return 0, 0
    shift = 0
    while factor < top / 2 and shift < (1 << SHIFT_BITS) - 1:
        factor *= 2
        shift += 1
    multiplier = round(factor)
    if multiplier == top:
        if shift == 0:
            raise ValueError(f"factor {factor} rounds to {top}, the bound")
        return top // 2, shift - 1
    if multiplier < top // 2:
        return 0, 0
    return multiplier, shift
