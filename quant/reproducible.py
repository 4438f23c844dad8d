"""The same integers from the same model and sentences: whatever the threads, the batches and the machine.

Sums of floats depend on their order, and order on the number of threads, on the batch and on the processor's
vector width. Calibration therefore computes in float64, on one thread, and rounds what it keeps (scales,
channel factors, means) to far fewer bits than such differences reach: they move the last of 52 bits, what is
kept has 16.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from golden_model.float.albert import ElbertForSequenceClassification

SCALE_BITS = 16
"""Significant bits of a chosen scale or channel factor."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Within it PyTorch computes on one thread; afterwards on as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def exact_copy(model: ElbertForSequenceClassification) -> ElbertForSequenceClassification:
    """The model as float64 on the CPU, in evaluation mode; the one given is not changed."""
    return copy.deepcopy(model).to("cpu", torch.float64).eval()


def round_bits(values: Tensor, bits: int = SCALE_BITS) -> Tensor:
    """Every value rounded to ``bits`` significant bits, half to even; float64 of the same shape."""
    mantissa, exponent = torch.frexp(values.double())
    return torch.ldexp((mantissa * 2.0**bits).round() * 2.0**-bits, exponent)


def round_up(value: float, bits: int = SCALE_BITS) -> float:
    """The least number of ``bits`` significant bits that is not below ``value`` (finite, at least 0)."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(math.ceil(math.ldexp(mantissa, bits)), exponent - bits)
