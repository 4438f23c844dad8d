"""The exit unit's definition: integer logits to integer confidence. The hardware equals this bit for bit.

``Confidence`` here holds int64 in 2^-16; a ``FixedExitPolicy`` decides on it with the same code that decides
on floats (``golden_model.exits``).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from golden_model.config import MAX_LABELS
from golden_model.exits import Confidence, ExitMode, FixedExitPolicy, has_stage_one
from golden_model.integer.ops.exit_math import LOGIT_MAX, LOGIT_MIN, entropy_fixed, softmax_fixed
from golden_model.numerics import LOGIT_FRACTION_BITS, ONE


def integer_confidence(logits: Tensor) -> Confidence:
    """Class probabilities and entropy of integer logits.

    Args:
        logits: any integer dtype, [..., C], C in 2..8, in 2^-10 nat, within LOGIT_MIN..LOGIT_MAX.

    Returns:
        Confidence of int64 tensors in 2^-16. Its ``label`` is the logits' argmax: one LSB of logit is more
        than the rounding of a probability, so that no two classes change places or newly tie at the top.

    Raises:
        TypeError: the logits are not integers.
        ValueError: C or a logit is out of bounds.
    """
    if logits.is_floating_point() or logits.is_complex() or logits.dtype == torch.bool:
        raise TypeError(f"logits are {logits.dtype}, expected an integer dtype")
    if logits.dim() < 1 or not 2 <= logits.shape[-1] <= MAX_LABELS:
        raise ValueError(f"logits of shape {tuple(logits.shape)}: the last dimension is not 2..{MAX_LABELS}")
    z = logits.to(torch.int64)
    if z.numel() and not (int(z.min()) >= LOGIT_MIN and int(z.max()) <= LOGIT_MAX):
        raise ValueError(f"logits {int(z.min())}..{int(z.max())} exceed {LOGIT_MIN}..{LOGIT_MAX}")
    probabilities, distance, total = softmax_fixed(z)
    raw, normalised = entropy_fixed(probabilities, distance, total)
    return Confidence(probabilities, normalised, raw)


def quantise_logits(logits: Tensor) -> Tensor:
    """Float logits to the exit unit's format: 2^-10, rounded half up, saturated; int64 of the same shape."""
    scaled = torch.floor(logits.to(torch.float64) * (1 << LOGIT_FRACTION_BITS) + 0.5)
    return scaled.clamp(LOGIT_MIN, LOGIT_MAX).to(torch.int64)


def binary_entropy_threshold(policy: FixedExitPolicy) -> float:
    """tau of the two-class identity: U < delta exactly where |z0 - z1| > tau, in nat, in real arithmetic.

    inf where stage 1 can never fire, -inf where delta is above every entropy and it always does.

    Raises:
        ValueError: the mode has no stage 1.
    """
    if not has_stage_one(policy.mode):
        raise ValueError(f"mode {policy.mode.name} has no entropy threshold")
    delta = policy.delta / ONE * (1.0 if policy.mode == ExitMode.entropy_raw else math.log(2))
    if delta <= 0:
        return math.inf
    if delta > math.log(2):
        return -math.inf
    low, high = 0.0, 64.0
    for _ in range(80):  # entropy falls as the distance grows: bisection to the last bit
        middle = (low + high) / 2
        if _binary_entropy(middle) < delta:
            high = middle
        else:
            low = middle
    return low


def _binary_entropy(distance: float) -> float:
    """Entropy in nat of two classes whose logits differ by ``distance`` >= 0."""
    other = math.exp(-distance)
    return math.log1p(other) + distance * other / (1 + other)


def binary_margin_threshold(policy: FixedExitPolicy) -> float:
    """ln((0.5 + m) / (0.5 - m)): the winner is beyond the margin where |z0 - z1| exceeds it, nat."""
    margin = policy.margin / ONE
    return math.inf if margin >= 0.5 else math.log((0.5 + margin) / (0.5 - margin))
