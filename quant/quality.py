"""What a quantisation costs, tensor by tensor: the golden model's real values against the float model's.

Both models run the same sentences without an exit. Of every named tensor and iteration: the ratio of signal
to quantisation noise (SQNR), the share of saturated values and how much of the integer range is used; of
every stored weight its SQNR; of every iteration the share of equal answers. A broken bound is a warning.

A noise that tensors hand on counts in each of them: the first tensor of the computation to fall is the cause.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from golden_model.float.albert import ElbertForSequenceClassification
from golden_model.integer.checkpoint import MATMULS, IntegerCheckpoint
from golden_model.integer.golden import open_golden
from golden_model.integer.model import Sentence, Trace
from golden_model.integer.scales import (
    dequantize,
    limit_of,
    named_tensors,
    scale_of,
    short_name,
    zero_point_of,
)
from quant.modules import as_float64, embedding_tables, linears
from quant.schemes import Scheme
from quant.trace import trace_float

QUALITY_SENTENCES = 32
"""Of the calibration sentences these many are enough, and take seconds on the bundled model."""
MOST_DECIBELS = 200.0
"""SQNR of what is equal: float64 knows no more."""

# Bounds, from the bundled model's worst iterations, on calibration sentences or the examples: hidden states
# 21.2 dB, logits 28.2, entropy 15.2, attention scores 12.0 (of the last iterations, which hardly differ from
# token to token), every other tensor 17.0 or more, weights 33.9 or more, saturated at most one value in
# 4,000 of the examples' embeddings, all answers equal.
# 15 dB is a noise of 18 % of the signal, 10 dB one of 32 %.
LEAST_STREAM = 15.0
"""dB; of hidden states, which every later tensor is made of, and of logits."""
LEAST_TENSOR = 10.0
"""dB; of every other named tensor."""
LEAST_ENTROPY = 5.0
"""dB; of entropies, which are close to 0 wherever the model is sure."""
LEAST_WEIGHT = 25.0
"""dB; of a weight of 8 bits; 6 dB less for every bit less."""
MOST_SATURATED = 0.01
"""Share of a tensor's values in an iteration; observers other than max let a part saturate on purpose."""
LEAST_AGREEMENT = 0.9
"""Share of equal answers of the last iteration."""

ENTROPIES = ("exit.entropy", "exit.entropy_raw")
STREAM = ("embedding.hidden", "attention.hidden", "hidden", "logits")
TABLES_OF_8_BITS = ("embedding.word", "embedding.position_type")
"""They do not follow the scheme's ``weight_bits``."""
OWN_ENDS = ("attention.exponentials", "exit.probabilities", *ENTROPIES)
"""The real quantities end where their integers do: nothing saturates."""
FIXED_UNITS = ("attention.scores", "logits", "exit.probabilities", *ENTROPIES)
"""Their LSB is the contract's, not the calibration's: an error below it is none, however small the values."""
ANSWERS = ("exit.decision", "exit.label")
"""No quantities: answers are equal or not."""


def sqnr(signal: float, noise: float) -> float:
    """10·log10 of two sums of squares, dB within ±MOST_DECIBELS, which it is where nothing is lost."""
    if noise == 0.0:
        return MOST_DECIBELS
    if signal == 0.0:
        return -MOST_DECIBELS
    return max(-MOST_DECIBELS, min(MOST_DECIBELS, 10.0 * (math.log10(signal) - math.log10(noise))))


def tensor_sqnr(real: Tensor, got: Tensor) -> float:
    """SQNR of ``got`` against ``real``, both of one shape, in dB."""
    return sqnr(float(real.double().square().sum()), float((real.double() - got.double()).square().sum()))


@dataclass
class Fit:
    """How one named tensor of one iteration follows the float model's; adds up over sentences."""

    signal: float = 0.0
    noise: float = 0.0
    steps: float = 0.0
    """The noise in squared LSBs."""
    values: int = 0
    saturated: int = 0
    largest: int = 0
    """Largest magnitude of an integer."""

    def add(
        self,
        real: Tensor,
        integers: Tensor,
        scale: Tensor,
        limit: int,
        saturates: bool,
        zero: Tensor | int = 0,
    ) -> None:
        """Takes a sentence's real values, the golden model's integers, their LSB and zero point.

        A value is saturated that stands at the end of its range and is off by more than one LSB.
        """
        error = real - (integers + zero).double() * scale
        self.signal += float(real.square().sum())
        self.noise += float(error.square().sum())
        self.steps += float((error / scale).square().sum())
        self.values += integers.numel()
        self.largest = max(self.largest, int(integers.abs().max()))
        if saturates and self.largest >= limit:
            self.saturated += int(((integers.abs() >= limit) & (error.abs() > scale)).sum())

    @property
    def sqnr(self) -> float:
        """In dB."""
        return sqnr(self.signal, self.noise)

    @property
    def error(self) -> float:
        """Root mean square of the error, in LSBs."""
        return math.sqrt(self.steps / max(1, self.values))

    @property
    def share_saturated(self) -> float:
        """0..1."""
        return self.saturated / max(1, self.values)


@dataclass
class Quality:
    """The report. Lists have one entry per iteration, or one entry for tensors of the embedding.

    Members:
        sentences, tokens: What was run.
        sqnr: Short name of a named tensor to dB.
        error: The same to root mean square errors, in LSBs.
        saturated: The same to shares, 0..1.
        used: The same to the share of the integer range that the largest magnitude uses, 0..1.
        weights: Name of a stored weight to dB.
        agreement: Share of sentences to which both give the same answer, per iteration.
        weight_bits: The fewest of a matmul's.
    """

    sentences: int
    tokens: int
    sqnr: dict[str, list[float]] = field(default_factory=dict)
    error: dict[str, list[float]] = field(default_factory=dict)
    saturated: dict[str, list[float]] = field(default_factory=dict)
    used: dict[str, list[float]] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    agreement: list[float] = field(default_factory=list)
    weight_bits: int = 8

    def worst(self) -> list[tuple[str, int, float, float]]:
        """(short name, row with the least SQNR, that one in dB, largest saturated share), worst tensor first.

        Row r is iteration r + 1; tensors of the embedding, which are made once, have row 0 alone
        (:func:`full_name`).
        """
        rows = []
        for name, values in self.sqnr.items():
            row = min(range(len(values)), key=values.__getitem__)
            rows.append((name, row, values[row], max(self.saturated[name])))
        return sorted(rows, key=lambda row: row[2])

    def warnings(self) -> list[str]:
        """A line for every weight below its bound and one for all tensors below theirs, for all that saturate
        and for answers that differ; empty where all is well."""
        return list(self._warnings())

    def as_dict(self) -> dict[str, Any]:
        """For JSON: dB with two decimals, shares as they are."""
        return {
            "sentences": self.sentences,
            "tokens": self.tokens,
            "tensors": {
                name: {
                    "sqnr_db": [round(value, 2) for value in values],
                    "error_lsb": [round(value, 3) for value in self.error[name]],
                    "saturated": self.saturated[name],
                    "range_used": [round(value, 4) for value in self.used[name]],
                }
                for name, values in self.sqnr.items()
            },
            "weights_sqnr_db": {name: round(value, 2) for name, value in self.weights.items()},
            "agreement": self.agreement,
            "bounds": {
                "hidden_and_logits_db": LEAST_STREAM,
                "entropy_db": LEAST_ENTROPY,
                "tensor_db": LEAST_TENSOR,
                "weight_db": self.least_weight,
                "saturated": MOST_SATURATED,
                "agreement": LEAST_AGREEMENT,
            },
            "warnings": self.warnings(),
        }

    @property
    def least_weight(self) -> float:
        """dB that a weight should have."""
        return LEAST_WEIGHT - 6.0 * (8 - self.weight_bits)

    def _warnings(self) -> Iterator[str]:
        for name, value in self.weights.items():
            least = LEAST_WEIGHT if name in TABLES_OF_8_BITS else self.least_weight
            if value < least:
                yield f"{name} has an SQNR of {value:.1f} dB, below {least:g}"
        places = list(self._places())
        noisy = [place for place in places if self._noisy(*place)]
        if noisy:
            first, row = noisy[0]
            worst, place = min(noisy, key=lambda at: self.sqnr[at[0]][at[1]])
            yield (
                f"{len({name for name, _ in noisy})} of {len(self.sqnr)} named tensors have an SQNR below "
                f"their bound: first {full_name(first, row)}, {self.sqnr[first][row]:.1f} dB, below "
                f"{least_sqnr(first):g}; worst {full_name(worst, place)}, {self.sqnr[worst][place]:.1f} dB"
            )
        clipped = [place for place in places if self.saturated[place[0]][place[1]] > MOST_SATURATED]
        if clipped:
            first, row = clipped[0]
            worst, place = max(clipped, key=lambda at: self.saturated[at[0]][at[1]])
            yield (
                f"{len({name for name, _ in clipped})} of {len(self.sqnr)} named tensors saturate in more "
                f"than {MOST_SATURATED:.0%} of their values: first {full_name(first, row)}, "
                f"{self.saturated[first][row]:.1%}; worst {full_name(worst, place)}, "
                f"{self.saturated[worst][place]:.1%}"
            )
        if self.agreement and self.agreement[-1] < LEAST_AGREEMENT:
            yield (
                f"float and golden agree on {self.agreement[-1]:.1%} of {self.sentences} sentences, "
                f"below {LEAST_AGREEMENT:.0%}"
            )

    def _noisy(self, name: str, row: int) -> bool:
        fine = name in FIXED_UNITS and self.error[name][row] <= 1.0
        return self.sqnr[name][row] < least_sqnr(name) and not fine

    def _places(self) -> Iterator[tuple[str, int]]:
        """(tensor, row) in the order of the computation."""
        once = [name for name in self.sqnr if name.startswith("embedding.")]
        yield from ((name, 0) for name in once)
        for row in range(len(self.agreement)):
            yield from ((name, row) for name in self.sqnr if name not in once)


def least_sqnr(short: str) -> float:
    """The bound of a named tensor, dB."""
    if short in ENTROPIES:
        return LEAST_ENTROPY
    return LEAST_STREAM if short in STREAM else LEAST_TENSOR


def full_name(short: str, row: int) -> str:
    """Name of a tensor's row, counted from 0, with its iteration, counted from 1."""
    return short if short.startswith("embedding.") else f"iteration.{row + 1}.{short}"


def measure(
    model: ElbertForSequenceClassification, checkpoint: IntegerCheckpoint, sentences: Sequence[Sentence]
) -> Quality:
    """Compares a calibrated checkpoint with its float model on sentences; a fraction of a second for each.

    Args:
        model: The float model that the checkpoint was calibrated from; not changed.
        checkpoint: With its scales.
        sentences: The first QUALITY_SENTENCES of the calibration will do.

    Raises:
        ValueError: there are no sentences, or the checkpoint's metadata lacks a scale.
    """
    if not sentences:
        raise ValueError("the quality of a quantisation is measured on at least one sentence")
    config = checkpoint.config
    names = named_tensors(config)
    scales = {name: scale_of(checkpoint, name) for name in names}
    zeros = {name: zero_point_of(checkpoint, name) for name in names}
    limits = {name: limit_of(name, checkpoint.contract) for name in names}
    fits = {name: Fit() for name in names if short_name(name) not in ANSWERS}
    labels = [name for name in names if short_name(name) == "exit.label"]
    equal = dict.fromkeys(labels, 0)
    golden = open_golden(checkpoint)
    for sentence, real in zip(sentences, trace_float(model, sentences), strict=True):
        (result,) = golden.run([sentence], trace=Trace(), answer_first=False)  # every row of every iteration
        for name, fit in fits.items():
            saturates = short_name(name) not in OWN_ENDS
            fit.add(real[name], result.taps[name], scales[name], limits[name], saturates, zeros[name])
        for name in labels:
            equal[name] += int(real[name]) == int(result.taps[name])
    quality = Quality(len(sentences), sum(len(ids) for ids, _ in sentences))
    scheme = Scheme.from_dict(checkpoint.metadata.get("scheme", {}))
    quality.weight_bits = min(scheme.weights(name).weight_bits for name in MATMULS)
    for name, fit in fits.items():
        short, limit = short_name(name), limits[name]
        quality.sqnr.setdefault(short, []).append(fit.sqnr)
        quality.error.setdefault(short, []).append(fit.error)
        quality.saturated.setdefault(short, []).append(fit.share_saturated)
        quality.used.setdefault(short, []).append(fit.largest / limit)
    quality.agreement = [equal[name] / len(sentences) for name in labels]
    quality.weights = weight_sqnr(model, checkpoint)
    return quality


def weight_sqnr(model: ElbertForSequenceClassification, checkpoint: IntegerCheckpoint) -> dict[str, float]:
    """SQNR of every stored weight, embedding tables included, against the float model's: name to dB."""
    centred = bool(checkpoint.metadata.get("scheme", {}).get("equalize", True))
    word, both = embedding_tables(model, centred)
    real = {"embedding.word": word, "embedding.position_type": both}
    real |= {f"{name}.weight": as_float64(module.weight) for name, module in linears(model).items()}
    return {name: tensor_sqnr(weight, dequantize(checkpoint, name)) for name, weight in real.items()}
