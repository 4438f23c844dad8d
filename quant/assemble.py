"""Float weights and chosen scales to the tensors of the contract.

A matmul with input LSB ``s_in`` and weight LSB ``s_w`` (per output channel) accumulates in ``s_in·s_w``, so
its offset is bias/(s_in·s_w) and its requantisation factor s_in·s_w/s_out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from golden_model.config import ElbertConfig
from golden_model.float.albert import ElbertForSequenceClassification
from golden_model.integer.checkpoint import IntegerCheckpoint, tensor_specs
from golden_model.integer.ops.fixed import quantize_multiplier
from golden_model.integer.ops.table import activation_table
from golden_model.integer.scales import complete
from golden_model.numerics import (
    EMBEDDING_SHIFT,
    GAMMA_BITS,
    OPERAND_MAX,
    POSITION_TYPE_BITS,
    SCORE_FRACTION_BITS,
    SHIFT_BITS,
)
from quant.correct import BETA_LIMIT
from quant.modules import as_float64, embedding_tables, linears, norms
from quant.scales import Scales, normalised, operand_scale, readings
from quant.schemes import Scheme


def assemble(
    model: ElbertForSequenceClassification,
    scales: Scales,
    scheme: Scheme,
    facts: dict[str, Any] | None = None,
) -> IntegerCheckpoint:
    """The validated checkpoint; no bias correction.

    Args:
        model: Gives biases, LayerNorms and embeddings.
        scales: All of them, weights included.
        scheme: Gives the contract; kept in the metadata.
        facts: More metadata.

    Raises:
        ValueError: something does not fit the contract; the message names the tensor.
    """
    return _Assembler(model, scales, scheme).checkpoint(facts or {})


def made(config: ElbertConfig) -> Iterator[tuple[str, int, str, str]]:
    """(matmul or LayerNorm, iteration, what it makes, whose scale that is in), everything once."""
    for matmul, reading in readings(config).items():
        for row, (output, scale) in enumerate(zip(reading.outputs, reading.output_scales, strict=True)):
            yield matmul, row + 1, output, scale
    for norm, outputs in normalised(config).items():
        for row, output in enumerate(outputs):
            yield norm, row + 1, output, output


class _Assembler:
    """One group of tensors per method."""

    def __init__(self, model: ElbertForSequenceClassification, scales: Scales, scheme: Scheme) -> None:
        self.model, self.scales, self.scheme = model, scales, scheme
        self.config: ElbertConfig = model.config
        self.contract = scheme.contract
        self.iterations = range(1, self.config.num_hidden_layers + 1)
        specs = tensor_specs(self.config, self.contract)
        self.tensors = {name: torch.zeros(spec.shape, dtype=spec.dtype) for name, spec in specs.items()}

    def checkpoint(self, facts: dict[str, Any]) -> IntegerCheckpoint:
        self.embedding()
        for matmul in readings(self.config):
            self.matmul(matmul)
        for norm in normalised(self.config):
            self.norm(norm)
        self.row_scales()
        self.tables()
        weights = {name: decimals(each.scale) for name, each in self.scales.weights.items()}
        metadata: dict[str, Any] = {
            "scheme": self.scheme.as_dict(),
            "scales": complete(self.scales.tensors, self.config, self.contract)
            | {f"{name}.weight": scale for name, scale in weights.items()},
            # those of query and key are many, one set per iteration, and follow from their multipliers
            "factors": {
                name: factor.tolist()
                for name, factor in self.scales.factors.items()
                if not name.startswith("iteration.")
            },
        }
        if self.scales.zero_points:
            metadata["zero_points"] = dict(self.scales.zero_points)
        return IntegerCheckpoint(self.config, self.tensors, metadata | facts, self.contract)

    def embedding(self) -> None:
        """Word and position tables."""
        word, both = embedding_tables(self.model, self.scheme.equalize)
        fine = 1 << EMBEDDING_SHIFT
        top = (1 << (POSITION_TYPE_BITS - 1)) - 1
        scale = self.scales.tensors["embedding.sum"] * fine
        self.tensors["embedding.word"] = (
            (word / scale).round().clamp(-OPERAND_MAX, OPERAND_MAX).to(torch.int8)
        )
        self.tensors["embedding.position_type"] = (
            (both * fine / scale).round().clamp(-top, top).to(torch.int16)
        )

    def matmul(self, name: str) -> None:
        """Weight once; offset, multiplier and shift each time it runs."""
        reading, weight = readings(self.config)[name], self.scales.weights[name]
        bias = as_float64(linears(self.model)[name].bias)
        self.tensors[f"{name}.weight"] = weight.integers
        sums = weight.integers.long().sum(1)
        for row, (read, wanted) in enumerate(zip(reading.inputs, reading.output_scales, strict=True)):
            accumulator = operand_scale(self.scales, name, read, self.contract) * weight.scale
            own = bias + self.scales.added_bias(name, row)
            offset = (own / accumulator).round().long() + self.scales.zero_points.get(read, 0) * sums
            self.tensors[f"{name}.offset"][row] = offset.to(torch.int32)
            try:
                factors = (accumulator / self.scales.lsb(wanted)).tolist()
                pairs = [quantize_multiplier(factor) for factor in factors]
            except ValueError as error:
                raise ValueError(f"{name}, iteration {row + 1}: {error}") from error
            self.tensors[f"{name}.multiplier"][row] = torch.tensor([m for m, _ in pairs], dtype=torch.int32)
            self.tensors[f"{name}.shift"][row] = torch.tensor([s for _, s in pairs], dtype=torch.uint8)

    def row_scales(self) -> None:
        """Scores in 1/32 nat, 1/sqrt(head size) included; context from value's scale to its own."""
        scales = self.scales.tensors
        for row, i in enumerate(self.iterations):
            prefix = f"iteration.{i}.attention."
            product = scales[prefix + "query"] * scales[prefix + "key"]
            score = product * self.config.head_dim**-0.5 * (1 << SCORE_FRACTION_BITS)
            context = scales[prefix + "value"] / scales[prefix + "context"]
            for name, factor in (("attention.score", score), ("attention.context", context)):
                multiplier, shift = quantize_multiplier(factor)
                self.tensors[f"{name}.multiplier"][row] = multiplier
                self.tensors[f"{name}.shift"][row] = shift

    def norm(self, name: str) -> None:
        module = norms(self.model)[name]
        gamma, beta = as_float64(module.weight), as_float64(module.bias)
        for row, output in enumerate(normalised(self.config)[name]):
            lsb = self.scales.lsb(output)
            factor = gamma / (lsb * (1 << self.contract.norm_fraction_bits))
            bias = (beta + self.scales.added_bias(name, row)) / lsb
            shift = norm_shift(name, factor, bias)
            self.tensors[f"{name}.gamma"][row] = (factor * torch.exp2(shift)).round().to(torch.int16)
            self.tensors[f"{name}.beta"][row] = (bias * torch.exp2(shift)).round().to(torch.int32)
            self.tensors[f"{name}.shift"][row] = shift.to(torch.uint8)

    def tables(self) -> None:
        contract, scales = self.contract, self.scales.tensors
        for row, i in enumerate(self.iterations):
            prefix = f"iteration.{i}."
            self.tensors["ffn.table"][row] = activation_table(
                self.config.hidden_act,
                scales[prefix + "ffn.index"],
                scales[prefix + "ffn.activation"],
                contract.ffn_index_bits,
                contract.limit("ffn.activation"),
                self.scales.zero_points.get(prefix + "ffn.activation", 0),
            ).to(torch.int8)
            limit = contract.limit("pooler.output")
            self.tensors["pooler.table"][row] = activation_table(
                "tanh", scales[prefix + "pooler.index"], 1.0 / limit, contract.pooler_index_bits, limit
            ).to(torch.int8)


def decimals(scale: Tensor) -> list[float]:
    """A scale per channel for JSON, with nine significant digits."""
    return [float(f"{value:.9g}") for value in scale.tolist()]


def norm_shift(name: str, factor: Tensor, bias: Tensor) -> Tensor:
    """Largest shift per channel for which gamma fits 16 bits, beta 32, and the shift its own 6; float64 [N].

    One bit of beta stays free for bias correction.

    Raises:
        ValueError: a channel's gamma or beta does not fit even without a shift.
    """
    top = (1 << (GAMMA_BITS - 1)) - 1
    room = torch.log2(top / factor.abs().clamp(min=1e-30)).floor()
    room = torch.minimum(room, torch.log2(BETA_LIMIT / 2 / bias.abs().clamp(min=1.0)).floor())
    if float(room.min()) < 0:
        channel = int(room.argmin())
        raise ValueError(
            f"{name} channel {channel}: gamma {float(factor[channel]):g} or beta {float(bias[channel]):g} "
            f"exceeds ±{top} or ±{BETA_LIMIT // 2}"
        )
    return room.clamp(max=(1 << SHIFT_BITS) - 1)
