"""I-BERT's integer operators, by the formulas of Kim et al., "I-BERT: Integer-only BERT Quantization" (2021).

A real number is q·scale: q int64, the scale a float that is known before anything runs. Polynomials of second
degree stand for exp on (-ln 2, 0] and for erf, integer Newton steps for the square root. Where the paper
leaves a division open (by the sum of exponentials, by sigma) it is one by 2^32 or 2^31 over it, floored.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

EXP = (0.3585, 1.353, 0.344)
"""a, b, c: exp(p) ~ a·(p + b)² + c for p in (-ln 2, 0] (eq. 13)."""
ERF = (-0.2888, -1.769, 1.0)
"""a, b, c: erf(x) ~ sgn(x)·(a·(min(|x|, -b) + b)² + c) (eq. 8)."""
SOFTMAX_BITS = 8
"""Of the softmax's output, LSB 2^-8."""


def i_poly(q: Tensor, scale: float, a: float, b: float, c: float) -> tuple[Tensor, float]:
    """a·(x + b)² + c of x = q·scale (algorithm 1)."""
    shifted = q + math.floor(b / scale)
    return shifted * shifted + math.floor(c / (a * scale * scale)), a * scale * scale


def i_exp(q: Tensor, scale: float) -> tuple[Tensor, float]:
    """exp of x = q·scale <= 0 (algorithm 3): x = p - z·ln 2, exp(x) = exp(p) >> z.

    Raises:
        ValueError: ln 2 is below one LSB, or the scale is so fine that a square leaves int64.
    """
    step = math.floor(math.log(2) / scale)
    if step < 1:
        raise ValueError(f"i-exp: scale {scale:g} is above ln 2")
    if scale < 2.0**-30:
        raise ValueError(f"i-exp: scale {scale:g} is below 2^-30: squares leave int64")
    times = torch.div(-q, step, rounding_mode="floor")
    result, out = i_poly(q + times * step, scale, *EXP)
    return result >> times.clamp(max=62), out


def i_softmax(q: Tensor, scale: float) -> tuple[Tensor, float]:
    """Softmax over the last dimension of scores q·scale: int64 in 2^-8."""
    exponentials, _ = i_exp(q - q.amax(-1, keepdim=True), scale)
    # 16 bits of each, as the sum and the product below want; they keep their common scale
    excess = max(0, int(exponentials.max()).bit_length() - 16)
    exponentials = exponentials >> excess
    factor = (1 << 32) // exponentials.sum(-1, keepdim=True)
    return (exponentials * factor) >> (32 - SOFTMAX_BITS), 2.0**-SOFTMAX_BITS


def i_erf(q: Tensor, scale: float) -> tuple[Tensor, float]:
    """erf of x = q·scale (algorithm 2)."""
    a, b, c = ERF
    inside = q.abs().clamp(max=math.floor(-b / scale))
    result, out = i_poly(inside, scale, a, b, c)
    return q.sign() * result, out


def i_gelu(q: Tensor, scale: float) -> tuple[Tensor, float]:
    """x·(1 + erf(x / sqrt 2)) / 2 of x = q·scale (algorithm 2)."""
    erf, erf_scale = i_erf(q, scale / math.sqrt(2))
    return q * (erf + math.floor(1 / erf_scale)), scale * erf_scale / 2


def i_sqrt(n: Tensor) -> Tensor:
    """floor(sqrt(n)) of int64 n >= 0 by Newton's steps (algorithm 4)."""
    positive = n.clamp(min=1)
    bits = torch.tensor([int(each).bit_length() for each in positive.flatten()]).view_as(positive)
    root = torch.ones_like(positive) << ((bits + 1) >> 1)
    while True:
        following = (root + positive // root) >> 1
        if not bool((following < root).any()):
            return torch.where(n > 0, root, 0)
        root = torch.minimum(root, following)


def i_layernorm(q: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """LayerNorm over the last dimension: real values, as the output's scale is one per channel.

    Mean and sigma are integers; squares are of numbers shifted so far that their sum has 32 bits.

    Args:
        q: int64 [rows, features], of any scale: it cancels.
        gamma: float64 [features]; 0 gives beta.
        beta: The same.
    """
    features = q.shape[-1]
    centred = q - torch.div(2 * q.sum(-1, keepdim=True) + features, 2 * features, rounding_mode="floor")
    total = (centred * centred).sum(-1, keepdim=True)
    shift = max(0, math.ceil((int(total.max()).bit_length() - 32) / 2))
    short = centred >> shift
    sigma = i_sqrt((short * short).sum(-1, keepdim=True)) << shift
    factor = (1 << 31) // sigma.clamp(min=1)
    unit = math.sqrt(features) / (1 << 30)
    normalised = (centred * factor) >> 1
    safe = torch.where(gamma == 0, 1.0, gamma)
    offset = (beta / safe / unit).floor().to(torch.int64)
    real = (normalised + offset).double() * (unit * gamma)
    return torch.where(gamma == 0, beta.expand_as(real), real)
