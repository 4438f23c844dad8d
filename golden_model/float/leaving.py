"""Answers of a float model whose sentences really leave: what follows an exit is not computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from golden_model.exits import Confidence, ExitPolicy, ExitState, earliest_exit
from golden_model.float.albert import ElbertForSequenceClassification
from golden_model.float.batches import Encoded, collate
from golden_model.float.methods.model import ExitModel


@torch.inference_mode()
def answer_leaving(
    model: ElbertForSequenceClassification | ExitModel,
    sentences: Sequence[tuple[Sequence[int], Sequence[int]]],
    pad_id: int,
    policy: ExitPolicy,
    progress: Callable[[int], None] | None = None,
    batch_size: int = 64,
    answer_first: bool = True,
) -> list[Tensor]:
    """Classifies token ids and token types under a policy, sentences of like length together.

    After every iteration those that the policy lets go leave the batch; the rest go on without them. With
    ``answer_first`` an exit that reads the [CLS] row alone is asked before the layer computes the other rows,
    and these for the sentences that stay (docs/answer-first.md): equal within float rounding.

    Returns:
        Per sentence the class probabilities after every iteration until it left, float64 [iterations, C].
        How many that are, is what ``exit_iterations`` says of the whole trajectory.

    Raises:
        ValueError: a sentence is longer than the model allows.
    """
    count = len(sentences)
    steps: list[list[Tensor]] = [[] for _ in range(count)]
    ids, types = ([list(sentence[part]) for sentence in sentences] for part in (0, 1))
    encoded = Encoded(ids, types, torch.full((count,), -1))
    backbone = model.backbone if isinstance(model, ExitModel) else model
    device = next(model.parameters()).device
    last = model.config.num_hidden_layers
    earliest = min(earliest_exit(policy) or last, last)
    was_training = model.training
    model.eval()
    order = sorted(range(count), key=lambda i: len(ids[i]))
    for start in range(0, count, batch_size):
        batch = collate(encoded, order[start : start + batch_size], pad_id).to(device)
        hidden = backbone.embed(batch.ids, batch.types)
        bias = backbone.attention_bias(hidden, batch.mask)
        rows, state = batch.index, ExitState(policy, len(batch.index))
        for iteration in range(1, last + 1):
            head = model.head(iteration) if isinstance(model, ExitModel) else None
            # FastBERT's branch attends between all rows
            split = answer_first and iteration >= earliest and not (head is not None and head.reads_all_rows)
            if split:
                keys, values = backbone.keys_values(hidden)
                output = backbone.rows(hidden[:, :1], keys, values, bias)
            else:
                output = backbone.layer(hidden, bias)
            logits = backbone.classify(output) if head is None else head(output, bias, backbone)
            confidence = Confidence.from_logits(logits.float().cpu().double())
            leaves = state.step(confidence, last=iteration == last)
            for row, probabilities in zip(rows.tolist(), confidence.probabilities, strict=True):
                steps[row].append(probabilities)
            stays = ~leaves
            if not bool(stays.any()):
                break
            rows, keep = rows[stays], stays.to(device)
            bias = None if bias is None else bias[keep]
            state.keep(stays)
            if split:
                others = backbone.rows(hidden[keep, 1:], keys[keep], values[keep], bias)
                hidden = torch.cat([output[keep], others], dim=1)
            else:
                hidden = output[keep]
        if progress is not None:
            progress(len(batch.index))
    model.train(was_training)
    return [torch.stack(each) for each in steps]
