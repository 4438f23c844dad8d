"""Logits of a float model on a whole data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from golden_model.float.albert import ElbertForSequenceClassification
from golden_model.float.batches import Encoded, collate
from golden_model.float.methods.model import ExitModel


@torch.inference_mode()
def all_logits(
    model: ElbertForSequenceClassification | ExitModel,
    encoded: Encoded,
    pad_id: int,
    batch_size: int = 64,
    progress: Callable[[int], None] | None = None,
) -> torch.Tensor:
    """Logits of every iteration and sample in the data's own order, float32 [iterations, samples, classes].

    Runs in the parameters' own precision (no autocast), sentences of like length together; ``progress`` is
    told how many more are done.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    order = sorted(range(len(encoded)), key=lambda i: len(encoded.ids[i]))
    result = torch.empty(model.config.num_hidden_layers, len(encoded), model.config.num_labels)
    for start in range(0, len(order), batch_size):
        batch = collate(encoded, order[start : start + batch_size], pad_id)
        logits = model(batch.ids.to(device), batch.mask.to(device), batch.types.to(device))
        result[:, batch.index] = logits.float().cpu()
        if progress is not None:
            progress(len(batch.index))
    model.train(was_training)
    return result


def sentence_logits(
    model: ElbertForSequenceClassification | ExitModel,
    sentences: Sequence[tuple[Sequence[int], Sequence[int]]],
    pad_id: int,
    progress: Callable[[int], None] | None = None,
) -> torch.Tensor:
    """:func:`all_logits` of token ids and token types, float64."""
    ids, types = ([list(sentence[part]) for sentence in sentences] for part in (0, 1))
    unlabelled = torch.full((len(ids),), -1)
    return all_logits(model, Encoded(ids, types, unlabelled), pad_id, progress=progress).double()
