"""One iteration of the golden model on an input of somebody's choice: what it loses by itself."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from golden_model.integer.confidence import integer_confidence
from golden_model.integer.model import GoldenModel, Layout


def iteration_alone(golden: GoldenModel, iteration: int, hidden: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yields the named tensors of one iteration for one sentence, all rows.

    Args:
        golden: The plain form.
        iteration: Counts from 1.
        hidden: The hidden state it starts from, int64 [L, H].

    Yields:
        Full name and int64 tensor of the shape that the traced one has; no decision and no label.
    """
    prefix = f"iteration.{iteration}."
    layout = Layout(torch.tensor([len(hidden)]))
    operands = []
    for name, tensor in golden.keys_values(iteration, hidden):
        yield prefix + name, tensor
        operands.append(tensor)
    key, value = operands
    for name, tensor in golden.rows(iteration, hidden, layout, key, value, layout):
        yield prefix + name, tensor[0] if tensor.dim() == 4 else tensor  # scores come on a batch's grid
        hidden = tensor
    logits = hidden
    for name, tensor in golden.classify(iteration, hidden[:1]):
        yield prefix + name, tensor[0]
        logits = tensor
    confidence = integer_confidence(logits)
    yield f"{prefix}exit.probabilities", confidence.probabilities[0]
    yield f"{prefix}exit.entropy", confidence.entropy[0]
    yield f"{prefix}exit.entropy_raw", confidence.entropy_raw[0]
