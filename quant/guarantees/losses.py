"""What an early exit can lose against full depth, sentence by sentence."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import torch
from torch import Tensor


class LossName(enum.StrEnum):
    """Losses by name."""

    disagreement = enum.auto()
    accuracy = enum.auto()
    difference = enum.auto()


@dataclass(frozen=True)
class Loss:
    """A loss of a sentence that leaves early.

    Members:
        name: Of it.
        values: All it can be, rising; whole numbers, 0 (nothing lost) among them.
        meaning: Of its mean over new sentences, the risk, in words.
        needs_labels: Whether it asks for the right class.
    """

    name: LossName
    values: tuple[int, ...]
    meaning: str
    needs_labels: bool

    @property
    def span(self) -> int:
        """Of the values, from the least to the largest."""
        return self.values[-1] - self.values[0]

    def __call__(self, answers: Tensor, full: Tensor, labels: Tensor | None = None) -> Tensor:
        """The loss of every sentence.

        Args:
            answers: Class at the exit, [..., N].
            full: Class at full depth, [N].
            labels: The right class, [N]; None where the loss does not ask for it.

        Returns:
            int8 [..., N].

        Raises:
            ValueError: there are no labels, and the loss asks for them.
        """
        if not self.needs_labels:
            return (answers != full).to(torch.int8)
        if labels is None:
            raise ValueError(f"loss {self.name} needs the right class of every sentence")
        lost = (full == labels).to(torch.int8) - (answers == labels).to(torch.int8)
        return lost.clamp(min=self.values[0])


LOSSES = {
    loss.name: loss
    for loss in (
        Loss(LossName.disagreement, (0, 1), "disagreement with full depth", False),
        Loss(LossName.accuracy, (0, 1), "right at full depth and wrong at the exit", True),
        Loss(LossName.difference, (-1, 0, 1), "accuracy of full depth minus that of the exits", True),
    )
}
"""``accuracy`` counts what is lost alone, so that its mean is never below the accuracy lost;
``difference`` sets what is won against it (-1) and is the accuracy lost itself."""


def find_loss(name: str) -> Loss:
    """The loss of that name; raises ValueError naming those there are."""
    if name not in LossName.__members__:
        raise ValueError(f"loss {name!r} is not one of {', '.join(LossName)}")
    return LOSSES[LossName[name]]
