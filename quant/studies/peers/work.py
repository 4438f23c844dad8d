"""The sentences that everybody runs, in the same batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from golden_model.integer.model import Sentence


@dataclass(frozen=True)
class Batch:
    """Sentences computed together, padded to the longest of them.

    Members:
        sentences: As the golden model takes them.
        ids, mask, types: int64 [sentences, longest]; the mask is 1 for real tokens.
        places: Of the sentences in the data, int64 [sentences].
    """

    sentences: list[Sentence]
    ids: Tensor
    mask: Tensor
    types: Tensor
    places: Tensor

    def __len__(self) -> int:
        return len(self.sentences)


@dataclass(frozen=True)
class Work:
    """What a study runs.

    Members:
        batches: All sentences, like lengths together.
        timed: Those batches of them that are timed.
        calibration: Batches of training sentences, for peers with static scales.
        labels: The model's classes of all sentences, int64 [sentences].
        threads: Of whoever computes.
    """

    batches: list[Batch]
    timed: list[Batch]
    calibration: list[Batch]
    labels: Tensor
    threads: int

    @property
    def timed_sentences(self) -> int:
        """In all timed batches."""
        return sum(len(batch) for batch in self.timed)


def make_work(
    sentences: Sequence[Sentence],
    labels: Sequence[int],
    calibration: Sequence[Sentence],
    pad_id: int,
    batch: int,
    timed: int,
    threads: int,
) -> Work:
    """Cuts sentences into batches; those timed are spread evenly over the lengths.

    Raises:
        ValueError: there are no sentences to run or to calibrate on, or a number is below 1.
    """
    for name, value in (
        ("sentences", len(sentences)),
        ("calibration sentences", len(calibration)),
        ("batch", batch),
        ("timed sentences", timed),
        ("threads", threads),
    ):
        if value < 1:
            raise ValueError(f"{name}: {value} is below 1")
    batches = cut(sentences, pad_id, batch)
    count = min(len(batches), -(-timed // batch))
    chosen = [(2 * i + 1) * len(batches) // (2 * count) for i in range(count)]
    return Work(
        batches,
        [batches[i] for i in chosen],
        cut(calibration, pad_id, batch),
        torch.tensor(list(labels), dtype=torch.int64),
        threads,
    )


def cut(sentences: Sequence[Sentence], pad_id: int, size: int) -> list[Batch]:
    """Batches of at most ``size`` sentences, by rising length."""
    order = sorted(range(len(sentences)), key=lambda i: len(sentences[i][0]))
    return [
        pad([sentences[i] for i in part], pad_id, part)
        for part in (order[start : start + size] for start in range(0, len(order), size))
    ]


def pad(sentences: Sequence[Sentence], pad_id: int, places: Sequence[int]) -> Batch:
    """Sentences as one batch."""
    longest = max(len(ids) for ids, _ in sentences)

    def rows(parts: Sequence[Sequence[int]], filler: int) -> Tensor:
        return torch.tensor([[*part, *[filler] * (longest - len(part))] for part in parts])

    return Batch(
        list(sentences),
        rows([ids for ids, _ in sentences], pad_id),
        rows([[1] * len(ids) for ids, _ in sentences], 0),
        rows([types for _, types in sentences], 0),
        torch.tensor(list(places)),
    )
