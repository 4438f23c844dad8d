"""How a training run says that it goes on, without knowing who shows it."""

from __future__ import annotations


class Watch:
    """Told how a run goes; this one shows nothing."""

    def begin(self, done: int, total: int) -> None:
        """Steps done so far, and planned in all."""

    def step(self, done: int, loss: float, seconds: float) -> None:
        """After a step: steps done, mean loss of the last ones, seconds of training in all."""

    def evaluated(self, text: str) -> None:
        """An evaluation in one line."""

    def end(self) -> None:
        """The run pauses, ends or fails."""
