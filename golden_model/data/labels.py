"""Which class of a model a class of the data is: by its name, or by its number where it has no other name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from golden_model.data.quoting import listed
from golden_model.documents import quote

GIVE_NAMES = (
    "write the names, in the order of its logits, as a JSON list to labels.json in the model's folder"
)
"""What to do about a model without names of classes."""

MAX_DIGITS = 18
"""Digits of a number; what has more is a word."""


@dataclass(frozen=True)
class LabelMatch(Mapping[str, int]):
    """The model's class of every class of the data.

    Members:
        words: The data's classes, as they write them.
        classes: Per word the model's class.
        by: How they were found.
        names: The model's names; None: it has none.
        count: The model's number of classes.
    """

    words: tuple[str, ...]
    classes: tuple[int, ...]
    by: Literal["name", "number"]
    names: tuple[str, ...] | None
    count: int

    def __getitem__(self, word: str) -> int:
        return dict(zip(self.words, self.classes, strict=True))[word]

    def __iter__(self) -> Iterator[str]:
        return iter(self.words)

    def __len__(self) -> int:
        return len(self.words)

    def __str__(self) -> str:
        """In one line, ``negative = 1 NEG, positive = 0 POS (by name)``."""
        own = self.names or [""] * self.count
        shown = (f"{word} = {i} {own[i]}".rstrip() for word, i in zip(self.words, self.classes, strict=True))
        return f"{', '.join(shown)} (by {self.by})"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        names = None if self.names is None else list(self.names)
        return {"by": self.by, "of": dict(self), "model": names}

    @property
    def titles(self) -> list[str]:
        """Per class of the model what the data call it; where they do not, its name, or else its number."""
        titles = [str(i) for i in range(self.count)] if self.names is None else list(self.names)
        for word, i in reversed(list(zip(self.words, self.classes, strict=True))):
            titles[i] = word
        return titles

    @property
    def order(self) -> list[int]:
        """The model's classes in an order that does not depend on the model's: the data's own.

        Where the data do not hold all of them, those matched by name go by name, so that scores of one class
        (F1 of the second of two) are of the same class whatever the model and whichever rows there are.
        """
        found = list(dict.fromkeys(self.classes))
        if len(found) == self.count:
            return found
        if self.by == "number":
            return list(range(self.count))
        titles = self.titles
        place = {title: i for i, title in enumerate(in_order(titles))}
        return sorted(range(self.count), key=lambda i: place[titles[i]])


def match_labels(
    words: Sequence[str],
    model_names: Sequence[str] | None,
    num_labels: int,
    source: str,
    *,
    rows: Sequence[int | None] | None = None,
    numbers: Sequence[int] | None = None,
) -> LabelMatch:
    """Finds every class of the data among the model's.

    Words are found by name: as they are written or, failing that, letter case and space around them aside.
    Where the data write numbers, class ``i`` is the model's ``i``; if the model's names are numbers
    themselves, the class of that name.

    Args:
        words: The data's classes.
        model_names: The model's, in the order of its logits; None: it has no names.
        num_labels: Classes of the model.
        source: Of the data, for messages.
        rows: Per word a row that has it, for messages; None: there is none.
        numbers: Per word the number that the data write for it, where they have both.

    Raises:
        ValueError: naming source, row, word and the model's names: a word is none of them, or like several; a
            number is beyond the classes; or there are words and the model has no names.
    """
    if model_names is not None and len(model_names) != num_labels:
        raise ValueError(
            f"the model has {num_labels} classes and {len(model_names)} names: {listed(model_names)}"
        )
    own = _numbers(words) if numbers is None else list(numbers)
    names = None if model_names is None else tuple(model_names)
    by: Literal["name", "number"] = "name"
    if names is not None and _numbers(names) is not None and own is not None:
        found = _by_name([str(i) for i in own], [str(int(name)) for name in names], source, rows)
    elif names is not None and (numbers is not None or own is None):
        found = _by_name(words, names, source, rows)
    elif own is not None:
        found, by = own, "number"
        beyond = next((at for at, i in enumerate(own) if not 0 <= i < num_labels), None)
        if beyond is not None:
            raise ValueError(
                f"{_place(source, rows, beyond)}: class {quote(words[beyond])} is beyond the model's "
                f"{num_labels} classes, 0 to {num_labels - 1}"
            )
    else:
        at = next(at for at, word in enumerate(words) if as_number(word) is None)
        raise ValueError(
            f"{_place(source, rows, at)}: class {quote(words[at])} is a word, and the model has no names of "
            f"its classes: {GIVE_NAMES}"
        )
    return LabelMatch(tuple(words), tuple(found), by, names, num_labels)


def find_names(
    words: Sequence[str], names: Sequence[str], source: str, rows: Sequence[int | None] | None = None
) -> list[int]:
    """Per word its place among the names, by name alone; raises ValueError like :func:`match_labels`."""
    return _by_name(words, names, source, rows, whose="")


def in_order(words: Sequence[str]) -> list[str]:
    """Different words: numbers by value, others by alphabet, letter case last."""
    different = set(words)
    if _numbers(list(different)) is not None:
        return sorted(different, key=lambda word: (int(word), word))
    return sorted(different, key=lambda word: (word.casefold(), word))


def as_number(word: str) -> int | None:
    """The class that a word of decimal digits is."""
    return int(word) if word.isascii() and word.isdecimal() and len(word) <= MAX_DIGITS else None


def _numbers(words: Sequence[str]) -> list[int] | None:
    found = [as_number(word) for word in words]
    return None if not found or None in found else [i for i in found if i is not None]


def _by_name(
    words: Sequence[str],
    names: Sequence[str],
    source: str,
    rows: Sequence[int | None] | None,
    whose: str = "the model's ",
) -> list[int]:
    found = []
    for at, word in enumerate(words):
        fitting = [i for i, name in enumerate(names) if name == word]
        if not fitting:
            fitting = [i for i, name in enumerate(names) if _plain(name) == _plain(word)]
        if not fitting:
            raise ValueError(
                f"{_place(source, rows, at)}: class {quote(word)} is none of {whose}{listed(names)}"
                + (f"; the data's classes: {listed(words)}" if len(words) > 1 else "")
            )
        if len(fitting) > 1:
            raise ValueError(
                f"{_place(source, rows, at)}: class {quote(word)} is like several of {whose}{listed(names)}"
            )
        found.append(fitting[0])
    return found


def _plain(word: str) -> str:
    return word.strip().casefold()


def _place(source: str, rows: Sequence[int | None] | None, at: int) -> str:
    row = None if rows is None else rows[at]
    return source if row is None else f"{source}: row {row}"
