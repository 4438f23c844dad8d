"""Every format holds the same table, and what is wrong with one is named by file and row."""

from __future__ import annotations

import gzip
import importlib.util
import json
import lzma
from pathlib import Path

import pytest

from golden_model.data.readers import MAX_TEXT, SUFFIXES, open_table
from golden_model.data.tables import Columns, TextDataset, load_dataset, load_texts

PACKED = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}
TEXTS, LABELS = ['it\'s "good"', "caf\xe9\u2028 bad, yes", "x"], ["1", "0", "1"]


def parquet_bytes(path: Path, columns: dict, **options) -> bytes:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table(columns, **options), path)
    return path.read_bytes()


def encoded(kind: str, folder: Path) -> bytes:
    """The table of TEXTS and LABELS in a format."""
    rows = list(zip(TEXTS, LABELS, strict=True))
    objects = [{"label": int(label), "other": None, "text": text} for text, label in rows]
    if kind == ".parquet":
        return parquet_bytes(folder / "made", {"label": [int(label) for label in LABELS], "text": TEXTS})
    text = {
        ".tsv": "text\tlabel\n" + "".join(f"{t}\t{c}\n" for t, c in rows),
        ".csv": "label,text\r\n" + "".join(f'{c},"{t.replace(chr(34), chr(34) * 2)}"\r\n' for t, c in rows),
        ".label": "".join(f"{c}:fine {t}\n" for t, c in rows),
        ".json": json.dumps(objects, indent=1),
        ".jsonl": "".join(json.dumps(each) + "\n" for each in objects),
        ".ndjson": "\n".join(json.dumps(each, ensure_ascii=False) + "\n" for each in objects),
    }
    return text[kind].encode()


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("kind", SUFFIXES)
def test_every_format_plain_and_compressed(tmp_path: Path, kind: str, packed: str):
    path = tmp_path / f"dev{kind}{packed}"
    path.write_bytes(PACKED[packed](encoded(kind, tmp_path)))
    data = load_dataset(tmp_path)
    assert (data.texts, [data.label_names[i] for i in data.labels]) == (TEXTS, LABELS)
    first = 2 if kind in (".tsv", ".csv") else 1
    step = 2 if kind == ".ndjson" else 1  # empty lines between
    assert data.rows == [first, first + step, first + 2 * step]
    assert load_texts(tmp_path, "dev").texts == TEXTS


def test_json_says_what_it_holds(tmp_path: Path):
    path = tmp_path / "dev.jsonl"
    columns = Columns("text", label="label")

    def read(text: str) -> TextDataset:
        path.write_text(text, encoding="utf-8")
        return load_dataset(path, columns=columns)

    fine = '{"text": "a", "label": 1.0}\n'
    data = read(fine + '{"label": true, "text": "b", "more": [1]}\n')
    assert [data.label_names[i] for i in data.labels] == ["1", "true"]
    for text, told in (
        ("", r"dev\.jsonl is empty$"),
        (fine + "{'a': 1}\n", r"dev\.jsonl: line 2 is not JSON: Expecting property name .* at column 2$"),
        (fine + '{"text": "a", "lab', r"line 2 is not JSON: Unterminated string starting at at column 15$"),
        (fine + "[1]\n", "line 2 is no JSON object of columns and values$"),
        (fine + '{"text": "a"}\n', "line 2 has no column 'label'$"),
        (fine + '{"text": "a", "label": 1, "label": 0}\n', "line 2 has column 'label' twice$"),
        (fine + '{"text": ["a"], "label": 1}\n', "line 2: column 'text' holds list, neither text"),
        (fine + '{"text": "\\ud800", "label": 1}\n', r"line 2: column 'text' holds half a surrogate"),
        (fine + '{"text": "a\\u0000", "label": 1}\n', "line 2: column 'text' holds a NUL character$"),
        (fine + '{"text": "a", "label": null}\n', "line 2 has an empty label$"),
        (fine + '{"text": null, "label": 1}\n', "line 2 has an empty text$"),
        (fine + '{"text": "a", "label": NaN}\n', "line 2 is not JSON as it is read here: NaN is no"),
        (fine + "[" * 100000 + "\n", "line 2 is JSON nested too deeply$"),
        (fine + f'{{"text": "a", "label": {"9" * 5000}}}', "line 2 is not JSON as .*: Exceeds the limit"),
        ('{"sentence": "a"}\n', r"no text column 'text'; it has 'sentence'$"),
        (fine + f'{{"text": "{"x" * (MAX_TEXT + 1)}", "label": 1}}',
         "line 2: column 'text' has 1,048,577 characters, at most 1,048,576 are read$"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=told):
            read(text)
    with pytest.raises(ValueError, match="names its columns: only TSV and CSV can be without a header"):
        load_dataset(path, columns=Columns(header=False))


def test_json_lists_and_lines_share_a_suffix(tmp_path: Path):
    path = tmp_path / "dev.json"
    path.write_text(' \n{"text": "a", "label": 1}\n{"label": 0, "text": "b"}\n')
    assert load_dataset(path).texts == ["a", "b"]
    for text, told in (
        ('[{"text": "a", "label": 1}, 5]', r"dev\.json: row 2 is no JSON object"),
        ('[{"text": "a", "label": 1},\n {"text": 1 2}]', r"dev\.json is not JSON: .* at line 2, column 13$"),
        ("[]", r"dev\.json is empty$"),
        ('{"text": ["a"], "label": [1]}', r"line 1: column 'text' holds list"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=told):
            load_dataset(path)


def test_csv_is_read_strictly(tmp_path: Path):
    path = tmp_path / "dev.csv"
    path.write_text('text,label\n"two\nlines",1\nb,0\n')
    data = load_dataset(path)
    assert (data.texts, data.rows) == (["two\nlines", "b"], [2, 3])
    for text, told in (
        ('text,label\n"two\nlines",1\nb\n', r"dev\.csv: row 3 \(line 4\) has 1 column, row 1 has 2$"),
        ('text,label\na,1\n"b,0\nc,1\n', r"dev\.csv: row 3 is not CSV: its quotation mark is not closed$"),
        ('text,label\n"a" b,1\n', r"dev\.csv: row 2 is not CSV: ',' expected after '\"'$"),
        ("text,label\na,b,1\n", r"dev\.csv: row 2 has 3 columns, row 1 has 2$"),
        ("text,label\na,\x001\n", r"dev\.csv: line 2 holds a NUL character"),
        ("\n\n", r"dev\.csv is empty$"),
        ("text,label\n", r"dev\.csv holds no rows$"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=told):
            load_dataset(path)
    path.write_text("text,label\n" + '"' + ("x" * 1023 + "\n") * (1 << 14) + "y")
    with pytest.raises(
        ValueError, match=r"dev\.csv: row 2 is not CSV: field larger than field limit \(16777216\)$"
    ):
        load_dataset(path)


def test_parquet_says_what_it_holds(tmp_path: Path):
    path = tmp_path / "dev.parquet"
    whole = parquet_bytes(path, {"text": [f"text {i}" for i in range(4000)], "label": [0, 1] * 2000})
    assert len(load_dataset(path)) == 4000
    for data, told in (
        (whole[:-10], r"dev\.parquet is damaged: "),
        (whole[: len(whole) // 2], r"dev\.parquet is damaged: "),
        (b"", r"dev\.parquet is damaged: "),
        (whole[:500] + bytes(200) + whole[700:], r"dev\.parquet is damaged behind row 0: "),
    ):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=told):
            load_dataset(path)
    for missing in (None, float("nan")):
        parquet_bytes(path, {"text": ["a", "b", "c"], "label": [0.0, 1.0, missing]})
        with pytest.raises(ValueError, match=r"dev\.parquet: row 3 has an empty label$"):
            load_dataset(path)
    parquet_bytes(path, {"text": [b"a"], "label": [0]})
    with pytest.raises(ValueError, match=r"row 1: column 'text' holds bytes, neither text nor a number$"):
        load_dataset(path)
    with pytest.raises(ValueError, match="Parquet is UTF-8, not latin-1"):
        load_dataset(path, columns=Columns(encoding="latin-1"))
    with pytest.raises(FileNotFoundError, match=r"none\.parquet is no file"):
        open_table(tmp_path / "none.parquet")


def test_the_names_that_a_hub_table_keeps_are_its_classes(tmp_path: Path):
    pyarrow = pytest.importorskip("pyarrow")
    path = tmp_path / "dev.parquet"
    features = {"label": {"names": ["pos", "neg"], "_type": "ClassLabel"}, "text": {"_type": "Value"}}

    def write(labels: list[int]) -> None:
        table = pyarrow.table({"text": ["a"] * len(labels), "label": labels})
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), path)

    write([1, 1])
    data = load_dataset(path)
    assert (data.label_names, data.labels, data.label_numbers) == (["pos", "neg"], [1, 1], [0, 1])
    assert data.match(["neg", "pos"], 2).classes == (1, 0)
    assert data.match(None, 2).classes == (0, 1)
    assert load_dataset(path, label_names=["neg", "pos"]).labels == [0, 0]
    assert load_dataset(path, label_names=["0", "1"]).labels == [1, 1]
    for beyond in (-1, 2):
        write([1, beyond])
        told = rf"dev\.parquet: row 2: column 'label' is '{beyond}', its classes are 'pos', 'neg'$"
        with pytest.raises(ValueError, match=told):
            load_dataset(path)


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is not None, reason="pyarrow is there")
def test_parquet_says_how_to_read_it(tmp_path: Path):
    (tmp_path / "dev.parquet").touch()
    with pytest.raises(ValueError, match=r"dev\.parquet: Parquet needs the package pyarrow: pip install"):
        load_dataset(tmp_path)


def test_what_is_no_table_is_named(tmp_path: Path):
    (tmp_path / "dev.xlsx").touch()
    with pytest.raises(
        ValueError, match=r"dev\.xlsx: suffix '\.xlsx' is none of \.tsv, \.csv, .*with \.xz or \.gz$"
    ):
        load_dataset(tmp_path / "dev.xlsx")
    for suffix in ("", ".tsv", ".csv", ".json", ".txt", ".parquet", ".tsv.xz"):
        (tmp_path / f"folder{suffix}").mkdir()
        with pytest.raises(FileNotFoundError, match=rf"folder{suffix} is a folder, not a file"):
            list(open_table(tmp_path / f"folder{suffix}").rows([0]))
