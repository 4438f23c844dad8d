"""What may take a word's place: the nearest words in the model's own word embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from golden_model.text.tokenizer import ElbertTokenizer
from quant.studies.slowdown.words import is_content_word


@dataclass(frozen=True)
class Neighbour:
    """A word near another one; ``cosine`` is that of their embeddings."""

    text: str
    cosine: float


class Neighbours:
    """The vocabulary's whole words by their embeddings.

    A whole word is a content word that, written alone, becomes one piece. A word of several pieces is looked
    up by the mean of theirs. Only the embedding says what is near: it knows neither part of speech nor sense,
    and antonyms are neighbours too.
    """

    def __init__(self, tokenizer: ElbertTokenizer, embedding: Tensor, count: int, similarity: float) -> None:
        """Reads the vocabulary.

        Args:
            tokenizer: Of the model.
            embedding: Of every piece, float [pieces, features].
            count: Neighbours of a word at most.
            similarity: Their cosine at least.
        """
        self.count, self.similarity = count, similarity
        self.unk_id = tokenizer.unk_id
        self.embedding = embedding.detach().float().cpu()
        special = {tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id}
        texts = [tokenizer.decode([i]).strip() for i in range(tokenizer.size)]
        places = [i for i, text in enumerate(texts) if i not in special and is_content_word(text)]
        alone = tokenizer.encode_many([texts[i] for i in places], 3)
        whole = [[tokenizer.cls_id, i, tokenizer.sep_id] for i in places]
        kept = [i for i, (ids, _), wanted in zip(places, alone, whole, strict=True) if ids == wanted]
        self.texts = [texts[i] for i in kept]
        self.vectors = torch.nn.functional.normalize(self.embedding[kept], dim=1)

    def of(self, text: str, pieces: Sequence[int]) -> list[Neighbour]:
        """The nearest words of a word and its pieces' ids, the nearest first; never the word itself."""
        known = [piece for piece in pieces if piece != self.unk_id]
        if not known or not self.texts:
            return []
        vector = torch.nn.functional.normalize(self.embedding[known].mean(0), dim=0)
        cosines = self.vectors @ vector
        found: list[Neighbour] = []
        for place in cosines.argsort(descending=True, stable=True).tolist():
            cosine = float(cosines[place])
            if cosine < self.similarity or len(found) == self.count:
                break
            if self.texts[place].casefold() != text.casefold():
                found.append(Neighbour(self.texts[place], cosine))
        return found
