"""What quantisation does to exits: the golden model's decisions against the float model's, per policy."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from quant.studies.exits.comparison import BUDGETS, interval
from quant.studies.exits.contenders import ABLATIONS, BIASES, Sweep
from quant.studies.exits.picking import Judge
from quant.studies.exits.sweep import Outcomes
from quant.studies.exits.table import LogitTable

BAND = 0.1
"""Settings whose speedup in float (multiply-adds) is within this share of the one asked for are compared."""


def quantisation(floating: Sweep, golden: Sweep, judge: Judge) -> dict[str, Any]:
    """Compares both forms of one model under the same settings.

    Args:
        floating: Of the float model, all of ``contenders.elbert_settings``.
        golden: Of its integer form on the same sentences.
        judge: Knows answers and resamples.

    Returns:
        JSON-able. ``logits``: how far those lie apart and how often answers flip, per iteration.
        ``families``: per policy and speedup the mean over all settings in the band of ``exit_flips`` (share
        of sentences that leave elsewhere), ``exit_difference`` (mean |golden - float| in iterations),
        ``answer_flips``, both scores, each of the first three with its bootstrap interval; and ``confusion``,
        the counts [float exit][golden exit] of the setting nearest to the speedup. ``survives``: per speedup
        the policies, fewest answer flips first.

    Raises:
        ValueError: the tables are not of the same sentences or depth.
    """
    a, b = floating.table.facts, golden.table.facts
    if (a.rows_sha256, a.iterations, a.classes) != (b.rows_sha256, b.iterations, b.classes):
        raise ValueError(f"{a.name} and {b.name} are not of the same sentences, iterations and classes")
    families = {
        variant: {
            key: _compare(
                floating.outcomes.only((variant,)), golden.outcomes.only((variant,)), speedup, judge
            )
            for key, speedup in BUDGETS.items()
        }
        for variant in (*BIASES, *ABLATIONS)
    }
    return {
        "float": a.name,
        "golden": b.name,
        "logits": _logits(floating.table, golden.table),
        "families": families,
        "survives": {key: _ranking(families, key) for key in BUDGETS},
    }


def _logits(floating: LogitTable, golden: LogitTable) -> dict[str, list[float]]:
    """Per iteration: mean distance of the winner's probability, and share of answers that differ."""
    gap = golden.probabilities - floating.probabilities
    flips = (golden.labels != floating.labels).double().mean(1)
    return {"probability_difference": gap.abs().amax(-1).mean(1).tolist(), "answer_flips": flips.tolist()}


def _compare(floating: Outcomes, golden: Outcomes, speedup: float, judge: Judge) -> dict[str, Any]:
    reached = 1 / floating.costs.mean(1)
    distance = (reached / speedup).log().abs()
    nearest = int(distance.argmin())
    in_band = (distance <= torch.tensor(1 + BAND, dtype=torch.float64).log()).nonzero().flatten()
    rows = in_band if len(in_band) else torch.tensor([nearest])
    f, g = floating.exits[rows].long(), golden.exits[rows].long()
    per_sentence = {
        "exit_flips": (f != g).double().mean(0),
        "exit_difference": (f - g).abs().double().mean(0),
        "answer_flips": (floating.answers[rows] != golden.answers[rows]).double().mean(0),
    }
    setting = floating.settings[nearest]
    return {
        "settings_compared": len(rows),
        "in_band": bool(len(in_band)),
        "speedup_macs_float": float(reached[rows].mean()),
        "speedup_macs_golden": float((1 / golden.costs[rows].mean(1)).mean()),
        "score_float": float(judge.score(floating.answers[rows]).mean()),
        "score_golden": float(judge.score(golden.answers[rows]).mean()),
        **{name: float(values.mean()) for name, values in per_sentence.items()},
        "interval": {name: interval(judge.resampled_mean(v)) for name, v in per_sentence.items()},
        "nearest": {
            "settings": setting.as_dict(),
            "speedup_macs_float": float(reached[nearest]),
            "confusion": exit_confusion(
                floating.exits[nearest], golden.exits[nearest], floating.iterations
            ).tolist(),
        },
    }


def exit_confusion(floating: Tensor, golden: Tensor, iterations: int) -> Tensor:
    """Counts of (float exit, golden exit): int64 [iterations, iterations] of exits [N] from 1."""
    index = (floating.long() - 1) * iterations + golden.long() - 1
    return torch.bincount(index, minlength=iterations**2).view(iterations, iterations)


def _ranking(families: dict[str, Any], key: str) -> list[str]:
    """Policies that get near the speedup, fewest answer flips first, then smallest move of the exit."""
    there = [name for name, entry in families.items() if entry[key]["in_band"]]
    return sorted(
        there, key=lambda n: (families[n][key]["answer_flips"], families[n][key]["exit_difference"])
    )
