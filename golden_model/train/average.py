"""The mean of the weights over the last steps of a run, kept beside the weights that are trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch.optim.swa_utils import get_swa_multi_avg_fn

from golden_model.train.objective import NamedParameter

_take_in = get_swa_multi_avg_fn()


class TailAverage:
    """Equal mean of the trained parameters after every one of the last steps (Izmailov et al. 2018).

    Members:
        share: Of the run's steps, 0..1; 0: there is no average.
        count: Steps taken in so far.
    """

    def __init__(self, named: Iterable[NamedParameter], share: float) -> None:
        """``named``: what is trained; it is read after every step and never moved for good."""
        self.share = share
        self.count = 0
        self._named = list(named) if share else []
        self._mean = [torch.empty_like(parameter).detach() for _, parameter in self._named]

    @property
    def _parameters(self) -> list[torch.Tensor]:
        return [parameter.detach() for _, parameter in self._named]

    def stepped(self, step: int, total: int) -> None:
        """Takes the parameters in, if step ``step`` of ``total``, from 1, is one of the last.

        A run that is planned longer starts the mean anew: what was taken in is no longer of the last steps.
        """
        if not self.share or step <= round((1 - self.share) * total):
            self.count = 0
            return
        if self.count == 0:
            for mean, value in zip(self._mean, self._parameters, strict=True):
                mean.copy_(value)
        else:
            _take_in(self._mean, self._parameters, self.count)
        self.count += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within it the parameters are their mean, where there is one yet; then again what they were."""
        if not self.count:
            yield
            return
        before = [value.clone() for value in self._parameters]
        self._set(self._mean)
        try:
            yield
        finally:
            self._set(before)

    def _set(self, values: list[torch.Tensor]) -> None:
        for own, value in zip(self._parameters, values, strict=True):
            own.copy_(value)

    def tensors(self) -> dict[str, torch.Tensor]:
        """What resuming needs: the mean by the parameters' names; nothing before the first step of it."""
        if not self.count:
            return {}
        return {name: mean for (name, _), mean in zip(self._named, self._mean, strict=True)}

    def restore(self, tensors: dict[str, torch.Tensor], count: int) -> None:
        """Takes up :meth:`tensors` and ``count`` of an earlier part of the run."""
        self.count = count if tensors else 0
        for (name, _), mean in zip(self._named, self._mean, strict=True):
            if name in tensors:
                mean.copy_(tensors[name])
