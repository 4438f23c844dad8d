"""Float ELBERT to integer checkpoint: watch a few hundred sentences, then fix every scale once.

Scales are static, one set per iteration: the weights are shared, the ranges drift. ``s_x`` is the real size
of one LSB of the integer tensor x. A matmul with input LSB ``s_in`` and weight LSB ``s_w`` (per output
channel) accumulates in ``s_in·s_w``, so its offset is bias/(s_in·s_w) and its requantisation factor
s_in·s_w/s_out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from golden_model.albert import ElbertForSequenceClassification
from golden_model.checkpoint import IntegerCheckpoint, tensor_specs
from golden_model.config import ElbertConfig
from golden_model.integer import Sentence
from golden_model.numerics import (
    EMBEDDING_SHIFT,
    GAMMA_BITS,
    HIDDEN_MAX,
    LOGIT_FRACTION_BITS,
    NORM_FRACTION_BITS,
    OFFSET_LIMIT,
    OPERAND_MAX,
    POSITION_BITS,
    RESIDUAL_BITS,
    SCORE_FRACTION_BITS,
    SHIFT_BITS,
    TABLE_INDEX_BITS,
)
from golden_model.ops.fixed import quantize_multiplier
from golden_model.ops.table import activation_table
from quant.observers import ChannelMaxObserver, Observer
from quant.schemes import Scheme, quantize_weight

HALF_TABLE = 1 << (TABLE_INDEX_BITS - 1)
GELU_FLAT = 6.0
"""Below minus this GELU is 0 to 8 bits: larger negative inputs need not be told apart."""
TANH_FLAT = 3.5
"""Beyond this tanh is ±127/127 to 8 bits."""
RESIDUAL_HEADROOM = 1.1
"""Residual sums may exceed what calibration saw by this factor before they saturate."""
BETA_LIMIT = (1 << 31) - 1
LEAST_SCALE = 1e-12
"""Scale of a tensor that was 0 throughout calibration."""

Progress = Callable[[int], None]
"""Told how many more sentences are done."""


@dataclass
class Observations:
    """What calibration saw. Keys are the names of docs/numerics.md; ``ffn.index`` and ``pooler.index`` are
    the inputs of the tables, ``embedding.hidden`` is also the input of iteration 1."""

    scheme: Scheme
    ranges: dict[str, Observer] = field(default_factory=dict)
    channels: dict[str, ChannelMaxObserver] = field(default_factory=lambda: defaultdict(ChannelMaxObserver))
    largest: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    positive: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    sentences: int = 0
    tokens: int = 0

    def see(self, name: str, values: Tensor) -> None:
        """Takes the values of a named tensor."""
        if name not in self.ranges:
            self.ranges[name] = self.scheme.new_observer()
        self.ranges[name].update(values)
        self.largest[name] = max(self.largest[name], float(values.abs().max()))
        self.positive[name] = max(self.positive[name], float(values.max()))

    def limit(self, name: str, levels: int) -> float:
        """The observer's choice for the top of the range of ``levels``."""
        return max(self.ranges[name].limit(levels), LEAST_SCALE * levels)


class _Watcher:
    """Hooks on Hugging Face's modules that report named tensors; a context manager."""

    def __init__(self, model: ElbertForSequenceClassification, seen: Observations) -> None:
        self.model, self.seen, self.iteration = model, seen, 0
        self.handles: list[Any] = []

    def __enter__(self) -> _Watcher:
        albert: Any = self.model.model.albert
        layer = albert.encoder.albert_layer_groups[0].albert_layers[0]
        attention = layer.attention
        self._output(albert.embeddings.LayerNorm, "embedding.normalized", once=True)
        self._output(albert.encoder.embedding_hidden_mapping_in, "embedding.hidden", once=True)
        # the first module of an iteration counts it
        self._hook(attention.query, lambda module, inputs, output: self._count())
        for part in ("query", "key", "value"):
            self._output(getattr(attention, part), f"attention.{part}")
        for part in ("query", "key"):
            self._hook(
                getattr(attention, part),
                lambda module, inputs, output, name=f"attention.{part}": self.seen.channels[
                    self._full(name)
                ].update(output),
            )
        self._input(attention.dense, "attention.context")
        self._input(attention.LayerNorm, "attention.residual")
        self._output(attention.LayerNorm, "attention.hidden")
        self._output(layer.ffn, "ffn.index")
        self._input(layer.ffn_output, "ffn.activation")
        self._input(layer.full_layer_layer_norm, "ffn.residual")
        self._output(layer.full_layer_layer_norm, "hidden")
        self._output(albert.pooler, "pooler.index")
        self._output(self.model.model.classifier, "logits")
        return self

    def __exit__(self, *exception: object) -> None:
        for handle in self.handles:
            handle.remove()

    def _count(self) -> None:
        self.iteration += 1

    def _full(self, name: str) -> str:
        return f"iteration.{self.iteration}.{name}"

    def _hook(self, module: nn.Module, hook: Callable[..., None]) -> None:
        self.handles.append(module.register_forward_hook(hook))

    def _output(self, module: nn.Module, name: str, once: bool = False) -> None:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self.seen.see(name if once else self._full(name), output)

        self._hook(module, hook)

    def _input(self, module: nn.Module, name: str) -> None:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self.seen.see(self._full(name), inputs[0])

        self._hook(module, hook)


@torch.inference_mode()
def observe(
    model: ElbertForSequenceClassification,
    sentences: Sequence[Sentence],
    scheme: Scheme,
    batch_size: int = 16,
    progress: Progress | None = None,
) -> Observations:
    """Runs sentences through the float model and watches every tensor that needs a scale.

    Sentences of equal length go together, so that no padding is ever seen.

    Raises:
        ValueError: there are no sentences.
    """
    if not sentences:
        raise ValueError("calibration needs at least one sentence")
    seen = Observations(scheme)
    by_length: dict[int, list[Sentence]] = defaultdict(list)
    for sentence in sentences:
        by_length[len(sentence[0])].append(sentence)
    model.eval()
    device = next(model.parameters()).device
    with _Watcher(model, seen) as watcher:
        for length in sorted(by_length):
            group = by_length[length]
            for start in range(0, len(group), batch_size):
                part = group[start : start + batch_size]
                watcher.iteration = 0
                ids = torch.tensor([list(ids) for ids, _ in part], device=device)
                types = torch.tensor([list(types) for _, types in part], device=device)
                model(ids, token_type_ids=types)
                seen.sentences += len(part)
                seen.tokens += length * len(part)
                if progress is not None:
                    progress(len(part))
    return seen


def calibrate(
    model: ElbertForSequenceClassification,
    sentences: Sequence[Sentence],
    scheme: Scheme | None = None,
    provenance: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> IntegerCheckpoint:
    """Quantises a float ELBERT with ranges seen on ``sentences``.

    Args:
        model: The float model; not changed.
        sentences: Calibration sentences, (ids, token types) each.
        scheme: Widths and observers; None for int8 weights and maxima.
        provenance: Facts to keep in the checkpoint's metadata.
        progress: Told how many more sentences were watched.

    Raises:
        ValueError: something does not fit the contract; the message names the tensor.
    """
    scheme = scheme or Scheme()
    seen = observe(model, sentences, scheme, progress=progress)
    return Quantizer(model, seen, scheme, provenance or {}).checkpoint()


class Quantizer:
    """Turns observed ranges and float weights into the tensors of the contract, one group per method."""

    def __init__(
        self,
        model: ElbertForSequenceClassification,
        seen: Observations,
        scheme: Scheme,
        provenance: dict[str, Any],
    ) -> None:
        """Chooses every activation scale."""
        self.model, self.seen, self.scheme, self.provenance = model, seen, scheme, provenance
        self.config: ElbertConfig = model.config
        self.iterations = range(1, self.config.num_hidden_layers + 1)
        specs = tensor_specs(self.config)
        self.tensors = {name: torch.zeros(spec.shape, dtype=spec.dtype) for name, spec in specs.items()}
        self.scales: dict[str, float] = {}
        self._choose_scales()

    def checkpoint(self) -> IntegerCheckpoint:
        """All tensors, validated."""
        albert: Any = self.model.model.albert
        layer = albert.encoder.albert_layer_groups[0].albert_layers[0]
        attention = layer.attention
        self._embedding()
        self._norm("embedding.norm", albert.embeddings.LayerNorm, ["embedding.normalized"])
        hidden = [self._input_name(i) for i in self.iterations]
        middle = self._names("attention.hidden")
        self._matmul(
            "embedding.projection",
            albert.encoder.embedding_hidden_mapping_in,
            [self.scales["embedding.normalized"]],
            [self._vector("embedding.hidden")],
        )
        operands = [256 * self.scales[name] for name in hidden]
        balance = self._balance()
        for part, factor in (("query", balance), ("key", 1 / balance), ("value", torch.ones_like(balance))):
            outputs = [
                self._vector(name) / factor[i] for i, name in enumerate(self._names(f"attention.{part}"))
            ]
            self._matmul(f"attention.{part}", getattr(attention, part), operands, outputs)
        self._row_scales()
        self._matmul(
            "attention.output",
            attention.dense,
            [self.scales[name] for name in self._names("attention.context")],
            [self._vector(name) for name in hidden],
        )
        self._norm("attention.norm", attention.LayerNorm, middle)
        self._matmul(
            "ffn.intermediate",
            layer.ffn,
            [256 * self.scales[name] for name in middle],
            [self._vector(name) for name in self._names("ffn.index")],
        )
        self._matmul(
            "ffn.output",
            layer.ffn_output,
            [self.scales[name] for name in self._names("ffn.activation")],
            [self._vector(name) for name in middle],
        )
        self._norm("ffn.norm", layer.full_layer_layer_norm, self._names("hidden"))
        self._matmul(
            "pooler",
            albert.pooler,
            [256 * self.scales[name] for name in self._names("hidden")],
            [self._vector(name) for name in self._names("pooler.index")],
        )
        self._matmul(
            "classifier",
            self.model.model.classifier,
            [1.0 / OPERAND_MAX for _ in self.iterations],
            [torch.tensor(2.0**-LOGIT_FRACTION_BITS).double() for _ in self.iterations],
        )
        self._tables()
        metadata = {
            "scheme": self.scheme.as_dict(),
            "scales": self.scales,
            "calibration": {"sentences": self.seen.sentences, "tokens": self.seen.tokens},
            "provenance": self.provenance,
        }
        return IntegerCheckpoint(self.config, self.tensors, metadata)

    # ------------------------------------------------------------------ scales

    def _names(self, name: str) -> list[str]:
        return [f"iteration.{i}.{name}" for i in self.iterations]

    def _input_name(self, iteration: int) -> str:
        return "embedding.hidden" if iteration == 1 else f"iteration.{iteration - 1}.hidden"

    def _vector(self, name: str) -> Tensor:
        return torch.tensor(self.scales[name], dtype=torch.float64)

    def _choose_scales(self) -> None:
        seen, scales = self.seen, self.scales
        scales["embedding.normalized"] = seen.limit("embedding.normalized", OPERAND_MAX) / OPERAND_MAX
        residual_max = (1 << (RESIDUAL_BITS - 1)) - 1
        # every hidden state and the residual sum that is formed in its scale; the operand of the next matmul
        # has 8 bits of it, so that is the width the observer weighs rounding against
        pairs = [(self._input_name(i), f"iteration.{i}.attention.residual") for i in self.iterations]
        pairs += [(f"iteration.{i}.attention.hidden", f"iteration.{i}.ffn.residual") for i in self.iterations]
        pairs.append((f"iteration.{self.iterations[-1]}.hidden", ""))
        for hidden, residual in pairs:
            scale = seen.limit(hidden, OPERAND_MAX) / HIDDEN_MAX
            needed = seen.largest[residual] * RESIDUAL_HEADROOM / residual_max if residual else 0.0
            scales[hidden] = max(scale, needed)
        for i in self.iterations:
            prefix = f"iteration.{i}."
            for name in ("attention.value", "attention.context", "ffn.activation"):
                scales[prefix + name] = seen.limit(prefix + name, OPERAND_MAX) / OPERAND_MAX
            for name in ("attention.query", "attention.key"):
                scales[prefix + name] = seen.limit(prefix + name, OPERAND_MAX) / OPERAND_MAX
            positive = seen.positive[prefix + "ffn.index"]
            negative = min(GELU_FLAT, seen.largest[prefix + "ffn.index"])
            scales[prefix + "ffn.index"] = max(positive, negative, LEAST_SCALE) / (HALF_TABLE - 1)
            pooled = min(TANH_FLAT, seen.largest[prefix + "pooler.index"])
            scales[prefix + "pooler.index"] = max(pooled, LEAST_SCALE) / (HALF_TABLE - 1)

    def _balance(self) -> Tensor:
        """Factor [iterations, hidden_size] that multiplies query channels and divides key channels.

        It makes their ranges equal, leaves every product as it is, and lets query and key share one scale.
        """
        ones = torch.ones(len(self.iterations), self.config.hidden_size, dtype=torch.float64)
        if not self.scheme.balance_heads:
            return ones
        for row, i in enumerate(self.iterations):
            names = [f"iteration.{i}.attention.{part}" for part in ("query", "key")]
            query, key = (self.seen.channels[n].limits().double().cpu().clamp(min=1e-9) for n in names)
            ones[row] = (key / query).sqrt()
            # what share of its own maximum the observer keeps, applied to the balanced maximum
            keep = min(self.seen.limit(n, OPERAND_MAX) / max(self.seen.largest[n], 1e-9) for n in names)
            scale = float((query * key).sqrt().max()) * keep / OPERAND_MAX
            for name in names:
                self.scales[name] = max(scale, LEAST_SCALE)
        return ones

    # ----------------------------------------------------------------- tensors

    def _embedding(self) -> None:
        embeddings: Any = self.model.model.albert.embeddings
        word = embeddings.word_embeddings.weight.detach().double().cpu()
        position = embeddings.position_embeddings.weight.detach().double().cpu()
        kind = embeddings.token_type_embeddings.weight.detach().double().cpu()
        both = kind.unsqueeze(1) + position.unsqueeze(0)
        fine = 1 << EMBEDDING_SHIFT
        top = (1 << (POSITION_BITS - 1)) - 1
        scale = max(float(word.abs().max()) / OPERAND_MAX, float(both.abs().max()) * fine / top, LEAST_SCALE)
        self.scales["embedding.word"] = scale
        self.scales["embedding.sum"] = scale / fine
        self.tensors["embedding.word"] = (
            (word / scale).round().clamp(-OPERAND_MAX, OPERAND_MAX).to(torch.int8)
        )
        self.tensors["embedding.position_type"] = (
            (both * fine / scale).round().clamp(-top, top).to(torch.int16)
        )

    def _matmul(
        self, name: str, module: nn.Linear, input_scales: Sequence[float], output_scales: Sequence[Tensor]
    ) -> None:
        """Weight once; offset, multiplier and shift per iteration. Output scales are scalars or [out]."""
        weight = module.weight.detach().double().cpu()
        bias = torch.zeros(weight.shape[0], dtype=torch.float64)
        if module.bias is not None:
            bias = module.bias.detach().double().cpu()
        # an offset must fit even in a channel of tiny weights
        least = bias.abs() / (min(input_scales) * (OFFSET_LIMIT - 1)) + torch.finfo(torch.float32).tiny
        integers, weight_scale = quantize_weight(weight, self.scheme, least)
        self.tensors[f"{name}.weight"] = integers
        for row, (s_in, s_out) in enumerate(zip(input_scales, output_scales, strict=True)):
            accumulator = s_in * weight_scale
            self.tensors[f"{name}.offset"][row] = (bias / accumulator).round().to(torch.int32)
            factors = (accumulator / s_out).tolist()
            try:
                pairs = [quantize_multiplier(factor) for factor in factors]
            except ValueError as error:
                raise ValueError(f"{name}, iteration {row + 1}: {error}") from error
            self.tensors[f"{name}.multiplier"][row] = torch.tensor([m for m, _ in pairs], dtype=torch.int32)
            self.tensors[f"{name}.shift"][row] = torch.tensor([s for _, s in pairs], dtype=torch.uint8)

    def _row_scales(self) -> None:
        """Scores in 1/32 nat, 1/sqrt(head size) included; context from value's scale to its own."""
        for row, i in enumerate(self.iterations):
            prefix = f"iteration.{i}.attention."
            product = self.scales[prefix + "query"] * self.scales[prefix + "key"]
            score = product * self.config.head_dim**-0.5 * (1 << SCORE_FRACTION_BITS)
            context = self.scales[prefix + "value"] / self.scales[prefix + "context"]
            for name, factor in (("attention.score", score), ("attention.context", context)):
                multiplier, shift = quantize_multiplier(factor)
                self.tensors[f"{name}.multiplier"][row] = multiplier
                self.tensors[f"{name}.shift"][row] = shift

    def _norm(self, name: str, module: nn.LayerNorm, outputs: Sequence[str]) -> None:
        gamma, beta = module.weight.detach().double().cpu(), module.bias.detach().double().cpu()
        for row, output in enumerate(outputs):
            factor = gamma / (self.scales[output] * (1 << NORM_FRACTION_BITS))
            bias = beta / self.scales[output]
            shift = _norm_shift(factor, bias)
            self.tensors[f"{name}.gamma"][row] = (factor * torch.exp2(shift)).round().to(torch.int16)
            self.tensors[f"{name}.beta"][row] = (bias * torch.exp2(shift)).round().to(torch.int32)
            self.tensors[f"{name}.shift"][row] = shift.to(torch.uint8)

    def _tables(self) -> None:
        for row, i in enumerate(self.iterations):
            prefix = f"iteration.{i}."
            self.tensors["ffn.table"][row] = activation_table(
                self.config.hidden_act,
                self.scales[prefix + "ffn.index"],
                self.scales[prefix + "ffn.activation"],
            ).to(torch.int8)
            self.tensors["pooler.table"][row] = activation_table(
                "tanh", self.scales[prefix + "pooler.index"], 1.0 / OPERAND_MAX
            ).to(torch.int8)


def _norm_shift(factor: Tensor, bias: Tensor) -> Tensor:
    """Largest shift per channel for which gamma fits 16 bits, beta 32, and the shift its own 6; float64 [N].

    Raises:
        ValueError: a channel's gamma or beta does not fit even without a shift.
    """
    top = (1 << (GAMMA_BITS - 1)) - 1
    room = torch.log2(top / factor.abs().clamp(min=1e-30)).floor()
    room = torch.minimum(room, torch.log2(BETA_LIMIT / bias.abs().clamp(min=1e-30)).floor())
    if float(room.min()) < 0:
        channel = int(room.argmin())
        raise ValueError(
            f"LayerNorm channel {channel}: gamma {float(factor[channel]):g} or beta {float(bias[channel]):g} "
            f"exceeds ±{top} or ±{BETA_LIMIT}"
        )
    return room.clamp(max=(1 << SHIFT_BITS) - 1)
