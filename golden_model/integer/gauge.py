"""Which ends of its ranges a run of the golden model reaches: what saturated, what was halved, what tied.

A test that compares integers says nothing of a clamp that no integer touched. Here the golden model runs, and
every rule with a bound counts the elements that came to it from beyond.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from golden_model.integer.checkpoint import IntegerCheckpoint
from golden_model.integer.model import GoldenModel, Layout, Sentence, signed_range
from golden_model.integer.ops.layernorm import normalize, statistics
from golden_model.integer.ops.matmul import matmul
from golden_model.integer.ops.softmax import row_scale
from golden_model.numerics import (
    ACCUMULATOR_BITS,
    EXP_INDEX_BITS,
    RESIDUAL_BITS,
    SCORE_BITS,
)


def reached(checkpoint: IntegerCheckpoint, sentences: Sequence[Sentence]) -> Counter[str]:
    """Elements per rail, all rows of all iterations, without early exit; a rail not reached has no entry.

    Names are a named tensor's (a matmul's or LayerNorm's where it has none of its own) and

    - ``.low``, ``.high``: it was below or above its range before it saturated;
    - ``.half``: the rescaled sum lay exactly between two integers;
    - ``.wide``: accumulator + offset needs the 29 bits of the contract (28 do not hold it);
    - ``.flat``: a row whose variance is 0;
    - ``.operand``: what a matmul reads of a hidden state was beyond its range before it saturated;
    - ``.one``, ``.far``, ``.equal``: of the exponentials: a row of one key, a distance beyond the table, a
      row of equal scores;
    - ``.tie``: of the logits: the largest is there twice.
    """
    gauge = _Gauge(checkpoint)
    gauge.run(sentences, answer_first=False)
    return +gauge.counts


class _Gauge(GoldenModel):
    """The golden model that looks at every value before it is saturated."""

    def __init__(self, checkpoint: IntegerCheckpoint) -> None:
        super().__init__(checkpoint)
        self.counts: Counter[str] = Counter()
        self.updates: dict[str, Tensor] = {}

    def _ends(self, name: str, value: Tensor, low: int, high: int) -> None:
        self.counts[f"{name}.low"] += int((value < low).sum())
        self.counts[f"{name}.high"] += int((value > high).sum())

    def _rescaled(
        self, name: str, total: Tensor, multiplier: Tensor, shift: Tensor, low: int, high: int
    ) -> None:
        product = total * multiplier
        half = torch.where(shift > 0, torch.ones_like(shift) << (shift - 1).clamp(min=0), 0)
        below = product & ((torch.ones_like(shift) << shift) - 1)
        self.counts[f"{name}.half"] += int(((shift > 0) & (below == half)).sum())
        self._ends(name, (product + half) >> shift, low, high)

    def linear(self, name: str, iteration: int, x: Tensor, low: int, high: int) -> Tensor:
        row = iteration - 1
        offset, multiplier, shift = (
            self.parameters[f"{name}.{field}"][row] for field in ("offset", "multiplier", "shift")
        )
        total = matmul(x, self.parameters[f"{name}.weight"]).to(torch.int64) + offset
        lowest, highest = signed_range(ACCUMULATOR_BITS)
        self.counts[f"{name}.wide"] += int(((total < lowest) | (total > highest)).sum())
        self._rescaled(name, total, multiplier, shift, low, high)
        self.updates[name] = super().linear(name, iteration, x, low, high)
        return self.updates[name]

    def operand(self, name: str, hidden: Tensor) -> Tensor:
        shift = self.contract.hidden_shift(name)
        read, limit = (hidden + (1 << (shift - 1))) >> shift, self.contract.limit(name)
        self.counts[f"{name}.operand"] += int((read.abs() > limit).sum())
        return super().operand(name, hidden)

    def scale_scores(self, iteration: int, accumulator: Tensor) -> Tensor:
        row = iteration - 1
        multiplier = self.parameters["attention.score.multiplier"][row]
        shift = self.parameters["attention.score.shift"][row]
        self._rescaled(
            "attention.scores", accumulator.to(torch.int64), multiplier, shift, *signed_range(SCORE_BITS)
        )
        return super().scale_scores(iteration, accumulator)

    def scale_context(self, iteration: int, accumulator: Tensor, exp_sum: Tensor) -> Tensor:
        row = iteration - 1
        limit = self.contract.limit("attention.context")
        multiplier, shift = row_scale(
            exp_sum.clamp(min=1),
            int(self.parameters["attention.context.multiplier"][row]),
            int(self.parameters["attention.context.shift"][row]),
        )
        self._rescaled(
            "attention.context",
            accumulator.to(torch.int64),
            multiplier.unsqueeze(-1),
            shift.unsqueeze(-1),
            -limit,
            limit,
        )
        return super().scale_context(iteration, accumulator, exp_sum)

    def norm(self, name: str, iteration: int, y: Tensor, limit: int) -> Tensor:
        s1, s2, _ = statistics(y)
        self.counts[f"{name}.flat"] += int((y.shape[-1] * s2 == s1 * s1).sum())
        row = iteration - 1
        gamma, beta, shift = (self.parameters[f"{name}.{field}"][row] for field in ("gamma", "beta", "shift"))
        unit = normalize(y, self.contract.norm_fraction_bits, self.contract.rsqrt_bits)
        scaled = unit * gamma + beta
        self._rescaled(name, scaled, torch.ones_like(shift), shift, -limit, limit)
        return super().norm(name, iteration, y, limit)

    def attend(
        self, iteration: int, hidden: Tensor, chosen: Layout, key: Tensor, value: Tensor, layout: Layout
    ) -> Iterator[tuple[str, Tensor]]:
        for name, tensor in super().attend(iteration, hidden, chosen, key, value, layout):
            if name == "attention.scores":
                self._rows_of_scores(tensor, chosen, layout)
            yield name, tensor

    def _rows_of_scores(self, scores: Tensor, chosen: Layout, layout: Layout) -> None:
        for sentence, length in enumerate(layout.lengths.tolist()):
            rows = scores[sentence, :, : int(chosen.lengths[sentence]), :length]
            distance = rows.amax(dim=-1, keepdim=True) - rows
            far = int((distance >= 1 << EXP_INDEX_BITS).sum())
            self.counts["attention.exponentials.far"] += far
            if length == 1:
                self.counts["attention.exponentials.one"] += rows.numel()
            else:
                self.counts["attention.exponentials.equal"] += int((distance == 0).all(dim=-1).sum())

    def rows(
        self, iteration: int, hidden: Tensor, chosen: Layout, key: Tensor, value: Tensor, layout: Layout
    ) -> Iterator[tuple[str, Tensor]]:
        before = hidden
        for name, tensor in super().rows(iteration, hidden, chosen, key, value, layout):
            if name in ("attention.residual", "ffn.residual"):
                update = self.updates[name.replace("residual", "output")]
                self._ends(name, before + update, *signed_range(RESIDUAL_BITS))
            elif name == "attention.hidden":
                before = tensor
            yield name, tensor

    def classify(self, iteration: int, first: Tensor) -> Iterator[tuple[str, Tensor]]:
        for name, tensor in super().classify(iteration, first):
            if name == "logits":
                best = tensor.amax(dim=-1, keepdim=True)
                self.counts["logits.tie"] += int(((tensor == best).sum(dim=-1) > 1).sum())
            yield name, tensor
