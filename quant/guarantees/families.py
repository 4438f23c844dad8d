"""The settings that are tested, in the order they are tested in: fixed before any data are looked at.

A family is one or several sequences. Along a sequence one threshold moves and no sentence leaves later than
before, so that each setting is at least as bold as the one before it. Full depth stands before all of
them: it loses nothing by definition and needs no test.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product

from golden_model.exits import MAX_PATIENCE, THRESHOLDS, WINDOW_MODES, ExitMode, ExitPolicy, FixedExitPolicy
from golden_model.numerics import ONE
from quant.guarantees.defaults import MARGIN, WINDOW

STEP = 64
"""A delta is 1/64 above the one before it, and at least one step of the register."""

GRID = f"from 0 up, each 1/{STEP} above the one before, at least 2^-16"
"""In words."""


def real_policy(fixed: FixedExitPolicy) -> ExitPolicy:
    """The policy in real numbers whose :meth:`ExitPolicy.to_fixed` is ``fixed``: every 2^-16 is a float."""
    return ExitPolicy(
        mode=fixed.mode,
        window=fixed.window,
        patience=fixed.patience,
        delta=fixed.delta / ONE,
        margin=fixed.margin / ONE,
        range=fixed.range / ONE,
    )


def canonical(policy: FixedExitPolicy) -> FixedExitPolicy:
    """The same decisions, with every threshold that the mode does not use at its default."""
    used = {name: getattr(policy, name) for name in THRESHOLDS[policy.mode]}
    return FixedExitPolicy(mode=policy.mode, **used)


def describe(policy: FixedExitPolicy) -> str:
    """In one line, thresholds in the registers' integers."""
    used = [f"{name} {getattr(policy, name)}" for name in THRESHOLDS[policy.mode]]
    return f"{policy.mode.name} ({', '.join(used)})" if used else policy.mode.name


def moves(first: FixedExitPolicy, last: FixedExitPolicy) -> tuple[str, str]:
    """A sequence in two texts: what stays, and the threshold that moves, from where to where."""
    fields = THRESHOLDS[first.mode]
    moved = [name for name in fields if getattr(first, name) != getattr(last, name)]
    stays = [f"{name} {getattr(first, name)}" for name in fields if name not in moved]
    moving = [f"{name} {getattr(first, name)} to {getattr(last, name)}" for name in moved]
    return ", ".join([first.mode.name, *stays]), ", ".join(moving)


def deltas(largest: int) -> list[int]:
    """The grid of delta, in 2^-16: from 0 to ``largest``, both included."""
    found = [0]
    while found[-1] < largest:
        found.append(min(largest, found[-1] + max(1, found[-1] // STEP)))
    return found


def build_family(
    mode: ExitMode,
    iterations: int,
    classes: int,
    windows: Sequence[int] = (WINDOW,),
    margins: Sequence[float] = (MARGIN,),
    value_range: float = 1.0,
) -> list[list[FixedExitPolicy]]:
    """The sequences of a mode, each from its safest setting on.

    Delta rises for ``entropy``, ``entropy_raw`` and, at each window and margin, the window modes; patience
    falls.

    Raises:
        ValueError: the mode has no setting that can leave early in a model of that many iterations; or what a
            policy refuses.
    """
    family = list(_sequences(mode, iterations, classes, windows, margins, value_range))
    if not any(family):
        raise ValueError(f"policy {mode.name} has no early exit in a model of {iterations} iterations")
    return family


def _sequences(
    mode: ExitMode,
    iterations: int,
    classes: int,
    windows: Sequence[int],
    margins: Sequence[float],
    value_range: float,
) -> Iterator[list[FixedExitPolicy]]:
    if mode == ExitMode.none or iterations < 2:
        return
    if mode == ExitMode.patience:
        # patience p leaves after p + 1 iterations at the earliest
        largest = min(iterations - 2, MAX_PATIENCE)
        yield [FixedExitPolicy(mode=mode, patience=p) for p in range(largest, -1, -1)]
        return
    largest = math.ceil(math.log(classes) * ONE) if mode == ExitMode.entropy_raw else ONE
    if mode not in WINDOW_MODES:
        yield [FixedExitPolicy(mode=mode, delta=delta) for delta in deltas(largest)[1:]]
        return
    for window, margin in product(windows, margins):
        given = ExitPolicy(mode=mode, window=window, margin=margin, range=value_range)
        first = canonical(given.to_fixed())
        yield [first.model_copy(update={"delta": delta}) for delta in deltas(largest)]
