"""Integer primitives of the exit unit: exp, softmax, natural logarithm and entropy in fixed point.

Everything here is exact integer arithmetic (Python ints or int64 tensors) on tables made once by this file;
the hardware's ROM is :func:`exit_rom`, made by the same functions. Formats, all unsigned unless said:

=============  =====  =====================================================================
quantity       bits   unit
=============  =====  =====================================================================
logit          18 s   2^-10 nat, signed
d              18     2^-10 nat: how far a logit lies below the largest one
e = exp(-d)    17     2^-16, 65536 is 1
S = sum of e   20     2^-16, from 65536 (one class) to 8 * 65536
p = e / S      17     2^-16, rounded half up
entropy        18     2^-16 nat (raw) or 2^-16 of ln C (normalised, saturated at 65536)
=============  =====  =====================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from golden_model.config import MAX_LABELS
from golden_model.numerics import (
    LOGIT_BITS,
    LOGIT_FRACTION_BITS,
    ONE,
    PROBABILITY_BITS,
    PROBABILITY_FRACTION_BITS,
)

LOGIT_MIN = -(1 << (LOGIT_BITS - 1))
LOGIT_MAX = (1 << (LOGIT_BITS - 1)) - 1

EXP_FINE_BITS = 6
"""Low bits of d that address the fine table; the bits above them address the coarse one (LSB 2^-4 nat)."""

EXP_COARSE_ENTRIES = 256
EXP_FINE_ENTRIES = 1 << EXP_FINE_BITS

EXP_ZERO_FROM = EXP_COARSE_ENTRIES << EXP_FINE_BITS
"""From this d on (16 nat) exp(-d) is 0; the tables' own values have rounded to 0 long before."""

LOG_INDEX_BITS = 8
LOG_ENTRIES = (1 << LOG_INDEX_BITS) + 1
"""ln(1 + i/256) for i = 0..256: both ends of every interpolated interval."""

EXIT_SUM_BITS = PROBABILITY_FRACTION_BITS + 4
"""Width of S: up to 8 * 65536."""

LOG_FRACTION_BITS = EXIT_SUM_BITS - 1
"""Bits below the leading one once S has been shifted up to EXIT_SUM_BITS bits."""

LOG_REST_BITS = LOG_FRACTION_BITS - LOG_INDEX_BITS
"""Bits of S that interpolate between two table entries."""

ROM_COARSE = 0
ROM_FINE = 256
ROM_LOG = 512
ROM_WORDS = 1024
ROM_BITS = PROBABILITY_BITS
"""One 1024 x 18 block RAM of an ECP5 holds all tables."""

LN_ERROR = 1.25
"""Bound, in LSBs of 2^-16 nat, on |ln_fixed(S) - ln(S / 2^16)|: half an LSB of table rounding, half of the
interpolation's own rounding, 0.125 of chord against curve, and the rounding of k ln 2. All 458753 sums were
tried: 1.213 is the largest error."""


def _round_half_up(value: float) -> int:
    return math.floor(value + 0.5)


@cache
def exp_coarse_table() -> tuple[int, ...]:
    """exp(-i / 16) in 2^-16, i = 0..255."""
    step = EXP_FINE_ENTRIES / (1 << LOGIT_FRACTION_BITS)
    return tuple(_round_half_up(math.exp(-i * step) * ONE) for i in range(EXP_COARSE_ENTRIES))


@cache
def exp_fine_table() -> tuple[int, ...]:
    """exp(-i / 1024) in 2^-16, i = 0..63."""
    return tuple(
        _round_half_up(math.exp(-i / (1 << LOGIT_FRACTION_BITS)) * ONE) for i in range(EXP_FINE_ENTRIES)
    )


@cache
def log_table() -> tuple[int, ...]:
    """ln(1 + i / 256) in 2^-16 nat, i = 0..256."""
    return tuple(_round_half_up(math.log1p(i / (1 << LOG_INDEX_BITS)) * ONE) for i in range(LOG_ENTRIES))


@cache
def log_exponent_table() -> tuple[int, ...]:
    """k * ln 2 in 2^-16 nat, k = 0..3: what the leading bit of S contributes."""
    return tuple(_round_half_up(k * math.log(2) * ONE) for k in range(4))


@cache
def exit_rom() -> tuple[int, ...]:
    """The hardware's one table memory: both exp tables and the logarithm, at the ROM_ offsets."""
    words = [0] * ROM_WORDS
    tables = ((ROM_COARSE, exp_coarse_table()), (ROM_FINE, exp_fine_table()), (ROM_LOG, log_table()))
    for base, table in tables:
        words[base : base + len(table)] = table
    return tuple(words)


def normalisation_factor(num_labels: int) -> int:
    """1 / ln C in 2^-16: turns raw entropy into normalised.

    Raises:
        ValueError: ``num_labels`` is outside 2..MAX_LABELS.
    """
    if not 2 <= num_labels <= MAX_LABELS:
        raise ValueError(f"num_labels {num_labels} is outside 2..{MAX_LABELS}")
    return _round_half_up(ONE / math.log(num_labels))


def probability_error(num_labels: int) -> int:
    """Bound, in LSBs of 2^-16, on |p - exact softmax of the same integer logits|.

    Largest found in half a million logit vectors per C: 1.4 for two classes, 6.8 for eight. It is the
    exponentials' rounding (1.3 LSB each) collected in S, plus the quotient's own half.
    """
    return num_labels + 1


def entropy_raw_error(num_labels: int) -> int:
    """Bound, in LSBs of 2^-16 nat, on |raw entropy - exact entropy of the same integer logits|.

    Largest found: 9.4 for two classes, 70.5 for eight (0.0011 nat). It comes from the tail: a class 11 nat
    below the largest holds about one LSB of probability, and that LSB's rounding is multiplied by 11 nat.
    """
    return 12 * (num_labels - 1) + 2


def entropy_error(num_labels: int) -> float:
    """The same bound for normalised entropy, in LSBs of 2^-16 of ln C."""
    return entropy_raw_error(num_labels) / math.log(num_labels) + 1


@cache
def _table_tensor(make: Callable[[], tuple[int, ...]], device: torch.device) -> Tensor:
    return torch.tensor(make(), dtype=torch.int64, device=device)


def _lookup(make: Callable[[], tuple[int, ...]], index: Tensor) -> Tensor:
    return _table_tensor(make, index.device)[index]


def exp_negative(distance: Tensor) -> Tensor:
    """exp(-d) in 2^-16 from d >= 0 in 2^-10 nat: coarse times fine, rounded half up; 0 from 16 nat on.

    Off by at most 1.3 LSB; at six places below 2^-5 it rises by one LSB where exp falls.
    """
    inside = distance < EXP_ZERO_FROM
    d = torch.where(inside, distance, 0)
    coarse = _lookup(exp_coarse_table, d >> EXP_FINE_BITS)
    fine = _lookup(exp_fine_table, d & (EXP_FINE_ENTRIES - 1))
    return torch.where(inside, (coarse * fine + ONE // 2) >> PROBABILITY_FRACTION_BITS, 0)


def divide_probability(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole in 2^-16, rounded half up; 0 <= part <= whole, whole > 0."""
    doubled = torch.div(part << (PROBABILITY_FRACTION_BITS + 1), whole, rounding_mode="floor")
    return (doubled + 1) >> 1


def ln_fixed(total: Tensor) -> Tensor:
    """ln(total / 2^16) in 2^-16 nat, for total from 2^16 up to 2^20 - 1.

    The leading bit gives k ln 2; the eight bits after it address the table and the rest interpolates,
    rounded half up.
    """
    k = sum((total >= (ONE << i)).to(torch.int64) for i in (1, 2, 3))
    assert isinstance(k, Tensor)
    fraction = (total << (3 - k)) & ((1 << LOG_FRACTION_BITS) - 1)
    index = fraction >> LOG_REST_BITS
    rest = fraction & ((1 << LOG_REST_BITS) - 1)
    low = _lookup(log_table, index)
    slope = _lookup(log_table, index + 1) - low
    step = (slope * rest + (1 << (LOG_REST_BITS - 1))) >> LOG_REST_BITS
    return _lookup(log_exponent_table, k) + low + step


def softmax_fixed(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Softmax over the last dimension of integer logits.

    Returns:
        p (int64, 2^-16, the logits' shape), d (same shape, 2^-10 nat), S (without the last dimension, 2^-16).
    """
    distance = logits.amax(-1, keepdim=True) - logits
    exponentials = exp_negative(distance)
    total = exponentials.sum(-1)
    return divide_probability(exponentials, total.unsqueeze(-1)), distance, total


def entropy_fixed(probabilities: Tensor, distance: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
    """Raw and normalised entropy from the three results of :func:`softmax_fixed`.

    -sum p ln p = ln S + sum p·d, since ln p = -d - ln S. The products are summed exactly (2^-26) and rounded
    half up once.

    Returns:
        raw entropy (2^-16 nat) and normalised entropy (2^-16 of ln C, saturated at 65536).
    """
    # p is 0 from 16 nat on, so that only d's low 14 bits ever count: the hardware multiplies 17 by 14 bits
    weighted = (probabilities * distance).sum(-1)
    raw = ln_fixed(total) + ((weighted + (1 << (LOGIT_FRACTION_BITS - 1))) >> LOGIT_FRACTION_BITS)
    factor = normalisation_factor(probabilities.shape[-1])
    normalised = (raw * factor + ONE // 2) >> PROBABILITY_FRACTION_BITS
    return raw, normalised.clamp(max=ONE)
