"""Float ELBERT to integer checkpoint: watch a few hundred sentences, then fix every scale once.

Scales are static, one set per iteration: the weights are shared, the ranges drift. ``s_x`` is the real size
of one LSB of the integer tensor x. A matmul with input LSB ``s_in`` and weight LSB ``s_w`` (per output
channel) accumulates in ``s_in·s_w``, so its offset is bias/(s_in·s_w) and its requantisation factor
s_in·s_w/s_out.

Every scale and channel factor is rounded to 16 bits, so that the integers do not depend on threads, batches
or machine (:mod:`quant.reproducible`).

Where a tensor is written per channel and read by a matmul only, its channels may have scales of their own
that the reading weights absorb (``factors``): the normalised embedding, and value and context.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from golden_model.config import ElbertConfig
from golden_model.float.albert import ElbertForSequenceClassification
from golden_model.integer.checkpoint import IntegerCheckpoint, tensor_specs
from golden_model.integer.model import Sentence
from golden_model.integer.ops.fixed import quantize_multiplier
from golden_model.integer.ops.table import activation_table
from golden_model.integer.scales import complete, input_name
from golden_model.numerics import (
    EMBEDDING_SHIFT,
    GAMMA_BITS,
    HIDDEN_MAX,
    LOGIT_FRACTION_BITS,
    NORM_FRACTION_BITS,
    OFFSET_LIMIT,
    OPERAND_MAX,
    POSITION_TYPE_BITS,
    RESIDUAL_BITS,
    SCORE_FRACTION_BITS,
    SHIFT_BITS,
    TABLE_INDEX_BITS,
)
from quant.correct import BETA_LIMIT, Means, correct_bias
from quant.modules import as_float64, embedding_tables, linears, norms
from quant.observe import LEAST_SCALE, Observations, Progress, observe
from quant.reproducible import one_thread, round_bits, round_up
from quant.schemes import Scheme, quantize_weight

HALF_TABLE = 1 << (TABLE_INDEX_BITS - 1)
GELU_FLAT = 6.0
"""Below minus this GELU is 0 to 8 bits: larger negative inputs need not be told apart."""
TANH_FLAT = 3.5
"""Beyond this tanh is ±127/127 to 8 bits."""
RESIDUAL_HEADROOM = 1.1
"""Residual sums may exceed what calibration saw by this factor before they saturate."""
EQUALIZATIONS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Exponents tried: 0 is one scale for all channels, 1 a full range for every channel."""
CORRECTION_SENTENCES = 256
"""Most sentences that bias correction runs in its one batch."""
MEAN_FRACTION_BITS = 8
"""Of the means that bias correction aims at, in output LSBs: 1/256 LSB."""


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

    The integers do not depend on the number of threads. What quantisation cost is said by
    :func:`quant.quality.measure`.

    Raises:
        ValueError: there are no sentences; a weight or an activation is not finite; something does not fit
            the contract. The message names the tensor.
    """
    scheme = scheme or Scheme()
    check_weights(model)
    seen = observe(model, sentences, scheme, progress=progress)
    with one_thread():
        quantizer = Quantizer(model, seen, scheme, provenance or {})
        checkpoint = quantizer.checkpoint()
    if scheme.correct_bias:
        part = sentences[:CORRECTION_SENTENCES]
        if len(part) < len(sentences):
            # means must be of the sentences that the correction runs
            quantizer.seen = observe(model, part, scheme)
        # sums of integers: exact on any number of threads
        checkpoint = correct_bias(checkpoint, quantizer.means(), part)
    return checkpoint


def check_weights(model: ElbertForSequenceClassification) -> None:
    """Refuses weights that no integer can follow.

    Raises:
        ValueError: a weight is not finite, named with its index; or every embedding is 0.
    """
    for name, value in model.model.state_dict().items():
        wrong = (~value.isfinite()).nonzero()
        if len(wrong):
            index = tuple(wrong[0].tolist())
            raise ValueError(f"weight {name}{list(index)} of the float model is {float(value[index])}")
    embeddings = model.model.albert.embeddings
    tables = (embeddings.word_embeddings, embeddings.position_embeddings, embeddings.token_type_embeddings)
    if not any(bool(table.weight.any()) for table in tables):
        raise ValueError(
            "word, position and token type embeddings of the float model are all 0: sentences look alike"
        )


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
        self.linears, self.norms = linears(model), norms(model)
        self.iterations = range(1, self.config.num_hidden_layers + 1)
        specs = tensor_specs(self.config)
        self.tensors = {name: torch.zeros(spec.shape, dtype=spec.dtype) for name, spec in specs.items()}
        self.scales: dict[str, float] = {}
        self.factors: dict[str, Tensor] = {}
        """Per channel, by name without iteration: the channel's LSB is the tensor's scale times this."""
        self.outputs: dict[tuple[str, int], tuple[str, Tensor]] = {}
        """(matmul or LayerNorm, iteration) to the observed tensor it makes and that one's LSB per channel."""
        self.weight_scales: dict[str, Tensor] = {}
        """Per output channel, by the weight's name."""
        self._choose_hidden_scales()
        self._choose_equalized_scales()
        self._choose_head_scales()
        self._choose_table_scales()

    def checkpoint(self) -> IntegerCheckpoint:
        """All tensors, validated; no bias correction yet."""
        hidden = [input_name(i) for i in self.iterations]
        middle, after = self._names("attention.hidden"), self._names("hidden")
        self._embedding()
        self._norm("embedding.norm", ["embedding.normalized"])
        self._matmul("embedding.projection", ["embedding.normalized"], ["embedding.hidden"])
        for part in ("query", "key", "value"):
            self._matmul(f"attention.{part}", hidden, self._names(f"attention.{part}"))
        self._row_scales()
        self._matmul(
            "attention.output", self._names("attention.context"), self._names("attention.update"), hidden
        )
        self._norm("attention.norm", middle)
        self._matmul("ffn.intermediate", middle, self._names("ffn.index"))
        self._matmul("ffn.output", self._names("ffn.activation"), self._names("ffn.update"), middle)
        self._norm("ffn.norm", after)
        self._matmul("pooler", after, self._names("pooler.index"))
        self._matmul("classifier", self._names("pooler.output"), self._names("logits"))
        self._tables()
        metadata = {
            "scheme": self.scheme.as_dict(),
            "scales": complete(self.scales, self.config)
            | {name: decimals(scale) for name, scale in self.weight_scales.items()},
            # those of query and key are many, one set per iteration, and follow from their multipliers
            "factors": {
                name: factor.tolist()
                for name, factor in self.factors.items()
                if not name.startswith("iteration.")
            },
            "calibration": {"sentences": self.seen.sentences, "tokens": self.seen.tokens},
            "provenance": self.provenance,
        }
        return IntegerCheckpoint(self.config, self.tensors, metadata)

    def means(self) -> Means:
        """Observed means of everything a matmul or LayerNorm makes, in its own LSBs."""
        step = 2.0**-MEAN_FRACTION_BITS
        return {
            key: (self.seen.channels[name].mean / lsb / step).round() * step
            for key, (name, lsb) in self.outputs.items()
        }

    # ------------------------------------------------------------------ scales

    def _names(self, name: str) -> list[str]:
        return [f"iteration.{i}.{name}" for i in self.iterations]

    def _set(self, name: str, scale: float) -> None:
        self.scales[name] = round_up(scale)

    def _factor(self, name: str) -> Tensor:
        """Channel factors of a tensor, by its name with or without iteration; 1 where it has none."""
        short = name.split(".", 2)[2] if name.startswith("iteration.") else name
        return self.factors.get(name, self.factors.get(short, torch.ones(1, dtype=torch.float64)))

    def _lsb(self, name: str) -> Tensor:
        """LSB per channel, float64 [channels] or [1]."""
        return self.scales[name] * self._factor(name)

    def _choose_hidden_scales(self) -> None:
        """Every hidden state, from its own range and from the residual sum that is formed in its scale.

        The operand of the next matmul has 8 bits of it, so that is the width the observer weighs rounding
        against.
        """
        residual_max = (1 << (RESIDUAL_BITS - 1)) - 1
        pairs = [(input_name(i), f"iteration.{i}.attention.residual") for i in self.iterations]
        pairs += [(f"iteration.{i}.attention.hidden", f"iteration.{i}.ffn.residual") for i in self.iterations]
        for hidden, residual in pairs:
            needed = self.seen.largest(residual) * RESIDUAL_HEADROOM / residual_max
            self._set(hidden, max(self.seen.limit(hidden, OPERAND_MAX) / HIDDEN_MAX, needed))
        last = f"iteration.{self.iterations[-1]}.hidden"
        self._set(last, self.seen.limit(last, OPERAND_MAX) / HIDDEN_MAX)

    def _choose_equalized_scales(self) -> None:
        """Normalised embedding, value and context: scale and channel factors, found together."""
        self._equalize(
            "embedding.normalized",
            ["embedding.normalized"],
            self.linears["embedding.projection"].weight,
        )
        contexts = self._names("attention.context")
        self._equalize("attention.context", contexts, self.linears["attention.output"].weight)
        # context is an average of values: the same factors, so that one row scale serves all channels
        self.factors["attention.value"] = self.factors["attention.context"]
        for name in self._names("attention.value"):
            self._set(name, self._factored_scale(name, self.factors["attention.value"]))

    def _equalize(self, short: str, names: Sequence[str], weight: Tensor) -> None:
        """Chooses among EQUALIZATIONS by the error of the matmul that reads the tensor."""
        w = as_float64(weight)
        # one set of factors for all iterations, as the weights are: from the mean shape of the ranges
        shape = torch.stack([self._relative_range(name) for name in names]).log().mean(0).exp()
        best, best_error = torch.ones_like(shape), float("inf")
        for exponent in EQUALIZATIONS if self.scheme.equalize else (0.0,):
            factor = round_bits(shape**exponent)
            integers, weight_scale = quantize_weight(w * factor, self.scheme)
            stored = integers.double() * weight_scale.unsqueeze(1)
            error = 0.0
            for name in names:
                lsb = self._factored_scale(name, factor)
                x = self.seen.sample(name)
                rounded = (x / (lsb * factor)).round().clamp(-OPERAND_MAX, OPERAND_MAX) * lsb
                exact = x @ w.t()
                error += float(
                    (rounded @ stored.t() - exact).square().mean() / exact.square().mean().clamp(min=1e-30)
                )
            if error < best_error:
                best, best_error = factor, error
        self.factors[short] = best
        for name in names:
            self._set(name, self._factored_scale(name, best))

    def _relative_range(self, name: str) -> Tensor:
        largest = self.seen.channels[name].largest.clamp(min=LEAST_SCALE)
        return (largest / largest.max()).clamp(min=2.0**-8)

    def _factored_scale(self, name: str, factor: Tensor) -> float:
        """Scale of a tensor whose channels are divided by ``factor``."""
        top = float((self.seen.channels[name].largest / factor).max())
        return max(top * self.seen.keep(name, OPERAND_MAX) / OPERAND_MAX, LEAST_SCALE)

    def _choose_head_scales(self) -> None:
        """Query and key: channels are scaled against each other until their ranges are equal.

        Every product stays as it is, and both share one scale. Factors per iteration: nothing else reads
        them.
        """
        for i in self.iterations:
            names = [f"iteration.{i}.attention.{part}" for part in ("query", "key")]
            if not self.scheme.equalize:
                for name in names:
                    self._set(name, self.seen.limit(name, OPERAND_MAX) / OPERAND_MAX)
                continue
            query, key = (self.seen.channels[n].largest.clamp(min=1e-9) for n in names)
            ratio = round_bits((query / key).sqrt())
            self.factors[names[0]], self.factors[names[1]] = ratio, 1 / ratio
            keep = min(self.seen.keep(n, OPERAND_MAX) for n in names)
            scale = float((query * key).sqrt().max()) * keep / OPERAND_MAX
            for name in names:
                self._set(name, max(scale, LEAST_SCALE))

    def _choose_table_scales(self) -> None:
        for i in self.iterations:
            prefix = f"iteration.{i}."
            name = prefix + "ffn.activation"
            self._set(name, self.seen.limit(name, OPERAND_MAX) / OPERAND_MAX)
            positive = float(self.seen.channels[prefix + "ffn.index"].highest.max())
            negative = min(GELU_FLAT, self.seen.largest(prefix + "ffn.index"))
            self._set(prefix + "ffn.index", max(positive, negative, LEAST_SCALE) / (HALF_TABLE - 1))
            pooled = min(TANH_FLAT, self.seen.largest(prefix + "pooler.index"))
            self._set(prefix + "pooler.index", max(pooled, LEAST_SCALE) / (HALF_TABLE - 1))
            self.scales[prefix + "pooler.output"] = 1.0 / OPERAND_MAX
            self.scales[prefix + "logits"] = 2.0**-LOGIT_FRACTION_BITS

    # ----------------------------------------------------------------- tensors

    def _embedding(self) -> None:
        """Word and position tables. LayerNorm needs one scale for all channels of the sum."""
        word, both = embedding_tables(self.model, self.scheme.equalize)
        fine = 1 << EMBEDDING_SHIFT
        top = (1 << (POSITION_TYPE_BITS - 1)) - 1
        scale = max(float(word.abs().max()) / OPERAND_MAX, float(both.abs().max()) * fine / top, LEAST_SCALE)
        self.scales["embedding.sum"] = scale / fine
        self.tensors["embedding.word"] = (
            (word / scale).round().clamp(-OPERAND_MAX, OPERAND_MAX).to(torch.int8)
        )
        self.tensors["embedding.position_type"] = (
            (both * fine / scale).round().clamp(-top, top).to(torch.int16)
        )

    def _matmul(
        self,
        name: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        output_scales: Sequence[str] | None = None,
    ) -> None:
        """Weight once; offset, multiplier and shift per iteration.

        Args:
            name: In the checkpoint.
            inputs: The tensor that is read, per iteration. Of a hidden state, ``hi`` is what is read.
            outputs: The tensor that is made, per iteration.
            output_scales: Whose scale it is made in; None for its own.
        """
        module = self.linears[name]
        weight, bias = as_float64(module.weight) * self._factor(inputs[0]), as_float64(module.bias)
        input_scales = [self.scales[x] * (256 if x.endswith("hidden") else 1) for x in inputs]
        # an offset must fit even in a channel of tiny weights
        least = bias.abs() / (min(input_scales) * (OFFSET_LIMIT - 1)) + torch.finfo(torch.float32).tiny
        integers, weight_scale = quantize_weight(weight, self.scheme, least)
        self.tensors[f"{name}.weight"], self.weight_scales[f"{name}.weight"] = integers, weight_scale
        for row, s_in in enumerate(input_scales):
            s_out = self._lsb((outputs if output_scales is None else output_scales)[row])
            self.outputs[(name, row + 1)] = (outputs[row], s_out)
            accumulator = s_in * weight_scale
            self.tensors[f"{name}.offset"][row] = (bias / accumulator).round().to(torch.int32)
            try:
                pairs = [quantize_multiplier(factor) for factor in (accumulator / s_out).tolist()]
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

    def _norm(self, name: str, outputs: Sequence[str]) -> None:
        module = self.norms[name]
        gamma, beta = as_float64(module.weight), as_float64(module.bias)
        for row, output in enumerate(outputs):
            if self.seen.largest(output) == 0.0 and bool(gamma.any()):
                raise ValueError(
                    f"{output} of the float model is 0 throughout calibration: {name} finds no spread"
                )
            lsb = self._lsb(output)
            self.outputs[(name, row + 1)] = (output, lsb)
            factor = gamma / (lsb * (1 << NORM_FRACTION_BITS))
            bias = beta / lsb
            shift = _norm_shift(name, factor, bias)
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


def decimals(scale: Tensor) -> list[float]:
    """A scale per channel for JSON, with nine significant digits."""
    return [float(f"{value:.9g}") for value in scale.tolist()]


def _norm_shift(name: str, factor: Tensor, bias: Tensor) -> Tensor:
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
