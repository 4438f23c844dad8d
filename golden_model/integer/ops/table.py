"""Table activations: GELU and tanh as int8 values indexed by a requantised input; 1024 values in hardware."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from golden_model.numerics import OPERAND_MAX, TABLE_INDEX_BITS


def gelu(x: float) -> float:
    """x·Phi(x), the exact form (Hendrycks and Gimpel 2016, eq. 1)."""
    return 0.5 * x * (1.0 + math.erf(x / math.sqrt(2.0)))


def gelu_new(x: float) -> float:
    """The tanh form that ALBERT uses (Hendrycks and Gimpel 2016, eq. 2)."""
    return 0.5 * x * (1.0 + math.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


FUNCTIONS: dict[str, Callable[[float], float]] = {"gelu": gelu, "gelu_new": gelu_new, "tanh": math.tanh}


def activation_table(
    function: str,
    input_lsb: float,
    output_lsb: float,
    index_bits: int = TABLE_INDEX_BITS,
    limit: int = OPERAND_MAX,
    zero: int = 0,
) -> Tensor:
    """A function as integers: entry i is for the input ((i + half) mod size - half)·input_lsb.

    The signed index addresses it in two's complement, as the hardware does.

    Args:
        function: A name of :data:`FUNCTIONS`.
        input_lsb: Real size of the index's LSB.
        output_lsb: Real size of an entry's LSB.
        index_bits: The table holds 2^index_bits entries.
        limit: Entries saturate at ±limit.
        zero: Zero point: an entry stands for (entry + zero)·output_lsb; the matmul that reads it adds zero
            times the sum of its weights to its offset.

    Returns:
        int64 [2^index_bits].

    Raises:
        KeyError: the function is not known.
    """
    f = FUNCTIONS[function]
    size = 1 << index_bits
    half = size // 2
    values = []
    for i in range(size):
        x = ((i + half) % size - half) * input_lsb
        values.append(max(-limit, min(limit, math.floor(f(x) / output_lsb + 0.5) - zero)))
    return torch.tensor(values, dtype=torch.int64)


def lookup(table: Tensor, index: Tensor) -> Tensor:
    """table[index mod size] for a signed ``index``; the table's size is a power of two."""
    return table[index & (table.shape[0] - 1)]
