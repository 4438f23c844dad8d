"""The order in which training sees its samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def epoch_batches(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Sample numbers of every batch of one epoch.

    Sentences are shuffled, sorted by length (stable, so the shuffle decides within a length), cut into
    batches, and the batches shuffled: hardly any padding, and every sample once an epoch. The same seed and
    epoch give the same batches, which is all that resuming in the middle needs.

    Raises:
        ValueError: when ``batch_size`` is below 1 or there are no sentences.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size {batch_size} is below 1")
    if not len(lengths):
        raise ValueError("no sentences to make batches of")
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(lengths))
    order = order[np.argsort(np.asarray(lengths)[order], kind="stable")]
    batches = [order[i : i + batch_size].tolist() for i in range(0, len(order), batch_size)]
    return [batches[i] for i in generator.permutation(len(batches))]
