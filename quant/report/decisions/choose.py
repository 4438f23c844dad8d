"""Which sentences a page shows where it cannot show all; no chance takes part."""

from __future__ import annotations

from collections.abc import Sequence

QUADRANTS = (
    ("right-right", "Right exit", "right when it left, and still right at the last iteration"),
    ("right-wrong", "Exit saved it", "right when it left; the last iteration loses the answer"),
    ("wrong-right", "Left too early", "wrong when it left; waiting would have made it right"),
    ("wrong-wrong", "Wrong either way", "wrong when it left, and still wrong at the last iteration"),
)
"""Key, name and meaning of (answer at the exit) x (answer at the last iteration)."""


def quadrant(right_at_exit: bool, right_at_last: bool) -> int:
    """Index into QUADRANTS."""
    return 2 * (not right_at_exit) + (not right_at_last)


def evenly(items: Sequence[int], count: int) -> list[int]:
    """``count`` of ``items``, evenly spaced; all of them where there are no more."""
    if count >= len(items):
        return list(items)
    return [items[(2 * k + 1) * len(items) // (2 * count)] for k in range(count)]


def shares(sizes: Sequence[int], count: int) -> list[int]:
    """How many each group gives when all give equally until one is used up: sums to min(count, sum)."""
    given = [0] * len(sizes)
    left = min(count, sum(sizes))
    while left:
        open_groups = [i for i, size in enumerate(sizes) if given[i] < size]
        for i in open_groups[:left]:
            take = min(max(left // len(open_groups), 1), sizes[i] - given[i])
            given[i] += take
        left = min(count, sum(sizes)) - sum(given)
    return given


def spread(groups: Sequence[int], exits: Sequence[int], count: int) -> list[int]:
    """Rows of N sentences that cover every quadrant alike, within one the exits as they are distributed.

    Args:
        groups: Quadrant of every sentence.
        exits: Exit iteration of every sentence.
        count: Rows wanted; small quadrants are taken whole.

    Returns:
        min(count, N) rows in rising order.
    """
    members: list[list[int]] = [[] for _ in QUADRANTS]
    for row in sorted(range(len(groups)), key=lambda i: (exits[i], i)):
        members[groups[row]].append(row)
    parts = shares([len(each) for each in members], count)
    return sorted(row for each, part in zip(members, parts, strict=True) for row in evenly(each, part))
