"""What a quantisation chooses: widths and how ranges are found; and the quantisation of weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from quant.observers import Observer

WEIGHT_BITS = (4, 8)


@dataclass(frozen=True)
class Scheme:
    """One way to turn floats into integers of the contract.

    Members:
        weight_bits: 8 (-127..127) or 4 (-7..7; stored as int8 all the same). Word embeddings keep 8.
        weight_observer: ``max`` or ``mse``: how each output channel's range is found.
        observer: ``max``, ``percentile`` or ``mse``: how activation ranges are found.
        percentile: Share of values that do not saturate, for ``percentile``.
        equalize: Move ranges between channels where that costs nothing: query against key, value and
            embedding against the weights that read them, the vocabulary's mean into the position table.
        correct_bias: Shift offsets so that every channel's mean over the calibration sentences is the float
            model's.

    Raises:
        ValueError: a member is out of its bounds.
    """

    weight_bits: int = 8
    weight_observer: str = "max"
    observer: str = "max"
    percentile: float = 0.9999
    equalize: bool = True
    correct_bias: bool = False

    def __post_init__(self) -> None:
        """Checks the members."""
        if self.weight_bits not in WEIGHT_BITS:
            raise ValueError(f"weight_bits {self.weight_bits} is not one of {WEIGHT_BITS}")
        if self.weight_observer not in ("max", "mse"):
            raise ValueError(f"weight_observer {self.weight_observer!r} is not one of ('max', 'mse')")
        Observer(self.observer, self.percentile)

    @property
    def weight_levels(self) -> int:
        """Largest weight integer."""
        return (1 << (self.weight_bits - 1)) - 1

    def new_observer(self) -> Observer:
        """An activation observer of this scheme."""
        return Observer(self.observer, self.percentile)

    def as_dict(self) -> dict[str, Any]:
        """Plain dictionary for JSON."""
        return asdict(self)


def quantize_weight(
    weight: Tensor, scheme: Scheme, least_scale: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Symmetric quantisation per output channel.

    Args:
        weight: float [out, in].
        scheme: Gives bits and the range's choice.
        least_scale: [out]: the scale is at least this (a channel with a large bias and small weights).

    Returns:
        int8 [out, in] in ±weight_levels, and the float64 scale [out] with weight ~ integer · scale.

    Raises:
        ValueError: a weight is not finite.
    """
    w = weight.detach().double()
    if not bool(w.isfinite().all()):
        raise ValueError("a weight is not finite")
    levels = scheme.weight_levels
    largest = w.abs().amax(1)
    scale = largest / levels
    if scheme.weight_observer == "mse":
        scale = _least_error_scale(w, scale, levels)
    floor = torch.full_like(scale, torch.finfo(torch.float32).tiny) if least_scale is None else least_scale
    scale = torch.maximum(scale, floor.double())
    integers = (w / scale.unsqueeze(1)).round().clamp(-levels, levels)
    return integers.to(torch.int8), scale


def _least_error_scale(w: Tensor, scale: Tensor, levels: int) -> Tensor:
    best = scale.clone()
    best_error = torch.full_like(scale, float("inf"))
    for step in range(100, 39, -2):
        candidate = (scale * step / 100).clamp(min=1e-30)
        integers = (w / candidate.unsqueeze(1)).round().clamp(-levels, levels)
        error = (w - integers * candidate.unsqueeze(1)).square().sum(1)
        better = error < best_error
        best = torch.where(better, candidate, best)
        best_error = torch.where(better, error, best_error)
    return best
