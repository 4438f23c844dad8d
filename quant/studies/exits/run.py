"""The whole study: tables in, result out. Everything after the tables takes seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from golden_model.progress import Bars, silent
from golden_model.provenance import header
from quant.studies.exits.comparison import compare
from quant.studies.exits.contenders import (
    ALBERT,
    ELBERT,
    ELBERT_FLOAT,
    ELBERT_GOLDEN,
    ELBERT_PUBLISHED,
    ORACLE,
    Sweep,
    bound,
    compared_elbert,
    find_contenders,
    find_sweeps,
)
from quant.studies.exits.picking import Judge, half_splits, resamples
from quant.studies.exits.points import all_points
from quant.studies.exits.quantisation import quantisation
from quant.studies.exits.rows import Rows
from quant.studies.exits.sources import expected_names
from quant.studies.exits.table import Facts, LogitTable
from quant.studies.exits.verdict import verdict


@dataclass(frozen=True)
class Options:
    """How the study judges.

    Members:
        splits: Random half-splits.
        bootstrap: Resamples of the sentences.
        seed: Of both.
        caution: Standard errors that the loss of a headline's setting must stay below what may be lost.
    """

    splits: int = 50
    bootstrap: int = 1000
    seed: int = 0
    caution: float = 1.0


def study(
    task: str,
    metric: str,
    rows: Rows,
    tables: Mapping[str, LogitTable],
    options: Options | None = None,
    bars: Bars = silent,
) -> dict[str, Any]:
    """Compares all methods whose tables are given.

    Args:
        task: Name of the task.
        metric: The task's primary one: what "accuracy" means in every comparison.
        rows: The sentences the tables are of.
        tables: By name, from ``store.Store.gather``.
        options: None for the defaults.
        bars: Shows how far it is.

    Returns:
        JSON-able; docs/studies.md describes the keys.

    Raises:
        FileNotFoundError: no float ELBERT is among the tables.
        ValueError: a table has other classes than the data, the model a single iteration, or an option is out
            of bounds.
    """
    options = options or Options()
    main = compared_elbert(tables)
    if main.facts.iterations < 2:
        raise ValueError(f"{main.facts.name} has one iteration: no sentence can leave before the last")
    classes = len(rows.classes)
    for table in tables.values():
        if (table.facts.samples, table.facts.classes) != (len(rows), classes):
            raise ValueError(
                f"{table.facts.name} has {table.facts.samples} sentences and {table.facts.classes} classes, "
                f"the data {len(rows)} and {classes}"
            )
    labels = torch.tensor(rows.labels, dtype=torch.int64)
    judge = Judge(
        labels,
        classes,
        metric,
        half_splits(labels, options.splits, options.seed),
        resamples(len(labels), options.bootstrap, options.seed),
    )
    sweeps = find_sweeps(tables, bars)
    contenders = find_contenders(sweeps)
    compared = compare(contenders, judge, options.caution, bars)
    oracle = bound(tables, labels)
    points = all_points(sweeps, oracle, judge, bars)
    survived = _quantisation(sweeps, judge)
    missing = [name for name in expected_names(main.facts.iterations) if name not in tables]
    full = {each.method: each.full for each in sweeps}
    albert = full.get(ALBERT)
    return {
        "header": header(options.seed, main.facts.checkpoint_sha256),
        "task": task,
        "metric": metric,
        "data": {
            "source": rows.source,
            "sha256": rows.data_sha256,
            "rows_sha256": main.facts.rows_sha256,
            "samples": len(rows),
            "classes": list(rows.classes),
        },
        "iterations": main.facts.iterations,
        "reference": _reference(main.facts),
        "options": asdict(options),
        "accuracy_full": float(judge.score(main.labels[-1:])[0]),
        "accuracy_albert": None if albert is None else float(judge.score(albert.unsqueeze(0))[0]),
        "accuracy_per_iteration": _per_iteration(sweeps, judge, main.facts.iterations),
        "points": points,
        "oracle": next(point for point in points if point["method"] == ORACLE),
        **compared,
        "equal_cost": {
            key: {name: None if entry is None else entry["accuracy"] for name, entry in found.items()}
            for key, found in compared["at_cost"].items()
        },
        "contenders": {contender.name: contender.table for contender in contenders},
        "methods": {name: _describe(table) for name, table in tables.items()},
        "missing": missing,
        "quantisation": survived,
        "verdict": verdict(compared["headline"], compared["at_cost"], survived, _not_whole(tables, missing)),
    }


def _reference(facts: Facts) -> dict[str, float | None]:
    """Multiply-adds of plain ALBERT at full depth: with all rows, which costs divide by, and answer first."""
    saved = None if facts.answer_macs is None else facts.answer_macs[-1] - facts.layer_macs
    first = None if saved is None else facts.albert_macs + saved
    return {
        "macs": facts.albert_macs,
        "macs_answer_first": first,
        "cost_macs_answer_first": None if first is None else first / facts.albert_macs,
    }


def _per_iteration(sweeps: Sequence[Sweep], judge: Judge, iterations: int) -> dict[str, list[float | None]]:
    """Score if all sentences left after iteration i; of ALBERT that of the model cut to i, if it is there."""
    result: dict[str, list[float | None]] = {}
    for each in sweeps:
        if each.method == ALBERT:
            found = judge.score(each.outcomes.answers).tolist()
            known = {s.iterations: score for s, score in zip(each.outcomes.settings, found, strict=True)}
            result[ALBERT] = [known.get(k) for k in range(1, iterations + 1)]
        else:
            result[each.method] = judge.score(each.table.labels).tolist()
    return result


def _quantisation(sweeps: Sequence[Sweep], judge: Judge) -> dict[str, Any] | None:
    """Of the model folder's two forms; None where one of them is not there."""
    forms = {each.table.facts.name: each for each in sweeps}
    if ELBERT_FLOAT not in forms or ELBERT_GOLDEN not in forms:
        return None
    return quantisation(forms[ELBERT_FLOAT], forms[ELBERT_GOLDEN], judge)


def _not_whole(tables: Mapping[str, LogitTable], missing: Sequence[str]) -> list[str]:
    """What a reader has to know of runs that are not there or not done."""
    notes = [f"not compared, no logits: {', '.join(missing)}"] if missing else []
    if ELBERT not in tables and ELBERT_PUBLISHED in tables:
        notes.append(f"no run {ELBERT}: the one-stage run {ELBERT_PUBLISHED} is compared in its place")
    whole = [name for name, table in tables.items() if table.facts.answer_macs is None]
    if whole:
        notes.append(f"counted with all rows, no count of answer first in the logits: {', '.join(whole)}")
    if ELBERT_GOLDEN not in tables:
        notes.append("no integers: --elbert names no model folder with an integer form (elbert quantize)")
    for name, table in tables.items():
        answers, layer = table.facts.answer_macs, table.facts.layer_macs
        if answers is not None and table.facts.iterations > 1 and answers[0] == layer:
            notes.append(
                f"{name}'s exits read all rows: answer first saves it those of the last iteration alone"
            )
        step, total = (table.facts.training.get(key) for key in ("step", "total_steps"))
        if name != ELBERT_FLOAT and step is not None and total is not None and step < total:
            notes.append(f"{name} was measured unfinished, at step {step} of {total}")
    return notes


def _describe(table: LogitTable) -> dict[str, Any]:
    facts = table.facts
    keys = (
        *("backend", "iterations", "added_parameters", "checkpoint_sha256"),
        *("layer_macs", "answer_macs", "exit_macs"),
    )
    return {key: getattr(facts, key) for key in keys} | {"training": facts.training or None}
