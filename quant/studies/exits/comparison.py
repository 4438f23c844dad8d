"""Headline, equal cost and curves: what each contender reaches with thresholds picked on the other half."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from golden_model.progress import Bars, silent
from quant.studies.exits.contenders import ALBERT, ELBERT, Contender
from quant.studies.exits.picking import CrossFit, Judge, best_at, cross_fit, fastest

LOSSES = {"loss_0": 0.0, "loss_0_5": 0.5, "loss_1": 1.0, "loss_2": 2.0}
"""Keys of the headline: points that may be lost against the contender's own full depth."""

BUDGETS = {f"{speedup:g}x": speedup for speedup in (2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 16.0)}
"""Keys of the comparison at equal cost: the speedup in multiply-adds that has to be reached."""

CURVE = (
    *(1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0),
    *(16.0, 20.0, 24.0, 32.0),
)
"""Speedups in multiply-adds asked for along a curve."""

INTERVAL = (0.025, 0.975)
POINTS = 100
"""Points per unit of score."""


def interval(values: Tensor) -> list[float]:
    """The central 95 % of values [n]."""
    return torch.quantile(values, torch.tensor(INTERVAL, dtype=values.dtype)).tolist()


def cost_keys(macs: float, mean_exit: float, iterations: int) -> dict[str, float]:
    """What every entry says of its cost: multiply-adds as a share of plain ALBERT's, then iterations.

    Args:
        macs: Mean share of the multiply-adds.
        mean_exit: Mean iteration of the exit, from 1.
        iterations: L of the full model.
    """
    return {
        "cost_macs": macs,
        "speedup_macs": 1 / macs,
        "cost_iterations": mean_exit / iterations,
        "speedup_iterations": iterations / mean_exit,
        "mean_exit": mean_exit,
    }


@dataclass(frozen=True)
class Runner:
    """A contender before the judge: its settings' scores on every half, computed once."""

    contender: Contender
    judge: Judge
    caution: float = 0.0
    """Standard errors that a loss must stay below what may be lost; see :meth:`at_loss`."""
    known: dict[tuple[int, ...], Result | None] = field(default_factory=dict)
    """Results by the rows picked: different budgets often pick the same."""

    @cached_property
    def scores(self) -> Tensor:
        """Score of every setting on every half: float64 [S, 2R]."""
        return self.judge.score(self.contender.outcomes.answers, self.judge.sides())

    @cached_property
    def costs(self) -> Tensor:
        """Cost in multiply-adds of every setting on every half: float64 [S, 2R]."""
        sides = self.judge.sides()
        return self.contender.outcomes.costs @ (sides / sides.sum(1, keepdim=True)).T

    @cached_property
    def errors(self) -> Tensor:
        """Standard error of what every setting loses against full depth, on every half: float64 [S, 2R]."""
        assert self.contender.full is not None
        return self.judge.paired_error(
            self.contender.outcomes.answers, self.contender.full, self.judge.sides()
        )

    def at_loss(self, points: float) -> Result | None:
        """Fastest at no more than ``points`` lost on the picking half; None without full depth.

        The fastest of thousands of settings that seem to lose little was lucky on the picking half. So what
        may be lost has to hold the loss and ``caution`` standard errors of it: with 1 the one-standard-error
        rule (L. Breiman et al., Classification and Regression Trees, 1984).
        """
        full = self.contender.full
        if full is None:
            return None
        floor = self.judge.score(full.unsqueeze(0), self.judge.sides())[0] - points / POINTS
        return self._result(fastest(self.scores - self.caution * self.errors, self.costs, floor))

    def at_speedup(self, speedup: float) -> Result | None:
        """Best at ``speedup`` (``picking.best_at``); None where no setting is that fast."""
        return self._result(best_at(self.scores, self.costs, 1 / speedup))

    def _result(self, rows: Tensor) -> Result | None:
        key = tuple(rows.tolist())
        if key not in self.known:
            fit = cross_fit(self.contender.outcomes, rows, self.judge.halves)
            self.known[key] = None if fit is None else Result(self.contender, self.judge, fit)
        return self.known[key]


@dataclass(frozen=True)
class Reference:
    """Answers that others' scores are losses against, scored once.

    Members:
        answers: [N].
        judge: Scores them.
    """

    answers: Tensor
    judge: Judge

    @cached_property
    def score(self) -> float:
        """On all sentences."""
        return float(self.judge.score(self.answers.unsqueeze(0))[0])

    @cached_property
    def resampled(self) -> Tensor:
        """Per bootstrap resample of the sentences: float64 [B]."""
        return self.judge.score(self.answers.unsqueeze(0), self.judge.weights)[0]


@dataclass(frozen=True)
class Result:
    """What a contender reached, every sentence treated by a setting that was picked without it."""

    contender: Contender
    judge: Judge
    fit: CrossFit

    @cached_property
    def scores(self) -> Tensor:
        """Score on all sentences, per split: float64 [R]."""
        return self.judge.score(self.fit.answers)

    @cached_property
    def costs(self) -> Tensor:
        """Share of the multiply-adds: float64 [R, N]."""
        return self.contender.outcomes.macs(self.fit.exits)

    @cached_property
    def mean_cost(self) -> float:
        """Of all sentences and splits."""
        return float(self.costs.mean())

    @property
    def reached(self) -> dict[str, float]:
        """:func:`cost_keys`."""
        exits = float(self.fit.exits.double().mean())
        return cost_keys(self.mean_cost, exits, self.contender.outcomes.iterations)

    @cached_property
    def resampled_scores(self) -> Tensor:
        """Mean score over the splits, per bootstrap resample of the sentences: float64 [B]."""
        return self.judge.score(self.fit.answers, self.judge.weights).mean(0)

    @cached_property
    def resampled_costs(self) -> Tensor:
        """The same for the cost: float64 [B]."""
        return self.judge.resampled_mean(self.costs.mean(0))

    def points_lost(self, reference: Reference) -> float:
        """Mean over the splits."""
        return POINTS * (reference.score - float(self.scores.mean()))

    def as_dict(self, references: dict[str, Reference | None]) -> dict[str, Any]:
        """For JSON: means over the splits, intervals over splits and over sentences, and what was picked.

        Args:
            references: Key of the points lost to what they are lost against.
        """
        outcomes, exits = self.contender.outcomes, self.fit.exits.double()
        entry: dict[str, Any] = {"accuracy": float(self.scores.mean()), **self.reached}
        over_splits = {
            "accuracy": interval(self.scores),
            "speedup_macs": interval(1 / self.costs.mean(1)),
            "speedup_iterations": interval(outcomes.iterations / exits.mean(1)),
        }
        over_sentences = {
            "accuracy": interval(self.resampled_scores),
            "speedup_macs": interval(1 / self.resampled_costs),
            "speedup_iterations": interval(outcomes.iterations / self.judge.resampled_mean(exits.mean(0))),
        }
        for key, reference in references.items():
            if reference is None:
                entry[key] = None
                continue
            entry[key] = self.points_lost(reference)
            over_splits[key] = interval(POINTS * (reference.score - self.scores))
            over_sentences[key] = interval(POINTS * (reference.resampled - self.resampled_scores))
        left = torch.bincount(self.fit.exits.flatten().long(), minlength=outcomes.iterations + 1)[1:]
        return {
            **entry,
            "interval": over_splits,
            "interval_sentences": over_sentences,
            "exits": (left.double() / left.sum()).tolist(),
            "picked": self._picked(),
        }

    def _picked(self, most: int = 3) -> list[dict[str, Any]]:
        """The settings picked most often, with their share of the halves."""
        counts = Counter(self.fit.rows.flatten().tolist())
        settings = self.contender.outcomes.settings
        return [
            {
                "variant": settings[row].variant,
                "settings": settings[row].as_dict(),
                "share": count / self.fit.rows.numel(),
            }
            for row, count in counts.most_common(most)
        ]


def compare(
    contenders: Sequence[Contender], judge: Judge, caution: float, bars: Bars = silent
) -> dict[str, Any]:
    """``headline``, ``at_cost`` and ``curves`` of a study.

    Args:
        contenders: From ``contenders.find_contenders``; the first is ELBERT.
        judge: Knows answers, halves and resamples.
        caution: Of the headline, as :class:`Runner`.
        bars: Shows how far it is.
    """
    runners = [Runner(contender, judge, caution) for contender in contenders]
    full = {c.name: None if c.full is None else Reference(c.full, judge) for c in contenders}

    def lost(name: str) -> dict[str, Reference | None]:
        return {
            "points_lost": full[name],
            "points_lost_elbert": full[ELBERT],
            "points_lost_albert": full.get(ALBERT),
        }

    headline: dict[str, Any] = {key: {} for key in LOSSES}
    at_cost: dict[str, Any] = {key: {} for key in BUDGETS}
    curves: dict[str, Any] = {}
    with bars("thresholds picked", len(runners)) as progress:
        elbert = {key: runners[0].at_speedup(speedup) for key, speedup in BUDGETS.items()}
        for runner in runners:
            name = runner.contender.name
            for key, points in LOSSES.items():
                result = runner.at_loss(points)
                headline[key][name] = None if result is None else result.as_dict(lost(name))
            for key, speedup in BUDGETS.items():
                result = runner.at_speedup(speedup)
                at_cost[key][name] = (
                    None
                    if result is None
                    else result.as_dict(lost(name)) | {"difference": _difference(elbert[key], result)}
                )
            curves[name] = _curve(runner, full[name])
            progress(1)
    return {"headline": headline, "at_cost": at_cost, "curves": curves}


def _difference(elbert: Result | None, other: Result) -> dict[str, Any] | None:
    """ELBERT minus the other in points, on the same sentences, with its paired bootstrap interval."""
    if elbert is None or elbert.contender is other.contender:
        return None
    resampled = POINTS * (elbert.resampled_scores - other.resampled_scores)
    return {
        "points": POINTS * float(elbert.scores.mean() - other.scores.mean()),
        "interval": interval(resampled),
        "cost_macs": elbert.mean_cost - other.mean_cost,
    }


def _curve(runner: Runner, full: Reference | None) -> list[dict[str, Any]]:
    """Score and cost along budgets, as far as the contender gets."""
    points = []
    for speedup in CURVE:
        result = runner.at_speedup(speedup)
        if result is None:
            break
        points.append(
            {
                "asked": speedup,
                "accuracy": float(result.scores.mean()),
                **result.reached,
                "points_lost": None if full is None else result.points_lost(full),
                "interval": interval(result.resampled_scores),
            }
        )
    return points
