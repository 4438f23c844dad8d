"""Counts of values of an unknown range, in bounded memory, whatever the order they come in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

SIDE_BITS = 11
SIDE = 1 << SIDE_BITS
"""Bins on either side of 0."""
SHOWN = 96
"""Most bins of :meth:`Histogram.as_dict`."""
_FARTHEST = 62
"""Doublings after which no bin but the two at 0 is left; more would not fit an int64's shift."""


class Histogram:
    """Bins of equal width, a power of two, anchored at 0; the width doubles where a value does not fit.

    The width that results is the least that holds the largest magnitude, and a doubling merges whole bins:
    counts are those that one look at all values would give, in any order and in any parts.

    Members:
        counts: int64 [2·SIDE]; bin i holds values from (i - SIDE)·width up to, not including, the next one's.
        lowest, highest: Of all values; infinite before the first.
    """

    def __init__(self) -> None:
        self.counts = torch.zeros(2 * SIDE, dtype=torch.int64)
        self.exponent: int | None = None
        """The width is 2^exponent; None before a value that is not 0."""
        self.lowest, self.highest = float("inf"), float("-inf")

    @property
    def width(self) -> float:
        """Of a bin."""
        return 2.0 ** (0 if self.exponent is None else self.exponent)

    @property
    def total(self) -> int:
        """Values counted."""
        return int(self.counts.sum())

    def add(self, values: Tensor) -> None:
        """Counts float64 values of any shape.

        Raises:
            ValueError: one is not finite.
        """
        values = values.flatten()
        if not len(values):
            return
        low, high = (float(end) for end in torch.aminmax(values))
        if not (abs(low) < float("inf") and abs(high) < float("inf")):  # also false for NaN
            raise ValueError(f"values from {low} to {high} are not all finite")
        self.lowest, self.highest = min(self.lowest, low), max(self.highest, high)
        self._hold(max(abs(low), abs(high)))
        bins = (values / self.width).floor().to(torch.int64) + SIDE
        self.counts += torch.bincount(bins, minlength=2 * SIDE)

    def _hold(self, magnitude: float) -> None:
        """Widens the bins until they reach beyond ``magnitude``."""
        if magnitude == 0.0:
            return
        _, top = torch.frexp(torch.tensor(magnitude, dtype=torch.float64))  # magnitude < 2^top
        exponent = int(top) - SIDE_BITS
        if self.exponent is not None and exponent > self.exponent:
            merged = min(exponent - self.exponent, _FARTHEST)
            places = ((torch.arange(2 * SIDE) - SIDE) >> merged) + SIDE
            self.counts = torch.zeros_like(self.counts).index_add_(0, places, self.counts)
        if self.exponent is None or exponent > self.exponent:
            self.exponent = exponent  # zeros alone so far lie in the bin at 0, whatever its width

    def quantiles(self, shares: Sequence[float]) -> list[float]:
        """Values that these shares (0..1) of all lie below, to within a bin's width.

        Raises:
            ValueError: nothing has been counted.
        """
        total = self.total
        if not total:
            raise ValueError("no value has been counted: there are no quantiles")
        ends = self.counts.cumsum(0).double()
        found = []
        for share in shares:
            wanted = share * total
            place = min(int(torch.searchsorted(ends, wanted)), 2 * SIDE - 1)
            count = float(self.counts[place])
            inside = 0.0 if count == 0.0 else (wanted - (float(ends[place]) - count)) / count
            value = (place - SIDE + min(max(inside, 0.0), 1.0)) * self.width
            found.append(min(max(value, self.lowest), self.highest))
        return found

    def as_dict(self, most: int = SHOWN) -> dict[str, Any]:
        """For JSON: ``start`` of the first bin that holds anything, ``width``, and ``counts`` up to the last.

        Neighbours are merged, twos, fours, ..., until there are at most ``most`` bins.
        """
        counts, width, first = self.counts, self.width, -SIDE
        while True:
            occupied = counts.nonzero().flatten()
            if not len(occupied):
                return {"start": 0.0, "width": width, "counts": []}
            low, high = int(occupied[0]), int(occupied[-1])
            if high - low < most:
                return {
                    "start": (first + low) * width,
                    "width": width,
                    "counts": counts[low : high + 1].tolist(),
                }
            counts, width, first = counts.view(-1, 2).sum(1), 2 * width, first // 2
