"""Labelled text from local tables (GLUE's TSV, CSV, TREC's lines; plain or xz) or the Hugging Face hub."""

from __future__ import annotations

import csv
import hashlib
import lzma
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from golden_model.files import sha256_of

_SUFFIXES = (".tsv", ".csv", ".label", ".tsv.xz", ".csv.xz")
_TEXT_NAMES = ("sentence", "text", "sentence1", "question1", "#1 String", "content")
_PAIR_NAMES = {"sentence1": "sentence2", "question1": "question2", "#1 String": "#2 String"}
_LABEL_NAMES = ("label", "Quality", "result")
_SPLIT_NAMES = {"train": ("train",), "dev": ("dev", "validation", "valid"), "test": ("test",)}

csv.field_size_limit(1 << 24)


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
class TextDataset:
    """Sentences (or sentence pairs) with a class each.

    ``labels[i]`` indexes ``label_names``; ``sha256`` is that of the file as stored, for the record.
    """

    texts: list[str]
    pairs: list[str] | None
    labels: list[int]
    label_names: list[str]
    source: str
    sha256: str
    columns: Columns = field(default_factory=Columns)

    def __len__(self) -> int:
        return len(self.texts)

    def head(self, count: int) -> TextDataset:
        """The first ``count`` rows."""
        return self.select(range(len(self))[:count])

    def select(self, rows: Iterable[int]) -> TextDataset:
        """The rows of these numbers, in the order given."""
        rows = list(rows)
        return replace(
            self,
            texts=[self.texts[i] for i in rows],
            pairs=None if self.pairs is None else [self.pairs[i] for i in rows],
            labels=[self.labels[i] for i in rows],
        )


def load_dataset(
    source: Path | str,
    split: str = "dev",
    columns: Columns | None = None,
    label_names: Sequence[str] | None = None,
) -> TextDataset:
    """Reads one split.

    Args:
        source: A folder holding ``train.tsv``, ``dev.tsv`` and so on; one table file; or a data set of the
            Hugging Face hub (needs the package ``datasets`` and the network): ``hub:NAME``,
            ``hub:NAME/CONFIGURATION`` or ``hub:OWNER/NAME/CONFIGURATION`` (``default`` where the data set
            names none), each with ``@REVISION`` behind it if wanted.
        split: ``train``, ``dev`` or ``test``; not used for a file. On the hub also a name of its own, or
            several: ``train+validation``.
        columns: Which columns to read.
        label_names: The classes in order as they are written in the data (on the hub: numbers, or the names
            it gives them); None: those of the file, numbers by value and words by alphabet.

    Raises:
        FileNotFoundError: when there is no such file, naming those looked for.
        ValueError: naming file, row and column when a column, a field or a class is not there.
    """
    columns = columns or Columns()
    if str(source).startswith("hub:"):
        return _load_hub(str(source)[4:], split, columns, label_names)
    path = find_split(Path(source), split)
    return read_table(path, columns, label_names)


def cut_dev(data: TextDataset, share: float) -> tuple[TextDataset, TextDataset]:
    """Cuts a dev split of about ``share`` of the rows from a training set: (rest, dev), rows in their order.

    Rows that have a text in common, letter case and white space aside, form a group; so does whatever hangs
    together through further rows. A group goes to dev when the first 64 bits of the SHA-256 of its first text
    by alphabet, as a fraction of 1, are below ``share``. So no text is on both sides, and neither the order
    of rows nor a random generator decides.

    Raises:
        ValueError: when ``share`` is not between 0 and 1, or either side would be empty.
    """
    if not 0 < share < 1:
        raise ValueError(f"share {share} is not between 0 and 1")
    firsts = _first_texts(data)
    chosen = [int(hashlib.sha256(first.encode()).hexdigest()[:16], 16) < share * 2**64 for first in firsts]
    if all(chosen) or not any(chosen):
        raise ValueError(f"{data.source}: {len(data)} rows leave one side of a cut by {share} empty")
    rest, dev = (data.select(i for i, held in enumerate(chosen) if held == side) for side in (False, True))
    return rest, dev


def _first_texts(data: TextDataset) -> list[str]:
    """Per row the first text by alphabet of all that hang together with it."""
    parent: dict[str, str] = {}

    def first(text: str) -> str:
        while parent[text] != text:
            parent[text] = text = parent[parent[text]]
        return text

    texts = [_plain(text) for text in data.texts]
    pairs = texts if data.pairs is None else [_plain(text) for text in data.pairs]
    for text, pair in zip(texts, pairs, strict=True):
        a, b = sorted((first(parent.setdefault(text, text)), first(parent.setdefault(pair, pair))))
        parent[b] = a
    return [first(text) for text in texts]


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def find_split(source: Path, split: str) -> Path:
    """The table file of a split in a folder; ``source`` itself when it is a file."""
    if source.is_file():
        return source
    if split not in _SPLIT_NAMES:
        raise ValueError(f"split {split!r} is not one of {sorted(_SPLIT_NAMES)}")
    if not source.is_dir():
        raise FileNotFoundError(f"{source} is neither a file nor a folder")
    names = [stem + suffix for stem in _SPLIT_NAMES[split] for suffix in _SUFFIXES]
    for name in names:
        if (source / name).is_file():
            return source / name
    raise FileNotFoundError(f"{source} holds no {split} split: none of {', '.join(names)}")


def read_table(
    path: Path, columns: Columns | None = None, label_names: Sequence[str] | None = None
) -> TextDataset:
    """Reads one labelled TSV or CSV file; see :func:`load_dataset` for arguments and errors."""
    columns = columns or Columns()
    rows = _rows(path, columns)
    names = _header(path, rows, columns)
    text = _column(path, names, columns.text, _TEXT_NAMES, "text")
    label = _column(path, names, columns.label, _LABEL_NAMES, "label")
    pair_name = columns.pair or _PAIR_NAMES.get(names[text])
    if columns.text is not None and columns.pair is None:
        pair_name = None  # an explicit text column alone asks for single sentences
    pair = None if pair_name is None else _column(path, names, pair_name, (), "pair")
    texts: list[str] = []
    pairs: list[str] = []
    raw: list[str] = []
    widest = max(i for i in (text, label, pair) if i is not None)
    for number, row in enumerate(rows, start=2 if columns.header else 1):
        if not row:
            continue
        if len(row) <= widest:
            raise ValueError(f"{path}: row {number} has {len(row)} columns, column {widest} is needed")
        texts.append(columns.clean(row[text]))
        raw.append(row[label].strip())
        if pair is not None:
            pairs.append(columns.clean(row[pair]))
    if not texts:
        raise ValueError(f"{path} holds no rows")
    classes = list(label_names) if label_names is not None else _classes(raw)
    index = {name: i for i, name in enumerate(classes)}
    for number, value in enumerate(raw):
        if value not in index:
            raise ValueError(
                f"{path}: column {names[label]!r} of data row {number} is {value!r}, none of {classes}"
            )
    return TextDataset(
        texts,
        pairs if pair is not None else None,
        [index[value] for value in raw],
        classes,
        str(path),
        sha256_of(path),
        columns,
    )


def read_texts(path: Path | str, column: str = "text", encoding: str = "utf-8") -> Iterator[str]:
    """The texts of one column of an unlabelled table, row by row; raises like :func:`read_table`."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file")
    columns = Columns(encoding=encoding)
    rows = _rows(path, columns)
    names = _header(path, rows, columns)
    index = _column(path, names, column, (), "text")
    for row in rows:
        if len(row) > index:
            yield row[index]


def _open(path: Path, encoding: str) -> IO[str]:
    if path.suffix == ".xz":
        return lzma.open(path, "rt", encoding=encoding, newline="")
    return path.open("r", encoding=encoding, newline="")


def _rows(path: Path, columns: Columns) -> Iterator[list[str]]:
    encoding = columns.encoding
    inner = path.with_suffix("") if path.suffix == ".xz" else path
    with _open(path, encoding) as file:
        try:
            if inner.suffix == ".csv":
                yield from csv.reader(file)
            elif inner.suffix == ".label":
                yield from _label_lines(path, file, columns.header)
            else:  # GLUE's TSV files know no quoting: a quote is text
                yield from csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not {encoding}: {error.reason} at byte {error.start}") from error


def _label_lines(path: Path, lines: Iterable[str], header: bool) -> Iterator[list[str]]:
    """TREC's ``COARSE:fine text`` as a table of coarse class and text; the header is not in the file."""
    if header:
        yield ["label", "text"]
    for number, line in enumerate(lines, start=1):
        label, space, text = line.strip().partition(" ")
        if label and not space:
            raise ValueError(f"{path}: row {number} has no text behind {label!r}")
        if label:
            yield [label.partition(":")[0], text]


def _header(path: Path, rows: Iterator[list[str]], columns: Columns) -> list[str]:
    if not columns.header:
        # numbers as names; a row too short for the column asked for is reported where it is read
        return [str(i) for i in range(64)]
    try:
        return [name.strip().lstrip("\ufeff") for name in next(rows)]
    except StopIteration:
        raise ValueError(f"{path} is empty") from None


def _column(path: Path, names: list[str], asked: str | None, usual: Sequence[str], role: str) -> int:
    if asked is not None:
        if asked not in names:
            raise ValueError(f"{path} has no {role} column {asked!r}; it has {names}")
        return names.index(asked)
    for name in usual:
        if name in names:
            return names.index(name)
    raise ValueError(f"{path} has no {role} column: none of {list(usual)} in {names}; name it")


def _classes(raw: Sequence[str]) -> list[str]:
    values = set(raw)
    if all(value.isdecimal() for value in values):
        return [str(i) for i in range(max(int(value) for value in values) + 1)]
    return sorted(values)


def _load_hub(name: str, split: str, columns: Columns, label_names: Sequence[str] | None) -> TextDataset:
    try:
        import datasets
    except ImportError as error:
        raise ValueError(
            f"hub:{name} needs the package 'datasets' (and the network); a local folder needs neither"
        ) from error
    whole, _, revision = name.partition("@")
    base, _, configuration = whole.rpartition("/")
    wanted = {"dev": "validation"}.get(split, split)
    table = datasets.load_dataset(
        base or configuration, configuration if base else None, split=wanted, revision=revision or None
    )
    names = list(table.column_names)
    where = Path(f"hub:{name}:{wanted}")
    text = names[_column(where, names, columns.text, _TEXT_NAMES, "text")]
    label = names[_column(where, names, columns.label, _LABEL_NAMES, "label")]
    pair = columns.pair or (_PAIR_NAMES.get(text) if columns.text is None else None)
    if pair is not None and pair not in names:
        raise ValueError(f"{where} has no pair column {pair!r}; it has {names}")
    known: list[str] = list(getattr(table.features[label], "names", ()))
    raw = [str(value) for value in table[label]]
    if label_names is None:
        classes = [str(i) for i in range(len(known))] if known else _classes(raw)
    else:
        classes = list(label_names)
        if set(classes) <= set(known):
            raw = [known[int(value)] for value in raw]
    index = {value: i for i, value in enumerate(classes)}
    unknown = sorted(set(raw) - set(index))
    if unknown:
        raise ValueError(f"{where}: class {unknown[0]!r} is none of {classes}")
    texts = [columns.clean(value) for value in table[text]]
    pairs = None if pair is None else [columns.clean(value) for value in table[pair]]
    digest = hashlib.sha256("\0".join(texts + (pairs or []) + raw).encode()).hexdigest()
    return TextDataset(texts, pairs, [index[v] for v in raw], classes, str(where), digest, columns)
