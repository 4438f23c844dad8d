"""Which settings of every policy the study tries. The grids do not depend on data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from golden_model.exits import MAX_WINDOW, THRESHOLDS, WINDOW_MODES, ExitMode, ExitPolicy

CUT = "cut"
"""Variant of ALBERT that is trained and run with fewer iterations: no policy."""

FINE_DELTAS = 160
"""Thresholds of stage 1 alone below 0.5: geometric from 1e-4, so that confident models are resolved too."""

DELTAS = (
    *(0, 0.0003, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.075, 0.1),
    *(0.125, 0.15, 0.175, *(0.2 + 0.025 * i for i in range(32)), 1),
)
WINDOWS = (2, 3, 4, 5, 6, 8, 12)
MARGINS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.45, 0.48)
RANGES = (0.01, 0.03, 0.1)
"""Of the window policies; a range of 1 would be bias_1."""

QUICK_DELTAS = [0.2 + i / 160 for i in range(128) if i % 4]
"""More thresholds of stage 1, between the wide ones of :data:`DELTAS`, each with the shortest window alone.

Where most sentences leave after one iteration or two, stage 1 decides before a window can, and the budgets of
8, 10 and 16 times the speed lie between two of those.
"""

QUICK_MARGINS = (0.0, 0.3, 0.48)


@dataclass(frozen=True)
class Setting:
    """One point of a grid: an exit policy, or ALBERT cut to a number of iterations."""

    policy: ExitPolicy | None = None
    iterations: int | None = None

    @property
    def variant(self) -> str:
        """The policy's mode, or ``cut``."""
        return CUT if self.policy is None else self.policy.mode.name

    def as_dict(self) -> dict[str, Any]:
        """The thresholds that count, for JSON."""
        if self.policy is None:
            return {"iterations": self.iterations}
        return {name: getattr(self.policy, name) for name in THRESHOLDS[self.policy.mode]}


def fine_deltas(largest: float) -> list[float]:
    """Thresholds for stage 1 alone, rising to ``largest``, the entropy's own maximum (1, or ln C in nat)."""
    low = [1e-4 * (0.5 / 1e-4) ** (i / FINE_DELTAS) for i in range(FINE_DELTAS)]
    high = [0.5 + 0.01 * i for i in range(51)]
    return [largest * value for value in (*low, *high)]


def grid(mode: ExitMode, iterations: int, classes: int) -> list[Setting]:
    """All settings of a mode for a model of that many iterations and classes."""
    return [Setting(policy) for policy in _policies(mode, iterations, classes)]


def _policies(mode: ExitMode, iterations: int, classes: int) -> Iterator[ExitPolicy]:
    if mode == ExitMode.none:
        yield ExitPolicy()
    elif mode in (ExitMode.entropy, ExitMode.entropy_raw):
        for delta in fine_deltas(math.log(classes) if mode == ExitMode.entropy_raw else 1.0):
            yield ExitPolicy(mode=mode, delta=delta)
    elif mode == ExitMode.patience:
        for patience in range(iterations):
            yield ExitPolicy(mode=mode, patience=patience)
    else:
        assert mode in WINDOW_MODES
        windows = [n for n in WINDOWS if n <= min(iterations, MAX_WINDOW)]
        ranges = RANGES if mode == ExitMode.bias_3 else (1.0,)
        quick = product(QUICK_DELTAS, windows[:1], QUICK_MARGINS, ranges[-1:])
        for delta, window, margin, value_range in (*product(DELTAS, windows, MARGINS, ranges), *quick):
            yield ExitPolicy(mode=mode, delta=delta, window=window, margin=margin, range=value_range)
