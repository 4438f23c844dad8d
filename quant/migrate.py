"""How much of a range channels move from what a matmul reads into its weights.

Channel c of an activation is divided by factor[c], input c of the weights multiplied by it: every product
stays. This is exact where the writer scales channels one by one and nothing else reads the tensor. In this
contract that holds of the normalised embedding (LayerNorm's gamma and beta) and of value and context (the
value's channel parameters; context averages values). It does not hold of hidden states, which are summed in
the residual and normalised over channels of one scale, nor of the outputs of GELU and tanh, whose table all
channels share.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from quant.reproducible import round_bits

LEAST_SHARE = 2.0**-8
"""Of the largest channel's range: a smaller one counts as this."""
EXPONENTS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Tried by :func:`least_error_factor`: 0 is one scale for all channels, 1 a full range for every channel."""


def smooth_factor(largest: Tensor, weight: Tensor, alpha: float) -> Tensor:
    """SmoothQuant's factor, max|X_c|^alpha / max|W_c|^(1 - alpha), its largest made 1.

    G. Xiao et al., SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models,
    2022, equation 4.

    Args:
        largest: Largest magnitude per channel of the activation, float64 [in].
        weight: float64 [out, in], of the matmul that reads it.
        alpha: 0 evens the weights' inputs out, 1 the activation's channels.

    Returns:
        float64 [in], above 0, of 16 significant bits.
    """
    x, w = largest / largest.max(), weight.abs().amax(0)
    w = w / w.max().clamp(min=1e-300)
    factor = x.clamp(min=LEAST_SHARE) ** alpha / w.clamp(min=LEAST_SHARE) ** (1 - alpha)
    return round_bits(factor / factor.max())


def least_error_factor(shape: Tensor, error: Callable[[Tensor], float]) -> Tensor:
    """The factor among powers of the activation's range per channel with the least error.

    Args:
        shape: Largest magnitudes per channel over the largest of them, float64 [in].
        error: Of what the matmul makes, for a factor.
    """
    best, best_error = torch.ones_like(shape), float("inf")
    for exponent in EXPONENTS:
        factor = round_bits(shape**exponent)
        found = error(factor)
        if found < best_error:
            best, best_error = factor, found
    return best
