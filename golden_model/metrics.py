"""Scores of a classifier, per iteration."""

from __future__ import annotations

from dataclasses import asdict, dataclass

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


def confusion(answers: torch.Tensor, labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Counts, int64 [classes, classes], rows by label and columns by answer.

    Raises:
        ValueError: when the lengths differ, nothing is given, or a class is out of range.
    """
    if answers.shape != labels.shape or answers.ndim != 1 or not len(labels):
        raise ValueError(f"answers {tuple(answers.shape)} and labels {tuple(labels.shape)} do not pair up")
    for name, values in (("answer", answers), ("label", labels)):
        if not 0 <= int(values.min()) <= int(values.max()) < classes:
            raise ValueError(f"a {name} is outside 0..{classes - 1}")
    return torch.bincount(labels * classes + answers, minlength=classes * classes).view(classes, classes)


def scores(answers: torch.Tensor, labels: torch.Tensor, classes: int) -> Scores:
    """Accuracy, F1 and Matthews correlation of int64 [samples] answers; raises like :func:`confusion`."""
    counts = confusion(answers, labels, classes).double()
    total, right = counts.sum(), counts.diagonal()
    by_label, by_answer = counts.sum(1), counts.sum(0)
    f1 = 2 * right / (by_label + by_answer).clamp(min=1)
    spread_answer = total**2 - (by_answer**2).sum()
    spread_label = total**2 - (by_label**2).sum()
    together = right.sum() * total - (by_label * by_answer).sum()
    norm = (spread_answer * spread_label).sqrt()
    return Scores(
        accuracy=float(right.sum() / total),
        f1=float(f1[1] if classes == 2 else f1.mean()),
        mcc=float(together / norm) if norm > 0 else 0.0,
    )


def iteration_scores(logits: torch.Tensor, labels: torch.Tensor) -> list[Scores]:
    """Scores of every iteration.

    Args:
        logits: [iterations, samples, classes].
        labels: int64 [samples].
    """
    classes = logits.shape[-1]
    return [scores(each.argmax(dim=-1), labels, classes) for each in logits]
