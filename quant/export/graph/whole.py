"""A checkpoint as one graph: token ids to the logits of every iteration.

The iterations are unrolled: each has its own channel parameters and tables, and all read the same stored
weights. The exit decision is not part of it: who runs the graph asks ``golden_model.exits`` after every
iteration, or reads the logits of the last one.

Every value has the name and the integers of docs/numerics.md. A sentence may be shorter than the graph: rows
of tokens that the mask leaves out hold numbers that nothing real reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from golden_model.integer.checkpoint import MATMULS, IntegerCheckpoint
from golden_model.integer.ops.softmax import exp_table
from golden_model.integer.scales import named_tensors
from golden_model.numerics import (
    EMBEDDING_SHIFT,
    EXP_INDEX_BITS,
    LOGIT_BITS,
    OPERAND_BITS,
    POSITION_TYPE_BITS,
    RESIDUAL_BITS,
    SCORE_BITS,
)
from quant.export.graph import rules
from quant.export.graph.builder import GraphBuilder

if TYPE_CHECKING:
    from onnx import ModelProto

INPUTS = ("input_ids", "token_type_ids", "attention_mask")
"""int64 [length] each; the mask is 1 for the tokens of the sentence, which come first."""
OUTPUT = "logits"
"""int64 [iterations, classes], LSB 2^-10 nat."""


@dataclass(frozen=True)
class GraphOptions:
    """What a graph says.

    Members:
        quant: Bit widths, as QONNX's ``Quant`` nodes. Else standard ONNX operators alone.
        length: Tokens; None: the model's longest.
        outputs: Shell patterns of named tensors that are outputs beside :data:`OUTPUT`.
    """

    quant: bool = False
    length: int | None = None
    outputs: tuple[str, ...] = ()


def graph_tensors(checkpoint: IntegerCheckpoint) -> list[str]:
    """The named tensors of docs/numerics.md that are in a graph: all but the exit decision's."""
    return [name for name in named_tensors(checkpoint.config) if ".exit." not in name]


def build_graph(checkpoint: IntegerCheckpoint, options: GraphOptions | None = None) -> ModelProto:
    """The graph of a checkpoint; nodes are in the order of the computation.

    Raises:
        ValueError: the length is not in 1..max_position_embeddings, or a pattern fits no named tensor.
    """
    options = options or GraphOptions()
    longest = checkpoint.config.max_position_embeddings
    length = longest if options.length is None else options.length
    if not 1 <= length <= longest:
        raise ValueError(f"length {length} is not in 1..{longest}, the model's longest")
    outputs = _chosen(checkpoint, options.outputs)
    builder = GraphBuilder(options.quant)
    _Model(builder, checkpoint, length).write()
    facts = {
        "checkpoint_sha256": checkpoint.sha256,
        "tensors": "docs/numerics.md",
        "logits_lsb": "2^-10 nat",
    }
    return builder.finish("elbert", [OUTPUT, *outputs], facts)


def weight_bits(weight: Tensor) -> int:
    """Fewest bits of a symmetric range that holds a weight's integers: 8 for ±127, 4 for ±7, 2 for ±1."""
    return max(2, int(weight.abs().max()).bit_length() + 1)


def _chosen(checkpoint: IntegerCheckpoint, patterns: Sequence[str]) -> list[str]:
    known = graph_tensors(checkpoint)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in known):
            raise ValueError(f"no tensor of the graph fits {pattern!r} (docs/numerics.md lists the names)")
    return [name for name in known if any(fnmatchcase(name, pattern) for pattern in patterns)]


class _Model:
    """Writes the forward pass of ``golden_model.integer.model`` as nodes, rule by rule."""

    def __init__(self, graph: GraphBuilder, checkpoint: IntegerCheckpoint, length: int) -> None:
        self.graph, self.length = graph, length
        self.config, self.contract, self.tensors = checkpoint.config, checkpoint.contract, checkpoint.tensors
        self.bits = {name: weight_bits(self.tensors[f"{name}.weight"]) for name in MATMULS}

    def write(self) -> None:
        """All nodes, the last one that of :data:`OUTPUT`."""
        graph = self.graph
        ids, types, mask = (graph.input(name, self.length) for name in INPUTS)
        hidden = self.embed(ids, types)
        with graph.scope("mask"):
            mask = graph.cast(mask, np.bool_)
        logits = []
        for iteration in range(1, self.config.num_hidden_layers + 1):
            hidden = self.layer(iteration, hidden, mask)
            logits.append(self.classify(iteration, hidden))
        with graph.scope(OUTPUT):
            rows = [graph.reshape(each, 1, -1) for each in logits]
        graph.op("Concat", *rows, name=OUTPUT, axis=0)

    # ---------------------------------------------------------------------------------- parts

    def embed(self, ids: str, types: str) -> str:
        """``embedding.hidden``, [length, hidden]."""
        graph, config, contract = self.graph, self.config, self.contract
        with graph.scope("embedding.sum"):
            table = graph.constant("embedding.word", self.tensors["embedding.word"].numpy(), np.int8)
            word = graph.marked(graph.op("Gather", table, ids), OPERAND_BITS)
            rows = self.tensors["embedding.position_type"].flatten(0, 1).numpy()
            table = graph.constant("embedding.position_type", rows, np.int16)
            longest = graph.number(config.max_position_embeddings)
            place = graph.op("Mul", types, longest)
            place = graph.op("Add", place, graph.constant("positions", np.arange(self.length)))
            both = graph.marked(graph.op("Gather", table, place), POSITION_TYPE_BITS)
            fine = graph.op("Mul", word, graph.number(1 << EMBEDDING_SHIFT))
            total = graph.saturate(graph.op("Add", fine, both), RESIDUAL_BITS, "embedding.sum")
        bits = contract.bits("embedding.normalized")
        with graph.scope("embedding.normalized"):
            scaled = self.norm("embedding.norm", 1, total, config.embedding_size)
            normalized = graph.saturate(scaled, bits, "embedding.normalized", narrow=True)
        with graph.scope("embedding.hidden"):
            projected = self.linear("embedding.projection", 1, normalized)
            return rules.saturate_hidden(graph, projected, "embedding.hidden")

    def layer(self, iteration: int, hidden: str, mask: str) -> str:
        """``iteration.i.hidden`` of all rows, [length, hidden]."""
        graph, contract, prefix = self.graph, self.contract, f"iteration.{iteration}"
        with graph.scope(f"{prefix}.operand"):
            operand = rules.operand(graph, hidden, contract.hidden_shift("hidden"), contract.bits("hidden"))
        context = self.attend(iteration, operand, mask)
        middle = self.residual(iteration, "attention", hidden, context)
        with graph.scope(f"{prefix}.ffn.activation"):
            name = "attention.hidden"
            read = rules.operand(graph, middle, contract.hidden_shift(name), contract.bits(name))
            index = self.linear("ffn.intermediate", iteration, read)
            activation = self.look_up(
                "ffn.table", iteration, index, contract.ffn_index_bits, contract.bits("ffn.activation"),
                f"{prefix}.ffn.activation",
            )  # fmt: skip
        return self.residual(iteration, "ffn", middle, activation)

    def attend(self, iteration: int, operand: str, mask: str) -> str:
        """``attention.context``, [length, hidden], of what is read of the hidden state."""
        graph, contract, config = self.graph, self.contract, self.config
        prefix, heads, size = f"iteration.{iteration}.attention", config.num_attention_heads, config.head_dim
        parts = {}
        for part in ("query", "key", "value"):
            with graph.scope(f"{prefix}.{part}"):
                made = self.linear(f"attention.{part}", iteration, operand)
                bits = contract.bits(f"attention.{part}")
                parts[part] = graph.saturate(made, bits, f"{prefix}.{part}", narrow=True)

        def by_head(part: str, *order: int) -> str:
            return graph.op("Transpose", graph.reshape(parts[part], self.length, heads, size), perm=order)

        row, lowest = iteration - 1, -(1 << (SCORE_BITS - 1))
        with graph.scope(f"{prefix}.scores"):
            keys = graph.cast(by_head("key", 1, 2, 0), np.int32)
            products = graph.matmul(by_head("query", 1, 0, 2), keys)
            own = "attention.score"
            multiplier, shift = (self.tensors[f"{own}.{part}"][row] for part in ("multiplier", "shift"))
            none = torch.zeros_like(multiplier)
            made = rules.requantize(graph, products, f"iteration.{iteration}.{own}", none, multiplier, shift)
            scores = graph.saturate(made, SCORE_BITS)
            scores = graph.op("Where", mask, scores, graph.number(lowest), name=f"{prefix}.scores")
        with graph.scope(f"{prefix}.exponentials"):
            distance = graph.op("Sub", graph.reduce("ReduceMax", scores), scores)
            furthest = (1 << EXP_INDEX_BITS) - 1
            index = graph.op("Min", distance, graph.number(furthest))
            table = _steps(exp_table(contract.exponentials_bits, contract.exp_index_bits), furthest + 1)
            found = graph.op("Gather", graph.constant("exponential", table), index)
            found = graph.op("Where", mask, found, graph.number(0))
            exponentials = graph.marked(
                found, contract.exponentials_bits, f"{prefix}.exponentials", signed=False
            )
        with graph.scope(f"{prefix}.context"):
            values = graph.cast(by_head("value", 1, 0, 2), np.int32)
            made = rules.scale_context(
                graph,
                graph.matmul(exponentials, values),
                graph.reduce("ReduceSum", exponentials),
                f"{prefix}.context",
                int(self.tensors["attention.context.multiplier"][row]),
                int(self.tensors["attention.context.shift"][row]),
            )
            made = graph.reshape(graph.op("Transpose", made, perm=(1, 0, 2)), self.length, config.hidden_size)
            return graph.saturate(made, contract.bits("attention.context"), f"{prefix}.context", narrow=True)

    def residual(self, iteration: int, part: str, hidden: str, read: str) -> str:
        """Output matmul, residual sum and LayerNorm of the attention or the feed-forward network."""
        graph, prefix = self.graph, f"iteration.{iteration}"
        with graph.scope(f"{prefix}.{part}.residual"):
            update = graph.saturate(self.linear(f"{part}.output", iteration, read), RESIDUAL_BITS)
            total = graph.saturate(
                graph.op("Add", hidden, update), RESIDUAL_BITS, f"{prefix}.{part}.residual"
            )
        name = f"{prefix}.attention.hidden" if part == "attention" else f"{prefix}.hidden"
        with graph.scope(name):
            scaled = self.norm(f"{part}.norm", iteration, total, self.config.hidden_size)
            return rules.saturate_hidden(graph, scaled, name)

    def classify(self, iteration: int, hidden: str) -> str:
        """``iteration.i.logits``, [classes]."""
        graph, contract, prefix = self.graph, self.contract, f"iteration.{iteration}"
        with graph.scope(f"{prefix}.pooler.output"):
            first = graph.op("Gather", hidden, graph.number(0))
            name = "pooler.hidden"
            read = rules.operand(graph, first, contract.hidden_shift(name), contract.bits(name))
            index = self.linear("pooler", iteration, read)
            output = self.look_up(
                "pooler.table", iteration, index, contract.pooler_index_bits, contract.bits("pooler.output"),
                f"{prefix}.pooler.output",
            )  # fmt: skip
        with graph.scope(f"{prefix}.logits"):
            return graph.saturate(
                self.linear("classifier", iteration, output), LOGIT_BITS, f"{prefix}.logits"
            )

    # ---------------------------------------------------------------------------------- rules with parameters

    def linear(self, name: str, iteration: int, x: str) -> str:
        """A matmul's results, requantised and not saturated."""
        graph, row = self.graph, iteration - 1
        # stored [in, out]: what is read is on the left
        weight = graph.weight(f"{name}.weight", self.tensors[f"{name}.weight"].t().numpy(), self.bits[name])
        own = name if name.startswith("embedding.") else f"iteration.{iteration}.{name}"
        offset, multiplier, shift = (
            self.tensors[f"{name}.{part}"][row] for part in ("offset", "multiplier", "shift")
        )
        return rules.requantize(graph, graph.matmul(x, weight), own, offset, multiplier, shift)

    def norm(self, name: str, iteration: int, y: str, features: int) -> str:
        """A LayerNorm's results, not saturated."""
        contract, row = self.contract, iteration - 1
        gamma, beta, shift = (self.tensors[f"{name}.{part}"][row] for part in ("gamma", "beta", "shift"))
        unit = rules.unit(self.graph, y, features, contract.norm_fraction_bits, contract.rsqrt_bits)
        own = name if name.startswith("embedding.") else f"iteration.{iteration}.{name}"
        return rules.scale_norm(self.graph, unit, own, gamma, beta, shift)

    def look_up(self, name: str, iteration: int, index: str, index_bits: int, bits: int, result: str) -> str:
        """A table's entries; a negative index counts from its end: two's complement."""
        graph = self.graph
        table = graph.constant(
            f"iteration.{iteration}.{name}", self.tensors[name][iteration - 1].numpy(), np.int8
        )
        return graph.marked(graph.op("Gather", table, graph.saturate(index, index_bits)), bits, result)


def _steps(table: Sequence[int], size: int) -> np.ndarray:
    """A table for every distance: each entry as often as its step is wide."""
    return np.repeat(np.asarray(table), size // len(table))
