"""Softmax, GELU and LayerNorm of the contract and of I-BERT against the real functions, on calibration data.

Inputs are the float model's own on calibration sentences, as each operator's integers hold them: the
contract's in its input format (scores of 1/32 nat, table indices), I-BERT's in the LSB of the accumulator in
front of it, which is finer and what its INT32 inputs are. LayerNorm of both reads the same 18-bit residual.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from golden_model.float.albert import ElbertForSequenceClassification
from golden_model.integer.checkpoint import IntegerCheckpoint
from golden_model.integer.model import Sentence
from golden_model.integer.ops.layernorm import layernorm
from golden_model.integer.ops.softmax import exponentials
from golden_model.integer.ops.table import FUNCTIONS, lookup
from golden_model.integer.scales import scale_of
from golden_model.numerics import HIDDEN_MAX, RESIDUAL_BITS, SCORE_BITS, SCORE_FRACTION_BITS
from golden_model.progress import Progress
from quant.hooks import Hooks
from quant.modules import norms
from quant.reproducible import exact_copy, one_thread
from quant.studies.peers import ibert

OPERATORS = ("softmax", "gelu", "layernorm")
SENTENCES = 16
"""Of the calibration sentences: some 10^5 values of each operator and iteration."""
MOST_DECIBELS = 200.0


@dataclass
class _Errors:
    """Errors of one operator, iteration by iteration."""

    largest: float = 0.0
    signals: list[float] = field(default_factory=list)
    squares: list[float] = field(default_factory=list)
    count: int = 0

    def take(self, iteration: int, found: Tensor, real: Tensor) -> None:
        """Values of an iteration, counted from 1; iterations come in their order."""
        if len(self.signals) < iteration:
            self.signals.append(0.0)
            self.squares.append(0.0)
        error = (found - real).double()
        self.signals[-1] += float(real.double().square().sum())
        self.squares[-1] += float(error.square().sum())
        self.largest = max(self.largest, float(error.abs().max()))
        self.count += error.numel()

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "max_error": self.largest,
            "rms_error": math.sqrt(sum(self.squares) / max(1, self.count)),
            "sqnr": _decibels(sum(self.signals), sum(self.squares)),
            "sqnr_per_iteration": [
                _decibels(signal, squares) for signal, squares in zip(self.signals, self.squares, strict=True)
            ],
            "values": self.count,
        }


def _decibels(signal: float, squares: float) -> float:
    if squares == 0.0:
        return MOST_DECIBELS
    return min(MOST_DECIBELS, 10 * math.log10(max(signal, 1e-300) / squares))


def compare_operators(
    model: ElbertForSequenceClassification,
    checkpoint: IntegerCheckpoint,
    sentences: Sequence[Sentence],
    progress: Progress = lambda count: None,
) -> dict[str, Any]:
    """Errors of both against the real functions.

    Args:
        model: The float model that the checkpoint is of.
        checkpoint: Calibrated: its scales say what the integers mean.
        sentences: Calibration sentences; the first :data:`SENTENCES` are run.
        progress: Told how many more iterations of operators are done.

    Returns:
        ``sentences``, and per operator of :data:`OPERATORS` ``range`` (of the inputs seen), ``contract`` and
        ``ibert`` (largest and root mean square error in real units, SQNR in all and per iteration, number of
        values); of GELU also ``ibert_rounded``, its output rounded to the 8 bits that the contract's has.

    Raises:
        ValueError: the checkpoint has no scales.
    """
    seen = _watch(model, sentences[:SENTENCES])
    rows: dict[str, dict[str, Any]] = {}
    for name, compare in (("softmax", _softmax), ("gelu", _gelu), ("layernorm", _layernorm)):
        errors: dict[str, _Errors] = defaultdict(_Errors)
        low, high = math.inf, -math.inf
        for iteration in range(1, checkpoint.config.num_hidden_layers + 1):
            for inputs, real, found in compare(model, checkpoint, seen, iteration):
                low, high = min(low, float(inputs.min())), max(high, float(inputs.max()))
                for who, values in found.items():
                    errors[who].take(iteration, values, real)
            progress(1)
        rows[name] = {"range": [low, high], **{who: each.as_dict() for who, each in errors.items()}}
    return {"sentences": len(sentences[:SENTENCES]), "operators": rows}


Seen = dict[str, list[Tensor]]
Compared = list[tuple[Tensor, Tensor, dict[str, Tensor]]]
"""Inputs, real outputs, and outputs by who made them."""


def _watch(model: ElbertForSequenceClassification, sentences: Sequence[Sentence]) -> Seen:
    """Inputs of the operators by name, a tensor per sentence; float64."""
    exact, seen = exact_copy(model), defaultdict(list)
    wanted = ("attention.query", "attention.key", "attention.residual", "ffn.residual", "ffn.index")

    def see(name: str, values: Tensor) -> None:
        if name.endswith(wanted):
            seen[name].append(values[0].double().clone())

    with one_thread(), torch.inference_mode(), Hooks(exact, see):
        for ids, types in sentences:
            exact(torch.tensor([list(ids)]), token_type_ids=torch.tensor([list(types)]))
    return seen


def _integers(real: Tensor, lsb: float | Tensor) -> Tensor:
    """Real values to int64, rounded half up."""
    return torch.floor(real / lsb + 0.5).to(torch.int64)


def _softmax(
    model: ElbertForSequenceClassification, checkpoint: IntegerCheckpoint, seen: Seen, iteration: int
) -> Compared:
    config, contract, row = checkpoint.config, checkpoint.contract, iteration - 1
    prefix = f"iteration.{iteration}.attention"
    multiplier, shift = (
        checkpoint.tensors[f"attention.score.{part}"][row] for part in ("multiplier", "shift")
    )
    lsb = 2.0**-SCORE_FRACTION_BITS
    accumulator = float(multiplier) * 2.0 ** -int(shift) * lsb
    found = []
    for query, key in zip(seen[f"{prefix}.query"], seen[f"{prefix}.key"], strict=True):
        heads = [
            part.view(-1, config.num_attention_heads, config.head_dim).transpose(0, 1)
            for part in (query, key)
        ]
        scores = heads[0] @ heads[1].transpose(1, 2) * config.head_dim**-0.5
        top = 1 << (SCORE_BITS - 1)
        ours = exponentials(
            _integers(scores, lsb).clamp(-top, top - 1), contract.exponentials_bits, contract.exp_index_bits
        )[1].double()
        theirs, out = ibert.i_softmax(_integers(scores, accumulator), accumulator)
        found.append(
            (
                scores,
                scores.softmax(-1),
                {"contract": ours / ours.sum(-1, keepdim=True), "ibert": theirs.double() * out},
            )
        )
    return found


def _gelu(
    model: ElbertForSequenceClassification, checkpoint: IntegerCheckpoint, seen: Seen, iteration: int
) -> Compared:
    config, bits = checkpoint.config, checkpoint.contract.ffn_index_bits
    prefix, half = f"iteration.{iteration}.ffn", 1 << (bits - 1)
    index_lsb, out_lsb = (float(scale_of(checkpoint, f"{prefix}.{part}")) for part in ("index", "activation"))
    accumulator = float(scale_of(checkpoint, "ffn.intermediate.offset")[iteration - 1].median())
    table = checkpoint.tensors["ffn.table"][iteration - 1].to(torch.int64)
    exact: Callable[[float], float] = FUNCTIONS[config.hidden_act]
    inputs = torch.cat([each.flatten() for each in seen[f"{prefix}.index"]])
    inputs = inputs[:: max(1, inputs.numel() // 20000)]
    real = torch.tensor([exact(x) for x in inputs.tolist()], dtype=torch.float64)
    ours = lookup(table, _integers(inputs, index_lsb).clamp(-half, half - 1)).double() * out_lsb
    theirs, out = ibert.i_gelu(_integers(inputs, accumulator), accumulator)
    made = theirs.double() * out
    limit = checkpoint.contract.limit("ffn.activation")
    rounded = _integers(made, out_lsb).clamp(-limit, limit).double() * out_lsb
    return [(inputs, real, {"contract": ours, "ibert": made, "ibert_rounded": rounded})]


def _layernorm(
    model: ElbertForSequenceClassification, checkpoint: IntegerCheckpoint, seen: Seen, iteration: int
) -> Compared:
    contract, row, found = checkpoint.contract, iteration - 1, []
    modules = norms(model)
    for part, output in (("attention", "attention.hidden"), ("ffn", "hidden")):
        lsb = float(scale_of(checkpoint, f"iteration.{iteration}.{part}.residual"))
        out_lsb = float(scale_of(checkpoint, f"iteration.{iteration}.{output}"))
        module = modules[f"{part}.norm"]
        gamma, beta = (each.detach().double().cpu() for each in (module.weight, module.bias))
        gammas, betas, shifts = (
            checkpoint.tensors[f"{part}.norm.{each}"][row].to(torch.int64)
            for each in ("gamma", "beta", "shift")
        )
        inputs = torch.cat(seen[f"iteration.{iteration}.{part}.residual"])
        top = 1 << (RESIDUAL_BITS - 1)
        y = _integers(inputs, lsb).clamp(-top, top - 1)
        real = torch.nn.functional.layer_norm(inputs, inputs.shape[-1:], gamma, beta, module.eps)
        ours = (
            layernorm(
                y,
                gammas,
                betas,
                shifts,
                -HIDDEN_MAX,
                HIDDEN_MAX,
                contract.norm_fraction_bits,
                contract.rsqrt_bits,
            ).double()
            * out_lsb
        )
        found.append((inputs, real, {"contract": ours, "ibert": ibert.i_layernorm(y, gamma, beta)}))
    return found
