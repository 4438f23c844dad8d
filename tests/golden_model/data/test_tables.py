"""Reading labelled tables of the layouts GLUE and its like come in."""

from __future__ import annotations

import hashlib
import lzma
from pathlib import Path

import pytest

from golden_model.data.tables import Columns, load_dataset, load_texts, read_texts


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
    assert data.rows == [2, 3]
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
    assert (data.texts, data.pairs, data.labels, data.label_names) == (["x"], ["y"], [0], ["1"])
    single = load_dataset(rte, columns=Columns(text="sentence2"))
    assert (single.texts, single.pairs) == (["b", "d"], None)


def test_table_without_header_takes_columns_by_number(tmp_path: Path):
    cola = write(tmp_path / "dev.tsv", "gj04\t1\t\tOne more .\ngj04\t0\t*\tThe more we .\n")
    data = load_dataset(tmp_path, "dev", Columns(text="3", label="1", header=False))
    assert (data.texts, data.labels) == (["One more .", "The more we ."], [1, 0])
    with pytest.raises(ValueError, match=r"dev\.tsv has no text column '9'; it has '0', '1', '2', '3'$"):
        load_dataset(cola, columns=Columns(text="9", label="1", header=False))


def test_csv_with_quotes_classes_in_words_and_another_encoding(tmp_path: Path):
    path = write(
        tmp_path / "all.csv", 'result,content\nneutral,"a , ""b"" é"\npositive,c\nnegative,d\n', "latin-1"
    )
    data = load_dataset(path, columns=Columns(encoding="latin-1"))
    assert data.texts == ['a , "b" é', "c", "d"]
    assert data.label_names == ["negative", "neutral", "positive"]
    assert data.labels == [1, 2, 0]
    with pytest.raises(ValueError, match=r"all\.csv: line 2 is not utf-8: .*, 0xe9 at byte 34$"):
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
    with pytest.raises(
        ValueError, match=r"dev\.tsv has no text column: none of .* in 'phrase', 'label'; name it"
    ):
        load_dataset(tmp_path)
    with pytest.raises(ValueError, match=r"dev\.tsv has no label column 'class'"):
        load_dataset(tmp_path, columns=Columns(text="phrase", label="class"))
    assert load_dataset(tmp_path, columns=Columns(text="phrase")).texts == ["good"]
    with pytest.raises(FileNotFoundError, match=r"holds no train split: none of train with \.tsv"):
        load_dataset(tmp_path, "train")
    with pytest.raises(FileNotFoundError, match="neither a file nor a folder"):
        load_dataset(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="split 'all' is not one of"):
        load_dataset(tmp_path, "all")
    write(path, "sentence\tlabel\ngood\t1\nbad\n")
    with pytest.raises(ValueError, match=r"dev\.tsv: row 3 has 1 column, row 1 has 2$"):
        load_dataset(tmp_path)
    write(path, "sentence\tlabel\ngood\t1\t\n")
    with pytest.raises(ValueError, match=r"dev\.tsv: row 2 has 3 columns, row 1 has 2$"):
        load_dataset(tmp_path)
    write(path, "sentence\tlabel\ngood\t2\n")
    with pytest.raises(ValueError, match=r"dev\.tsv: row 2: class '2' is none of '0', '1'$"):
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
    assert (head.texts, head.pairs, head.labels, head.rows, len(head)) == (["a"], ["b"], [0], [2], 1)


def test_select_keeps_the_order_given(tmp_path: Path):
    write(tmp_path / "dev.tsv", "sentence\tlabel\na\t0\nb\t1\nc\t0\n")
    chosen = load_dataset(tmp_path).select([2, 1])
    assert (chosen.texts, chosen.pairs, chosen.labels, chosen.rows) == (["c", "b"], None, [0, 1], [4, 3])


def test_trec_lines_are_a_table_of_coarse_class_and_text(tmp_path: Path):
    path = write(tmp_path / "train.label", "NUM:date When was it ?\n\nABBR What is caf\xe9 ?\n", "latin-1")
    data = load_dataset(tmp_path, "train", Columns(encoding="latin-1"))
    assert data.texts == ["When was it ?", "What is caf\xe9 ?"]
    assert (data.label_names, data.labels) == (["ABBR", "NUM"], [1, 0])
    bare = load_dataset(path, columns=Columns("1", label="0", header=False, encoding="latin-1"))
    assert (bare.texts, bare.labels) == (data.texts, data.labels)
    assert list(read_texts(path, encoding="latin-1")) == data.texts
    write(path, "NUM:date When ?\nNUM:count\n")
    with pytest.raises(ValueError, match=r"train\.label: row 2 has no text behind 'NUM:count'"):
        load_dataset(path)


def test_markup_is_read_as_a_space_only_where_asked(tmp_path: Path):
    path = write(tmp_path / "train.tsv", "text\tlabel\nBad.<br /><br />Really  bad.<br />\t0\n")
    assert load_dataset(path, columns=Columns(spaces=("<br />",))).texts == ["Bad. Really bad."]
    assert load_dataset(path).texts == ["Bad.<br /><br />Really  bad.<br />"]


def test_classes_are_those_that_occur(tmp_path: Path):
    path = write(tmp_path / "dev.tsv", "sentence\tlabel\na\t1000000000\nb\t7\nc\t7\n")
    data = load_dataset(path)  # numbers by value, and no class between them
    assert (data.label_names, data.labels) == (["7", "1000000000"], [1, 0, 0])
    write(path, "sentence\tlabel\n" + "".join(f"a\tw{i}\n" for i in range(9)))
    with pytest.raises(
        ValueError, match=r"row 10 has the 9th class, 'w8'; models have at most 8: is 'label' the"
    ):
        load_dataset(path)
    given = load_dataset(
        write(path, "sentence\tlabel\na\t Positive \n"), label_names=["negative", "positive"]
    )
    assert (given.label_names, given.labels) == (["negative", "positive"], [1])
    with pytest.raises(
        ValueError, match=r"row 2: class '1' is none of 'negative', 'positive'$"
    ):  # never by place
        load_dataset(write(path, "sentence\tlabel\na\t1\n"), label_names=["negative", "positive"])


def test_labels_that_name_no_class_are_refused_by_row(tmp_path: Path):
    path = tmp_path / "dev.csv"
    for label, told in (
        ("", "row 3 has an empty label"),
        ("  ", "row 3 has an empty label"),
        ("x" * 81, "row 3 has a label of 81 characters, at most 80 are a class: 'x+'"),
        ('"a\nb"', r"row 3 has the label 'a\\nb', which is not one line of text"),
    ):
        write(path, f"text,label\nfine,1\nbad,{label}\n")
        with pytest.raises(ValueError, match=told + "$"):
            load_dataset(path)


@pytest.mark.parametrize("text", ["", "   ", "\u2028"])
def test_empty_texts_are_refused_by_row(tmp_path: Path, text: str):
    path = write(tmp_path / "dev.tsv", f"sentence1\tsentence2\tlabel\na\tb\t1\n{text}\tb\t1\n")
    for read in (load_dataset, load_texts):
        with pytest.raises(ValueError, match=r"dev\.tsv: row 3 has an empty text$"):
            read(path)
    write(path, f"sentence1\tsentence2\tlabel\na\t{text}\t1\n")
    with pytest.raises(ValueError, match=r"dev\.tsv: row 2 has an empty second text$"):
        load_dataset(path)
    with pytest.raises(ValueError, match=r"dev\.tsv: row 2 has an empty text$"):
        list(read_texts(path, "sentence2"))


def test_columns_are_found_by_one_name_only(tmp_path: Path):
    path = write(tmp_path / "dev.tsv", "label\ttext\tlabel\n0\ta\t1\n")
    with pytest.raises(ValueError, match=r"dev\.tsv has 2 columns named 'label'$"):
        load_dataset(path)
    assert load_texts(path).texts == ["a"]  # the label is not asked for
    with pytest.raises(ValueError, match=r"column 'text' is both text and label$"):
        load_dataset(path, columns=Columns(text="text", label="text"))


def test_texts_without_labels(tmp_path: Path):
    lines = write(tmp_path / "train.txt", "\ufeffone\x85 line\u2028 still\r\n\n  two \n")
    texts = load_texts(tmp_path)
    assert (texts.texts, texts.pairs, len(texts)) == (["one\x85 line\u2028 still", "two"], None, 2)
    assert texts.sha256 == hashlib.sha256(lines.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=r"train\.txt has no label column: none of .* in 'text'; name it"):
        load_dataset(lines)
    table = write(tmp_path / "all.csv", "sentence1,sentence2\na,b\n")
    assert (load_texts(table).texts, load_texts(table).pairs) == (["a"], ["b"])
    alone = load_texts(table, columns=Columns(text="sentence2"))
    assert (alone.texts, alone.pairs) == (["b"], None)


def test_messages_never_print_a_review(tmp_path: Path):
    review = "a long review " * 500
    path = tmp_path / "dev.tsv"
    for content in (
        f"{review}\t1\n{review}\t0\n",  # no header
        f"text\tlabel\n{review}\n",
        f"text\tlabel\n1\t{review}\n",
        "\t".join(f"column {i}" for i in range(5000)) + "\n",
    ):
        write(path, content)
        with pytest.raises(ValueError, match=r"dev\.tsv") as caught:
            load_dataset(path)
        assert len(str(caught.value)) - len(str(path)) < 400
        assert review[:70] not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_dataset_in_a_models_classes(tmp_path: Path):
    path = write(tmp_path / "dev.tsv", "sentence\tlabel\na\tpositive\nb\tnegative\n")
    data = load_dataset(path)
    assert data.labels == [1, 0]
    own = data.relabelled(["Positive", "Neutral", "Negative"])
    assert (own.labels, own.label_names) == ([0, 2], ["Positive", "Neutral", "Negative"])
    assert (own.texts, own.rows) == (data.texts, data.rows)
    with pytest.raises(
        ValueError, match=r"dev\.tsv: row 3: class 'negative' is none of the model's 'positive'"
    ):
        data.relabelled(["positive", "other"])
    with pytest.raises(
        ValueError, match=r"row 3: class 'negative' is a word, and the model has no names .*labels\.json"
    ):
        data.relabelled(None, 2)
    with pytest.raises(ValueError, match="neither names of the model's classes nor their number"):
        data.relabelled(None)
    numbers = load_dataset(write(path, "sentence\tlabel\na\t2\nb\t0\n"))
    assert numbers.relabelled(None, 3).labels == [2, 0]
    assert numbers.relabelled(None, 3).label_names == ["0", "1", "2"]
