"""GPTQ: one input after the other is rounded, and those still to come make up for its error.

E. Frantar, S. Ashkboos, T. Hoefler, D. Alistarh: GPTQ: Accurate Post-Training Quantization for Generative
Pre-trained Transformers, 2022, algorithm 1, with the order of falling diagonal ("act-order" of its code).
"""

from __future__ import annotations

import torch
from torch import Tensor

from quant.schemes import Grid

DAMPING = 0.01
"""Of the mean diagonal, added to it (section 3.3, step 3)."""
BLOCK = 64
"""Inputs between two updates of all that follow: the result is the same up to the order of sums."""


def round_gptq(weight: Tensor, step: Tensor, grid: Grid, hessian: Tensor) -> Tensor:
    """Integers of the grid, float64 [out, in], with weight ~ integer · step.

    Args:
        weight: float64 [out, in].
        step: Real size of an integer's 1, above 0, to be broadcast against ``weight``.
        grid: The integers allowed.
        hessian: Second moments of the inputs, float64 [in, in].
    """
    inputs = weight.shape[1]
    diagonal = hessian.diagonal()
    damped = hessian + torch.eye(inputs, dtype=hessian.dtype) * damping(hessian)
    order = torch.argsort(diagonal, descending=True, stable=True)
    w, step = weight.double()[:, order].clone(), step.expand_as(weight)[:, order]
    # upper factor U of the inverse: row k holds what input k's error does to those after it
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped[order][:, order]))
    upper = torch.linalg.cholesky(inverse, upper=True)
    found = torch.empty_like(w)
    for start in range(0, inputs, BLOCK):
        end = min(start + BLOCK, inputs)
        errors = torch.empty(w.shape[0], end - start, dtype=w.dtype)
        for k in range(start, end):
            found[:, k] = grid.nearest(w[:, k] / step[:, k])
            errors[:, k - start] = (w[:, k] - found[:, k] * step[:, k]) / upper[k, k]
            w[:, k:end] -= errors[:, k - start, None] * upper[k, k:end]
        w[:, end:] -= errors @ upper[start:end, end:]
    return found[:, torch.argsort(order)]


def damping(hessian: Tensor) -> float:
    """What is added to the diagonal, above 0 even where no input was ever seen."""
    return max(DAMPING * float(hessian.diagonal().mean()), 1e-12)
