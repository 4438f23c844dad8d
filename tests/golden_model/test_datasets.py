"""Reading labelled tables of the layouts GLUE and its like come in."""

from __future__ import annotations

import hashlib
import lzma
from pathlib import Path

import pytest

from golden_model.datasets import Columns, load_dataset, read_texts


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def test_sst2_layout_from_a_folder(tmp_path: Path):
    text = 'sentence\tlabel\nit \'s "good \t1\nbad , " really " \t0\n'
    write(tmp_path / "train.tsv", text)
    write(tmp_path / "dev.tsv", "sentence\tlabel\nfine\t1\n")
    data = load_dataset(tmp_path, "train")
    assert data.texts == ["it 's \"good", 'bad , " really "']  # an unpaired quote is just text
    assert data.labels == [1, 0]
    assert data.label_names == ["0", "1"]
    assert data.pairs is None
    assert data.sha256 == hashlib.sha256(text.encode()).hexdigest()
    dev = load_dataset(tmp_path, "dev", label_names=data.label_names)
    assert (dev.texts, dev.labels, len(dev)) == (["fine"], [1], 1)
    assert load_dataset(tmp_path / "dev.tsv", "train").texts == ["fine"]  # a file is read whatever the split


def test_pair_layouts(tmp_path: Path):
    rte = write(
        tmp_path / "train.tsv",
        "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tnot_entailment\n1\tc\td\tentailment\n",
    )
    data = load_dataset(rte)
    assert (data.texts, data.pairs) == (["a", "c"], ["b", "d"])
    assert data.label_names == ["entailment", "not_entailment"]
    assert data.labels == [1, 0]
    mrpc = write(tmp_path / "m.tsv", "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\tx\ty\n")
    data = load_dataset(mrpc)
    assert (data.texts, data.pairs, data.labels) == (["x"], ["y"], [1])
    single = load_dataset(rte, columns=Columns(text="sentence2"))
    assert (single.texts, single.pairs) == (["b", "d"], None)


def test_table_without_header_takes_columns_by_number(tmp_path: Path):
    cola = write(tmp_path / "dev.tsv", "gj04\t1\t\tOne more .\ngj04\t0\t*\tThe more we .\n")
    data = load_dataset(tmp_path, "dev", Columns(text="3", label="1", header=False))
    assert (data.texts, data.labels) == (["One more .", "The more we ."], [1, 0])
    with pytest.raises(ValueError, match=r"row 1 has 4 columns, column 9 is needed"):
        load_dataset(cola, columns=Columns(text="9", label="1", header=False))


def test_csv_with_quotes_classes_in_words_and_another_encoding(tmp_path: Path):
    path = write(
        tmp_path / "all.csv", 'result,content\nneutral,"a , ""b"" é"\npositive,c\nnegative,d\n', "latin-1"
    )
    data = load_dataset(path, columns=Columns(encoding="latin-1"))
    assert data.texts == ['a , "b" é', "c", "d"]
    assert data.label_names == ["negative", "neutral", "positive"]
    assert data.labels == [1, 2, 0]
    with pytest.raises(ValueError, match=r"all\.csv is not utf-8"):
        load_dataset(path)


def test_compressed_tables_and_plain_texts(tmp_path: Path):
    path = tmp_path / "train.tsv.xz"
    path.write_bytes(lzma.compress(b"id\tlabel\ttext\n0\t1\tgood one\n1\t0\tbad one\n"))
    assert load_dataset(tmp_path, "train").texts == ["good one", "bad one"]
    assert list(read_texts(path)) == ["good one", "bad one"]
    with pytest.raises(ValueError, match="has no text column 'review'"):
        list(read_texts(path, "review"))


def test_errors_name_file_row_and_column(tmp_path: Path):
    path = write(tmp_path / "dev.tsv", "phrase\tlabel\ngood\t1\n")
    with pytest.raises(ValueError, match=r"dev\.tsv has no text column: none of .* in \['phrase', 'label'\]"):
        load_dataset(tmp_path)
    with pytest.raises(ValueError, match=r"dev\.tsv has no label column 'class'"):
        load_dataset(tmp_path, columns=Columns(text="phrase", label="class"))
    assert load_dataset(tmp_path, columns=Columns(text="phrase")).texts == ["good"]
    with pytest.raises(FileNotFoundError, match=r"holds no train split: none of train\.tsv"):
        load_dataset(tmp_path, "train")
    with pytest.raises(FileNotFoundError, match="neither a file nor a folder"):
        load_dataset(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="split 'all' is not one of"):
        load_dataset(tmp_path, "all")
    write(path, "sentence\tlabel\ngood\t1\nbad\n")
    with pytest.raises(ValueError, match=r"dev\.tsv: row 3 has 1 columns, column 1 is needed"):
        load_dataset(tmp_path)
    write(path, "sentence\tlabel\ngood\t2\n")
    with pytest.raises(ValueError, match=r"column 'label' of data row 0 is '2', none of \['0', '1'\]"):
        load_dataset(tmp_path, label_names=["0", "1"])
    write(path, "sentence\tlabel\n")
    with pytest.raises(ValueError, match="holds no rows"):
        load_dataset(tmp_path)
    write(path, "")
    with pytest.raises(ValueError, match="is empty"):
        load_dataset(tmp_path)


def test_head_keeps_texts_pairs_and_labels_together(tmp_path: Path):
    write(tmp_path / "dev.tsv", "sentence1\tsentence2\tlabel\na\tb\t0\nc\td\t1\n")
    head = load_dataset(tmp_path).head(1)
    assert (head.texts, head.pairs, head.labels, len(head)) == (["a"], ["b"], [0], 1)
