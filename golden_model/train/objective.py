"""What a training run is about; the trainer does the rest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

NamedParameter = tuple[str, nn.Parameter]


@dataclass(frozen=True)
class ParameterGroup:
    """Named parameters with a learning rate and a weight decay of their own."""

    parameters: list[NamedParameter]
    learning_rate: float
    weight_decay: float = 0.0


def layer_groups(
    named: Iterator[NamedParameter], learning_rate: float, weight_decay: float
) -> list[ParameterGroup]:
    """A model's trainable parameters in two groups: matrices decay, biases and LayerNorm do not."""
    decayed: list[NamedParameter] = []
    plain: list[NamedParameter] = []
    for name, parameter in named:
        if parameter.requires_grad:
            (plain if parameter.ndim < 2 or "LayerNorm" in name else decayed).append((name, parameter))
    return [ParameterGroup(decayed, learning_rate, weight_decay), ParameterGroup(plain, learning_rate)]


class Objective(ABC):
    """The parameters a run trains, the loss of a batch, and how the result is measured and stored."""

    lengths: Sequence[int]
    """Tokens of every training sample; batches are made by it."""

    unread: Sequence[str] = ()
    """Options that say nothing to it and may differ on resume."""

    @property
    @abstractmethod
    def module(self) -> nn.Module:
        """What is switched between training and evaluation; its parameters' device is the run's."""

    @property
    @abstractmethod
    def groups(self) -> list[ParameterGroup]:
        """Everything that is trained, each parameter once."""

    @abstractmethod
    def loss(self, index: Sequence[int]) -> torch.Tensor:
        """Loss (scalar) of the samples ``index``; the trainer has set up autocast."""

    @abstractmethod
    def evaluate(self) -> dict[str, Any]:
        """JSON-able measurements of the present weights, in the parameters' own precision."""

    @abstractmethod
    def score(self, entry: dict[str, Any]) -> float:
        """What decides which evaluation was the best, higher is better."""

    @abstractmethod
    def describe(self, entry: dict[str, Any]) -> str:
        """One line about an evaluation for people."""

    @abstractmethod
    def write(self, folder: Path, record: dict[str, Any]) -> None:
        """Writes the present weights as a complete checkpoint folder, every file whole."""

    def account(self, batches: Iterable[tuple[int, int]], steps: int, seconds: float) -> dict[str, Any]:
        """JSON-able facts about the run so far, for the record; none by default.

        Args:
            batches: Rows and width of every batch that was trained on; made when iterated.
            steps: Of the optimiser.
            seconds: Of the clock.
        """
        return {}

    @property
    def device(self) -> torch.device:
        """Where the run computes."""
        return next(self.module.parameters()).device

    def named(self) -> Iterator[NamedParameter]:
        """Every trained parameter."""
        for group in self.groups:
            yield from group.parameters
