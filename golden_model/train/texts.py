"""Sentences of running text, for training without labels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path

from golden_model.data.tables import read_texts
from golden_model.data.tasks import load_task

_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_END = re.compile(r"(?<=[.!?])\s+")


def split_sentences(text: str, shortest: int = 15, longest: int = 400) -> list[str]:
    """Sentences of a document, by full stop, question and exclamation mark; HTML line breaks are spaces.

    What is below ``shortest`` characters (stray abbreviations) or above ``longest`` is left out.
    """
    parts = (part.strip() for part in _END.split(_BREAK.sub(" ", text)))
    return [part for part in parts if shortest <= len(part) <= longest]


def read_sentences(path: Path | str, rows: int | None = None, column: str = "text") -> Iterator[str]:
    """Sentences of a table's documents, of the first ``rows`` of them; raises like ``read_texts``."""
    for text in islice(read_texts(path, column), rows):
        yield from split_sentences(text)


def read_pairs(path: Path | str, rows: int | None = None, column: str = "text") -> Iterator[tuple[str, str]]:
    """Neighbouring sentences of a table's documents, each sentence in one pair; an odd last one is left out.

    Raises like ``read_texts``.
    """
    for text in islice(read_texts(path, column), rows):
        found = split_sentences(text)
        yield from zip(found[::2], found[1::2], strict=False)


def task_texts(tasks: Iterable[str]) -> Iterator[str]:
    """Training texts of tasks, each by itself: the second ones of pairs after all first ones.

    Raises:
        ValueError, FileNotFoundError: as ``load_task``.
    """
    for name in tasks:
        data = load_task(name, "train")
        yield from data.texts
        yield from data.pairs or ()


@dataclass(frozen=True)
class Unlabelled:
    """Texts that a teacher answers beside the training data, and that have no label.

    Members:
        tables: Tables with a column ``text`` of documents, whose sentences are read.
        rows: Documents read of each; None: all.
        tasks: Tasks whose training texts are read, each by itself, without their labels.
    """

    tables: Sequence[Path] = ()
    rows: int | None = None
    tasks: Sequence[str] = ()

    def texts(self) -> list[str]:
        """All of them, each once; raises like :func:`read_sentences` and :func:`task_texts`."""
        sentences = (text for path in self.tables for text in read_sentences(path, self.rows))
        return list(dict.fromkeys(chain(sentences, task_texts(self.tasks))))


def hold_out(texts: Iterable[str], one_in: int) -> tuple[list[str], list[str]]:
    """Texts without repeats as (kept, held out), about one in ``one_in`` held out by its own hash.

    Raises:
        ValueError: when ``one_in`` is below 2.
    """
    if one_in < 2:
        raise ValueError(f"one_in {one_in} is below 2")
    kept: list[str] = []
    held: list[str] = []
    for text in dict.fromkeys(texts):
        number = int.from_bytes(sha256(text.encode()).digest()[:8], "big")
        (held if number % one_in == 0 else kept).append(text)
    return kept, held


def digest(texts: Sequence[str]) -> str:
    """SHA-256 of texts in their order, in hex."""
    found = sha256()
    for text in texts:
        found.update(text.encode() + b"\0")
    return found.hexdigest()
