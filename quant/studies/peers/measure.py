"""Answers and speed of one peer, beside the float model's in the same minutes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from golden_model.progress import Progress
from quant.studies.peers.peer import Ready
from quant.studies.peers.work import Batch, Work

MOST_SECONDS = 120.0
"""A peer so slow that its repetitions take longer is timed fewer times, once at least."""


@torch.inference_mode()
def answers(ready: Ready, work: Work, progress: Progress) -> Tensor:
    """The class of every sentence, int64 [sentences]."""
    found = torch.empty_like(work.labels)
    for batch in work.batches:
        found[batch.places] = ready.logits(batch).argmax(-1)
        progress(len(batch))
    return found


@torch.inference_mode()
def speed(
    ready: Ready,
    reference: Ready,
    work: Work,
    repetitions: int,
    progress: Progress,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Sentences a second of a peer and of the float model, in turn, repetition by repetition.

    What else the machine does meets both. A first repetition of each does not count.

    Returns:
        ``sentences_per_s`` and ``float_sentences_per_s`` (medians), ``ratio`` (median of the repetitions'
        ratios), ``seconds`` and ``float_seconds`` of every repetition, ``timed_sentences``.
    """
    own: list[float] = []
    theirs: list[float] = []
    began = clock()
    for repetition in range(repetitions + 1):
        for spent, each in ((theirs, reference), (own, ready)):
            started = clock()
            _pass(each, work.timed)
            if repetition:
                spent.append(clock() - started)
        progress(work.timed_sentences)
        if own and clock() - began > MOST_SECONDS:
            break
    count = work.timed_sentences
    return {
        "sentences_per_s": count / statistics.median(own),
        "float_sentences_per_s": count / statistics.median(theirs),
        "ratio": statistics.median(a / b for a, b in zip(theirs, own, strict=True)),
        "seconds": own,
        "float_seconds": theirs,
        "timed_sentences": count,
    }


def _pass(ready: Ready, batches: Sequence[Batch]) -> None:
    for batch in batches:
        ready.logits(batch)
