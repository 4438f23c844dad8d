"""Rows of a table file by its format: none is dropped, and what is ragged, damaged or no text is refused."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

from golden_model.data.lines import COMPRESSED, DAMAGE, MAX_LINE, damaged, numbered_lines, open_text
from golden_model.documents import quote

MAX_TEXT = 1 << 20
"""Characters a cell that is used may have."""

MAX_DOCUMENT = 1 << 28
"""Characters a ``.json`` file may have, which is read as a whole."""

SUFFIXES = (".tsv", ".csv", ".label", ".jsonl", ".ndjson", ".json", ".parquet")
"""Of tables; each may be followed by one of ``COMPRESSED``."""

TEXT_SUFFIX = ".txt"
"""Of text alone, a sentence a line."""

csv.field_size_limit(MAX_LINE)

Cells = Sequence[Any] | Mapping[int, Any]
"""Of a row, by the column's place."""

_MISSING, _REPEATED = object(), object()
"""Cells of a JSON object that it does not have, or has twice."""


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Members:
        number: In its file, from 1; the header and empty lines count.
        place: The same in words, for messages.
        cells: Text of the columns asked for.
    """

    number: int
    place: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table whose rows can be read once.

    Members:
        source: For messages.
        columns: Names; numbers from ``"0"`` where there is no header.
        records: Number, place and cells of every row, at least those cells whose columns are asked for.
        classes: Of columns of numbers that stand for names: the names.
    """

    source: str
    columns: list[str]
    records: Callable[[Sequence[int]], Iterator[tuple[int, str, Cells]]]
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def rows(self, columns: Sequence[int]) -> Iterator[Row]:
        """The cells of these columns, by their place among the names.

        Raises:
            ValueError: naming source, row and column: what the format refuses (:func:`open_table`); a cell
                that is not there, is neither text nor a number, or has more than :data:`MAX_TEXT`
                characters, a NUL character or half a surrogate pair.
        """
        for number, place, cells in self.records(columns):
            texts = (_text(cells[i], f"{self.source}: {place}", self.columns[i]) for i in columns)
            yield Row(number, place, tuple(texts))


def open_table(path: Path, encoding: str = "utf-8", header: bool = True) -> Table:
    """Opens a table by its suffix.

    TSV as GLUE writes it: a quotation mark is text. CSV with quotation marks. ``.label`` is TREC's
    ``COARSE:fine text``, read as columns ``label`` (the coarse class) and ``text``. ``.jsonl`` and
    ``.ndjson`` hold an object a line, ``.json`` too or a list of objects. ``.parquet`` needs the package
    pyarrow. ``.txt`` is a sentence a line, empty ones skipped, in the column ``text``. All may be compressed
    (``.gz``, ``.xz``).

    Args:
        path: The file.
        encoding: Of text files.
        header: Whether TSV and CSV begin with names; the other formats have names of their own.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: naming file and row or line: what ``lines.read_lines`` refuses; a row with more or fewer
            columns than the first; a quotation mark that is not closed; what is not JSON; a damaged or cut
            file; an unknown suffix; an encoding or ``header=False`` for a format that has none.
    """
    kind = path.with_suffix("").suffix if path.suffix.lower() in COMPRESSED else path.suffix
    kind = kind.lower()
    if kind == ".parquet":
        from golden_model.data.parquet import open_parquet

        _no_options(path, encoding if encoding.lower() not in ("utf-8", "utf8") else None, header)
        return open_parquet(path)
    if kind == ".label":
        return _of_names(path, _label_lines(path, encoding), ["label", "text"], header)
    if kind == TEXT_SUFFIX:
        rows = ((n, f"line {n}", [line]) for n, line in numbered_lines(path, encoding) if line.strip())
        return _of_names(path, rows, ["text"], header)
    if kind in (".jsonl", ".ndjson", ".json"):
        _no_options(path, None, header)
        return _of_objects(path, _json_objects(path, encoding, whole=kind == ".json"))
    if kind == ".csv":
        return _of_rows(path, _csv_rows(path, encoding), header)
    if kind == ".tsv":
        return _of_rows(path, _tsv_rows(path, encoding), header)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is a folder, not a file" if path.is_dir() else f"{path} is no file")
    raise ValueError(
        f"{path}: suffix {quote(path.suffix)} is none of {', '.join((*SUFFIXES, TEXT_SUFFIX))}, each also "
        f"with {' or '.join(COMPRESSED)}"
    )


def _no_options(path: Path, encoding: str | None, header: bool) -> None:
    if encoding is not None:
        raise ValueError(f"{path} has no encoding of its own to choose: Parquet is UTF-8, not {encoding}")
    if not header:
        raise ValueError(f"{path} names its columns: only TSV and CSV can be without a header")


_Rows = Iterator[tuple[int, str, list[str]]]


def _of_names(path: Path, rows: _Rows, names: list[str], header: bool) -> Table:
    """A table whose format says the columns; ``header=False`` numbers them."""
    return Table(str(path), names if header else [str(i) for i in range(len(names))], lambda _: rows)


def _of_rows(path: Path, rows: _Rows, header: bool) -> Table:
    first = next(rows, None)
    if first is None:
        raise ValueError(f"{path} is empty")
    place, cells = first[1:]
    names = [name.strip() for name in cells] if header else [str(i) for i in range(len(cells))]
    following = rows if header else chain([first], rows)
    return Table(str(path), names, lambda _: _as_wide(path, following, len(cells), place))


def _as_wide(path: Path, rows: Iterable[tuple[int, str, list[str]]], width: int, first: str) -> _Rows:
    for number, place, cells in rows:
        if len(cells) != width:
            raise ValueError(
                f"{path}: {place} has {len(cells):,} {'column' if len(cells) == 1 else 'columns'}, "
                f"{first} has {width:,}"
            )
        yield number, place, cells


def _tsv_rows(path: Path, encoding: str) -> _Rows:
    for number, line in numbered_lines(path, encoding):
        if line:
            yield number, f"row {number}", line.split("\t")


def _csv_rows(path: Path, encoding: str) -> _Rows:
    reader = csv.reader((line for _, line in numbered_lines(path, encoding, ends=True)), strict=True)
    number = 0
    while True:
        number, line = number + 1, reader.line_num + 1
        place = f"row {number}" if line == number else f"row {number} (line {line})"
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            reason = str(error)
            if "unexpected end of data" in reason:
                reason = "its quotation mark is not closed"
            raise ValueError(f"{path}: {place} is not CSV: {reason}") from error
        if cells:
            yield number, place, cells


def _label_lines(path: Path, encoding: str) -> _Rows:
    for number, line in numbered_lines(path, encoding):
        label, space, text = line.strip().partition(" ")
        if label and not space:
            raise ValueError(f"{path}: row {number} has no text behind {quote(label)}")
        if label:
            yield number, f"row {number}", [label.partition(":")[0], text]


class _Repeating(dict[str, Any]):
    """A JSON object that has a name twice: its value is :data:`_REPEATED`."""


def _of_objects(path: Path, objects: Iterator[tuple[int, str, dict[str, Any]]]) -> Table:
    first = next(objects, None)
    if first is None:
        raise ValueError(f"{path} is empty")
    names = list(first[2])

    def records(_: Sequence[int]) -> Iterator[tuple[int, str, Cells]]:
        for number, place, found in chain([first], objects):
            yield number, place, [found.get(name, _MISSING) for name in names]

    return Table(str(path), names, records)


def _json_objects(path: Path, encoding: str, whole: bool) -> Iterator[tuple[int, str, dict[str, Any]]]:
    if whole and _begins_a_list(path, encoding):
        found: Iterable[tuple[int, str, Any]] = (
            (number, f"row {number}", value)
            for number, value in enumerate(_json_list(path, encoding), start=1)
        )
    else:
        found = (
            (number, f"line {number}", _json(line, f"{path}: line {number}"))
            for number, line in numbered_lines(path, encoding)
            if line.strip()
        )
    for number, place, value in found:
        if not isinstance(value, dict):
            raise ValueError(f"{path}: {place} is no JSON object of columns and values")
        yield number, place, value


def _begins_a_list(path: Path, encoding: str) -> bool:
    with open_text(path, encoding) as file:
        while character := file.read(1):
            if not character.isspace():
                return character == "["
    return False


def _json_list(path: Path, encoding: str) -> list[Any]:
    with open_text(path, encoding) as file:
        try:
            text = file.read(MAX_DOCUMENT + 1)
        except DAMAGE as error:
            raise damaged(path, error) from error
    if len(text) > MAX_DOCUMENT:
        raise ValueError(
            f"{path} is longer than {MAX_DOCUMENT:,} characters: write an object a line, as .jsonl"
        )
    found: list[Any] = _json(text, str(path))
    return found


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        line = "" if error.lineno == 1 else f"line {error.lineno}, "
        raise ValueError(f"{where} is not JSON: {error.msg} at {line}column {error.colno}") from error
    except RecursionError as error:
        raise ValueError(f"{where} is JSON nested too deeply") from error
    except ValueError as error:  # a number of too many digits, or none
        raise ValueError(f"{where} is not JSON as it is read here: {str(error)[:120]}") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    names = [name for name, _ in pairs]
    return _Repeating({name: _REPEATED if names.count(name) > 1 else value for name, value in pairs})


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _text(value: Any, where: str, column: str) -> str:
    """A cell as text: numbers by their digits, what is missing as nothing."""
    named = f"column {quote(column)}"
    if value is _MISSING:
        raise ValueError(f"{where} has no {named}")
    if value is _REPEATED:
        raise ValueError(f"{where} has {named} twice")
    if value is None or value != value:  # null, and NaN, which pandas and Parquet write for it
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(int(value) if isinstance(value, float) and value.is_integer() else value)
    if not isinstance(value, str):
        raise ValueError(f"{where}: {named} holds {type(value).__name__}, neither text nor a number")
    if len(value) > MAX_TEXT:
        raise ValueError(f"{where}: {named} has {len(value):,} characters, at most {MAX_TEXT:,} are read")
    if "\0" in value:
        raise ValueError(f"{where}: {named} holds a NUL character")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"{where}: {named} holds half a surrogate pair, {value[error.start]!a}") from error
    return value
