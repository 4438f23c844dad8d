"""Scores of a classifier: of one vector of answers, of every iteration, or of many vectors at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import torch


@dataclass(frozen=True)
class Scores:
    """Scores of one set of answers, all fractions (mcc in -1..1)."""

    accuracy: float
    f1: float
    """F1 of class 1 for two classes, mean over the classes (macro) for more."""
    mcc: float
    """Matthews correlation; 0 when either side is constant."""

    def as_dict(self) -> dict[str, float]:
        """Plain dictionary for JSON."""
        return asdict(self)

    def only(self, names: Sequence[str]) -> dict[str, float]:
        """The scores of these names (a task's ``metrics``), in that order; raises ValueError for another."""
        unknown = [name for name in names if name not in METRICS]
        if unknown:
            raise ValueError(f"metric {unknown[0]!r} is not one of {', '.join(METRICS)}")
        return {name: getattr(self, name) for name in names}


METRICS = tuple(field.name for field in fields(Scores))
"""Names of the scores."""


def confusion(answers: torch.Tensor, labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Counts, int64 [classes, classes], rows by label and columns by answer.

    Raises:
        ValueError: when the lengths differ, nothing is given, or a class is out of range.
    """
    if answers.shape != labels.shape or answers.ndim != 1 or not len(labels):
        raise ValueError(f"answers {tuple(answers.shape)} and labels {tuple(labels.shape)} do not pair up")
    _check_classes("answer", answers, classes)
    _check_classes("label", labels, classes)
    return torch.bincount(labels * classes + answers, minlength=classes * classes).view(classes, classes)


def scores(answers: torch.Tensor, labels: torch.Tensor, classes: int) -> Scores:
    """Accuracy, F1 and Matthews correlation of int64 [samples] answers; raises like :func:`confusion`."""
    counts = confusion(answers, labels, classes).double()
    found = _from_counts(counts.diagonal(), counts.sum(1), counts.sum(0))
    return Scores(**{name: float(value) for name, value in found.items()})


def scores_many(
    predictions: torch.Tensor, labels: torch.Tensor, classes: int, weights: torch.Tensor | None = None
) -> dict[str, torch.Tensor]:
    """:func:`scores` of many vectors of answers to the same samples, by a few matrix products.

    Args:
        predictions: int64 [S, N], S vectors of answers.
        labels: int64 [N].
        classes: Number of classes.
        weights: [B, N], how often each sample counts in each of B resamples of a bootstrap; None: once.

    Returns:
        Per name of :data:`METRICS` float64 [S], or [S, B] with weights.

    Raises:
        ValueError: when shapes do not fit, nothing is given, a class is out of range, or a resample has a
            weight below 0 or no weight at all.
    """
    found = _from_counts(*_counts(predictions, labels, classes, weights))
    if weights is None:
        return {name: value.squeeze(-1) for name, value in found.items()}
    return found


def influences(
    predictions: torch.Tensor, labels: torch.Tensor, classes: int, weights: torch.Tensor, metric: str
) -> torch.Tensor:
    """What a sample more would change: the metric's derivative by the weight of a sample.

    Errors follow from it: the variance of a metric is about sum_i w_i·phi_i² over the samples, that of the
    difference of two metrics sum_i w_i·(phi_i - psi_i)² (infinitesimal jackknife; B. Efron, The Jackknife,
    the Bootstrap and Other Resampling Plans, 1982). Of accuracy this is the usual p·(1 - p)/n.

    Args:
        predictions, labels, classes, weights: As :func:`scores_many`.
        metric: One of :data:`METRICS`.

    Returns:
        phi by label and answer of the sample, float64 [S, B, classes, classes]; 0 where a score does not move
        because one side is constant.

    Raises:
        ValueError: as :func:`scores_many`.
    """
    counts = [
        part.expand(len(predictions), *part.shape[-2:])
        for part in _counts(predictions, labels, classes, weights)
    ]
    with torch.enable_grad():
        counts = [part.clone().requires_grad_() for part in counts]
        total = _from_counts(*counts)[metric].sum()
        right, by_label, by_answer = (
            part.nan_to_num(0.0) for part in torch.autograd.grad(total, counts, materialize_grads=True)
        )
    return torch.diag_embed(right) + by_label.unsqueeze(-1) + by_answer.unsqueeze(-2)


def _counts(
    predictions: torch.Tensor, labels: torch.Tensor, classes: int, weights: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Per class the right answers [S, B, classes], the labels [B, classes] and the answers [S, B, classes].

    Arguments and errors are those of :func:`scores_many`; without weights B is 1.
    """
    if predictions.ndim != 2 or labels.ndim != 1 or predictions.shape[1] != len(labels):
        raise ValueError(
            f"predictions {tuple(predictions.shape)} and labels {tuple(labels.shape)} are not [S, N] and [N]"
        )
    if not predictions.numel():
        raise ValueError(f"predictions {tuple(predictions.shape)} hold nothing to score")
    _check_classes("prediction", predictions, classes)
    _check_classes("label", labels, classes)
    if weights is None:
        counted = torch.ones(1, len(labels), dtype=torch.float64)
    elif weights.ndim != 2 or weights.shape[1] != len(labels):
        raise ValueError(f"weights {tuple(weights.shape)} are not [B, {len(labels)}]")
    else:
        counted = weights.double()
        if not bool((counted >= 0).all()) or not bool((counted.sum(1) > 0).all()):
            raise ValueError("a resample has a weight below 0, or none above it")
    right, by_label, by_answer = [], [], []
    for each in range(classes):
        answered = (predictions == each).double()
        mine = labels == each
        right.append(answered[:, mine] @ counted[:, mine].T)
        by_answer.append(answered @ counted.T)
        by_label.append(counted[:, mine].sum(1))
    return torch.stack(right, -1), torch.stack(by_label, -1), torch.stack(by_answer, -1)


def _check_classes(name: str, values: torch.Tensor, classes: int) -> None:
    if not 0 <= int(values.min()) <= int(values.max()) < classes:
        raise ValueError(f"a {name} is outside 0..{classes - 1}")


def _from_counts(
    right: torch.Tensor, by_label: torch.Tensor, by_answer: torch.Tensor
) -> dict[str, torch.Tensor]:
    """The scores, float64 [...], from the counts per class [..., classes]: right answers, labels, answers."""
    total = by_label.sum(-1)
    both = by_label + by_answer
    f1 = 2 * right / both.where(both > 0, 1)
    spread_answer = total**2 - (by_answer**2).sum(-1)
    spread_label = total**2 - (by_label**2).sum(-1)
    together = right.sum(-1) * total - (by_label * by_answer).sum(-1)
    norm = (spread_answer * spread_label).clamp(min=0).sqrt()
    return {
        "accuracy": right.sum(-1) / total,
        "f1": f1[..., 1] if right.shape[-1] == 2 else f1.mean(-1),
        "mcc": torch.where(norm > 0, together / norm.where(norm > 0, 1), 0),
    }


def iteration_scores(logits: torch.Tensor, labels: torch.Tensor) -> list[Scores]:
    """Scores of every iteration.

    Args:
        logits: [iterations, samples, classes].
        labels: int64 [samples].
    """
    classes = logits.shape[-1]
    return [scores(each.argmax(dim=-1), labels, classes) for each in logits]
