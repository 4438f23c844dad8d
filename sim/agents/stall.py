"""When a source is idle and a sink refuses: the patterns of the stall matrix."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

STALLS = ("none", "random", "bursty", "every_other")
"""``none`` always goes, ``random`` half the time, ``bursty`` in long runs, ``every_other`` alternates."""

STALL_MATRIX = tuple(itertools.product(STALLS, STALLS))
"""Every (source, sink) pair, for ``pytest.mark.parametrize``."""


def stall_pattern(kind: str, seed: int = 0) -> Iterator[bool]:
    """Endless booleans, True: go in this cycle. The same for the same seed.

    Raises:
        ValueError: ``kind`` is not one of ``STALLS``.
    """
    if kind == "none":
        return itertools.repeat(True)
    if kind == "every_other":
        return itertools.cycle((False, True))
    generator = random.Random(seed)
    if kind == "random":
        return iter(lambda: generator.random() < 0.5, None)
    if kind == "bursty":
        return _bursts(generator)
    raise ValueError(f"stall pattern {kind!r} is not one of {STALLS}")


def _bursts(generator: random.Random) -> Iterator[bool]:
    for go in itertools.cycle((True, False)):
        yield from itertools.repeat(go, generator.randint(1, 24))
