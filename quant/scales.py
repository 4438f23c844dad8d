"""Every scale of a scheme, chosen once from what calibration saw.

Scales are static. ``s_x`` is the real size of one LSB of the integer tensor x; one set per iteration, since
the weights are shared but the ranges drift, or one set that all iterations share. Where a tensor is written
per channel and read by a matmul only, its channels may have scales of their own that the reading weights
absorb (``factors``, :mod:`quant.migrate`).

Every scale and channel factor is rounded to 16 bits, so that the integers do not depend on threads, batches
or machine (:mod:`quant.reproducible`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from golden_model.config import ElbertConfig
from golden_model.float.albert import ElbertForSequenceClassification
from golden_model.integer.contract import Contract
from golden_model.integer.scales import input_name, operand_of, operand_step, short_name
from golden_model.numerics import (
    EMBEDDING_SHIFT,
    HIDDEN_MAX,
    LOGIT_FRACTION_BITS,
    OFFSET_LIMIT,
    OPERAND_MAX,
    POSITION_TYPE_BITS,
    RESIDUAL_BITS,
)
from quant.migrate import LEAST_SHARE, least_error_factor, smooth_factor
from quant.modules import as_float64, embedding_tables, linears, norms
from quant.observe import LEAST_SCALE, Observations
from quant.reproducible import round_bits, round_up
from quant.schemes import Scheme
from quant.weights import QuantizedWeight, quantize_weight

GELU_FLAT = 6.0
"""Below minus this GELU is 0 to 8 bits: larger negative inputs need not be told apart."""
GELU_LEAST = -0.17
"""Its lowest value, at -0.75."""
TANH_FLAT = 3.5
"""Beyond this tanh is ±127/127 to 8 bits."""
RESIDUAL_HEADROOM = 1.1
"""Residual sums may exceed what calibration saw by this factor before they saturate."""


@dataclass
class Scales:
    """What turns a float model into integers, all in float64.

    Members:
        tensors: Full name of a tensor that a computation makes to its scale; tables' indices included.
        factors: Per channel [channels], by the name without iteration, of query and key with it: the
            channel's LSB is the tensor's scale times this.
        zero_points: Full name to the integer that is added before the scale is applied; 0 where it is not
            there.
        weights: Matmul to its weights, factors of what it reads included.
        biases: Matmul or LayerNorm to what is added to its bias, in real units, [times it runs, out]; nothing
            where it is not there.
    """

    tensors: dict[str, float] = field(default_factory=dict)
    factors: dict[str, Tensor] = field(default_factory=dict)
    zero_points: dict[str, int] = field(default_factory=dict)
    weights: dict[str, QuantizedWeight] = field(default_factory=dict)
    biases: dict[str, Tensor] = field(default_factory=dict)

    def added_bias(self, name: str, row: int) -> Tensor | float:
        """What a matmul's or LayerNorm's bias gets the ``row``-th time it runs: [out], or 0 for nothing."""
        return self.biases[name][row] if name in self.biases else 0.0

    def factor(self, name: str) -> Tensor:
        """Channel factors of a tensor, by its full or short name; 1 where it has none."""
        ones = torch.ones(1, dtype=torch.float64)
        return self.factors.get(name, self.factors.get(short_name(name), ones))

    def lsb(self, name: str) -> Tensor:
        """LSB per channel, float64 [channels] or [1]."""
        return self.tensors[name] * self.factor(name)


@dataclass(frozen=True)
class Reading:
    """What a matmul reads and makes, one tensor for each time it runs.

    Members:
        inputs: Full names; of a hidden state, the operand is read.
        outputs: Full names.
        output_scales: Whose scale the outputs are made in: updates take that of the hidden state they join.
    """

    inputs: list[str]
    outputs: list[str]
    output_scales: list[str]


def readings(config: ElbertConfig) -> dict[str, Reading]:
    """Of every matmul, in the order of the computation."""
    count = range(1, config.num_hidden_layers + 1)

    def names(short: str) -> list[str]:
        return [f"iteration.{i}.{short}" for i in count]

    def makes(inputs: list[str], short: str) -> Reading:
        return Reading(inputs, names(short), names(short))

    hidden, middle, after = [input_name(i) for i in count], names("attention.hidden"), names("hidden")
    projection = ["embedding.hidden"]
    return {
        "embedding.projection": Reading(["embedding.normalized"], projection, projection),
        "attention.query": makes(hidden, "attention.query"),
        "attention.key": makes(hidden, "attention.key"),
        "attention.value": makes(hidden, "attention.value"),
        "attention.output": Reading(names("attention.context"), names("attention.update"), hidden),
        "ffn.intermediate": makes(middle, "ffn.index"),
        "ffn.output": Reading(names("ffn.activation"), names("ffn.update"), middle),
        "pooler": makes(after, "pooler.index"),
        "classifier": makes(names("pooler.output"), "logits"),
    }


def normalised(config: ElbertConfig) -> dict[str, list[str]]:
    """What every LayerNorm makes: full names, one for each time it runs."""
    count = range(1, config.num_hidden_layers + 1)
    return {
        "embedding.norm": ["embedding.normalized"],
        "attention.norm": [f"iteration.{i}.attention.hidden" for i in count],
        "ffn.norm": [f"iteration.{i}.hidden" for i in count],
    }


def operand_scale(scales: Scales, matmul: str, name: str, contract: Contract) -> float:
    """Real size of one LSB of what a matmul reads of the tensor of this full name."""
    return scales.tensors[name] * operand_step(matmul, contract)


def largest_hidden(contract: Contract, operand: str) -> int:
    """Largest hidden state whose operand does not saturate, ±32639 at most."""
    shift = contract.hidden_shift(operand)
    return min(HIDDEN_MAX, (contract.limit(operand) << shift) + (1 << (shift - 1)) - 1)


def choose_scales(model: ElbertForSequenceClassification, seen: Observations, scheme: Scheme) -> Scales:
    """All scales of a scheme, weights included.

    Raises:
        ValueError: a LayerNorm of the float model makes zeros alone.
    """
    return _Chooser(model, seen, scheme).choose()


class _Chooser:
    """One group of scales per method."""

    def __init__(self, model: ElbertForSequenceClassification, seen: Observations, scheme: Scheme) -> None:
        self.model, self.seen, self.scheme = model, seen, scheme
        self.config: ElbertConfig = model.config
        self.contract = scheme.contract
        self.linears = linears(model)
        self.iterations = range(1, self.config.num_hidden_layers + 1)
        self.found = Scales()

    def choose(self) -> Scales:
        self.check_norms()
        self.choose_embedding()
        self.choose_hidden()
        self.choose_equalized()
        self.choose_heads()
        self.choose_tables()
        self.choose_weights()
        return self.found

    def names(self, short: str) -> list[str]:
        return [f"iteration.{i}.{short}" for i in self.iterations]

    def set(self, name: str, scale: float) -> None:
        self.found.tensors[name] = round_up(scale)

    def check_norms(self) -> None:
        for name, outputs in normalised(self.config).items():
            gamma = norms(self.model)[name].weight
            for output in outputs:
                if self.seen.largest(output) == 0.0 and bool(gamma.any()):
                    raise ValueError(
                        f"{output} of the float model is 0 throughout calibration: {name} finds no spread"
                    )

    def choose_embedding(self) -> None:
        """Words and positions have one scale for all channels: LayerNorm sums over them."""
        word, both = embedding_tables(self.model, self.scheme.equalize)
        fine = 1 << EMBEDDING_SHIFT
        top = (1 << (POSITION_TYPE_BITS - 1)) - 1
        scale = max(float(word.abs().max()) / OPERAND_MAX, float(both.abs().max()) * fine / top, LEAST_SCALE)
        self.found.tensors["embedding.sum"] = scale / fine

    def choose_hidden(self) -> None:
        """Every hidden state, from its own range and from the residual sum that is formed in its scale.

        A matmul reads fewer bits of it, so that is the width the observer weighs rounding against.
        """
        residual_max = (1 << (RESIDUAL_BITS - 1)) - 1
        last = f"iteration.{self.iterations[-1]}.hidden"
        triples = [(input_name(i), "hidden", f"iteration.{i}.attention.residual") for i in self.iterations]
        triples += [
            (f"iteration.{i}.attention.hidden", "attention.hidden", f"iteration.{i}.ffn.residual")
            for i in self.iterations
        ]
        for hidden, operand, residual in triples:
            needed = self.seen.largest(residual) * RESIDUAL_HEADROOM / residual_max
            self.set(hidden, max(self.hidden_scale(hidden, operand), needed))
        if self.scheme.scales == "shared":
            self.found.tensors[last] = self.found.tensors["embedding.hidden"]
        else:
            self.set(last, self.hidden_scale(last, "pooler.hidden"))

    def hidden_scale(self, name: str, operand: str) -> float:
        top = largest_hidden(self.contract, operand)
        return self.seen.limit(name, self.contract.limit(operand)) / top

    def choose_equalized(self) -> None:
        """Normalised embedding, value and context: scale and channel factors, found together."""
        self.equalize("embedding.projection", "embedding.normalized", ["embedding.normalized"])
        self.equalize("attention.output", "attention.context", self.names("attention.context"))
        # context is an average of values: the same factors, so that one row scale serves all channels
        factor = self.found.factors["attention.value"] = self.found.factors["attention.context"]
        for name in self.names("attention.value"):
            self.set(name, self.factored_scale(name, factor))

    def equalize(self, matmul: str, short: str, names: Sequence[str]) -> None:
        """One set of factors for all iterations, as the weights are."""
        weight = as_float64(self.linears[matmul].weight)
        # from the mean shape of the ranges
        shape = torch.stack([self.relative_range(name) for name in names]).log().mean(0).exp()
        if self.scheme.migration is not None:
            factor = smooth_factor(shape, weight, self.scheme.migration)
        elif self.scheme.equalize:
            factor = least_error_factor(shape, lambda tried: self.output_error(matmul, weight, names, tried))
        else:
            factor = torch.ones_like(shape)
        self.found.factors[short] = factor
        for name in names:
            self.set(name, self.factored_scale(name, factor))

    def output_error(self, matmul: str, weight: Tensor, names: Sequence[str], factor: Tensor) -> float:
        """Relative square error of what a matmul makes, for channel factors of what it reads."""
        plain = replace(
            self.scheme.weights(matmul),
            rounding="nearest",
            weight_observer="max" if self.scheme.weight_observer == "max" else "mse",
        )
        stored = quantize_weight(weight * factor, plain)
        rounded_weight = stored.integers.double() * stored.scale.unsqueeze(1)
        limit, error = self.contract.limit(operand_of(matmul)), 0.0
        for name in names:
            lsb = self.factored_scale(name, factor)
            x = self.seen.sample(name)
            rounded = (x / (lsb * factor)).round().clamp(-limit, limit) * lsb
            exact = x @ weight.t()
            difference = rounded @ rounded_weight.t() - exact
            error += float(difference.square().mean() / exact.square().mean().clamp(min=1e-30))
        return error

    def relative_range(self, name: str) -> Tensor:
        largest = self.seen.channel(name).largest.clamp(min=LEAST_SCALE)
        return (largest / largest.max()).clamp(min=LEAST_SHARE)

    def factored_scale(self, name: str, factor: Tensor) -> float:
        """Scale of a tensor whose channels are divided by ``factor``."""
        limit = self.contract.limit(short_name(name))
        top = float((self.seen.channel(name).largest / factor).max())
        return max(top * self.seen.keep(name, limit) / limit, LEAST_SCALE)

    def choose_heads(self) -> None:
        """Query and key: channels are scaled against each other until their ranges are equal.

        Every product stays as it is. Factors per iteration: nothing else reads them.
        """
        limits = [self.contract.limit(f"attention.{part}") for part in ("query", "key")]
        for i in self.iterations:
            names = [f"iteration.{i}.attention.{part}" for part in ("query", "key")]
            if not self.scheme.equalize:
                for name, limit in zip(names, limits, strict=True):
                    self.set(name, self.seen.limit(name, limit) / limit)
                continue
            query, key = (self.seen.channel(n).largest.clamp(min=1e-9) for n in names)
            ratio = round_bits((query / key).sqrt())
            self.found.factors[names[0]], self.found.factors[names[1]] = ratio, 1 / ratio
            keep = min(self.seen.keep(n, limit) for n, limit in zip(names, limits, strict=True))
            top = float((query * key).sqrt().max()) * keep
            for name, limit in zip(names, limits, strict=True):
                self.set(name, max(top / limit, LEAST_SCALE))

    def choose_tables(self) -> None:
        for i in self.iterations:
            prefix = f"iteration.{i}."
            self.choose_gelu(prefix + "ffn.activation")
            half = (1 << (self.contract.ffn_index_bits - 1)) - 1
            positive = float(self.seen.channel(prefix + "ffn.index").highest.max())
            negative = min(GELU_FLAT, self.seen.largest(prefix + "ffn.index"))
            self.set(prefix + "ffn.index", max(positive, negative, LEAST_SCALE) / half)
            half = (1 << (self.contract.pooler_index_bits - 1)) - 1
            pooled = min(TANH_FLAT, self.seen.largest(prefix + "pooler.index"))
            self.set(prefix + "pooler.index", max(pooled, LEAST_SCALE) / half)
            self.found.tensors[prefix + "pooler.output"] = 1.0 / self.contract.limit("pooler.output")
            self.found.tensors[prefix + "logits"] = 2.0**-LOGIT_FRACTION_BITS

    def choose_gelu(self, name: str) -> None:
        limit = self.contract.limit("ffn.activation")
        if self.scheme.symmetric:
            self.set(name, self.seen.limit(name, limit) / limit)
            return
        top = self.seen.limit(name, 2 * limit)
        least = max(GELU_LEAST, -top)
        self.set(name, (top - least) / (2 * limit))
        self.found.zero_points[name] = limit + math.floor(least / self.found.tensors[name] + 0.5)

    def choose_weights(self) -> None:
        """Weights, whose scale also has to let every offset fit."""
        for matmul, reading in readings(self.config).items():
            module = self.linears[matmul]
            factor = self.found.factor(reading.inputs[0])
            weight, bias = as_float64(module.weight) * factor, as_float64(module.bias)
            inputs = [operand_scale(self.found, matmul, x, self.contract) for x in reading.inputs]
            least = bias.abs() / (min(inputs) * (OFFSET_LIMIT - 1)) + torch.finfo(torch.float32).tiny
            self.found.weights[matmul] = quantize_weight(
                weight, self.scheme.weights(matmul), least, self.hessian(matmul, reading, factor)
            )

    def hessian(self, matmul: str, reading: Reading, factor: Tensor) -> Tensor | None:
        """Second moments of what a matmul reads, of all iterations; None where the scheme needs none.

        About the means of every iteration where bias correction takes the means' error.
        """
        own = self.scheme.weights(matmul)
        if own.rounding == "nearest" and own.weight_observer != "hessian":
            return None
        found = self.seen.moments[operand_of(matmul)].clone()
        if self.scheme.correct_bias and operand_of(matmul) != "pooler.hidden":
            for name in reading.inputs:
                channel = self.seen.channels[name]
                found -= channel.rows * torch.outer(channel.mean, channel.mean)
        inverse = 1 / factor.expand(len(found))
        return round_bits(found * torch.outer(inverse, inverse), 24)
