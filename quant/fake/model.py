"""ELBERT in floats that rounds and saturates wherever the golden model does.

In float64 every named tensor is the golden model's, integer by integer. What is rounded is formed from float
weights and from scales that are parameters, so that a training can move both; :meth:`FakeElbert.checkpoint`
makes the integer checkpoint of what it has become.

In float32 sums beyond 24 bits lose their last ones: a rounding falls to the other side where the exact
value is that close to a half. ``exact=False`` also computes LayerNorm and the tables by their formulas in
floats, rounded to the same integers where the contract's own roundings do not show: faster, and meant for
training.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from golden_model.float.albert import ElbertForSequenceClassification
from golden_model.integer.checkpoint import IntegerCheckpoint
from golden_model.integer.contract import HIDDEN_OPERANDS, signed_limit
from golden_model.integer.model import signed_range
from golden_model.integer.ops.layernorm import normalize
from golden_model.integer.ops.softmax import exp_table
from golden_model.integer.ops.table import activation_table, lookup
from golden_model.integer.scales import operand_of, short_name
from golden_model.numerics import (
    EMBEDDING_SHIFT,
    EXP_INDEX_BITS,
    HIDDEN_MAX,
    LOGIT_BITS,
    LOGIT_FRACTION_BITS,
    OPERAND_MAX,
    POSITION_TYPE_BITS,
    RESIDUAL_BITS,
    SCORE_BITS,
    SCORE_FRACTION_BITS,
)
from quant.assemble import assemble, norm_shift
from quant.fake.straight import as_multiplier, instead, round_half_even, round_half_up, scale_gradient
from quant.modules import linears, norms
from quant.scales import Scales, normalised, readings
from quant.schemes import Scheme
from quant.weights import QuantizedWeight

Tap = Callable[[str, Tensor], None]
"""Told a tensor's full name and its integers: [batch, length, features], [batch, heads, length, length] of
scores and exponentials, [batch, features] of pooler and logits. Rows of padding hold anything."""

FIXED = ("pooler.output", "logits")
"""Tensors whose scale the contract fixes."""

REACH = 8.0
"""A scale stays above 0: between an eighth of what it was at the start and eight times that."""


class FakeElbert(nn.Module):
    """A float ELBERT under a scheme.

    Args:
        model: Its weights are copied; gradients go to the copy.
        scheme: Widths, grids and groups. Rounding is to nearest whatever it says, unless ``hold``.
        scales: As :func:`quant.scales.choose_scales` finds them.
        hold: Weights are the integers of ``scales`` and do not move: what GPTQ or AdaRound have found.
        exact: Bit by bit the golden model (in float64); False: faster, the same up to roundings that the
            formulas do not have.

    Members:
        float_model: The float model, whose parameters are trained.
        steps: For every scale the factor it has moved by since the start, 1 at first, so that one learning
            rate suits them all; by the tensor's name, dots written as slashes; those of weights [out], or [1]
            where a scheme has one scale per tensor. Scales that iterations share are one parameter. A scale
            stays within :data:`REACH` of its start. Gradients have learned step size quantisation's scale
            (:meth:`levels`).
        biases: What ``scales.biases`` adds to the bias of a matmul or LayerNorm each time it runs.
    """

    def __init__(
        self,
        model: ElbertForSequenceClassification,
        scheme: Scheme,
        scales: Scales,
        hold: bool = False,
        exact: bool = True,
    ) -> None:
        """Copies the model and makes parameters of the scales."""
        super().__init__()
        self.float_model = copy.deepcopy(model)
        self.config, self.scheme, self.contract = model.config, scheme, scheme.contract
        self.hold, self.exact = hold, exact
        self.start = scales
        kind = next(model.parameters()).dtype
        self.steps = nn.ParameterDict()
        for name in scales.tensors:
            key = self._key(name)
            if key not in self.steps and short_name(name) not in FIXED:
                self.steps[key] = nn.Parameter(torch.ones((), dtype=kind))
        for matmul, weight in scales.weights.items():
            count = 1 if scheme.weights(matmul).granularity == "tensor" else len(weight.scale)
            self.steps[_slashes(f"{matmul}.weight")] = nn.Parameter(torch.ones(count, dtype=kind))
        self.biases = nn.ParameterDict(
            {_slashes(name): nn.Parameter(bias.to(kind)) for name, bias in scales.biases.items()}
        )
        self.exponentials = torch.tensor(
            exp_table(self.contract.exponentials_bits, self.contract.exp_index_bits), dtype=torch.float64
        )
        self.readings = readings(self.config)
        self._weights: dict[str, Tensor] = {}
        self._tables: dict[tuple[str, int], tuple[tuple[float, float], Tensor]] = {}

    # ------------------------------------------------------------------ public

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        tap: Tap | None = None,
        exits: Sequence[int] | None = None,
    ) -> Tensor:
        """Logits of every iteration, in nat: float [exits, batch, classes].

        Args:
            input_ids: int64 [batch, length].
            attention_mask: [batch, length], 0 for padding, which comes after the tokens; None: none.
            token_type_ids: int64 [batch, length]; None: all 0.
            tap: Told every named tensor of docs/numerics.md up to the logits.
            exits: Iterations, from 1 and rising, whose logits are computed; None: all. The layer runs up to
                the last of them.
        """
        see: Tap = tap or (lambda name, values: None)
        types = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        unused = None if attention_mask is None else (attention_mask == 0)[:, None, None, :]
        self._weights = {matmul: self.weight(matmul) for matmul in self.readings}
        hidden, logits = self._embed(input_ids, types, see), []
        wanted = range(1, self.config.num_hidden_layers + 1) if exits is None else exits
        for iteration in range(1, max(wanted) + 1):
            hidden = self._layer(iteration, hidden, unused, see)
            if iteration in wanted:
                logits.append(self._classify(iteration, hidden[:, 0], see))
        self._weights = {}
        return torch.stack(logits) * 2.0**-LOGIT_FRACTION_BITS

    def scales(self) -> Scales:
        """The scales as they are now, weights included; as :func:`quant.scales.choose_scales` gives them."""
        with torch.no_grad():
            tensors = {name: float(self.step(name)) for name in self.start.tensors}
            weights = {}
            for matmul in self.start.weights:
                old = self.start.weights[matmul]
                weights[matmul] = QuantizedWeight(
                    self.weight(matmul).to(torch.int8).cpu(), self._weight_step(matmul).cpu(), old.multipliers
                )
            biases = {name: self.biases[_slashes(name)].double().cpu() for name in self.start.biases}
        return replace(self.start, tensors=tensors, weights=weights, biases=biases)

    def checkpoint(self, facts: dict[str, Any] | None = None) -> IntegerCheckpoint:
        """The integer checkpoint of weights and scales as they are now; no bias correction.

        Args:
            facts: More metadata.

        Raises:
            ValueError: something has come to lie outside the contract.
        """
        return assemble(self.float_model, self.scales(), self.scheme, facts)

    # ------------------------------------------------------------------ scales and weights

    def _key(self, name: str) -> str:
        """The parameter that holds a tensor's scale."""
        shared = self.scheme.scales == "shared" and name not in ("embedding.sum", "embedding.normalized")
        if shared:
            name = "hidden" if name == "embedding.hidden" else short_name(name)
        return _slashes(name)

    def step(self, name: str) -> Tensor:
        """Scale of a tensor by its full name, 0-dimensional, float64."""
        key, start = self._key(name), self.start.tensors[name]
        if key in self.steps:
            return start * self._moved(key, name)
        return torch.tensor(start, dtype=torch.float64, device=self.device)

    def levels(self, name: str) -> tuple[int, int]:
        """How many values of a sentence's row, or of a weight, share a scale, and the largest integer.

        N and Q_P of the gradient scale 1/sqrt(N·Q_P) (Esser et al. 2020, section 2.2): features of an
        activation, inputs of a weight's channel. Of a hidden state Q_P is its operand's.

        Args:
            name: Full or short name of an activation, or that of a matmul and ``.weight``.
        """
        contract, config = self.contract, self.config
        if name.endswith(".weight"):
            matmul = name.removesuffix(".weight")
            own, shape = self.scheme.weights(matmul), linears(self.float_model)[matmul].weight.shape
            return shape.numel() if own.granularity == "tensor" else shape[1], own.grid.limit
        short = "hidden" if name == "embedding.hidden" else short_name(name)
        if short == "embedding.sum":
            return config.embedding_size, OPERAND_MAX
        if short.endswith(".index"):
            bits = contract.ffn_index_bits if short == "ffn.index" else contract.pooler_index_bits
            wide = short == "ffn.index"
            return config.intermediate_size if wide else config.hidden_size, signed_limit(bits)
        features = {
            "embedding.normalized": config.embedding_size,
            "ffn.activation": config.intermediate_size,
        }
        return features.get(short, config.hidden_size), contract.limit(short)

    def _moved(self, key: str, name: str) -> Tensor:
        """What a scale is multiplied by, float64; its gradient scaled."""
        moved = self.steps[key].double()
        count, top = self.levels(name)
        moved = scale_gradient(moved, (count * top) ** -0.5)
        return instead(moved, moved.detach().clamp(1 / REACH, REACH))

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """What is computed in."""
        return next(self.float_model.parameters()).dtype

    def factor(self, name: str) -> Tensor:
        """Channel factors, float64 [channels] or [1]."""
        return self.start.factor(name).to(self.device)

    def _weight_step(self, matmul: str) -> Tensor:
        """float64 [out]."""
        name = f"{matmul}.weight"
        return self.start.weights[matmul].scale.to(self.device) * self._moved(_slashes(name), name)

    def weight(self, matmul: str) -> Tensor:
        """A matmul's weights as integers, groups' multipliers included: [out, in] in the model's dtype."""
        start = self.start.weights[matmul]
        if self.hold:
            return start.integers.to(self.device, self.dtype)
        grid, multiplier = self.scheme.weights(matmul).grid, self.multiplier(matmul)
        real = linears(self.float_model)[matmul].weight.double()
        real = real * self.factor(self.readings[matmul].inputs[0])
        scaled = real / (self._weight_step(matmul).unsqueeze(1) * multiplier)
        found = instead(scaled.clamp(-grid.limit, grid.limit), grid.nearest(scaled.detach()))
        return (found * multiplier).to(self.dtype)

    def multiplier(self, matmul: str) -> Tensor:
        """What the integers of a weight's groups are multiplied by: float64 [out, in], or [1, 1] of 1."""
        groups = self.start.weights[matmul].multipliers
        if groups is None:
            return torch.ones(1, 1, dtype=torch.float64, device=self.device)
        size, inputs = self.scheme.weights(matmul).group_size, self.start.weights[matmul].integers.shape[1]
        return groups.to(self.device).repeat_interleave(size, 1)[:, :inputs].double()

    def _bias(self, name: str, module: nn.Linear | nn.LayerNorm, row: int) -> Tensor:
        """Of a matmul or LayerNorm the ``row``-th time it runs, float64 [out]."""
        bias, key = module.bias.double(), _slashes(name)
        return bias + self.biases[key][row].double() if key in self.biases else bias

    # ------------------------------------------------------------------ the rules

    def _requantize(self, total: Tensor, factor: Tensor, low: int, high: int) -> Tensor:
        """saturate(round_half_up(total · factor)), the factor as multiplier and shift hold it."""
        return round_half_up(total * as_multiplier(factor).to(self.dtype)).clamp(low, high)

    def _linear(self, matmul: str, iteration: int, operand: Tensor, low: int, high: int) -> Tensor:
        """A matmul of operands [..., in], requantised to [..., out]."""
        reading, row = self.readings[matmul], iteration - 1
        read, made = reading.inputs[row], reading.output_scales[row]
        kind, factor = operand_of(matmul), self.factor(made)
        step = self.step(read)
        if kind in HIDDEN_OPERANDS:
            step = step * (1 << self.contract.hidden_shift(kind))
        weight, accumulator = self._weights[matmul], step * self._weight_step(matmul)
        offset = round_half_even(self._bias(matmul, linears(self.float_model)[matmul], row) / accumulator)
        offset = offset + self.start.zero_points.get(read, 0) * weight.double().sum(1)
        total = operand @ weight.t() + offset.to(self.dtype)
        return self._requantize(total, accumulator / (self.step(made) * factor), low, high)

    def _operand(self, name: str, hidden: Tensor) -> Tensor:
        """What a matmul reads of a hidden state."""
        limit = self.contract.limit(name)
        return round_half_up(hidden / (1 << self.contract.hidden_shift(name))).clamp(-limit, limit)

    def _norm(self, name: str, iteration: int, y: Tensor, limit: int) -> Tensor:
        """LayerNorm of integers [..., features], saturated to ±limit."""
        module, output = norms(self.float_model)[name], normalised(self.config)[name][iteration - 1]
        lsb = self.step(output) * self.factor(output)
        gamma, beta = module.weight.double() / lsb, self._bias(name, module, iteration - 1) / lsb
        mean = y.mean(-1, keepdim=True)
        deviation = y - mean
        # the contract has no epsilon: a variance below 1/N² counts as that
        variance = deviation.square().mean(-1, keepdim=True).clamp(min=1.0 / y.shape[-1] ** 2)
        smooth = deviation * variance.rsqrt() * gamma.to(self.dtype) + beta.to(self.dtype)
        if not self.exact:
            return round_half_up(smooth).clamp(-limit, limit)
        fraction = self.contract.norm_fraction_bits
        gamma, beta = gamma.detach() / (1 << fraction), beta.detach()
        scale = torch.exp2(norm_shift(name, gamma.cpu(), beta.cpu())).to(self.device)
        unit = normalize(y.detach().long(), fraction, self.contract.rsqrt_bits).double()
        total = unit * (gamma * scale).round() + (beta * scale).round()
        return instead(smooth, (total / scale + 0.5).floor()).clamp(-limit, limit)

    def _table(self, name: str, iteration: int, index: Tensor) -> Tensor:
        """GELU or tanh of an index, as integers."""
        gelu = name == "ffn.activation"
        source = f"iteration.{iteration}.{'ffn' if gelu else 'pooler'}.index"
        output = f"iteration.{iteration}.{name}"
        read, made = self.step(source), self.step(output)
        function = self.config.hidden_act if gelu else "tanh"
        zero, limit = self.start.zero_points.get(output, 0), self.contract.limit(name)
        kind = torch.float64 if self.exact else self.dtype
        real = _SMOOTH[function](index.to(kind) * read.to(kind)) / made.to(kind) - zero
        if not self.exact:
            return round_half_up(real).clamp(-limit, limit)
        bits = self.contract.ffn_index_bits if gelu else self.contract.pooler_index_bits
        scales, key = (float(read), float(made)), (name, iteration)
        if key not in self._tables or self._tables[key][0] != scales:
            self._tables[key] = (scales, activation_table(function, *scales, bits, limit, zero))
        entries = self._tables[key][1].to(self.device)
        return instead(real.clamp(-limit, limit), lookup(entries, index.detach().long())).to(self.dtype)

    # ------------------------------------------------------------------ the computation

    def _embed(self, ids: Tensor, types: Tensor, see: Tap) -> Tensor:
        embeddings = self.float_model.model.albert.embeddings
        word = embeddings.word_embeddings.weight
        position = embeddings.position_embeddings.weight.double()
        kind = embeddings.token_type_embeddings.weight.double()
        centre = torch.zeros((), dtype=torch.float64, device=self.device)
        if self.scheme.equalize:
            centre = (word.detach().amax(0).double() + word.detach().amin(0).double()) / 2
        fine, top = 1 << EMBEDDING_SHIFT, (1 << (POSITION_TYPE_BITS - 1)) - 1
        scale = self.step("embedding.sum") * fine
        words = round_half_even((word[ids].double() - centre) / scale).clamp(-OPERAND_MAX, OPERAND_MAX)
        places = position[: ids.shape[1]].unsqueeze(0)
        both = round_half_even((kind[types] + places + centre) * fine / scale).clamp(-top, top)
        total = (words * fine + both).clamp(*signed_range(RESIDUAL_BITS)).to(self.dtype)
        see("embedding.sum", total)
        normalized = self._norm("embedding.norm", 1, total, self.contract.limit("embedding.normalized"))
        see("embedding.normalized", normalized)
        hidden = self._linear("embedding.projection", 1, normalized, -HIDDEN_MAX, HIDDEN_MAX)
        see("embedding.hidden", hidden)
        return hidden

    def _layer(self, iteration: int, hidden: Tensor, unused: Tensor | None, see: Tap) -> Tensor:
        prefix, wide = f"iteration.{iteration}.", signed_range(RESIDUAL_BITS)
        operand, parts = self._operand("hidden", hidden), []
        for name in ("attention.query", "attention.key", "attention.value"):
            limit = self.contract.limit(name)
            parts.append(self._linear(name, iteration, operand, -limit, limit))
            see(prefix + name, parts[-1])
        context = self._attend(iteration, parts[0], parts[1], parts[2], unused, see)
        see(f"{prefix}attention.context", context)
        residual = (hidden + self._linear("attention.output", iteration, context, *wide)).clamp(*wide)
        see(f"{prefix}attention.residual", residual)
        middle = self._norm("attention.norm", iteration, residual, HIDDEN_MAX)
        see(f"{prefix}attention.hidden", middle)
        ends = signed_range(self.contract.ffn_index_bits)
        index = self._linear("ffn.intermediate", iteration, self._operand("attention.hidden", middle), *ends)
        activation = self._table("ffn.activation", iteration, index)
        see(f"{prefix}ffn.activation", activation)
        residual = (middle + self._linear("ffn.output", iteration, activation, *wide)).clamp(*wide)
        see(f"{prefix}ffn.residual", residual)
        after = self._norm("ffn.norm", iteration, residual, HIDDEN_MAX)
        see(f"{prefix}hidden", after)
        return after

    def _by_head(self, values: Tensor) -> Tensor:
        """[batch, length, H] to [batch, heads, length, D]."""
        batch, length, _ = values.shape
        shape = (batch, length, self.config.num_attention_heads, self.config.head_dim)
        return values.view(shape).transpose(1, 2)

    def _attend(
        self, iteration: int, query: Tensor, key: Tensor, value: Tensor, unused: Tensor | None, see: Tap
    ) -> Tensor:
        """Context [batch, length, H] as integers."""
        prefix = f"iteration.{iteration}.attention."
        low, high = signed_range(SCORE_BITS)
        product = self.step(prefix + "query") * self.step(prefix + "key")
        factor = product * self.config.head_dim**-0.5 * (1 << SCORE_FRACTION_BITS)
        products = self._by_head(query) @ self._by_head(key).transpose(2, 3)
        scores = self._requantize(products, factor, low, high)
        if unused is not None:
            scores = scores.masked_fill(unused, low)
        see(prefix + "scores", scores)
        weights = self._exponentials(scores)
        if unused is not None:
            weights = weights.masked_fill(unused, 0.0)
        see(prefix + "exponentials", weights)
        limit = self.contract.limit("attention.context")
        factor = self.step(prefix + "value") / self.step(prefix + "context")
        rescale = self._row_factor(weights.sum(-1, keepdim=True), factor)
        mixed = weights @ self._by_head(value)
        context = round_half_up(mixed * rescale.to(self.dtype)).clamp(-limit, limit)
        return context.transpose(1, 2).flatten(2)

    def _exponentials(self, scores: Tensor) -> Tensor:
        distance = scores.amax(-1, keepdim=True) - scores
        real = (distance * -(2.0**-SCORE_FRACTION_BITS)).exp()
        index = distance.detach().long().clamp(max=(1 << EXP_INDEX_BITS) - 1)
        entries = self.exponentials.to(self.device)[index >> (EXP_INDEX_BITS - self.contract.exp_index_bits)]
        return instead(real * self.contract.limit("attention.exponentials"), entries)

    def _row_factor(self, total: Tensor, factor: Tensor) -> Tensor:
        """factor / total as a row's multiplier and shift hold it, floor((m << (b - 1)) / total); float64."""
        held, whole = as_multiplier(factor), total.double()
        mantissa, exponent = torch.frexp(held.detach())  # m / 2^s, m of 16 bits
        bits = torch.frexp(whole.detach())[1]  # bit length of a positive integer
        numerator = torch.ldexp(mantissa.expand_as(bits), bits + 15)
        row = torch.ldexp((numerator / whole.detach()).floor(), exponent - bits - 15)
        return instead(held / whole, row)

    def _classify(self, iteration: int, first: Tensor, see: Tap) -> Tensor:
        prefix = f"iteration.{iteration}."
        ends = signed_range(self.contract.pooler_index_bits)
        index = self._linear("pooler", iteration, self._operand("pooler.hidden", first), *ends)
        pooled = self._table("pooler.output", iteration, index)
        see(f"{prefix}pooler.output", pooled)
        logits = self._linear("classifier", iteration, pooled, *signed_range(LOGIT_BITS))
        see(f"{prefix}logits", logits)
        return logits


def _slashes(name: str) -> str:
    """A parameter's name may have no dots."""
    return name.replace(".", "/")


_SMOOTH: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": nn.functional.gelu,
    "gelu_new": lambda x: 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3))),
    "tanh": torch.tanh,
}
"""``golden_model.integer.ops.table.FUNCTIONS`` on tensors."""
