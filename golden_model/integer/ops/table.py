"""Table activations: GELU and tanh as 1024 int8 values indexed by a requantised 10-bit input."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from golden_model.numerics import OPERAND_MAX, TABLE_INDEX_BITS, TABLE_SIZE


def gelu(x: float) -> float:
    """x·Phi(x), the exact form (Hendrycks and Gimpel 2016, eq. 1)."""
    return 0.5 * x * (1.0 + math.erf(x / math.sqrt(2.0)))


def gelu_new(x: float) -> float:
    """The tanh form that ALBERT uses (Hendrycks and Gimpel 2016, eq. 2)."""
    return 0.5 * x * (1.0 + math.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


FUNCTIONS: dict[str, Callable[[float], float]] = {"gelu": gelu, "gelu_new": gelu_new, "tanh": math.tanh}


def activation_table(function: str, input_lsb: float, output_lsb: float) -> Tensor:
    """int8 table [1024]; entry i is for the input ((i + 512) mod 1024 - 512)·input_lsb.

    The signed 10-bit index addresses it in two's complement, as the hardware does.
    Raises KeyError for an unknown ``function``.
    """
    f = FUNCTIONS[function]
    half = TABLE_SIZE // 2
    values = []
    for i in range(TABLE_SIZE):
        x = ((i + half) % TABLE_SIZE - half) * input_lsb
        values.append(max(-OPERAND_MAX, min(OPERAND_MAX, math.floor(f(x) / output_lsb + 0.5))))
    return torch.tensor(values, dtype=torch.int64)


def lookup(table: Tensor, index: Tensor) -> Tensor:
    """table[index mod 1024] for a signed 10-bit ``index``."""
    return table[index & ((1 << TABLE_INDEX_BITS) - 1)]
