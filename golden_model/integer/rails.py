"""Checkpoints that drive every rule of docs/numerics.md to the ends of its range.

A random checkpoint is calibrated to stay within. Each rail changes one by hand and names the rails
(:func:`golden_model.integer.gauge.reached`) that its sentences must reach; who uses it asserts that they do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from golden_model.config import ElbertConfig
from golden_model.integer.checkpoint import MAX_SHIFT, NORMS, IntegerCheckpoint
from golden_model.integer.contract import HARDWARE, Contract
from golden_model.integer.model import Sentence
from golden_model.integer.synthetic import random_checkpoint, random_sentence
from golden_model.numerics import NORM_FRACTION_BITS, OFFSET_LIMIT, OPERAND_MAX

Tensors = dict[str, Tensor]

HIDDEN_MATMULS = (
    "attention.query", "attention.key", "attention.value", "attention.output",
    "ffn.intermediate", "ffn.output", "pooler", "classifier",
)  # fmt: skip
"""All matmuls of an iteration."""
PROJECTIONS = ("embedding.projection", *HIDDEN_MATMULS)


@dataclass(frozen=True)
class Rail:
    """A way to reach ends of ranges.

    Members:
        change: What is done to the tensors of a random checkpoint, in place.
        reaches: Names of :func:`golden_model.integer.gauge.reached` that are not 0 then.
    """

    change: Callable[[Tensors], None]
    reaches: tuple[str, ...]


def _ends(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}.{end}" for name in names for end in ("low", "high"))


def _enlarge(tensors: Tensors, name: str, bits: int) -> None:
    """Results 2^bits times as large."""
    shift = tensors[f"{name}.shift"]
    shift.copy_((shift.to(torch.int64) - bits).clamp(min=0))


def _constant(sign: int) -> Callable[[Tensors], None]:
    """Every weight, word and position at one end; channel parameters stay, so that features differ."""

    def change(tensors: Tensors) -> None:
        for name in PROJECTIONS:
            tensors[f"{name}.weight"].fill_(sign * OPERAND_MAX)
        for name in ("embedding.word", "embedding.position_type"):
            ends = torch.iinfo(tensors[name].dtype)
            tensors[name].fill_(ends.min if sign < 0 else ends.max)

    return change


def _operands(tensors: Tensors) -> None:
    for name in ("attention.query", "attention.key", "attention.value", "attention.context"):
        _enlarge(tensors, name, 3)


def _scores(tensors: Tensors) -> None:
    _enlarge(tensors, "attention.score", 7)


def _residual(tensors: Tensors) -> None:
    for name in ("attention.output", "ffn.output"):
        _enlarge(tensors, name, 5)


def _indices(tensors: Tensors) -> None:
    for name in ("ffn.intermediate", "pooler"):
        _enlarge(tensors, name, 2)


def _logits(tensors: Tensors) -> None:
    _enlarge(tensors, "classifier", 8)


def _hidden(tensors: Tensors) -> None:
    _enlarge(tensors, "embedding.projection", 3)
    for name in NORMS:
        _enlarge(tensors, f"{name}", 3)


def _flat(tensors: Tensors) -> None:
    """Rows without spread: LayerNorm's input is one value in all features, in every second iteration."""
    for name in NORMS:
        tensors[f"{name}.gamma"][::2] = 0
        tensors[f"{name}.beta"][::2] = 5000
        tensors[f"{name}.shift"][::2] = 6
    for name in ("attention.output", "ffn.output"):
        tensors[f"{name}.multiplier"][::2] = 0
    tensors["embedding.word"][0] = 77
    tensors["embedding.position_type"][0, 0] = -300
    tensors["embedding.projection.multiplier"].zero_()


def _channel(tensors: Tensors) -> None:
    """One channel a thousand times the others, in both residuals and in the embedding's sum."""
    for name in ("attention.output", "ffn.output"):
        tensors[f"{name}.multiplier"].fill_(1 << 15)
        tensors[f"{name}.shift"].fill_(25)
        tensors[f"{name}.offset"].zero_()
        tensors[f"{name}.shift"][:, 3] = 15
        tensors[f"{name}.offset"][:, 3] = OFFSET_LIMIT - 1
    for name in ("attention.norm", "ffn.norm"):
        tensors[f"{name}.gamma"][:, 3] = 32767
        tensors[f"{name}.shift"][:, 3] = 10
    tensors["embedding.position_type"][:, :, 3] = 32767


def _halves(tensors: Tensors) -> None:
    """Multipliers and gammas that are small odd numbers times powers of two: sums fall between integers."""
    for name in PROJECTIONS:
        tensors[f"{name}.multiplier"].fill_(1 << 15)
        tensors[f"{name}.shift"].clamp_(min=15 + 6)
        weight = tensors[f"{name}.weight"]
        weight.copy_(((weight >> 5) << 5).clamp(min=-96))  # sums are multiples of 32
        offset = tensors[f"{name}.offset"]
        offset.copy_((offset >> 5) << 5)
    for name in ("attention.score", "attention.context"):
        tensors[f"{name}.multiplier"].fill_(1 << 15)
    for name in NORMS:
        factor = 1 if name == "embedding.norm" else 7
        tensors[f"{name}.gamma"].fill_(factor << NORM_FRACTION_BITS)
        tensors[f"{name}.shift"].fill_(12 if factor > 1 else 17)
        tensors[f"{name}.beta"].zero_()


def _ties(tensors: Tensors) -> None:
    """All classes alike; all scores alike."""
    for part in ("weight", "offset", "multiplier", "shift"):
        whole = tensors[f"classifier.{part}"]
        if part == "weight":
            whole[1:] = whole[0]
        else:
            whole[:, 1:] = whole[:, :1]
    tensors["attention.query.multiplier"].zero_()


def _shifts(tensors: Tensors) -> None:
    """The ends of shift, multiplier and offset, mixed over the channels."""
    top = (1 << 16) - 1
    for name in PROJECTIONS:
        offset, multiplier, shift = (tensors[f"{name}.{part}"] for part in ("offset", "multiplier", "shift"))
        for channel, values in enumerate(
            ((OFFSET_LIMIT - 1, top, 0), (1 - OFFSET_LIMIT, top, 0), (0, 1 << 15, MAX_SHIFT), (0, 0, 0))
        ):
            if channel < offset.shape[1]:
                offset[:, channel], multiplier[:, channel], shift[:, channel] = values
    for name in NORMS:
        tensors[f"{name}.gamma"][:, 0], tensors[f"{name}.gamma"][:, 1] = -32768, 32767
        tensors[f"{name}.beta"][:, 2], tensors[f"{name}.beta"][:, 3] = (1 << 31) - 1, -(1 << 31)
        tensors[f"{name}.shift"][:, 1], tensors[f"{name}.shift"][:, 4] = 0, MAX_SHIFT


def _wide_sums(tensors: Tensors) -> None:
    """The longest sum of products: table, weights and offset at their ends, signs alike."""
    tensors["ffn.table"].fill_(OPERAND_MAX)
    for name, shift in (("ffn.output", 27), ("pooler", 26)):
        weight, offset = tensors[f"{name}.weight"], tensors[f"{name}.offset"]
        weight.fill_(OPERAND_MAX)
        weight[::2] = -OPERAND_MAX
        offset.fill_(OFFSET_LIMIT - 1)
        offset[:, ::2] = 1 - OFFSET_LIMIT
        tensors[f"{name}.shift"].fill_(shift)
    tensors["attention.query.multiplier"].zero_()  # all exponentials 255: their largest sum
    tensors["attention.value.offset"].fill_(OFFSET_LIMIT - 1)


RAILS: dict[str, Rail] = {
    "all low": Rail(_constant(-1), ("embedding.norm.flat", "attention.value.low")),
    "all high": Rail(_constant(1), ("embedding.norm.flat", "attention.value.low")),
    "operands": Rail(
        _operands, _ends("attention.query", "attention.key", "attention.value", "attention.context")
    ),
    "scores": Rail(
        _scores,
        (*_ends("attention.scores"), "attention.exponentials.far", "attention.exponentials.one"),
    ),
    "residual": Rail(
        _residual,
        _ends("attention.output", "ffn.output", "attention.residual", "ffn.residual"),
    ),
    "indices": Rail(_indices, _ends("ffn.intermediate", "pooler")),
    "logits": Rail(_logits, _ends("classifier")),
    "hidden": Rail(_hidden, _ends("embedding.projection", *NORMS)),
    "flat": Rail(_flat, tuple(f"{name}.flat" for name in NORMS)),
    "channel": Rail(_channel, ("attention.residual.high", "ffn.residual.high")),
    "halves": Rail(
        _halves,
        tuple(f"{name}.half" for name in (*PROJECTIONS, *NORMS, "attention.scores")),
    ),
    "ties": Rail(_ties, ("logits.tie", "attention.exponentials.equal")),
    "shifts": Rail(_shifts, _ends("embedding.projection", "attention.value", "ffn.output", *NORMS)),
}
"""By name; the :func:`rail_sentences` of small geometries reach each; 1024 features would dilute some."""

SMALL = ElbertConfig(
    vocab_size=16,
    embedding_size=8,
    hidden_size=16,
    num_attention_heads=2,
    intermediate_size=32,
    num_hidden_layers=2,
    max_position_embeddings=9,
    num_labels=3,
)
"""A geometry on which a simulation of all rails takes seconds; arrays of 4 and 8 columns hold it."""

LONGEST_SUMS = SMALL.model_copy(
    update={"hidden_size": 8, "intermediate_size": 4096, "num_hidden_layers": 1, "max_position_embeddings": 6}
)
"""The geometry of :data:`LONG_SUMS`; for an array of 4 columns."""

LONG_SUMS = Rail(_wide_sums, ("ffn.output.wide",))
"""With intermediate_size at its most (4096): a sum of the contract's 28 bits, 29 with its offset."""


def rail_checkpoint(
    rail: Rail, config: ElbertConfig, seed: int = 0, contract: Contract = HARDWARE
) -> IntegerCheckpoint:
    """The random checkpoint of ``seed`` and ``contract``, changed by ``rail`` and validated anew.

    Raises:
        ValueError: hidden_size is below 5, so that not all of the rail's channels exist.
    """
    checkpoint = random_checkpoint(config, seed, contract)
    tensors = {name: tensor.clone() for name, tensor in checkpoint.tensors.items()}
    rail.change(tensors)
    return replace(checkpoint, tensors=tensors)


def rail_sentences(config: ElbertConfig, seed: int = 0) -> list[Sentence]:
    """One token, a third of the longest, the longest; the first word of each is 0."""
    generator = torch.Generator().manual_seed(seed)
    longest = config.max_position_embeddings
    lengths = sorted({1, max(1, longest // 3), longest})
    sentences = [random_sentence(config, length, generator) for length in lengths]
    return [([0, *ids[1:]], types) for ids, types in sentences]
