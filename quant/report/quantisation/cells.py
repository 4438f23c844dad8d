"""One named tensor of one iteration: what its integers lose against its real values, over all sentences."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from golden_model.integer.checkpoint import IntegerCheckpoint
from golden_model.integer.contract import HIDDEN_OPERANDS
from golden_model.integer.scales import limit_of, scale_of, short_name, zero_point_of
from quant.quality import OWN_ENDS, Fit, sqnr
from quant.report.quantisation.histogram import Histogram

PERCENTILES = (0.1, 1.0, 25.0, 50.0, 75.0, 99.0, 99.9)
"""Of the real values, %."""


@dataclass(frozen=True)
class Grid:
    """The integers that a named tensor can be.

    Members:
        scale: Real size of one LSB, float64, to be broadcast against the tensor.
        zero: Zero point: real = (integer + zero)·scale; 0 but for asymmetric activations.
        limit: Largest integer.
        unsigned: Whether the integers begin at 0, not at -limit.
        saturates: Whether real values may lie beyond the ends.
        operand: LSBs in a step of what matmuls read of the tensor, and that one's largest integer; None: they
            read it as it is.
    """

    scale: Tensor
    zero: int
    limit: int
    unsigned: bool
    saturates: bool
    operand: tuple[int, int] | None

    @classmethod
    def of(cls, checkpoint: IntegerCheckpoint, name: str) -> Grid:
        """That of a tensor's full name; raises ValueError like ``scales.scale_of``."""
        short, contract = short_name(name), checkpoint.contract
        operand = "hidden" if short == "embedding.hidden" else short
        return cls(
            scale_of(checkpoint, name),
            int(zero_point_of(checkpoint, name)),
            limit_of(name, contract),
            short in OWN_ENDS,
            short not in OWN_ENDS,
            (1 << contract.hidden_shift(operand), contract.limit(operand))
            if operand in HIDDEN_OPERANDS
            else None,
        )

    @property
    def lowest(self) -> int:
        """Smallest integer."""
        return 0 if self.unsigned else -self.limit

    def steps(self, real: Tensor) -> Tensor:
        """Real values in LSBs from the integer 0, not rounded."""
        return real / self.scale - self.zero

    def nearest(self, real: Tensor) -> Tensor:
        """The integers nearest to real values, int64."""
        return self.steps(real).round().clamp(self.lowest, self.limit).to(torch.int64)

    def real(self, integers: Tensor) -> Tensor:
        """What integers stand for, float64."""
        return (integers + self.zero).double() * self.scale

    def rounding(self, real: Tensor) -> float:
        """Sum of squared errors of real values rounded to the grid."""
        return float((real - self.real(self.nearest(real))).square().sum())

    def reading(self, real: Tensor) -> float:
        """Sum of squared errors of real values rounded to what matmuls read; 0 where that is the tensor."""
        if self.operand is None:
            return 0.0
        step, limit = self.operand
        size = self.scale * step
        return float((real - (real / size).round().clamp(-limit, limit) * size).square().sum())


@dataclass
class Cell:
    """A tensor of an iteration.

    Members:
        grid: Of its integers.
        fit: The golden model's integers against the real values.
        rounding: Sum of squared errors of the real values rounded to the grid, nothing else being lost.
        reading: The same to the operand that matmuls read of it.
        fresh: The same of the integers that the iteration makes of an exact input; None: none does.
        real: Real values.
        steps: The same in LSBs, each of its own channel's.
    """

    grid: Grid
    fit: Fit = field(default_factory=Fit)
    rounding: float = 0.0
    reading: float = 0.0
    fresh: float | None = None
    real: Histogram = field(default_factory=Histogram)
    steps: Histogram = field(default_factory=Histogram)

    def add(self, real: Tensor, integers: Tensor) -> None:
        """Takes a sentence's real values, float64, and the golden model's integers.

        Raises:
            ValueError: a real value is not finite.
        """
        grid = self.grid
        self.real.add(real)
        self.steps.add(grid.steps(real))
        self.fit.add(real, integers, grid.scale, grid.limit, grid.saturates, grid.zero)
        self.rounding += grid.rounding(real)
        self.reading += grid.reading(real)

    def add_fresh(self, real: Tensor, integers: Tensor) -> None:
        """Takes what the iteration makes of its input's real values rounded to their grid."""
        self.fresh = (self.fresh or 0.0) + float((real - self.grid.real(integers)).square().sum())

    @property
    def grid_sqnr(self) -> float:
        """dB that rounding to the grid alone would leave: what is missing to it was handed on."""
        return sqnr(self.fit.signal, self.rounding)

    @property
    def operand_sqnr(self) -> float | None:
        """dB that rounding to what matmuls read would leave; None where they read the tensor as it is."""
        return None if self.grid.operand is None else sqnr(self.fit.signal, self.reading)

    @property
    def fresh_sqnr(self) -> float | None:
        """dB that the iteration would leave of an exact input; None for what no iteration makes."""
        return None if self.fresh is None else sqnr(self.fit.signal, self.fresh)

    @property
    def own(self) -> float:
        """Share of the noise that rounding to the grid explains, 0..1; 0 where there is no noise."""
        return self._share(self.rounding)

    @property
    def made(self) -> float | None:
        """Share of the noise that the iteration makes of an exact input, at most 1; None as above."""
        return None if self.fresh is None else self._share(self.fresh)

    def _share(self, noise: float) -> float:
        return min(1.0, noise / self.fit.noise) if self.fit.noise > 0.0 else 0.0

    @property
    def used(self) -> float:
        """Share of the integer range that the largest magnitude uses, 0..1."""
        return self.fit.largest / self.grid.limit

    @property
    def size(self) -> float:
        """Root mean square of the real values, in the tensor's own units."""
        return (self.fit.signal / max(1, self.fit.values)) ** 0.5

    def as_dict(self) -> dict[str, Any]:
        """For JSON: dB with two decimals, shares as they are, real values with six digits."""
        low, high = (float(end) for end in torch.aminmax(self.grid.scale))
        shares = [percent / 100.0 for percent in PERCENTILES]
        return {
            "values": self.fit.values,
            "sqnr_db": round(self.fit.sqnr, 2),
            "grid_db": round(self.grid_sqnr, 2),
            "operand_db": _rounded(self.operand_sqnr, 2),
            "fresh_db": _rounded(self.fresh_sqnr, 2),
            "own_share": round(self.own, 4),
            "made_share": _rounded(self.made, 4),
            "error_lsb": digits(self.fit.error),
            "clipped": self.fit.share_saturated,
            "range_used": digits(self.used),
            "real": {
                "min": digits(self.real.lowest),
                "max": digits(self.real.highest),
                "rms": digits(self.size),
                "percentiles": [digits(value) for value in self.real.quantiles(shares)],
            },
            "lsb": [digits(low), digits(high)],
            "zero_point": self.grid.zero,
            "ends": [self.grid.lowest, self.grid.limit],
            "histogram": self.steps.as_dict(),
        }


def _rounded(value: float | None, places: int) -> float | None:
    return None if value is None else round(value, places)


def digits(value: float, count: int = 6) -> float:
    """A number of ``count`` significant digits, for JSON that is read by people too."""
    return float(f"{value:.{count}g}")
