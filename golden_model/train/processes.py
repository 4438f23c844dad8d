"""The processes that train together, one per GPU: ``accelerate launch`` or ``torchrun`` starts them.

Each takes its share of every batch; gradients are summed so that the step is that of one process alone, whose
loss is the mean over the batch. (A loss that is no mean over samples, as the error of the hidden states, is
averaged over the shares.) Every process evaluates, only the main one writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import torch
from torch import nn

from golden_model.devices import process_count, shared_state
from golden_model.locks import held


def is_main() -> bool:
    """Whether this process is the one that writes and prints."""
    return int(os.environ.get("RANK", "0")) == 0


def written_alone(folder: Path) -> AbstractContextManager[None]:
    """Within it no other run can have the folder: the main process holds it (``locks.held``) for all of this
    one's.
    """
    return held(folder) if is_main() else nullcontext()


@contextmanager
def leaving() -> Iterator[None]:
    """At its end the process leaves the others, if :func:`shared_state` had it join them."""
    try:
        yield
    finally:
        if process_count() > 1 and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


class Processes:
    """This process among those of the run.

    Members:
        count: How many there are.
        index: This one's number, from 0.
    """

    def __init__(self, device: torch.device) -> None:
        """Joins the launched processes, if any, to compute on ``device``."""
        self.device = device
        self.count, self.index = process_count(), 0
        if self.count > 1:
            self._state = shared_state(device.type == "cpu")
            self.index = self._state.process_index

    def share(self, batch: Sequence[int]) -> list[int]:
        """This process's samples of a batch: every ``count``-th, so that shares are alike in length."""
        return list(batch[self.index :: self.count])

    def total(self, value: torch.Tensor) -> torch.Tensor:
        """Sum over the processes of a tensor of one shape."""
        if self.count == 1:
            return value
        from accelerate.utils import reduce

        found: torch.Tensor = reduce(value, "sum")
        return found

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Every gradient becomes the sum of the processes' own; None counts as 0."""
        if self.count == 1:
            return
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        own = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
        flat = self.total(torch.cat([gradient.flatten() for gradient in own]))
        for parameter, part in zip(trained, flat.split([p.numel() for p in trained]), strict=True):
            parameter.grad = part.view_as(parameter)

    def wait(self) -> None:
        """Returns when every process is here."""
        if self.count > 1:
            self._state.wait_for_everyone()
