"""Exits under quantisation: the golden model's against its float model's, under one policy and its family.

Thresholds are taken in three ways: as the policy has them; picked on half of the sentences by the float
model's exits and kept for the integers; picked anew by the integers' own. The last two are reported on the
other half (:mod:`quant.studies.exits.picking`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from golden_model.exits import ExitMode, ExitPolicy
from golden_model.progress import Bars, silent
from quant.studies.exits.comparison import LOSSES, POINTS, Reference, Result, Runner, cost_keys, interval
from quant.studies.exits.contenders import ELBERT_FLOAT, ELBERT_GOLDEN, Contender
from quant.studies.exits.grids import Setting, grid
from quant.studies.exits.picking import Judge, cross_fit, half_splits, resamples
from quant.studies.exits.quantisation import exit_confusion
from quant.studies.exits.rows import Rows
from quant.studies.exits.run import Options
from quant.studies.exits.sources import find_forms
from quant.studies.exits.store import Store
from quant.studies.exits.sweep import Outcomes, sweep
from quant.studies.exits.table import LogitTable


def make_judge(rows: Rows, metric: str, options: Options) -> Judge:
    """Knows the sentences' answers; raises ValueError for fewer than two."""
    labels = torch.tensor(rows.labels, dtype=torch.int64)
    return Judge(
        labels,
        len(rows.classes),
        metric,
        half_splits(labels, options.splits, options.seed),
        resamples(len(labels), options.bootstrap, options.seed),
    )


def compare_exits(
    float_folder: Path,
    folders: Mapping[str, Path],
    store: Store,
    policy: ExitPolicy,
    metric: str,
    options: Options,
    bars: Bars = silent,
) -> dict[str, dict[str, Any]]:
    """:func:`exits_under_quantisation` of every integer checkpoint, by its name.

    Args:
        float_folder: The float checkpoint's.
        folders: Of the integer checkpoints, by a name each.
        store: Knows the sentences; gives logits that are published or kept, computes and keeps the others.
        policy: Applied to all.
        metric: Of ``golden_model.data.metrics.METRICS``.
        options: Of the judge.
        bars: Shows how far it is.

    Raises:
        ValueError, FileNotFoundError: as ``Store.gather``; there is one sentence.
    """
    judge = make_judge(store.rows, metric, options)
    (floating,) = [form for form in find_forms(float_folder) if form.name == ELBERT_FLOAT]
    found = {}
    for name, folder in folders.items():
        (golden,) = [form for form in find_forms(folder) if form.name == ELBERT_GOLDEN]
        tables = store.gather([floating, golden], bars).tables
        found[name] = exits_under_quantisation(
            tables[ELBERT_FLOAT], tables[ELBERT_GOLDEN], policy, judge, options, bars
        )
    return found


def exits_under_quantisation(
    floating: LogitTable,
    golden: LogitTable,
    policy: ExitPolicy,
    judge: Judge,
    options: Options,
    bars: Bars = silent,
) -> dict[str, Any]:
    """Compares both forms of one model on the same sentences.

    Args:
        floating: The float model's logits.
        golden: The integer form's.
        policy: Applied to both as it is; its mode is the family whose thresholds are picked.
        judge: Knows the sentences' answers, halves and resamples.
        options: As the judge was made with.
        bars: Shows how far it is.

    Returns:
        JSON-able. ``full_depth``: scores of the last iteration, and the share of answers that differ there.
        ``as_set``: under the policy, both forms' scores and costs; ``difference`` (golden exit minus float
        exit: ``from`` and ``counts``), ``confusion`` of the exits, and with bootstrap intervals
        ``exit_flips``, ``exit_difference`` (mean, with its sign), ``exit_distance`` (mean magnitude) and
        ``answer_flips``. ``equal_loss``: per loss the float model's, and the integers' with its thresholds
        (``kept``) and with their own (``recalibrated``); None for the policy ``none`` or a model of one
        iteration, an entry None where a half has no setting that loses so little. Points are lost against
        the form's own full depth (``points_lost``, which picks go by) and against the float model's
        (``points_lost_float``).

    Raises:
        ValueError: the tables are not of the same sentences, iterations and classes.
    """
    a, b = floating.facts, golden.facts
    if (a.rows_sha256, a.iterations, a.classes) != (b.rows_sha256, b.iterations, b.classes):
        raise ValueError(f"{a.name} and {b.name} are not of the same sentences, iterations and classes")
    picks = policy.mode != ExitMode.none and a.iterations > 1
    settings = [Setting(ExitPolicy()), Setting(policy)]
    settings += grid(policy.mode, a.iterations, a.classes) if picks else []
    with bars("exits compared", 2 + 2 * len(LOSSES) * picks) as progress:
        outcomes = []
        for table in (floating, golden):
            outcomes.append(sweep(table, settings))
            progress(1)
        first, second = outcomes
        full = [each.answers[0] for each in outcomes]
        result: dict[str, Any] = {
            "sentences": a.samples,
            "metric": judge.metric,
            "iterations": a.iterations,
            "policy": policy.model_dump(),
            "options": asdict(options),
            "full_depth": {
                "float": float(judge.score(full[0].unsqueeze(0))[0]),
                "golden": float(judge.score(full[1].unsqueeze(0))[0]),
                "answer_flips": _mean(judge, (full[0] != full[1]).double()),
            },
            "as_set": _as_set(first, second, judge),
            "equal_loss": None,
        }
        if picks:
            # the policy itself is tried too: who calibrates may keep it
            forms = zip((floating.facts.name, golden.facts.name), outcomes, full, strict=True)
            rivals = [Contender(name, name, each, answers) for name, each, answers in forms]
            runners = [Runner(rival, judge, options.caution) for rival in rivals]
            references = [Reference(answers, judge) for answers in full]
            result["equal_loss"] = {}
            for key, points in LOSSES.items():
                result["equal_loss"][key] = {"points": points, **_at_loss(points, runners, references)}
                progress(2)
    return result


def _mean(judge: Judge, values: Tensor) -> dict[str, Any]:
    """Mean over the sentences [N] and its bootstrap interval."""
    return {"mean": float(values.mean()), "interval": interval(judge.resampled_mean(values))}


def _as_set(floating: Outcomes, golden: Outcomes, judge: Judge) -> dict[str, Any]:
    """Of the settings' second: the policy as it is."""
    f, g = floating.exits[1].long(), golden.exits[1].long()
    depth = floating.iterations
    difference = g - f
    # of either form at full depth and under the policy
    scores = [judge.score(each.answers[:2]).tolist() for each in (floating, golden)]
    return {
        "difference": {
            "from": 1 - depth,
            "counts": torch.bincount(difference + depth - 1, minlength=2 * depth - 1).tolist(),
        },
        "confusion": exit_confusion(f, g, depth).tolist(),
        "exit_flips": _mean(judge, (difference != 0).double()),
        "exit_difference": _mean(judge, difference.double()),
        "exit_distance": _mean(judge, difference.abs().double()),
        "answer_flips": _mean(judge, (floating.answers[1] != golden.answers[1]).double()),
        **{
            name: {
                "accuracy": score,
                "points_lost": POINTS * (own - score),
                "points_lost_float": POINTS * (scores[0][0] - score),
                **cost_keys(float(each.costs[1].mean()), float(each.exits[1].double().mean()), depth),
            }
            for name, each, (own, score) in zip(("float", "golden"), (floating, golden), scores, strict=True)
        },
    }


def _at_loss(points: float, runners: list[Runner], references: list[Reference]) -> dict[str, Any]:
    """Picked by the float model, by it and kept for the integers, and by the integers."""
    golden = runners[1]
    by_float, by_golden = (runner.at_loss(points) for runner in runners)
    kept = None
    if by_float is not None:
        fit = cross_fit(golden.contender.outcomes, by_float.fit.rows.flatten(), golden.judge.halves)
        kept = None if fit is None else Result(golden.contender, golden.judge, fit)
    full = (references[0], references[1], references[1])
    results = zip(("float", "kept", "recalibrated"), (by_float, kept, by_golden), full, strict=True)
    return {
        name: None
        if result is None
        else result.as_dict({"points_lost": own, "points_lost_float": references[0]})
        for name, result, own in results
    }
