"""Attention softmax without a division per element.

e_k = EXP[max(s) - s_k]; the row's context is (sum_k e_k·v_k)·(m / 2^s)/sum(e), where m / sum(e) is one
division per row, folded into the requantisation of the context.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from golden_model.numerics import EXP_BITS, EXP_INDEX_BITS, SCORE_FRACTION_BITS


def exp_table(bits: int = EXP_BITS, index_bits: int = EXP_INDEX_BITS) -> list[int]:
    """EXP[i] = round((2^bits - 1)·exp(-i/32·2^(8-index_bits))), 2^index_bits entries; the last is 0.

    256 entries of 8 bits in hardware. An entry is that of the least distance of its step: against the step's
    middle all entries are larger by the same factor, which the division by their sum cancels.
    """
    top = (1 << bits) - 1
    step = 2.0**-SCORE_FRACTION_BITS * (1 << (EXP_INDEX_BITS - index_bits))
    return [math.floor(top * math.exp(-i * step) + 0.5) for i in range(1 << index_bits)]


def exponentials(
    scores: Tensor, bits: int = EXP_BITS, index_bits: int = EXP_INDEX_BITS
) -> tuple[Tensor, Tensor]:
    """Row maximum and exponentials of ``scores`` [..., keys].

    Returns:
        (maximum [...], e [..., keys] with e = EXP[min(maximum - score, 255) >> (8 - index_bits)])
    """
    maximum = scores.amax(dim=-1)
    distance = (maximum.unsqueeze(-1) - scores).clamp(max=(1 << EXP_INDEX_BITS) - 1)
    table = torch.tensor(exp_table(bits, index_bits), dtype=torch.int64, device=scores.device)
    return maximum, table[distance >> (EXP_INDEX_BITS - index_bits)]


def bit_length(x: Tensor) -> Tensor:
    """Position of the highest set bit plus one, for int64 x >= 0 (0 for 0). Exact."""
    result = torch.zeros_like(x)
    rest = x.clone()
    for step in (32, 16, 8, 4, 2, 1):
        big = rest >= (1 << step)
        result = result + big * step
        rest = torch.where(big, rest >> step, rest)
    return result + (rest > 0)


def row_scale(exp_sum: Tensor, multiplier: int, shift: int) -> tuple[Tensor, Tensor]:
    """The requantisation (multiplier, shift) of each row's context.

    With b = bit_length(sum): m_row = floor((multiplier << (b - 1)) / sum), s_row = shift + b - 1, so that
    acc·m_row / 2^s_row ~ acc·(multiplier / 2^shift) / sum.
    """
    bits = bit_length(exp_sum)
    return (torch.full_like(exp_sum, multiplier) << (bits - 1)) // exp_sum, shift + bits - 1
