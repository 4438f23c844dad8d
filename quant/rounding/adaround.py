"""AdaRound: every weight goes down or up, whichever a gradient descent on the outputs' error finds better.

M. Nagel, R. A. Amjad, M. van Baalen, C. Louizos, T. Blankevoort: Up or Down? Adaptive Rounding for
Post-Training Quantization, 2020: equations 21 to 24, layer by layer. The expected error of all calibration
rows is a quadratic form of their second moments, so every step sees all of them and nothing is drawn at
random. Not taken: the activation function in the reconstruction (equation 25), inputs of the layers already
rounded.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from quant.rounding.gptq import damping
from quant.schemes import Grid

STEPS = 800
RATE = 0.05
"""Adam's learning rate."""
WARM_UP = 0.2
"""Share of the steps without a regulariser."""
BETA = (20.0, 2.0)
"""Exponent of the regulariser, from its first step to its last: later ones push towards 0 and 1."""
STRENGTH = 20.0
"""Of the regulariser's mean, relative to the error of rounding to nearest."""
STRETCH = (-0.1, 1.1)
"""Of the sigmoid, so that its ends reach 0 and 1 (equation 23)."""


def round_adaround(weight: Tensor, step: Tensor, grid: Grid, hessian: Tensor) -> Tensor:
    """Integers of the grid, float64 [out, in], with weight ~ integer · step; arguments as of ``round_gptq``.

    Never worse than the nearest integers by the same second moments: rows where it is keep those. In float64:
    second moments reach over so many powers of ten that float32 halved what the descent gains.
    """
    w, step = weight.double(), step.double().expand_as(weight)
    moments = hessian + torch.eye(w.shape[1], dtype=hessian.dtype) * damping(hessian)
    nearest, below = grid.nearest(w / step), grid.below(w / step)
    before = _row_errors(w - nearest * step, moments)
    up = _descend(w, step, grid, moments, before.clamp(min=1e-300).unsqueeze(1))
    found = (below + grid.step * up).clamp(-grid.limit, grid.limit)
    after = _row_errors(w - found * step, moments)
    return torch.where((after <= before).unsqueeze(1), found, nearest)


def _descend(w: Tensor, step: Tensor, grid: Grid, moments: Tensor, unit: Tensor) -> Tensor:
    """Which weights go up: bool [out, in]; every row's error counts in its ``unit`` [out, 1]."""
    below, (low, high) = grid.below(w / step), STRETCH
    share = ((w / step - below) / grid.step).clamp(1e-3, 1 - 1e-3)
    v = torch.logit((share - low) / (high - low))
    rest, size = w - below * step, step * grid.step
    # beyond the grid's ends up and down are the same
    room = (below + grid.step <= grid.limit) & (below >= -grid.limit)
    slope = 2 * step * grid.step / unit
    mean, square = torch.zeros_like(v), torch.zeros_like(v)
    for number in range(1, STEPS + 1):
        sigmoid = torch.sigmoid(v)
        stretched = sigmoid * (high - low) + low
        h = stretched.clamp(0, 1)
        gradient = ((h * size - rest) @ moments) * slope
        warm = (number / STEPS - WARM_UP) / (1 - WARM_UP)
        if warm > 0:
            beta = BETA[1] + 0.5 * (BETA[0] - BETA[1]) * (1 + math.cos(warm * math.pi))
            centred = 2 * h - 1
            gradient -= STRENGTH / w.shape[1] * 2 * beta * centred.sign() * centred.abs() ** (beta - 1)
        gradient *= ((stretched > 0) & (stretched < 1) & room) * sigmoid * (1 - sigmoid) * (high - low)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient * gradient
        v -= RATE * (mean / (1 - 0.9**number)) / ((square / (1 - 0.999**number)).sqrt() + 1e-12)
    return torch.sigmoid(v) * (high - low) + low >= 0.5


def _row_errors(error: Tensor, moments: Tensor) -> Tensor:
    """error·H·errorᵀ of every row."""
    return ((error @ moments) * error).sum(1)
