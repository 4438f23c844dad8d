"""Watching activations: what real magnitude should the largest integer stand for?

All formats of the contract are symmetric, so an observer looks at magnitudes only. It sees a tensor many
times and then names a limit: the real value that the top of the integer range will mean; beyond it values
saturate.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

BINS = 4096
ENTROPY_STEP = 16
"""Bins from one limit that ``entropy`` tries to the next."""
KINDS = ("max", "percentile", "mse", "entropy")


class Observer:
    """Histogram of magnitudes whose range doubles when a larger value comes.

    Doubling merges pairs of bins exactly, so the result does not depend on the order of the updates.

    Args:
        kind: ``max``: nothing seen saturates. ``percentile``: the given share of the values does not
            saturate. ``mse``: the limit with the least mean square error, rounding and saturation together.
            ``entropy``: the limit whose integers' distribution has the least Kullback-Leibler divergence from
            the values' (S. Migacz, 8-bit Inference with TensorRT, GTC 2017).
        percentile: Share in 0..1, for ``percentile``.

    Raises:
        ValueError: the kind is not known, or the percentile not in 0.5..1.
    """

    def __init__(self, kind: str = "max", percentile: float = 0.9999) -> None:
        """An observer that has seen nothing."""
        if kind not in KINDS:
            raise ValueError(f"observer {kind!r} is not one of {', '.join(KINDS)}")
        if not 0.5 <= percentile <= 1:
            raise ValueError(f"percentile {percentile} is not in 0.5..1")
        self.kind, self.percentile = kind, percentile
        self.largest = 0.0
        self.top = 0.0
        """Upper end of the histogram: a power of two, 0 before the first value other than 0."""
        self.counts = torch.zeros(BINS, dtype=torch.float64)

    def update(self, values: Tensor) -> None:
        """Takes more values, of any shape.

        Raises:
            ValueError: a value is not finite.
        """
        magnitudes = values.detach().abs().double().flatten()
        if not magnitudes.numel():
            return
        largest = float(magnitudes.max())
        if not largest < float("inf"):
            raise ValueError(f"observed a value of magnitude {largest}")
        self.largest = max(self.largest, largest)
        if self.kind == "max" or largest == 0.0:
            return
        self._grow(largest)
        bins = (magnitudes * (BINS / self.top)).long().clamp(max=BINS - 1).cpu()
        self.counts += torch.bincount(bins, minlength=BINS)

    def limit(self, levels: int) -> float:
        """The real value for the integer ``levels``, the top of a symmetric range; 0 if only zeros came."""
        if self.kind == "max" or self.largest == 0.0:
            return self.largest
        if self.kind == "percentile":
            share = self.counts.cumsum(0) / self.counts.sum()
            index = int((share < self.percentile).sum())
            return min(self.largest, (index + 1) * self.top / BINS)
        return self._least_divergence(levels) if self.kind == "entropy" else self._least_error(levels)

    def _grow(self, largest: float) -> None:
        if self.top == 0.0:
            self.top = math.ldexp(1.0, math.frexp(largest)[1])
        while self.top <= largest:
            self.counts = torch.cat(
                [self.counts.view(-1, 2).sum(1), torch.zeros(BINS // 2, dtype=torch.float64)]
            )
            self.top *= 2

    def _least_error(self, levels: int) -> float:
        centres = (torch.arange(BINS, dtype=torch.float64) + 0.5) * (self.top / BINS)
        best, best_error = self.largest, float("inf")
        for step in range(100, 19, -1):
            limit = self.largest * step / 100
            scale = limit / levels
            error = centres - (centres / scale).round().clamp(max=levels) * scale
            # inside a bin narrower than the scale, rounding itself is not seen: its known mean stands in
            rounding = torch.where(centres < limit, scale * scale / 12, error.square())
            total = float((self.counts * rounding).sum())
            if total < best_error:
                best, best_error = limit, total
        return best

    def _least_divergence(self, levels: int) -> float:
        """Tries every :data:`ENTROPY_STEP`-th bin as the last.

        Bins up to it are merged into ``levels`` + 1 equal parts, as rounding does, and every part spread over
        those of its bins that are not empty; what lies beyond counts in the last bin of the reference alone.
        """
        used = int(self.counts.nonzero().max()) + 1
        beyond = self.counts.flip(0).cumsum(0).flip(0)
        best, best_divergence = self.largest, float("inf")
        for end in range(max(levels + 1, ENTROPY_STEP), used + ENTROPY_STEP, ENTROPY_STEP):
            bins = min(end, BINS)
            reference, kept = self.counts[:bins].clone(), self.counts[:bins]
            if bins < BINS:
                reference[-1] += beyond[bins]
            part = torch.arange(bins) * (levels + 1) // bins
            filled = (kept > 0).double()
            sums, places = (
                torch.zeros(levels + 1, dtype=torch.float64).index_add_(0, part, values)
                for values in (kept, filled)
            )
            spread = (sums / places.clamp(min=1))[part] * filled
            if float(spread.sum()) == 0.0:
                continue
            p, q = reference / reference.sum(), spread / spread.sum()
            # a bin that the integers leave empty is as unlikely as the rarest value seen
            ratio = p.clamp(min=1e-300) / torch.where(q > 0, q, 1.0 / self.counts.sum())
            divergence = float((p * ratio.log()).sum())
            if divergence < best_divergence:
                best, best_divergence = min(self.largest, bins * self.top / BINS), divergence
        return best


class ChannelObserver:
    """Largest magnitude, largest value and mean of every channel (the last dimension)."""

    def __init__(self) -> None:
        """An observer that has seen nothing."""
        self.rows = 0
        self._largest: Tensor | None = None
        self._highest = torch.zeros(0)
        self._total = torch.zeros(0)

    def update(self, values: Tensor) -> None:
        """Takes more values, [..., channels]."""
        rows = values.detach().flatten(0, -2).double().cpu()
        largest, highest, total = rows.abs().amax(0), rows.amax(0), rows.sum(0)
        self.rows += len(rows)
        if self._largest is None:
            self._largest, self._highest, self._total = largest, highest, total
            return
        self._largest = torch.maximum(self._largest, largest)
        self._highest = torch.maximum(self._highest, highest)
        self._total = self._total + total

    @property
    def largest(self) -> Tensor:
        """Magnitudes, float64 [channels]; raises ValueError when nothing was seen."""
        if self._largest is None:
            raise ValueError("the channel observer has seen nothing")
        return self._largest

    @property
    def highest(self) -> Tensor:
        """Largest values, float64 [channels]."""
        self.largest  # noqa: B018 (raises when nothing was seen)
        return self._highest

    @property
    def mean(self) -> Tensor:
        """Means, float64 [channels]."""
        self.largest  # noqa: B018
        return self._total / self.rows
