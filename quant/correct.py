"""Bias correction: rounding and saturation shift means; offsets per iteration and channel shift them back.

The integer model runs on the calibration sentences as one batch. Whenever it comes to a matmul or LayerNorm
of an iteration, that one's offset (beta) is moved so that every channel's mean is the float model's; what
follows already sees the corrected values (empirical bias correction, Nagel et al. 2019, section 4.2, here
applied to every iteration of the shared layer).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from golden_model.integer.checkpoint import IntegerCheckpoint
from golden_model.integer.model import GoldenModel, Sentence
from golden_model.integer.ops.matmul import matmul
from golden_model.numerics import OFFSET_LIMIT

BETA_LIMIT = (1 << 31) - 1

Means = dict[tuple[str, int], Tensor]
"""Wanted mean of every channel, in output LSBs: (matmul or LayerNorm, iteration) to float64 [channels]."""


def correct_bias(
    checkpoint: IntegerCheckpoint, means: Means, sentences: Sequence[Sentence]
) -> IntegerCheckpoint:
    """A copy of the checkpoint whose offsets and betas reproduce ``means`` on ``sentences``.

    Channels without a weight scale (multiplier 0) stay as they are.
    """
    tensors = {name: tensor.clone() for name, tensor in checkpoint.tensors.items()}
    copy = replace(checkpoint, tensors=tensors)
    _Correcting(copy, means).run(sentences, batch_tokens=1 << 30, answer_first=False)
    return replace(checkpoint, tensors=tensors)  # validates


class _Correcting(GoldenModel):
    """The golden model that corrects the parameters it is about to use."""

    def __init__(self, checkpoint: IntegerCheckpoint, means: Means) -> None:
        super().__init__(checkpoint)
        self.means = means

    def _store(self, name: str, row: int, values: Tensor) -> None:
        self.parameters[name][row] = values
        self.checkpoint.tensors[name][row] = values.to(self.checkpoint.tensors[name].dtype)

    def linear(self, name: str, iteration: int, x: Tensor, low: int, high: int) -> Tensor:
        wanted = self.means.get((name, iteration))
        if wanted is not None:
            row, p = iteration - 1, self.parameters
            multiplier = p[f"{name}.multiplier"][row].double()
            usable = multiplier > 0
            factor = multiplier.clamp(min=1) * torch.exp2(-p[f"{name}.shift"][row].double())
            mean = matmul(x, p[f"{name}.weight"]).double().mean(0)
            offset = (wanted / factor - mean).round().clamp(1 - OFFSET_LIMIT, OFFSET_LIMIT - 1).long()
            self._store(f"{name}.offset", row, torch.where(usable, offset, p[f"{name}.offset"][row]))
        return super().linear(name, iteration, x, low, high)

    def norm(self, name: str, iteration: int, y: Tensor, limit: int) -> Tensor:
        wanted = self.means.get((name, iteration))
        if wanted is not None:
            row, p = iteration - 1, self.parameters
            missing = wanted - super().norm(name, iteration, y, limit).double().mean(0)
            beta = p[f"{name}.beta"][row] + (missing * torch.exp2(p[f"{name}.shift"][row].double())).round()
            self._store(f"{name}.beta", row, beta.clamp(-BETA_LIMIT, BETA_LIMIT).long())
        return super().norm(name, iteration, y, limit)
