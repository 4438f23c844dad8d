"""How a library says that work goes on, without knowing who shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Progress = Callable[[int], None]
"""Told how many more items are done."""

Bars = Callable[[str, int], AbstractContextManager[Progress]]
"""Title and number of items of a piece of work to the display of it."""


@contextmanager
def silent(title: str, total: int) -> Iterator[Progress]:
    """The :data:`Bars` that shows nothing."""
    yield lambda count: None
