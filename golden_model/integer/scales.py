"""What one LSB of every integer tensor means: real = integer · scale.

Metadata ``scales`` of a calibrated checkpoint names every tensor a computation makes, by its full name, and
every stored weight, the latter per output channel; ``factors`` holds what the channels of three tensors
differ by. :func:`complete` derives the scales that follow from the contract's constants or from other
tensors, and :func:`scale_of` puts everything together (docs/numerics.md, "Scales").
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from golden_model.config import MAX_LABELS, ElbertConfig
from golden_model.integer.checkpoint import MATMULS, NORMS, ROW_SCALES, TABLE_OUTPUTS, IntegerCheckpoint
from golden_model.integer.contract import HARDWARE, HIDDEN_OPERANDS, Contract
from golden_model.numerics import (
    EMBEDDING_SHIFT,
    ENTROPY_BITS,
    HIDDEN_MAX,
    LOGIT_BITS,
    LOGIT_FRACTION_BITS,
    ONE,
    RESIDUAL_BITS,
    SCORE_BITS,
    SCORE_FRACTION_BITS,
)

EMBEDDING_TENSORS = ("embedding.sum", "embedding.normalized", "embedding.hidden")
ITERATION_TENSORS = (
    "attention.query",
    "attention.key",
    "attention.value",
    "attention.scores",
    "attention.exponentials",
    "attention.context",
    "attention.residual",
    "attention.hidden",
    "ffn.activation",
    "ffn.residual",
    "hidden",
    "pooler.output",
    "logits",
    "exit.probabilities",
    "exit.entropy",
    "exit.entropy_raw",
    "exit.decision",
    "exit.label",
)
"""Short names: without ``iteration.i.``."""

_CONSTANTS: dict[str, float] = {
    "attention.scores": 2.0**-SCORE_FRACTION_BITS,
    "logits": 2.0**-LOGIT_FRACTION_BITS,
    "exit.probabilities": 1.0 / ONE,
    "exit.entropy": 1.0 / ONE,
    "exit.entropy_raw": 1.0 / ONE,
    "exit.decision": 1.0,
    "exit.label": 1.0,
}
"""The same in every contract and iteration."""

_ONES = ("attention.exponentials", "pooler.output")
"""Operands whose largest integer stands for 1."""

_LIMITS: dict[str, int] = {
    "embedding.sum": (1 << (RESIDUAL_BITS - 1)) - 1,
    "embedding.hidden": HIDDEN_MAX,
    "attention.scores": (1 << (SCORE_BITS - 1)) - 1,
    "attention.residual": (1 << (RESIDUAL_BITS - 1)) - 1,
    "attention.hidden": HIDDEN_MAX,
    "ffn.residual": (1 << (RESIDUAL_BITS - 1)) - 1,
    "hidden": HIDDEN_MAX,
    "logits": (1 << (LOGIT_BITS - 1)) - 1,
    "exit.probabilities": ONE,
    "exit.entropy": ONE,
    "exit.entropy_raw": (1 << ENTROPY_BITS) - 1,
    "exit.decision": 1,
    "exit.label": MAX_LABELS - 1,
}
"""Largest integers of what is no operand."""


@dataclass(frozen=True)
class _Reads:
    """What a matmul reads and makes: short names, and whether it runs once or in every iteration."""

    input: str
    output: str
    operand: str
    """What is read, by its name in the contract."""


_MATMULS: dict[str, _Reads] = {
    "embedding.projection": _Reads("embedding.normalized", "embedding.hidden", "embedding.normalized"),
    "attention.query": _Reads("input", "attention.query", "hidden"),
    "attention.key": _Reads("input", "attention.key", "hidden"),
    "attention.value": _Reads("input", "attention.value", "hidden"),
    "attention.output": _Reads("attention.context", "input", "attention.context"),
    "ffn.intermediate": _Reads("attention.hidden", "ffn.index", "attention.hidden"),
    "ffn.output": _Reads("ffn.activation", "attention.hidden", "ffn.activation"),
    "pooler": _Reads("hidden", "pooler.index", "pooler.hidden"),
    "classifier": _Reads("pooler.output", "logits", "pooler.output"),
}
"""``input`` is the hidden state that the iteration starts from; updates are made in the scale of the hidden
state they are added to."""
_NORMS = {
    "embedding.norm": "embedding.normalized",
    "attention.norm": "attention.hidden",
    "ffn.norm": "hidden",
}


def named_tensors(config: ElbertConfig) -> list[str]:
    """Full names of the tensors a computation makes, as docs/numerics.md lists them, in its order."""
    names = list(EMBEDDING_TENSORS)
    for i in range(1, config.num_hidden_layers + 1):
        names += [f"iteration.{i}.{name}" for name in ITERATION_TENSORS]
    return names


def short_name(name: str) -> str:
    """A tensor's name without its iteration: ``iteration.3.attention.query`` to ``attention.query``."""
    return name.split(".", 2)[2] if name.startswith("iteration.") else name


def operand_of(matmul: str) -> str:
    """What a matmul reads, by its name in :data:`golden_model.integer.contract.OPERANDS`."""
    return _MATMULS[matmul].operand


def operand_step(matmul: str, contract: Contract = HARDWARE) -> int:
    """LSBs of the tensor that a matmul reads in an LSB of its operand: 256 of a hidden state, 1 of others."""
    operand = operand_of(matmul)
    return 1 << contract.hidden_shift(operand) if operand in HIDDEN_OPERANDS else 1


def limit_of(name: str, contract: Contract = HARDWARE) -> int:
    """Largest integer that a named tensor can hold, by its full or its short name."""
    short = short_name(name)
    return _LIMITS[short] if short in _LIMITS else contract.limit(short)


def input_name(iteration: int) -> str:
    """The hidden state that an iteration, counted from 1, starts from."""
    return "embedding.hidden" if iteration == 1 else f"iteration.{iteration - 1}.hidden"


def complete(
    scales: Mapping[str, Any], config: ElbertConfig, contract: Contract = HARDWARE
) -> dict[str, Any]:
    """The scales given and, in the contract's order, those that follow from them or from constants.

    Args:
        scales: Those that calibration chose: of ``embedding.sum``, ``embedding.normalized``, every hidden
            state, query, key, value, context, activation and table index.
        config: Tells the iterations.
        contract: Tells the widths.

    Raises:
        KeyError: one that others derive from is missing.
    """
    derived: dict[str, Any] = {
        "embedding.word": scales["embedding.sum"] * (1 << EMBEDDING_SHIFT),
        "embedding.position_type": scales["embedding.sum"],
    }
    for i in range(1, config.num_hidden_layers + 1):
        prefix = f"iteration.{i}."
        derived |= {prefix + name: value for name, value in _CONSTANTS.items()}
        derived |= {prefix + name: 1.0 / contract.limit(name) for name in _ONES}
        derived[prefix + "attention.residual"] = scales[input_name(i)]
        derived[prefix + "ffn.residual"] = scales[prefix + "attention.hidden"]
    everything = {**scales, **derived}
    order = {name: place for place, name in enumerate(named_tensors(config))}
    return dict(sorted(everything.items(), key=lambda item: order.get(item[0], len(order))))


def scale_of(checkpoint: IntegerCheckpoint, name: str) -> Tensor:
    """Real size of one LSB of a tensor.

    Args:
        checkpoint: A calibrated checkpoint.
        name: A named tensor (``iteration.3.attention.query``), a table's input (``iteration.3.ffn.index``) or
            a stored tensor (``attention.query.weight``). An offset is in real units of the output. A
            multiplier's scale is 2^-shift: it becomes the factor from accumulator LSB to output LSB, which
            has no unit. A shift counts 1.

    Returns:
        float64, 0-dimensional or to be broadcast against the tensor.

    Raises:
        ValueError: there is no tensor of this name, or the checkpoint's metadata does not say its scale.
    """
    return _Scales(checkpoint).find(name)


def dequantize(checkpoint: IntegerCheckpoint, name: str, values: Tensor | None = None) -> Tensor:
    """Real values of a tensor: float64, of its shape.

    ``embedding.word`` and ``embedding.position_type`` may have been moved against each other by a constant
    per channel (calibration's ``equalize``): their sum is the float model's.

    Args:
        checkpoint: A calibrated checkpoint.
        name: As in :func:`scale_of`.
        values: The integers; None for a stored tensor's own.

    Raises:
        ValueError: as in :func:`scale_of`; or the values are not integers or not of the tensor's width; or
            none are given of a tensor that is not stored.
    """
    scale = scale_of(checkpoint, name)
    if values is None:
        if name not in checkpoint.tensors:
            raise ValueError(f"tensor {name} is not stored in the checkpoint: its values are needed")
        values = checkpoint.tensors[name]
    if values.is_floating_point() or values.is_complex():
        raise ValueError(f"values of {name} are {values.dtype}, expected integers")
    real = (values.long() + zero_point_of(checkpoint, name)).double().cpu()
    try:
        fits = torch.broadcast_shapes(scale.shape, real.shape) == real.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(f"values of {name} have shape {tuple(real.shape)}, its scale {tuple(scale.shape)}")
    return real * scale


def zero_point_of(checkpoint: IntegerCheckpoint, name: str) -> Tensor:
    """What is added to a tensor's integers before its scale is applied: 0 but for asymmetric activations.

    Metadata ``zero_points`` holds it by the full name; a table has that of what it makes.

    Returns:
        int64, 0-dimensional, [T, 1] of a table.

    Raises:
        ValueError: the metadata does not hold integers there.
    """
    zeros = _mapping(checkpoint.metadata, "zero_points")
    if name in TABLE_OUTPUTS:
        count = checkpoint.config.num_hidden_layers
        names = [f"iteration.{i}.{TABLE_OUTPUTS[name]}" for i in range(1, count + 1)]
        return torch.stack([zero_point_of(checkpoint, each) for each in names]).unsqueeze(1)
    value = zeros.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"the integer checkpoint's metadata zero_points: {name} is not an integer")
    return torch.tensor(value, dtype=torch.int64)


class _Scales:
    """Looks scales up in one checkpoint's metadata and parameters."""

    def __init__(self, checkpoint: IntegerCheckpoint) -> None:
        self.tensors, self.config, self.contract = checkpoint.tensors, checkpoint.config, checkpoint.contract
        self.scales = _mapping(checkpoint.metadata, "scales")
        self.factors = _mapping(checkpoint.metadata, "factors")

    def find(self, name: str) -> Tensor:
        match = re.fullmatch(r"iteration\.(\d{1,9})\.(.+)", name)
        if match is not None:
            iteration, count = int(match[1]), self.config.num_hidden_layers
            short = match[2]
            if short in ITERATION_TENSORS or short in ("ffn.index", "pooler.index"):
                if not 1 <= iteration <= count:
                    raise ValueError(f"tensor {name}: iteration {iteration} is not in 1..{count}")
                return self.activation(short, iteration)
        if name in EMBEDDING_TENSORS:
            return self.activation(name, 1)
        if name in self.tensors:
            return self.stored(name)
        raise ValueError(f"no integer tensor is called {name[:80]!r} (docs/numerics.md lists the names)")

    # -------------------------------------------------------------- what a computation makes

    def activation(self, short: str, iteration: int) -> Tensor:
        name = short if short.startswith("embedding.") else f"iteration.{iteration}.{short}"
        scale = self.number(name)
        if short in ("attention.query", "attention.key"):
            return self.made(short, iteration, scale)
        if short in ("embedding.normalized", "attention.value", "attention.context"):
            return scale * self.factor(short)
        return scale

    def made(self, matmul: str, iteration: int, otherwise: Tensor) -> Tensor:
        """LSB of a matmul's outputs, [out]: the accumulator's over the multiplier's factor.

        ``otherwise`` is the LSB of channels whose multiplier is 0, which are always 0.
        """
        row = iteration - 1
        multiplier = self.tensors[f"{matmul}.multiplier"][row].double()
        factor = multiplier * torch.exp2(-self.tensors[f"{matmul}.shift"][row].double())
        made = self.accumulator(matmul, iteration) / factor.clamp(min=1e-300)
        return torch.where(factor > 0, made, otherwise)

    def accumulator(self, matmul: str, iteration: int) -> Tensor:
        """LSB of a matmul's accumulators, [out]."""
        reads = _MATMULS[matmul]
        if reads.input.startswith("embedding."):
            name = reads.input
        else:
            name = input_name(iteration) if reads.input == "input" else f"iteration.{iteration}.{reads.input}"
        step = operand_step(matmul, self.contract)
        return self.number(name) * step * self.channels(f"{matmul}.weight")

    # -------------------------------------------------------------- what is stored

    def stored(self, name: str) -> Tensor:
        owner, _, kind = name.rpartition(".")
        if kind == "shift":
            return torch.ones((), dtype=torch.float64)
        if name in ("embedding.word", "embedding.position_type"):
            return self.number(name)
        if name in TABLE_OUTPUTS:
            return self.rows(lambda i: self.activation(TABLE_OUTPUTS[name], i)).unsqueeze(1)
        if kind == "multiplier" and owner in (*MATMULS, *ROW_SCALES):
            return torch.exp2(-self.tensors[f"{owner}.shift"].double())
        if owner in NORMS:
            made = self.rows(lambda i: self.activation(_NORMS[owner], i), len(self.tensors[name]))
            made = made.unsqueeze(1) if made.dim() == 1 else made
            scale = made * torch.exp2(-self.tensors[f"{owner}.shift"].double())
            return scale * (1 << self.contract.norm_fraction_bits) if kind == "gamma" else scale
        if kind == "offset":
            return self.rows(lambda i: self.accumulator(owner, i), len(self.tensors[name]))
        return self.channels(name).unsqueeze(1) / self.factor(_MATMULS[owner].input)

    def rows(self, row: Callable[[int], Tensor], count: int | None = None) -> Tensor:
        """One row per iteration."""
        return torch.stack([row(i + 1) for i in range(count or self.config.num_hidden_layers)])

    # -------------------------------------------------------------- metadata

    def number(self, name: str) -> Tensor:
        return self.read(self.scales, "scales", name, None)

    def channels(self, name: str) -> Tensor:
        """Scale per output channel of a weight, [out]."""
        return self.read(self.scales, "scales", name, self.tensors[name].shape[0])

    def factor(self, short: str) -> Tensor:
        """Channel factors of a tensor, [channels], or 1 where it has none."""
        if short not in self.factors:
            return torch.ones((), dtype=torch.float64)
        width = self.config.embedding_size if short.startswith("embedding.") else self.config.hidden_size
        return self.read(self.factors, "factors", short, width)

    @staticmethod
    def read(mapping: Mapping[str, Any], kind: str, name: str, count: int | None) -> Tensor:
        """A number, or a list of ``count`` numbers, all finite and above 0."""
        if name not in mapping:
            raise ValueError(
                f"the integer checkpoint's metadata {kind} lacks {name}: it was not calibrated from a float "
                "model, or by an older version"
            )
        value = mapping[name]
        values = value if isinstance(value, list) else [value]
        if (count is None) == isinstance(value, list) or (count is not None and len(values) != count):
            wanted = "a number" if count is None else f"a list of {count} numbers"
            raise ValueError(f"the integer checkpoint's metadata {kind}: {name} is not {wanted}")
        for number in values:
            if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < math.inf:
                raise ValueError(
                    f"the integer checkpoint's metadata {kind}: {name} holds {str(number)[:40]}, "
                    "not a finite number above 0"
                )
        return torch.tensor(value, dtype=torch.float64)


def _mapping(metadata: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = metadata.get(key, {})
    if not isinstance(value, dict):
        raise ValueError(f"the integer checkpoint's metadata {key} is not an object")
    return value
