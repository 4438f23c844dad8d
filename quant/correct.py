"""Bias correction: rounding and saturation shift means; offsets per iteration and channel shift them back.

The integer model runs on the calibration sentences as one batch. Whenever it comes to a matmul or LayerNorm
of an iteration, that one's offset (beta) is moved so that every channel's mean is the float model's; what
follows already sees the corrected values (empirical bias correction, Nagel et al. 2019, section 4.2, here
applied to every iteration of the shared layer).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from golden_model.integer.checkpoint import IntegerCheckpoint
from golden_model.integer.golden import open_golden
from golden_model.integer.model import GoldenModel, Layout, Sentence
from golden_model.numerics import HIDDEN_MAX, OFFSET_LIMIT

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
    model = _correcting(type(open_golden(copy)))(copy)
    model.means = means
    model.run(sentences, batch_tokens=1 << 30, answer_first=False)
    return replace(checkpoint, tensors=tensors)  # validates


def _correcting(form: type[GoldenModel]) -> Any:
    """A form of the golden model that corrects every parameter just before it is used.

    Its steps are generators: when one hands out a tensor, nothing that reads it has been computed yet.
    """

    class Correcting(form):  # type: ignore[valid-type, misc]
        """Stores offsets and betas in the checkpoint, whose rows the compiled form computes with."""

        means: Means

        def embed(self, ids: Tensor, types: Tensor, positions: Tensor) -> Iterator[tuple[str, Tensor]]:
            for name, tensor in super().embed(ids, types, positions):
                if name == "embedding.sum":
                    self._correct_norm(
                        "embedding.norm", 1, tensor, self.contract.limit("embedding.normalized")
                    )
                elif name == "embedding.normalized":
                    self._correct("embedding.projection", 1, tensor)
                yield name, tensor

        def keys_values(self, iteration: int, hidden: Tensor) -> Iterator[tuple[str, Tensor]]:
            operand = self.operand("hidden", hidden)
            for part in ("key", "value", "query"):
                self._correct(f"attention.{part}", iteration, operand)
            yield from super().keys_values(iteration, hidden)

        def rows(
            self,
            iteration: int,
            hidden: Tensor,
            chosen: Layout,
            key: Tensor,
            value: Tensor,
            layout: Layout,
        ) -> Iterator[tuple[str, Tensor]]:
            for name, tensor in super().rows(iteration, hidden, chosen, key, value, layout):
                if name == "attention.context":
                    self._correct("attention.output", iteration, tensor)
                elif name == "attention.hidden":
                    self._correct("ffn.intermediate", iteration, self.operand(name, tensor))
                elif name == "ffn.activation":
                    self._correct("ffn.output", iteration, tensor)
                elif name in ("attention.residual", "ffn.residual"):
                    self._correct_norm(name.replace("residual", "norm"), iteration, tensor, HIDDEN_MAX)
                yield name, tensor

        def classify(self, iteration: int, first: Tensor) -> Iterator[tuple[str, Tensor]]:
            self._correct("pooler", iteration, self.operand("pooler.hidden", first))
            for name, tensor in super().classify(iteration, first):
                if name == "pooler.output":
                    self._correct("classifier", iteration, tensor)
                yield name, tensor

        def _store(self, name: str, row: int, values: Tensor) -> None:
            self.parameters[name][row] = values
            self.checkpoint.tensors[name][row] = values.to(self.checkpoint.tensors[name].dtype)

        def _correct(self, name: str, iteration: int, x: Tensor) -> None:
            """The offset of a matmul that is about to read ``x`` [rows, in]."""
            wanted, row, p = self.means[name, iteration], iteration - 1, self.parameters
            multiplier = p[f"{name}.multiplier"][row].double()
            usable = multiplier > 0
            factor = multiplier.clamp(min=1) * torch.exp2(-p[f"{name}.shift"][row].double())
            # the mean of all sums of products is the sum of products with the mean
            sums = p[f"{name}.weight"].long() @ x.sum(0, dtype=torch.int64)
            offset = (wanted / factor - sums.double() / len(x)).round().long()
            offset = offset.clamp(1 - OFFSET_LIMIT, OFFSET_LIMIT - 1)
            self._store(f"{name}.offset", row, torch.where(usable, offset, p[f"{name}.offset"][row]))

        def _correct_norm(self, name: str, iteration: int, y: Tensor, limit: int) -> None:
            """The beta of a LayerNorm that is about to read ``y`` [rows, features]."""
            wanted, row, p = self.means[name, iteration], iteration - 1, self.parameters
            missing = wanted - self.norm(name, iteration, y.long(), limit).double().mean(0)
            beta = p[f"{name}.beta"][row] + (missing * torch.exp2(p[f"{name}.shift"][row].double())).round()
            self._store(f"{name}.beta", row, beta.clamp(-BETA_LIMIT, BETA_LIMIT).long())

    return Correcting
