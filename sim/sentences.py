"""Sentences through the simulated accelerator, with exit and without, several simulations side by side."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from golden_model.children import side_by_side
from golden_model.errors import PromiseBroken
from golden_model.exits import ExitMode, FixedExitPolicy
from golden_model.integer.checkpoint import IntegerCheckpoint
from golden_model.integer.model import Sentence
from hw.image import build_image
from hw.params import Machine
from sim.build import BuildOptions, build
from sim.machine import NO_EXIT, Job, Outcome, accelerator_system, memory_size, simulate

TIMEOUT_S = 3600.0
"""Wall-clock limit of one simulation."""

Progress = Callable[[int, int], None]
"""Told when a run of a sentence was simulated and compared: the sentence's number, its mismatches."""


@dataclass(frozen=True)
class SentenceRun:
    """One sentence under a policy and, unless the policy never exits early, once more without exit."""

    outcome: Outcome
    without_exit: Outcome | None

    @property
    def both(self) -> list[Outcome]:
        """The runs there are; the last is one without early exit."""
        return [self.outcome] if self.without_exit is None else [self.outcome, self.without_exit]


def simulate_sentences(
    checkpoint: IntegerCheckpoint,
    array: tuple[int, int],
    sentences: Sequence[Sentence],
    policy: FixedExitPolicy,
    *,
    seed: int = 1,
    workers: int = 2,
    run_dir: Path,
    on_build: Callable[[], None] | None = None,
    on_progress: Progress | None = None,
) -> list[SentenceRun]:
    """Runs every sentence on the accelerator and compares every named tensor with the golden model.

    Args:
        checkpoint: The model.
        array: Rows and columns of the multiplier array.
        sentences: Token ids and token types of each.
        policy: When a sentence leaves.
        seed: Of the simulation's undefined values.
        workers: Simulations side by side.
        run_dir: Where logs, traces, and waves of a failure go.
        on_build: Called when the simulation is built.
        on_progress: Told of every run.

    Raises:
        PromiseBroken: the simulation broke off (bus error, watchdog, time limit). Integers that differ are
            no exception: they are in the outcomes.
        ValueError: no workers, or a geometry that the array cannot hold.
    """
    if workers < 1:
        raise ValueError(f"workers {workers} is below 1")
    machine = Machine(model=checkpoint.config, rows=array[0], columns=array[1], trace=True)
    again = policy.mode != ExitMode.none
    runs = [(i, policy) for i in range(len(sentences))]
    if again:
        runs += [(i, NO_EXIT) for i in range(len(sentences))]
    # Longest first and dealt out in turn, so that the workers end together.
    runs.sort(key=lambda run: (run[1] != NO_EXIT, -len(sentences[run[0]][0])))
    shares = [runs[w::workers] for w in range(workers) if runs[w::workers]]
    if not shares:
        return []

    images = [build_image(checkpoint, machine, [sentences[i] for i, _ in share]) for share in shares]
    sources = accelerator_system(machine, max(map(memory_size, images)))
    build(sources, top="system", options=BuildOptions(fast=True, optimize=3))
    if on_build:
        on_build()

    found: dict[tuple[int, bool], Outcome] = {}  # (sentence, is the run without exit)
    waves: list[str] = []

    def work(number: int) -> list[str]:
        share = shares[number]

        def finished(position: int, outcome: Outcome) -> None:
            i, used = share[position]
            found[i, used is NO_EXIT and again] = outcome
            if on_progress:
                on_progress(i, outcome.comparison.mismatches)

        report = simulate(
            machine,
            checkpoint,
            [Job(sentences[i], used) for i, used in share],
            seed=seed + number,
            fast=True,
            image=images[number],
            sources=sources,
            run_dir=run_dir,
            timeout_s=TIMEOUT_S,
            on_sentence=finished,
        )
        if report.waves:
            waves.append(str(report.waves))
        return [f"{error} (files: {report.folder})" for error in report.errors]

    parts = side_by_side([functools.partial(work, number) for number in range(len(shares))])
    errors = [error for part in parts for error in part]
    if errors:
        seen = f"; waves: {', '.join(waves)}" if waves else ""
        raise PromiseBroken("the simulation failed: " + "; ".join(errors) + seen)
    return [SentenceRun(found[i, False], found.get((i, True))) for i in range(len(sentences))]
