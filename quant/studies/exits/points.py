"""Every point of the study: one setting of one method on all sentences, and which of them nothing beats."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from golden_model.data.metrics import scores_many
from golden_model.files import write_text
from golden_model.progress import Bars, silent
from quant.studies.exits.comparison import cost_keys, interval
from quant.studies.exits.contenders import ORACLE, Sweep
from quant.studies.exits.picking import TIE, Judge
from quant.studies.exits.sweep import Outcomes

COLUMNS = (
    "method",
    "variant",
    "backend",
    "settings",
    "accuracy",
    "score",
    "cost_macs",
    "speedup_macs",
    "cost_iterations",
    "speedup_iterations",
    "mean_exit",
    "pareto",
)
"""Of the CSV file; the settings are JSON."""

LIMITED = "limited"
"""Variant of the oracle that may look only so many iterations ahead."""


def pareto(scores: Tensor, costs: Tensor) -> Tensor:
    """Which of S points no other beats in score at the same or a lower cost: bool [S]; one of equals."""
    order = sorted(range(len(scores)), key=lambda i: (float(costs[i]), -float(scores[i]), i))
    kept = torch.zeros(len(scores), dtype=torch.bool)
    best = -torch.inf
    for row in order:
        if float(scores[row]) > best + TIE:
            kept[row], best = True, float(scores[row])
    return kept


def all_points(
    sweeps: Sequence[Sweep], bound: Outcomes, judge: Judge, bars: Bars = silent
) -> list[dict[str, Any]]:
    """Points of every sweep but twins, then the oracle's; a variant's Pareto front with bootstrap intervals.

    These are fits to the data they are scored on; ``comparison`` reports without that.
    """
    points: list[dict[str, Any]] = []
    own = [each for each in sweeps if not each.twin]
    with bars("settings scored", sum(len(each.outcomes) for each in own) + len(bound)) as progress:
        for each in own:
            points += _points(each.method, each.table.facts.backend, each.outcomes, judge)
            progress(len(each.outcomes))
        for point in _points(ORACLE, "float", bound, judge):
            limit = point["settings"]["iterations"]
            points.append(point | {"variant": ORACLE if limit is None else LIMITED})
        progress(len(bound))
    return points


def _points(method: str, backend: str, outcomes: Outcomes, judge: Judge) -> list[dict[str, Any]]:
    found = scores_many(outcomes.answers.long(), judge.labels, judge.classes)
    accuracies, scores = found["accuracy"], found[judge.metric]
    costs = outcomes.costs.mean(1)
    exits = outcomes.exits.double().mean(1)
    points = [
        {
            "method": method,
            "variant": setting.variant,
            "backend": backend,
            "settings": setting.as_dict(),
            "accuracy": accuracy,
            "score": score,
            **cost_keys(cost, mean_exit, outcomes.iterations),
            "pareto": False,
        }
        for setting, accuracy, score, cost, mean_exit in zip(
            outcomes.settings,
            accuracies.tolist(),
            scores.tolist(),
            costs.tolist(),
            exits.tolist(),
            strict=True,
        )
    ]
    variants = [setting.variant for setting in outcomes.settings]
    for variant in sorted(set(variants)):
        rows = torch.tensor([i for i, each in enumerate(variants) if each == variant])
        front = rows[pareto(scores[rows], costs[rows])]
        resampled = scores_many(outcomes.answers[front].long(), judge.labels, judge.classes, judge.weights)
        resampled_costs = judge.resampled_mean(outcomes.costs[front])
        for n, row in enumerate(front.tolist()):
            points[row] |= {
                "pareto": True,
                "interval": {
                    "accuracy": interval(resampled["accuracy"][n]),
                    "score": interval(resampled[judge.metric][n]),
                    "cost_macs": interval(resampled_costs[n]),
                    "speedup_macs": interval(1 / resampled_costs[n]),
                },
            }
    return points


def write_csv(path: Path | str, points: Sequence[dict[str, Any]]) -> None:
    """Writes the points, whole or not at all: :data:`COLUMNS`, then both ends of every interval."""
    ends = [f"{name}_{end}" for name in ("score", "speedup_macs") for end in ("low", "high")]
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *ends])
    for point in points:
        bounds = point.get("interval")
        row = [json.dumps(point[name]) if name == "settings" else point[name] for name in COLUMNS]
        tail = [""] * len(ends) if bounds is None else [*bounds["score"], *bounds["speedup_macs"]]
        writer.writerow([*row, *tail])
    write_text(path, text.getvalue())
