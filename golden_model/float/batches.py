"""Batches of sentences of like length, their order a pure function of seed and epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from golden_model.data.tables import TextDataset
from golden_model.text.tokenizer import ElbertTokenizer


@dataclass(frozen=True)
class Encoded:
    """Tokenised sentences: compact ids and token types per sentence, classes int64 [samples].

    A negative class: the sentence has no label.
    """

    ids: list[list[int]]
    types: list[list[int]]
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Batch:
    """Padded int64 tensors: ids, mask, types [batch, length]; labels and the samples' index [batch]."""

    ids: torch.Tensor
    mask: torch.Tensor
    types: torch.Tensor
    labels: torch.Tensor
    index: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device; ``index`` stays on the CPU, where the data are."""
        moved = [v.to(device, non_blocking=True) for v in (self.ids, self.mask, self.types, self.labels)]
        return Batch(moved[0], moved[1], moved[2], moved[3], self.index)


def encode(data: TextDataset, tokenizer: ElbertTokenizer, max_length: int) -> Encoded:
    """Tokenises a data set, each sentence cut to ``max_length``."""
    pairs = tokenizer.encode_many(data.texts, max_length, data.pairs)
    return Encoded([p[0] for p in pairs], [p[1] for p in pairs], torch.tensor(data.labels))


def collate(encoded: Encoded, index: Sequence[int], pad_id: int) -> Batch:
    """The sentences of ``index``, padded to the longest of them."""
    width = max(len(encoded.ids[i]) for i in index)
    ids = torch.full((len(index), width), pad_id)
    mask, types = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, i in enumerate(index):
        length = len(encoded.ids[i])
        ids[row, :length] = torch.tensor(encoded.ids[i])
        types[row, :length] = torch.tensor(encoded.types[i])
        mask[row, :length] = 1
    chosen = torch.tensor(list(index))
    return Batch(ids, mask, types, encoded.labels[chosen], chosen)
