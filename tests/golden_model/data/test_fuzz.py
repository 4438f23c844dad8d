"""Whatever a file holds, a reader gives its rows or says in one line what is wrong with it."""

from __future__ import annotations

import gzip
import importlib.util
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden_model.data.readers import SUFFIXES, TEXT_SUFFIX
from golden_model.data.tables import Columns, load_dataset, load_texts, read_texts

KINDS = [
    pytest.param(
        kind,
        marks=pytest.mark.skipif(
            kind.startswith(".parquet") and importlib.util.find_spec("pyarrow") is None,
            reason="pyarrow is not there",
        ),
    )
    for kind in (*SUFFIXES, TEXT_SUFFIX, ".tsv.gz", ".csv.xz", ".json.xz", ".jsonl.gz", ".parquet.gz")
]
SPICE = [
    '"',
    "\t",
    ",",
    "\n",
    "\r",
    " ",
    "{",
    "}",
    "[",
    "]",
    "\\ud800",
    "\\u0000",
    ":",
    "null",
    "1e999",
    "-1",
    "\0",
]
SPICE += [
    "\u2028",
    "\ufeff",
    "\x85",
    '"text"',
    '"label"',
    "text",
    "label",
    "\ud7ff",
    "\U0001f600",
    "7" * 90,
    "NaN",
]
BYTES = st.one_of(
    st.binary(max_size=200),
    st.lists(st.sampled_from(SPICE), max_size=40).map(lambda parts: "".join(parts).encode()),
    st.lists(st.sampled_from(SPICE), max_size=40).map(lambda parts: "".join(parts).encode("utf-16")),
)
EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 3), st.binary(max_size=4)), min_size=1, max_size=4
)  # place, bytes that go, bytes that come
ENCODINGS = st.sampled_from(["utf-8", "latin-1", "utf-16", "utf-16-le", "utf-7", "ascii", "gb18030", "no"])


def pack(kind: str, data: bytes) -> bytes:
    return (
        gzip.compress(data) if kind.endswith(".gz") else lzma.compress(data) if kind.endswith(".xz") else data
    )


def valid(kind: str, folder: Path) -> bytes:
    """A table that can be read."""
    rows = [("a fine film", 1), ("it's bad", 0), ("caf\xe9", 1)]
    objects = [{"text": text, "label": label} for text, label in rows]
    inner = kind.removesuffix(".gz").removesuffix(".xz")
    if inner == ".parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(objects), folder / "made")
        return pack(kind, (folder / "made").read_bytes())
    separator = {".csv": ","}.get(inner, "\t")
    text = {
        ".json": json.dumps(objects),
        ".jsonl": "".join(json.dumps(each) + "\n" for each in objects),
        ".label": "".join(f"{label}:x {text}\n" for text, label in rows),
        ".txt": "".join(f"{text}\n" for text, _ in rows),
    }
    text[".ndjson"] = text[".jsonl"]
    table = f"text{separator}label\n" + "".join(f"{text}{separator}{label}\n" for text, label in rows)
    return pack(kind, text.get(inner, table).encode())


def check(path: Path, columns: Columns) -> None:
    readers: tuple[Callable[[], object], ...] = (
        lambda: load_dataset(path, columns=columns),
        lambda: list(read_texts(path, "text", columns.encoding)),
    )
    for read in readers:
        try:
            read()
        except (ValueError, OSError) as error:
            message = str(error)
            assert str(path) in message or "encoding 'no' is not known" in message
            assert len(message.splitlines()) == 1
            assert len(message) - message.count(str(path)) * len(str(path)) < 400


@pytest.mark.parametrize("kind", KINDS)
def test_any_bytes(tmp_path: Path, kind: str):
    path = tmp_path / f"dev{kind}"

    @settings(max_examples=150, deadline=None, derandomize=True, database=None)
    @given(BYTES, st.booleans(), ENCODINGS, st.booleans())
    def run(data: bytes, header: bool, encoding: str, whole: bool) -> None:
        path.write_bytes(pack(kind, data) if whole else data)
        check(path, Columns(header=header, encoding=encoding))

    run()


@pytest.mark.parametrize("kind", KINDS)
def test_any_damage_to_a_table(tmp_path: Path, kind: str):
    path, whole = tmp_path / f"dev{kind}", valid(kind, tmp_path)
    path.write_bytes(whole)
    assert load_texts(path).texts[0] == "a fine film"

    @settings(max_examples=150, deadline=None, derandomize=True, database=None)
    @given(EDITS, st.floats(0, 1))
    def run(edits: list[tuple[float, int, bytes]], kept: float) -> None:
        data = whole if kept > 0.5 else whole[: round(2 * kept * len(whole))]
        for place, gone, come in edits:
            at = round(place * len(data))
            data = data[:at] + come + data[at + gone :]
        path.write_bytes(data)
        check(path, Columns())

    run()
