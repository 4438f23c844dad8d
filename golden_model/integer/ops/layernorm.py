"""LayerNorm on integers: exact sums, an integer reciprocal square root per row, then per element
one multiply by it and one multiply-add by (gamma, beta).

With N features, S1 = sum y, S2 = sum y²: V = max(N·S2 - S1², 1) = N²·variance, d = N·y - S1, and
(y - mean)/sigma = d / sqrt(V).
"""

from __future__ import annotations

import torch
from torch import Tensor

from golden_model.integer.ops.fixed import round_shift, saturate, saturate_signed
from golden_model.integer.ops.softmax import bit_length
from golden_model.numerics import NORM_BITS, NORM_FRACTION_BITS, RSQRT_BITS, RSQRT_MANTISSA_BITS

NORM_INTEGER_BITS = NORM_BITS - NORM_FRACTION_BITS
"""Of a normalised value, sign included: |y - mean| < 2·sqrt(N)·sigma, N <= 1024."""
assert RSQRT_BITS == RSQRT_MANTISSA_BITS  # one width stands for both below


def statistics(y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(S1, S2, V) of ``y`` [..., N], int64, exact; V >= 1."""
    s1 = y.sum(dim=-1)
    s2 = (y * y).sum(dim=-1)
    return s1, s2, (y.shape[-1] * s2 - s1 * s1).clamp(min=1)


def reciprocal_sqrt(variance: Tensor, bits: int = RSQRT_BITS) -> tuple[Tensor, Tensor]:
    """(R, e) with R / 2^(bits+e) ~ 1/sqrt(variance), for int64 ``variance`` >= 1; 16 bits in hardware.

    e = floor((bit_length(V) - 1) / 2); the mantissa M = floor(V·2^14 / 4^e) lies in 2^14..2^16 - 1;
    R = min(floor(sqrt(2^46 / M)), 65535), 2^15 <= R, found bit by bit as the hardware does. Relative error
    below 2^-13.9: M is truncated (2^-14 of it, halved by the root) and R is floored (2^-15). With b bits, 14
    is b - 2 and 46 is 3·b - 2.
    """
    exponent = (bit_length(variance) - 1) >> 1
    down = (2 * exponent - (bits - 2)).clamp(min=0)
    up = ((bits - 2) - 2 * exponent).clamp(min=0)
    mantissa = (variance >> down) << up
    root = torch.zeros_like(mantissa)
    for bit in reversed(range(bits)):
        candidate = root | (1 << bit)
        root = torch.where(candidate * candidate * mantissa <= (1 << (3 * bits - 2)), candidate, root)
    return root, exponent


def normalize(y: Tensor, fraction_bits: int = NORM_FRACTION_BITS, root_bits: int = RSQRT_BITS) -> Tensor:
    """(y - mean)/sigma with ``fraction_bits`` fraction bits, for ``y`` [..., N] (int18); int18 in hardware.

    t = saturate18(round_half_up(d·2^11 / 2^e)); n = round_half_up(t·R / 2^16). The 11 are the fraction bits,
    the 18 seven more, the 16 the root's bits.
    """
    s1, _, variance = statistics(y)
    root, exponent = reciprocal_sqrt(variance, root_bits)
    deviation = y.shape[-1] * y - s1.unsqueeze(-1)
    scaled = saturate_signed(
        round_shift(deviation << fraction_bits, exponent.unsqueeze(-1)), fraction_bits + NORM_INTEGER_BITS
    )
    return round_shift(scaled * root.unsqueeze(-1), root_bits)


def layernorm(
    y: Tensor,
    gamma: Tensor,
    beta: Tensor,
    shift: Tensor,
    low: int,
    high: int,
    fraction_bits: int = NORM_FRACTION_BITS,
    root_bits: int = RSQRT_BITS,
) -> Tensor:
    """``saturate(round_half_up((n·gamma + beta) / 2^shift))`` with n = normalize(y).

    ``gamma`` (int16), ``beta`` (int32) and ``shift`` have shape [N]: the fields multiplier (here
    signed), offset and shift of a channel parameter.
    """
    unit = normalize(y, fraction_bits, root_bits)
    return saturate(round_shift(unit * gamma + beta, shift), low, high)
