"""Trains one method, or every run that a comparison of the methods wants, each in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from golden_model.float.methods.names import AFTER_ALBERT, TWO_STAGES, compared_runs, run_name, training_order
from golden_model.train.processes import written_alone
from golden_model.train.trainer import STATE_FILE, Trainer
from golden_model.train.watch import Watch

STAGE_ONE = "stage-1"
"""Folder, in a two-stage method's own, of the first stage it trains itself."""


class Prepare(Protocol):
    """``setup.prepare`` with data, geometry, options and start filled in."""

    def __call__(
        self, output: Path, *, method: str, iterations: int | None = None, stage_one: Path | None = None
    ) -> Trainer:
        """Everything before the first step."""
        ...


def train_method(
    prepare: Prepare,
    output: Path,
    method: str,
    iterations: int | None = None,
    *,
    stage_one: Path | None = None,
    started: bool = False,
    resume: bool = False,
    stop_after: int | None = None,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Trains a method; one of two stages without a start trains its first, into ``output/stage-1``.

    Args:
        prepare: Makes the trainer.
        output: The run's folder.
        method: One of ``methods.names.METHODS``.
        iterations: Of a plain ALBERT; None: all.
        stage_one: A finished run of the plain ALBERT, for a two-stage method and for ELBERT.
        started: ``prepare`` starts from a finished ELBERT (``setup.prepare``'s ``stage_two``).
        resume: Continue what is there; a finished first stage is taken as it is.
        stop_after: Pause after this many steps in all, of the stage that is being trained.
        watch: Told how it goes.

    Returns:
        The record; of the first stage, when ``stop_after`` ended that.

    Raises:
        ValueError: ``resume`` and there is nothing to resume, or not ``resume`` and there is.
        FolderInUse: another process trains into the folder.
    """
    with written_alone(output):
        check_folder(output, resume)
        if method in TWO_STAGES and stage_one is None and not started:
            stage_one = output / STAGE_ONE
            record = run(prepare(stage_one, method="albert"), stop_after, watch)
            if record["step"] < record["total_steps"]:
                return record
        trainer = prepare(output, method=method, iterations=iterations, stage_one=stage_one)
        return run(trainer, stop_after, watch)


def train_all(
    prepare: Prepare,
    output: Path,
    *,
    after_albert: bool = False,
    report: Callable[[str, Trainer], None] = lambda name, trainer: None,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Trains every run of ``methods.names.compared_runs`` into ``output/<name>``, with the same options.

    Finished runs stay as they are, an unfinished one is resumed. The two-stage methods start from the plain
    ALBERT of full depth.

    Args:
        prepare: Makes the trainers.
        output: Folder of the runs.
        after_albert: ELBERT starts from the plain ALBERT of full depth too.
        report: Told each run's name and trainer before it goes on.
        watch: Told how it goes.

    Returns:
        JSON-able: header, and per name a :func:`summary`.

    Raises:
        ValueError: a run in the folder had other options or other data.
        FolderInUse: another process trains into the folder.
    """
    with written_alone(output):
        first = training_order(after_albert)[0]
        trainer = prepare(output / first, method=first)
        depth, top = trainer.facts["iterations"], trainer.header
        found: dict[str, Any] = {}
        for method, iterations in compared_runs(depth, after_albert):
            name = run_name(method, iterations)
            starts_later = method in (AFTER_ALBERT if after_albert else TWO_STAGES)
            stage_one = output / run_name("albert", depth) if starts_later else None
            if method != first:
                trainer = prepare(output / name, method=method, iterations=iterations, stage_one=stage_one)
            trainer.resume()  # what is reported is where it goes on
            report(name, trainer)
            found[name] = summary(run(trainer, None, watch))
        return {"header": top, "methods": found}


def check_folder(output: Path, resume: bool) -> None:
    """Raises ValueError when there is a run and ``resume`` is not asked for, or none and it is."""
    begun = any((folder / STATE_FILE).is_file() for folder in (output, output / STAGE_ONE))
    if begun and not resume:
        raise ValueError(f"{output} holds a run already: add --resume, or name another folder")
    if resume and not begun:
        raise ValueError(f"{output} holds no {STATE_FILE} to resume from")


def run(trainer: Trainer, stop_after: int | None = None, watch: Watch | None = None) -> dict[str, Any]:
    """Begins a run or goes on with it; a finished one stays as it is. Returns its record.

    Raises:
        FolderInUse: another process trains into its folder.
    """
    with written_alone(trainer.output):
        trainer.resume()
        return trainer.record() if trainer.finished else trainer.run(stop_after=stop_after, watch=watch)


def summary(record: dict[str, Any]) -> dict[str, Any]:
    """What a comparison shows first of a run's record."""
    last = record["history"][-1]
    keys = ("method", "iterations", "added_parameters", "training_cost")
    return {
        "step": record["step"],
        **{key: record[key] for key in keys},
        **{key: last[key] for key in ("dev_accuracy", "dev_f1", "dev_mcc")},
    }


def summary_rows(methods: dict[str, Any]) -> tuple[list[str], Sequence[list[object]]]:
    """Columns and rows of a table of :func:`train_all`'s methods; accuracy in %, 10^12 multiply-adds."""
    depth = max(found["iterations"] for found in methods.values())
    columns = ["run", *(str(i) for i in range(1, depth + 1)), "added", "macs, T", "steps"]
    rows: list[list[object]] = []
    for name, found in methods.items():
        accuracy = [f"{100 * value:.1f}" for value in found["dev_accuracy"]]
        cost = found["training_cost"]
        tail = [found["added_parameters"], f"{cost['macs'] / 1e12:.2f}", cost["steps"]]
        rows.append([name, *accuracy, *[None] * (depth - len(accuracy)), *tail])
    return columns, rows
