"""One comparison out of the studies of several tasks; figures are taken over, only means are new."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from golden_model.provenance import header
from quant.studies.exits.comparison import BUDGETS
from quant.studies.exits.contenders import ALBERT, ELBERT, ELBERT_GOLDEN, LINES
from quant.studies.exits.verdict import RIVALS

SHOWN = (ELBERT, *LINES, ELBERT_GOLDEN, *RIVALS)
"""Contenders of the table, in its order."""

AGAINST = (*LINES, *RIVALS)
"""Those that ELBERT's mean lead is over."""

HEADLINE = "loss_0_5"
"""Key of the headline that the table shows."""

ENTRY = ("accuracy", "cost_macs", "speedup_macs", "cost_iterations", "speedup_iterations", "mean_exit")
"""What is taken over of a study's entry."""

TRAINING = ("macs", "teacher_macs", "seconds")
"""What is told of a training: multiply-adds of the method and of its teacher, and time."""

NORMAL_95 = 1.959964
"""Half the width of a 95 % interval of a normal distribution, in standard errors."""

KEYS = (
    *("task", "metric", "data", "header", "iterations", "accuracy_full", "accuracy_per_iteration"),
    *("points", "curves", "headline", "at_cost", "contenders", "methods"),
)
"""What a study's result must have."""


def read_studies(files: Sequence[Path]) -> list[dict[str, Any]]:
    """Results of ``elbert study exits --json``.

    Raises:
        ValueError: a file holds something else, or two hold the same task.
    """
    found: dict[str, dict[str, Any]] = {}
    for file in files:
        try:
            study = json.loads(file.read_text())
        except ValueError as error:
            raise ValueError(f"{file} is not JSON: {error}") from None
        missing = [key for key in KEYS if not isinstance(study, dict) or key not in study]
        if missing:
            raise ValueError(f"{file} is no result of elbert study exits: it has no {', '.join(missing)}")
        if study["task"] in found:
            raise ValueError(f"{file} is a second study of {study['task']}")
        found[study["task"]] = study
    return list(found.values())


def gather(studies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The studies' figures side by side.

    Args:
        studies: Results of ``quant.studies.exits.run.study``, of different tasks.

    Returns:
        JSON-able. ``tasks``: per task metric, sentences and :func:`task_rows`. ``mean``: :func:`mean_of` per
        speedup and other contender. ``above``: per speedup and contender the tasks on which ELBERT's score is
        higher, and those where the 95 % interval of the difference lies above 0 (``surely_above``); the same
        ``below``.
    """
    return {
        "header": header(None),
        "tasks": {
            study["task"]: {
                "metric": study["metric"],
                "samples": study["data"]["samples"],
                "commit": study["header"]["commit"],
                "rows": task_rows(study),
            }
            for study in studies
        },
        "mean": {key: {name: mean_of(studies, key, name) for name in AGAINST} for key in BUDGETS},
        "above": {key: {name: _above(studies, key, name) for name in AGAINST} for key in BUDGETS},
    }


def task_rows(study: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Per contender that was measured: parameters, training, full score, at each speedup, headline.

    ``full`` is None for a contender of which the full depth is missing, an entry of ``at`` where it has no
    setting that fast.
    """
    rows = {}
    for name in SHOWN:
        if name not in study["at_cost"][next(iter(BUDGETS))]:
            continue
        picked = study["headline"][HEADLINE][name]
        at = {key: study["at_cost"][key][name] for key in BUDGETS}
        rows[name] = {
            "added_parameters": study["methods"][study["contenders"][name]]["added_parameters"],
            "training": training_of(study, name),
            "full": study["accuracy_per_iteration"][name][-1],
            "at": {key: None if e is None else {what: e[what] for what in ENTRY} for key, e in at.items()},
            "difference": {key: None if e is None else e["difference"] for key, e in at.items()},
            HEADLINE: None if picked is None else {k: picked[k] for k in (*ENTRY, "points_lost")},
        }
    return rows


def training_of(study: Mapping[str, Any], name: str) -> dict[str, float] | None:
    """What a contender's training had: ``macs``, ``teacher_macs`` and ``seconds``; None where nothing says.

    Of stages that went before too, as far as the run's record counts them. Of cut ALBERT that of all models.
    """
    methods = study["methods"]
    tables = (
        [t for t in methods if t.startswith(f"{ALBERT}-")] if name == ALBERT else [study["contenders"][name]]
    )
    records = [methods[table].get("training") for table in tables]
    costs = [{"seconds": r.get("seconds"), **r.get("training_cost", {})} for r in records if r]
    found = {key: sum(c[key] for c in costs) for key in TRAINING if costs and all(c.get(key) for c in costs)}
    return found or None


def _differences(studies: Sequence[Mapping[str, Any]], key: str, name: str) -> dict[str, dict[str, Any]]:
    """ELBERT minus a rival per task, of the tasks that have it."""
    entries = {study["task"]: study["at_cost"][key].get(name) for study in studies}
    return {
        task: entry["difference"]
        for task, entry in entries.items()
        if entry is not None and entry["difference"] is not None
    }


def mean_of(studies: Sequence[Mapping[str, Any]], key: str, name: str) -> dict[str, Any] | None:
    """Mean over the tasks of ELBERT minus a rival at equal cost, in points; None where no task has both.

    Different tasks have different sentences, so the variances add:
    se = sqrt(sum_t se_t²) / T, with se_t from the width of task t's interval, taken as a normal one.
    """
    found = _differences(studies, key, name)
    if not found:
        return None
    points = sum(entry["points"] for entry in found.values()) / len(found)
    errors = [(e["interval"][1] - e["interval"][0]) / (2 * NORMAL_95) for e in found.values()]
    half = NORMAL_95 * math.sqrt(sum(error**2 for error in errors)) / len(found)
    return {"points": points, "interval": [points - half, points + half], "tasks": list(found)}


def _above(studies: Sequence[Mapping[str, Any]], key: str, name: str) -> dict[str, list[str]]:
    found = _differences(studies, key, name)
    return {
        "above": [task for task, e in found.items() if e["points"] > 0],
        "surely_above": [task for task, e in found.items() if e["interval"][0] > 0],
        "below": [task for task, e in found.items() if e["points"] < 0],
        "surely_below": [task for task, e in found.items() if e["interval"][1] < 0],
    }
