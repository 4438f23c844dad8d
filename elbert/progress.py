"""Long work shown while it goes on: bars on stderr, so that stdout holds results alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from elbert.terminal import console
from golden_model.progress import Bars, Progress, silent
from golden_model.train.watch import Watch

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Display


def _display(*columns: Any, shown_on: Console) -> Display:
    """A rich display of these columns; text columns show text as it is."""
    from rich.progress import Progress, TextColumn

    parts = [TextColumn(column, markup=False) if isinstance(column, str) else column for column in columns]
    return Progress(*parts, console=shown_on)


@contextmanager
def _bar(title: str, total: int) -> Iterator[Progress]:
    from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with _display(*columns, shown_on=console(stderr=True)) as display:
        task = display.add_task(title, total=total)
        yield lambda count: display.advance(task, count)


def bars(quiet: bool) -> Bars:
    """How libraries show progress under this command: by a bar, or not at all."""
    return silent if quiet else _bar


class TrainingProgress(Watch):
    """A training run's bar; where there is no terminal, a line every 50 steps."""

    EVERY = 50

    def __init__(self) -> None:
        self._console = console(stderr=True)
        self._display: Display | None = None

    def begin(self, done: int, total: int) -> None:
        """Steps done so far, and planned in all."""
        from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn

        columns = ("step", BarColumn(), MofNCompleteColumn(), "{task.description}", TimeRemainingColumn())
        self._display = _display(*columns, shown_on=self._console)
        self._task = self._display.add_task("", total=total, completed=done)
        self._display.start()

    def step(self, done: int, loss: float, seconds: float) -> None:
        """After a step: steps done, mean loss of the last ones, seconds of training in all."""
        assert self._display is not None
        self._display.update(self._task, completed=done, description=f"loss {loss:.3f}")
        if done % self.EVERY == 0 and not self._console.is_terminal:
            self._console.print(f"step {done} loss {loss:.4f} seconds {seconds:.0f}")

    def evaluated(self, text: str) -> None:
        """An evaluation in one line."""
        self._console.print(text)

    def end(self) -> None:
        """The run pauses, ends or fails."""
        if self._display is not None:
            self._display.stop()


class SimulationProgress:
    """Build phase, then simulated sentences."""

    def __init__(self, total: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TimeElapsedColumn

        self._console = console(stderr=True)
        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = _display(*columns, shown_on=self._console)
        self._build = self._bar.add_task("building the simulation (minutes, then cached)", total=None)
        self._run = self._bar.add_task("simulating", total=total, start=False)

    def __enter__(self) -> SimulationProgress:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def built(self) -> None:
        """The build phase is over."""
        self._bar.update(self._build, total=1, completed=1, description="simulation built")
        self._bar.start_task(self._run)

    def advance(self, text: str, mismatches: int) -> None:
        """One more run was simulated and compared."""
        self._bar.advance(self._run)
        verdict = "equal" if mismatches == 0 else f"{mismatches} UNEQUAL"
        self._console.print(f"  {verdict}: {text}", no_wrap=True, overflow="ellipsis")


class StageProgress:
    """Stages on stderr: a live line with elapsed time on a terminal, a plain line a stage elsewhere."""

    def __init__(self, status: Any, shown_on: Console) -> None:
        self._status, self._console = status, shown_on
        self._stage, self._began = "", time.monotonic()

    def stage(self, text: str) -> None:
        """A new stage begins."""
        from rich.text import Text

        self.close()
        self._stage, self._began = text, time.monotonic()
        self._status.update(Text(text))
        if not self._console.is_terminal:
            self._console.print(f"{text} ...")

    def phase(self, text: str) -> None:
        """Something new inside the stage."""
        from rich.text import Text

        elapsed = time.monotonic() - self._began
        self._status.update(Text(f"{self._stage} · {elapsed:.0f} s · {text}"))

    def close(self) -> None:
        """The running stage has ended."""
        if self._stage:
            elapsed = time.monotonic() - self._began
            self._console.print(f"{self._stage}: {elapsed:.1f} s")
            self._stage = ""


@contextmanager
def stages() -> Iterator[StageProgress]:
    """The stages of a synthesis on stderr."""
    shown_on = console(stderr=True)
    with shown_on.status("starting") as status:
        progress = StageProgress(status, shown_on)
        yield progress
        progress.close()
