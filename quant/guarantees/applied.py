"""What every setting of a family does with every sentence: computed once, then drawn from at will."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from golden_model.exits import FixedExitPolicy
from quant.guarantees.families import real_policy
from quant.guarantees.losses import Loss
from quant.guarantees.sentences import NO_CLASS
from quant.studies.exits.rows import Rows
from quant.studies.exits.sweep import exits_of
from quant.studies.exits.table import LogitTable

CHUNK = 128
"""Settings multiplied with the samples at once: bounds the memory."""


@dataclass(frozen=True)
class Applied:
    """S settings of a family and N sentences.

    Members:
        family: Sequences of settings; S in all.
        loss: What the exits can lose.
        losses: int8 [S, N].
        exits: Iteration after which each sentence leaves, from 1: uint8 [S, N].
        iterations: Of the model.
    """

    family: Sequence[Sequence[FixedExitPolicy]]
    loss: Loss
    losses: Tensor
    exits: Tensor
    iterations: int

    @property
    def settings(self) -> list[FixedExitPolicy]:
        """All of them, sequence after sequence."""
        return [policy for sequence in self.family for policy in sequence]

    @property
    def sentences(self) -> int:
        """N."""
        return self.losses.shape[1]

    @cached_property
    def risks(self) -> Tensor:
        """Mean loss of each setting over all sentences: float64 [S]."""
        return self.losses.sum(1, dtype=torch.int64).double() / self.sentences

    @cached_property
    def monotone(self) -> Tensor:
        """The largest loss of each sentence under the setting or a safer one of its sequence: int8 [S, N].

        Full depth, which loses 0, counts as a safer one.
        """
        return torch.cat([self.losses[rows].cummax(0).values.clamp(min=0) for rows in self.rows()])

    def rows(self) -> Iterator[slice]:
        """Of each sequence its settings among all."""
        start = 0
        for sequence in self.family:
            yield slice(start, start + len(sequence))
            start += len(sequence)

    def counts(self, weights: Tensor) -> Tensor:
        """How often samples meet each value of the loss.

        Args:
            weights: How often each sentence is in each of D samples: float32 [N, D], whole numbers.

        Returns:
            int64 [values, S, D].
        """
        found = [_times(self.losses, weights, value) for value in self.loss.values]
        return torch.stack(found).round().long()

    def sums(self, losses: Tensor, weights: Tensor) -> Tensor:
        """Sums of ``losses`` [S, N] over samples: int64 [S, D]."""
        return _times(losses, weights).round().long()

    def mean_exits(self, weights: Tensor) -> Tensor:
        """Mean exit iteration in each sample: float64 [S, D]."""
        return _times(self.exits, weights).double() / weights.sum(0).double()


def _times(matrix: Tensor, weights: Tensor, value: int | None = None) -> Tensor:
    """``matrix @ weights``, or where it is ``value``, a few rows at a time: float32, exact below 2^24."""
    parts = matrix.split(CHUNK)
    return torch.cat([(part if value is None else part == value).float() @ weights for part in parts])


def labels_of(rows: Rows) -> Tensor:
    """The classes of a study's sentences, int64 [N].

    Raises:
        ValueError: a sentence has none.
    """
    for row, label in enumerate(rows.labels, start=1):
        if label == NO_CLASS:
            raise ValueError(f"{rows.source}: sentence {row} has no class")
    return torch.tensor(rows.labels)


def apply(
    table: LogitTable,
    family: Sequence[Sequence[FixedExitPolicy]],
    loss: Loss,
    labels: Tensor | None = None,
) -> Applied:
    """Applies a family to logits of every iteration; for golden in fixed point, bit for bit the hardware.

    Args:
        table: Of the checkpoint.
        family: From ``build_family``.
        loss: What to count.
        labels: The right classes, numbered as the table's answers, [N]; None where there are none.

    Raises:
        ValueError: the loss needs labels.
    """
    settings = [policy for sequence in family for policy in sequence]
    exits = exits_of([table.policy(real_policy(fixed)) for fixed in settings], table.confidence)
    answers = table.labels.to(torch.uint8).gather(0, exits.long() - 1)
    full = table.labels[-1].to(torch.uint8)
    right = None if labels is None else labels.to(torch.uint8)
    return Applied(family, loss, loss(answers, full, right), exits, table.facts.iterations)
