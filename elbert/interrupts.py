"""What a signal does to a command."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

REPEAT_S = 1.0
"""Seconds within which a signal counts as the same request: a terminal and a launcher may both pass it on."""


@contextmanager
def termination_interrupts() -> Iterator[None]:
    """Within it SIGTERM, SIGHUP and SIGINT raise KeyboardInterrupt: files are saved, child processes end.

    Then the process exits with 128 + the signal's number, as shells count. Further signals do not disturb the
    saving, but for a second SIGINT, more than ``REPEAT_S`` later, which ends the process at once. In
    background jobs, whose SIGINT the shell ignores, it counts too; under nohup SIGHUP stays ignored.

    Raises:
        SystemExit: at the end, if one of the signals came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    first: tuple[int, float] | None = None

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal first
        now = time.monotonic()
        if first is None:
            first = number, now
            raise KeyboardInterrupt
        if number == signal.SIGINT and now - first[1] > REPEAT_S:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = [signal.signal(number, handle) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            if handler is not None:  # None: of another language than Python's
                signal.signal(number, handler)
        if first is not None:
            raise SystemExit(128 + first[0])
