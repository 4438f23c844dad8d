"""A text's words: where they are, which tokens they became, and which of them may be substituted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from golden_model.text.tokenizer import ElbertTokenizer

_FUNCTION_WORDS = """
    a about above after again against ago all almost along already also although always am among an and
    another any anybody anyone anything are aren around as at be because been before behind being below
    between both but by can cannot could couldn did didn do does doesn doing don down during each either
    else enough even ever every everybody everyone everything few for from had hadn has hasn have haven
    having he her here hers herself him himself his how however if in instead into is isn it its itself
    just least less ll many may maybe me might mightn mine more most much must mustn my myself near
    nearly needn neither never no nobody none nor not nothing now nowhere of off often on once one only
    onto or other others our ours ourselves out over own per perhaps quite rarely rather re same seldom
    several shall shan she should shouldn since so some somebody someone something such than that the
    their theirs them themselves then there these they this those though through throughout thus to too
    toward towards under unless until up upon us ve very was wasn we were weren what whatever when
    whenever where whether which while who whom whose why will with within without won would wouldn yet
    you your yours yourself yourselves
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
"""English articles, pronouns, prepositions, conjunctions, auxiliaries, quantifiers and negations: neither
substituted nor put in a word's place. To exchange them breaks the sentence or turns its meaning round."""

SHORTEST = 2
"""Letters of a word that may be substituted: below are what tokenizers leave of contractions (n't, 's)."""


@dataclass(frozen=True)
class Word:
    """A word of a text.

    Members:
        part: 0 of the text, 1 of a pair's second text.
        start, end: Its characters there.
        text: They.
        tokens: Places of its tokens in the encoded sentence.
    """

    part: int
    start: int
    end: int
    text: str
    tokens: tuple[int, ...]

    @property
    def substitutable(self) -> bool:
        """Whether another word may take its place, by what it is."""
        return is_content_word(self.text)


def is_content_word(text: str) -> bool:
    """Letters (digits among them) alone, at least ``SHORTEST``, and no function word."""
    return (
        len(text) >= SHORTEST
        and text.isalnum()
        and not text.isdecimal()
        and text.casefold() not in FUNCTION_WORDS
    )


def split_words(tokenizer: ElbertTokenizer, text: str, pair: str | None, max_length: int) -> list[Word]:
    """The words of a text, or pair, that the model reads, in the order of their tokens.

    A word is what the tokenizer takes apart into pieces on its own, without signs at its ends; what holds no
    letter is none. Words behind ``max_length`` tokens are cut and so are none either.

    Raises:
        ValueError: as ``ElbertTokenizer.encode``.
    """
    tokenizer.encode(text, max_length, pair)  # refuses what is no text, and cuts from here on
    encoding = tokenizer.full.encode(text, pair)
    places: dict[tuple[int, int], list[int]] = {}
    for token, (part, word) in enumerate(zip(encoding.sequence_ids, encoding.word_ids, strict=True)):
        if part is not None and word is not None:
            places.setdefault((part, word), []).append(token)
    words = []
    for (part, _), tokens in places.items():
        whole = text if part == 0 else pair or ""
        start, end = encoding.offsets[tokens[0]][0], encoding.offsets[tokens[-1]][1]
        while start < end and not whole[start].isalnum():
            start += 1
        while end > start and not whole[end - 1].isalnum():
            end -= 1
        found = whole[start:end]
        if any(c.isalpha() for c in found):
            own = [t for t in tokens if encoding.offsets[t][0] < end and encoding.offsets[t][1] > start]
            words.append(Word(part, start, end, found, tuple(own)))
    return words


def substitute(
    text: str, pair: str | None, words: list[Word], chosen: Mapping[int, str]
) -> tuple[str, str | None]:
    """Text and pair with other words in the places ``chosen`` (index among ``words`` to the new word)."""
    parts = [text, pair or ""]
    for index in sorted(chosen, key=lambda i: words[i].start, reverse=True):
        word = words[index]
        whole = parts[word.part]
        parts[word.part] = whole[: word.start] + chosen[index] + whole[word.end :]
    return parts[0], None if pair is None else parts[1]
