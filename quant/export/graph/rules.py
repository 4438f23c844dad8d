"""The rules of docs/numerics.md as nodes: requantise, LayerNorm, softmax, tables.

What is known when the graph is made is worked out then: 2^shift, half of it, and the tables that replace a
loop over bits. Tables come from the golden model's own functions.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from golden_model.integer.ops.layernorm import NORM_INTEGER_BITS, reciprocal_sqrt
from golden_model.numerics import EXP_SUM_BITS, HIDDEN_MAX
from quant.export.graph.builder import GraphBuilder

LARGEST_SHIFT = 62
"""2^63 is no int64. What is shifted by more has below 2^45 and becomes 0 either way."""
SUM_BITS = 56
"""Bits that are looked at: V of LayerNorm is at most 1024·1024·2^34."""
HIDDEN_BITS = 16


def powers(shift: Tensor | np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
    """(2^shift, half of it or 0 for shift 0): what rounding half up by ``shift`` bits divides by and adds."""
    bits = np.minimum(np.asarray(shift, dtype=np.int64), LARGEST_SHIFT)
    divisor = np.left_shift(np.int64(1), bits)
    return divisor, divisor >> 1


def round_shift(graph: GraphBuilder, x: str, bits: int) -> str:
    """``round_half_up(x / 2^bits)``."""
    divisor, half = powers(bits)
    return graph.floor_divide(graph.op("Add", x, graph.number(int(half))), graph.number(int(divisor)))


def requantize(
    graph: GraphBuilder, accumulator: str, name: str, offset: Tensor, multiplier: Tensor, shift: Tensor
) -> str:
    """``round_half_up((accumulator + offset)·multiplier / 2^shift)``, not saturated.

    ``name.addend`` is offset·multiplier and the half that rounding adds: below 2^45 together.
    """
    divisor, half = powers(shift)
    addend = offset.numpy().astype(np.int64) * multiplier.numpy().astype(np.int64) + half
    scaled = graph.op("Mul", accumulator, graph.constant(f"{name}.multiplier", multiplier.numpy()))
    total = graph.op("Add", scaled, graph.constant(f"{name}.addend", addend))
    return graph.floor_divide(total, graph.constant(f"{name}.divisor", divisor))


def saturate_hidden(graph: GraphBuilder, x: str, name: str) -> str:
    """Saturation to ±32639, which no number of bits says; then marked as 16 bits."""
    if graph.quant:
        return graph.marked(graph.clip(x, -HIDDEN_MAX, HIDDEN_MAX), HIDDEN_BITS, name)
    return graph.clip(x, -HIDDEN_MAX, HIDDEN_MAX, name)


def operand(graph: GraphBuilder, hidden: str, shift: int, bits: int) -> str:
    """What a matmul reads of a hidden state: ``hi``, where the contract is the hardware's."""
    return graph.saturate(round_shift(graph, hidden, shift), bits, narrow=True)


def bit_length(graph: GraphBuilder, x: str) -> str:
    """Position of the highest set bit plus one, of ``x`` [..., 1] >= 1: how many powers of two are not
    above it."""
    every = graph.constant("powers", powers(np.arange(SUM_BITS))[0])
    return graph.reduce("ReduceSum", graph.cast(graph.op("GreaterOrEqual", x, every), np.int64))


def unit(graph: GraphBuilder, y: str, features: int, fraction_bits: int, root_bits: int) -> str:
    """(y - mean)/sigma with ``fraction_bits`` fraction bits, of ``y`` [rows, features].

    Four tables are addressed by the bit length of the variance, the fifth by its mantissa.
    """
    length = np.arange(SUM_BITS + 1)
    exponent = np.maximum(length - 1, 0) >> 1
    mantissa_bits = root_bits - 2
    down, _ = powers(np.maximum(2 * exponent - mantissa_bits, 0))
    up, _ = powers(np.maximum(mantissa_bits - 2 * exponent, 0))
    divisor, half = powers(exponent)

    count = graph.number(features)
    total = graph.reduce("ReduceSum", y)
    squares = graph.reduce("ReduceSum", graph.op("Mul", y, y))
    spread = graph.op("Sub", graph.op("Mul", squares, count), graph.op("Mul", total, total))
    variance = graph.op("Max", spread, graph.number(1))
    bits = bit_length(graph, variance)
    first = 1 << mantissa_bits

    def at(name: str, table: np.ndarray, index: str) -> str:
        return graph.op("Gather", graph.constant(f"norm.{name}", table), index)

    mantissa = graph.op(
        "Mul", graph.op("Div", variance, at(f"down.{root_bits}", down, bits)), at(f"up.{root_bits}", up, bits)
    )
    root = at(f"root.{root_bits}", _roots(root_bits), graph.op("Sub", mantissa, graph.number(first)))
    deviation = graph.op("Sub", graph.op("Mul", y, count), total)
    widened = graph.op("Mul", deviation, graph.number(1 << fraction_bits))
    rounded = graph.floor_divide(
        graph.op("Add", widened, at("half", half, bits)), at("divisor", divisor, bits)
    )
    scaled = graph.saturate(rounded, fraction_bits + NORM_INTEGER_BITS)
    return round_shift(graph, graph.op("Mul", scaled, root), root_bits)


def _roots(bits: int) -> np.ndarray:
    """R of every mantissa M in 2^(bits-2)..2^bits - 1, by the golden model's own bit-by-bit search."""
    mantissa = torch.arange(1 << (bits - 2), 1 << bits, dtype=torch.int64)
    # the variance of which M is the mantissa without a remainder: its exponent is even
    root, _ = reciprocal_sqrt(mantissa << (bits % 2), bits)
    return root.numpy()


def scale_norm(graph: GraphBuilder, x: str, name: str, gamma: Tensor, beta: Tensor, shift: Tensor) -> str:
    """``round_half_up((x·gamma + beta) / 2^shift)``, not saturated."""
    divisor, half = powers(shift)
    scaled = graph.op("Mul", x, graph.constant(f"{name}.gamma", gamma.numpy()))
    total = graph.op("Add", scaled, graph.constant(f"{name}.addend", beta.numpy().astype(np.int64) + half))
    return graph.floor_divide(total, graph.constant(f"{name}.divisor", divisor))


def scale_context(
    graph: GraphBuilder, accumulator: str, exp_sum: str, name: str, multiplier: int, shift: int
) -> str:
    """Context accumulators [heads, rows, features] over the rows' sums [heads, rows, 1], not saturated.

    Three tables are addressed by the sum's bit length b: m·2^(b-1), 2^s and its half, s = shift + b - 1.
    """
    above = np.maximum(np.arange(EXP_SUM_BITS + 1) - 1, 0)
    divisor, half = powers(shift + above)
    bits = bit_length(graph, exp_sum)

    def at(table: str, values: np.ndarray) -> str:
        return graph.op("Gather", graph.constant(f"{name}.{table}", values), bits)

    row = graph.op("Div", at("numerator", multiplier * powers(above)[0]), exp_sum)
    total = graph.op("Add", graph.op("Mul", accumulator, row), at("half", half))
    return graph.floor_divide(total, at("divisor", divisor))
