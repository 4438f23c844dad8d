"""Labelled text, and text alone, from local tables of any format or the Hugging Face hub."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from golden_model.config import MAX_LABELS
from golden_model.data.hub import PREFIX, open_hub
from golden_model.data.labels import LabelMatch, as_number, find_names, in_order, match_labels
from golden_model.data.quoting import listed
from golden_model.data.readers import Row, Table, open_table
from golden_model.data.splits import find_split
from golden_model.documents import quote
from golden_model.files import sha256_of
from golden_model.labels import MAX_NAME

_TEXT_NAMES = ("sentence", "text", "sentence1", "question1", "#1 String", "content")
_PAIR_NAMES = {"sentence1": "sentence2", "question1": "question2", "#1 String": "#2 String"}
_LABEL_NAMES = ("label", "Quality", "result")


@dataclass(frozen=True)
class Columns:
    """Where text and label are; None means: found by the usual names.

    Without a header row the columns are numbers as text, from ``"0"``. Every string of ``spaces`` (markup) is
    read as a space, and then any white space as a single one.
    """

    text: str | None = None
    pair: str | None = None
    label: str | None = None
    header: bool = True
    encoding: str = "utf-8"
    spaces: tuple[str, ...] = ()

    def clean(self, text: str) -> str:
        """The text as it is used."""
        if not self.spaces:
            return text.strip()
        for string in self.spaces:
            text = text.replace(string, " ")
        return " ".join(text.split())


@dataclass(frozen=True)
class Texts:
    """Sentences (or sentence pairs) without classes; ``sha256`` is that of the file as stored."""

    texts: list[str]
    pairs: list[str] | None
    source: str
    sha256: str

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class TextDataset:
    """Sentences (or sentence pairs) with a class each.

    ``labels[i]`` indexes ``label_names``, the classes as the data write them; ``label_numbers`` are their
    numbers where the data give both. ``sha256`` is that of the file as stored, for the record; ``rows[i]`` is
    the row of the file, from 1, its header and empty lines counted (none where the data are of no file).
    """

    texts: list[str]
    pairs: list[str] | None
    labels: list[int]
    label_names: list[str]
    source: str
    sha256: str
    columns: Columns = field(default_factory=Columns)
    label_numbers: list[int] | None = None
    rows: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.texts)

    def head(self, count: int) -> TextDataset:
        """The first ``count`` rows."""
        return self.select(range(len(self))[:count])

    def select(self, rows: Iterable[int]) -> TextDataset:
        """The rows of these numbers, from 0, in the order given."""
        rows = list(rows)
        return replace(
            self,
            texts=[self.texts[i] for i in rows],
            pairs=None if self.pairs is None else [self.pairs[i] for i in rows],
            labels=[self.labels[i] for i in rows],
            rows=[self.rows[i] for i in rows] if self.rows else [],
        )

    def match(self, model_names: Sequence[str] | None, num_labels: int) -> LabelMatch:
        """A model's class of every class of the data; ``labels.match_labels`` says how, and its errors."""
        first: dict[int, int] = {}
        for label, row in zip(self.labels, self.rows, strict=False):
            first.setdefault(label, row)
        return match_labels(
            self.label_names,
            model_names,
            num_labels,
            self.source,
            rows=[first.get(i) for i in range(len(self.label_names))],
            numbers=self.label_numbers,
        )

    def relabelled(self, model_names: Sequence[str] | None, num_labels: int | None = None) -> TextDataset:
        """The same data in the classes of a model: ``labels`` are its, ``label_names`` its names.

        Args:
            model_names: In the order of its logits; None: it has none (its names are numbers then).
            num_labels: Its number of classes; None: that of its names.

        Raises:
            ValueError: as :meth:`match`.
        """
        if num_labels is None:
            if model_names is None:
                raise ValueError("neither names of the model's classes nor their number are given")
            num_labels = len(model_names)
        classes = self.match(model_names, num_labels).classes
        return replace(
            self,
            labels=[classes[label] for label in self.labels],
            label_names=[str(i) for i in range(num_labels)] if model_names is None else list(model_names),
            label_numbers=None,
        )


def load_dataset(
    source: Path | str,
    split: str = "dev",
    columns: Columns | None = None,
    label_names: Sequence[str] | None = None,
) -> TextDataset:
    """Reads one split.

    Args:
        source: A folder holding ``train.tsv``, ``dev.tsv`` and so on; one table file, of the formats of
            ``readers.open_table``; or a data set of the Hugging Face hub (needs the package ``datasets`` and
            the network): ``hub:NAME``, ``hub:NAME/CONFIGURATION`` or ``hub:OWNER/NAME/CONFIGURATION``
            (``default`` where the data set names none), each with ``@REVISION`` behind it if wanted.
        split: ``train``, ``dev`` or ``test``; not used for a file. On the hub also a name of its own, or
            several: ``train+validation``.
        columns: Which columns to read.
        label_names: The classes in order as they are written in the data, letter case aside; None: those that
            occur, numbers by value and words by alphabet, or those that the data set itself names.

    Raises:
        FileNotFoundError: when there is no such file, naming those looked for.
        ValueError: naming file, row and column: a column is not there or there twice; a text or a label is
            empty; a label is above ``MAX_NAME`` characters, not one line, or none of ``label_names``;
            there are more than ``MAX_LABELS`` classes; or what ``readers.open_table`` refuses.
    """
    columns = columns or Columns()
    if str(source).startswith(PREFIX):
        return _labelled(open_hub(str(source), split), columns, label_names)
    return read_table(find_split(Path(source), split), columns, label_names)


def read_table(
    path: Path, columns: Columns | None = None, label_names: Sequence[str] | None = None
) -> TextDataset:
    """Reads one labelled table file; see :func:`load_dataset` for arguments and errors."""
    columns = columns or Columns()
    found = _labelled(open_table(path, columns.encoding, columns.header), columns, label_names)
    return replace(found, sha256=sha256_of(path))


def load_texts(source: Path | str, split: str = "train", columns: Columns | None = None) -> Texts:
    """Reads the texts of one split, which needs no labels: also of a ``.txt``, one sentence a line.

    Arguments and errors are those of :func:`load_dataset`.
    """
    columns = columns or Columns()
    if str(source).startswith(PREFIX):
        return _texts(open_hub(str(source), split), columns)
    path = find_split(Path(source), split, labelled=False)
    found = _texts(open_table(path, columns.encoding, columns.header), columns)
    return replace(found, sha256=sha256_of(path))


def read_texts(path: Path | str, column: str = "text", encoding: str = "utf-8") -> Iterator[str]:
    """The texts of one column of a table, row by row as they are; raises like :func:`load_dataset`."""
    table = open_table(Path(path), encoding)
    for row in table.rows([_column(table, column, (), "text")]):
        if not row.cells[0].strip():
            raise ValueError(f"{table.source}: {row.place} has an empty text")
        yield row.cells[0]


def _texts(table: Table, columns: Columns) -> Texts:
    text, pair = _text_columns(table, columns)
    texts: list[str] = []
    pairs: list[str] = []
    for row in table.rows([text] if pair is None else [text, pair]):
        texts.append(_clean(table, row, 0, columns, "text"))
        if pair is not None:
            pairs.append(_clean(table, row, 1, columns, "second text"))
    if not texts:
        raise ValueError(f"{table.source} holds no rows")
    return Texts(texts, None if pair is None else pairs, table.source, _digest(texts, pairs))


def _labelled(table: Table, columns: Columns, label_names: Sequence[str] | None) -> TextDataset:
    text, pair = _text_columns(table, columns)
    label = _column(table, columns.label, _LABEL_NAMES, "label")
    if label in (text, pair):
        raise ValueError(f"{table.source}: column {quote(table.columns[label])} is both text and label")
    names = table.classes.get(table.columns[label])
    if names is not None and label_names is not None and not set(label_names) <= set(names):
        names = None  # the classes asked for are the numbers
    texts: list[str] = []
    pairs: list[str] = []
    words: list[str] = []
    rows: list[int] = []
    first: dict[str, int] = {}
    for row in table.rows([text, label] if pair is None else [text, label, pair]):
        texts.append(_clean(table, row, 0, columns, "text"))
        if pair is not None:
            pairs.append(_clean(table, row, 2, columns, "second text"))
        word = _word(table, row, table.columns[label], names)
        words.append(word)
        rows.append(row.number)
        if word not in first:
            first[word] = row.number
            if label_names is None and len(first) > MAX_LABELS:
                raise ValueError(
                    f"{table.source}: {row.place} has the {MAX_LABELS + 1}th class, {quote(word)}; models "
                    f"have at most {MAX_LABELS}: is {quote(table.columns[label])} the column of the label?"
                )
    if not texts:
        raise ValueError(f"{table.source} holds no rows")
    if label_names is not None:
        classes = list(label_names)
        found = find_names(list(first), classes, table.source, list(first.values()))
    else:
        classes = in_order(list(first)) if names is None else list(names)
        found = [classes.index(word) for word in first]
    index = dict(zip(first, found, strict=True))
    return TextDataset(
        texts,
        None if pair is None else pairs,
        [index[word] for word in words],
        classes,
        table.source,
        _digest(texts, pairs, words),
        columns,
        list(range(len(classes))) if names is not None and label_names is None else None,
        rows,
    )


def _text_columns(table: Table, columns: Columns) -> tuple[int, int | None]:
    """The places of text and pair."""
    text = _column(table, columns.text, _TEXT_NAMES, "text")
    pair = columns.pair
    if pair is None and columns.text is None:  # an explicit text column alone asks for single sentences
        pair = _PAIR_NAMES.get(table.columns[text])
    return text, None if pair is None else _column(table, pair, (), "pair")


def _column(table: Table, asked: str | None, usual: Sequence[str], role: str) -> int:
    wanted = (asked,) if asked is not None else usual
    found = next((name for name in wanted if name in table.columns), None)
    if found is None:
        if asked is not None:
            raise ValueError(
                f"{table.source} has no {role} column {quote(asked)}; it has {listed(table.columns)}"
            )
        raise ValueError(
            f"{table.source} has no {role} column: none of {', '.join(usual)} in {listed(table.columns)}; "
            "name it"
        )
    if table.columns.count(found) > 1:
        raise ValueError(f"{table.source} has {table.columns.count(found)} columns named {quote(found)}")
    return table.columns.index(found)


def _clean(table: Table, row: Row, cell: int, columns: Columns, role: str) -> str:
    text = columns.clean(row.cells[cell])
    if not text:
        raise ValueError(f"{table.source}: {row.place} has an empty {role}")
    return text


def _word(table: Table, row: Row, column: str, names: Sequence[str] | None) -> str:
    """The class of a row, by its name where its number has one."""
    word = row.cells[1].strip()
    where = f"{table.source}: {row.place}"
    if not word:
        raise ValueError(f"{where} has an empty label")
    if len(word) > MAX_NAME:
        raise ValueError(
            f"{where} has a label of {len(word):,} characters, at most {MAX_NAME} are a class: {quote(word)}"
        )
    if not word.isprintable():
        raise ValueError(f"{where} has the label {quote(word)}, which is not one line of text")
    if names is None:
        return word
    number = as_number(word)
    if number is None or number >= len(names):
        raise ValueError(f"{where}: column {quote(column)} is {quote(word)}, its classes are {listed(names)}")
    return names[number]


def _digest(texts: Sequence[str], *more: Sequence[str]) -> str:
    """Of what is in no file of its own."""
    return hashlib.sha256(
        "\0".join([*texts, *(value for part in more for value in part)]).encode()
    ).hexdigest()
