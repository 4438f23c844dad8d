"""Roundings of the contract on floats, which gradients pass as if nothing had been rounded.

The straight-through estimator (Y. Bengio, N. Léonard, A. Courville, Estimating or Propagating Gradients
Through Stochastic Neurons for Conditional Computation, 2013). With a code q = clamp(round(x/s)) and its
value q·s, it gives learned step size quantisation's gradients of s (S. K. Esser et al., Learned Step Size
Quantization, 2020, equation 3): q - x/s within the range, the range's end beyond it.

Values are integers held in floats: exact in float64, whose 53 bits hold every product of the contract.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from golden_model.numerics import MULTIPLIER_BITS, SHIFT_BITS


class _Instead(torch.autograd.Function):
    """One value forwards, another one's gradient backwards."""

    @staticmethod
    def forward(ctx: Any, smooth: Tensor, exact: Tensor) -> Tensor:
        return exact.to(smooth.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


class _Scaled(torch.autograd.Function):
    """The same value, another gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.factor, None


def instead(smooth: Tensor, exact: Tensor) -> Tensor:
    """``exact``, of the shape and in the dtype of ``smooth``, to which the gradient goes."""
    found: Tensor = _Instead.apply(smooth, exact)
    return found


def round_half_up(x: Tensor) -> Tensor:
    """floor(x + 1/2): the contract's rounding."""
    return instead(x, (x.detach() + 0.5).floor())


def round_half_even(x: Tensor) -> Tensor:
    """What calibration rounds parameters with."""
    return instead(x, x.detach().round())


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """``x``, whose gradient is multiplied by ``factor`` (Esser et al. 2020, appendix A)."""
    found: Tensor = _Scaled.apply(x, factor)
    return found


def multipliers(factor: Tensor) -> tuple[Tensor, Tensor]:
    """``golden_model.integer.ops.fixed.quantize_multiplier`` of every factor, float64 of any shape.

    Returns:
        (multiplier, shift), int64, both 0 where the factor is 0 or vanishes.

    Raises:
        ValueError: a factor is negative, not finite or 2^16 or more.
    """
    top, most = 1 << MULTIPLIER_BITS, (1 << SHIFT_BITS) - 1
    if bool(((factor < 0) | ~(factor < top)).any()):
        wrong = factor[(factor < 0) | ~(factor < top)].flatten()[0]
        raise ValueError(f"factor {float(wrong)} is outside 0..{top}")
    shift = (MULTIPLIER_BITS - torch.frexp(factor)[1].long()).clamp(0, most)
    multiplier = torch.ldexp(factor, shift).round().long()
    carry = (multiplier == top) & (shift > 0)
    if bool(((multiplier == top) & ~carry).any()):
        raise ValueError(f"factor {float(factor.max())} rounds to {top}, the bound")
    multiplier, shift = torch.where(carry, top // 2, multiplier), shift - carry.long()
    lost = multiplier < top // 2
    return multiplier.masked_fill(lost, 0), shift.masked_fill(lost, 0)


def as_multiplier(factor: Tensor) -> Tensor:
    """A factor as the contract can hold it, multiplier / 2^shift; computed and returned in float64."""
    multiplier, shift = multipliers(factor.detach().double())
    return instead(factor.double(), torch.ldexp(multiplier.double(), -shift))
