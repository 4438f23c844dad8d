"""Thresholds are picked on one half of the data and reported on the other: no figure is a fit to itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from golden_model.data.metrics import influences, scores_many
from quant.studies.exits.sweep import Outcomes

TIE = 1e-9
"""Scores and costs this close are equal."""

BAND = 1.25
"""Speedups up to this many times the one asked for count as equal cost."""

CHUNK = 256
"""Settings whose errors are computed at once."""


def half_splits(labels: Tensor, count: int, seed: int) -> Tensor:
    """Random halves with the classes' shares kept: bool [count, N], True for the first half.

    Within a class the two halves differ by at most one sentence, and so they do in all.

    Raises:
        ValueError: ``count`` is below 1, or there are fewer than 2 sentences.
    """
    if count < 1:
        raise ValueError(f"splits {count} is below 1")
    if len(labels) < 2:
        raise ValueError(f"{len(labels)} sentences cannot be halved")
    generator = torch.Generator().manual_seed(seed)
    groups = [(labels == c).nonzero().flatten() for c in labels.unique(sorted=True)]
    halves = torch.zeros((count, len(labels)), dtype=torch.bool)
    for half in halves:
        for start, group in zip(_starts(groups), groups, strict=True):
            order = torch.randperm(len(group), generator=generator)
            half[group[order[start::2]]] = True
    return halves


def _starts(groups: list[Tensor]) -> Iterator[int]:
    """0 or 1 per class: who gets the odd sentence, in turn."""
    start = 0
    for group in groups:
        yield start
        start = (start + len(group)) % 2


@dataclass(frozen=True)
class Judge:
    """Knows the right answers, the halves and the resamples.

    Members:
        labels: int64 [N].
        classes: C.
        metric: Of ``golden_model.data.metrics.METRICS``: what "score" means.
        halves: bool [R, N], from :func:`half_splits`.
        weights: float64 [B, N]: how often each sentence was drawn in each bootstrap resample.
    """

    labels: Tensor
    classes: int
    metric: str
    halves: Tensor
    weights: Tensor

    def score(self, answers: Tensor, weights: Tensor | None = None) -> Tensor:
        """The metric of answers [S, N]: float64 [S], or [S, W] with weights [W, N]."""
        return scores_many(answers.long(), self.labels, self.classes, weights)[self.metric]

    def paired_error(self, answers: Tensor, full: Tensor, weights: Tensor) -> Tensor:
        """Standard error of the score of answers [S, N] minus that of ``full`` [N]: float64 [S, W].

        On the same sentences, of weights [W, N]: sqrt(sum_i w_i·(phi_i - psi_i)²), ``metrics.influences``.
        """
        variance = torch.zeros(len(answers), len(weights), dtype=torch.float64)
        psi = influences(full.long().unsqueeze(0), self.labels, self.classes, weights, self.metric)[0]
        for first in range(0, len(answers), CHUNK):
            part = answers[first : first + CHUNK].long()
            phi = influences(part, self.labels, self.classes, weights, self.metric)
            for label, other in product(range(self.classes), repeat=2):
                alike = (self.labels == label) & (full == other)
                for answer in range(self.classes):
                    count = (part[:, alike] == answer).double() @ weights[:, alike].T
                    moved = phi[:, :, label, answer] - psi[:, label, other]
                    variance[first : first + CHUNK] += count * moved**2
        return variance.sqrt()

    def sides(self) -> Tensor:
        """Both halves of every split as weights: float64 [2R, N], entry 2r + h is half h of split r."""
        return torch.stack([self.halves, ~self.halves], 1).flatten(0, 1).double()

    def resampled_mean(self, values: Tensor) -> Tensor:
        """Mean of per-sentence values [..., N] over every resample: float64 [..., B]."""
        return values @ self.weights.T / self.weights.sum(1)


def resamples(samples: int, count: int, seed: int) -> Tensor:
    """Bootstrap resamples as counts per sentence: float64 [count, samples]; raises ValueError below 1."""
    if count < 1:
        raise ValueError(f"bootstrap {count} is below 1")
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(samples, (count, samples), generator=generator)
    return torch.zeros(count, samples, dtype=torch.float64).scatter_add_(
        1, drawn, torch.ones(1, 1, dtype=torch.float64).expand_as(drawn)
    )


def fastest(scores: Tensor, costs: Tensor, floor: Tensor) -> Tensor:
    """Per column the cheapest setting that scores at least ``floor``; the better one of equally cheap ones.

    Args:
        scores: [S, H], on H halves.
        costs: [S, H].
        floor: [H].

    Returns:
        Rows, int64 [H]; -1 where no setting qualifies.
    """
    return _best(-costs, scores, scores >= floor - TIE)


def best_at(scores: Tensor, costs: Tensor, budget: float) -> Tensor:
    """Per column the best setting that uses a budget: of cost ``budget / BAND`` to ``budget``.

    Where there is none, the best of all cheaper ones; of equal ones the cheaper. Arguments and result are
    those of :func:`fastest`, with a cost in place of the floor. Without the lower end a method of thousands
    of settings would be judged by a far cheaper one that was lucky on the picking half.
    """
    within = costs <= budget + TIE
    near = within & (costs >= budget / BAND - TIE)
    return _best(scores, -costs, torch.where(near.any(0), near, within))


def _best(first: Tensor, second: Tensor, allowed: Tensor) -> Tensor:
    """Per column the allowed row with the largest ``first``, then with the largest ``second``."""
    first = first.where(allowed, -torch.inf)
    tied = allowed & (first >= first.amax(0) - TIE)
    rows = second.where(tied, -torch.inf).argmax(0)
    return rows.where(allowed.any(0), -1)


@dataclass(frozen=True)
class CrossFit:
    """Every sentence of every split, treated by the setting that the half without it picked.

    Members:
        rows: Setting picked on each half, int64 [R, 2].
        exits, answers: uint8 [R, N].
    """

    rows: Tensor
    exits: Tensor
    answers: Tensor


def cross_fit(outcomes: Outcomes, rows: Tensor, halves: Tensor) -> CrossFit | None:
    """Applies picked settings to the other halves.

    Args:
        outcomes: [S, N].
        rows: Of :func:`fastest` or :func:`best_at` on ``Judge.sides``: int64 [2R].
        halves: bool [R, N].

    Returns:
        None where some half had nothing to pick.
    """
    if bool((rows < 0).any()):
        return None
    picked = rows.view(-1, 2)
    used = torch.where(halves, picked[:, 1:], picked[:, :1])  # the first half is reported with the second's
    sentence = torch.arange(halves.shape[1])
    return CrossFit(picked, outcomes.exits[used, sentence], outcomes.answers[used, sentence])
