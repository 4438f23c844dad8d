"""Reading labelled tables of the layouts GLUE and its like come in."""

from __future__ import annotations

import hashlib
import lzma
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden_model.data.tables import Columns, TextDataset, cut_dev, load_dataset, read_texts


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


def test_select_keeps_the_order_given(tmp_path: Path):
    write(tmp_path / "dev.tsv", "sentence\tlabel\na\t0\nb\t1\nc\t0\n")
    chosen = load_dataset(tmp_path).select([2, 1])
    assert (chosen.texts, chosen.pairs, chosen.labels) == (["c", "b"], None, [0, 1])


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


def as_dataset(texts: list[str], pairs: list[str] | None = None) -> TextDataset:
    return TextDataset(texts, pairs, [i % 3 for i in range(len(texts))], ["0", "1", "2"], "made", "")


def test_a_cut_is_the_hash_of_the_text_alone():
    texts = [f"Text  number {i}" for i in range(400)]
    rest, dev = cut_dev(as_dataset(texts), 0.25)
    limit = 0.25 * 2**64
    plain = [f"text number {i}" for i in range(400)]  # letter case and white space do not count
    held = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") < limit for text in plain]
    assert dev.texts == [text for text, side in zip(texts, held, strict=True) if side]
    assert rest.texts == [text for text, side in zip(texts, held, strict=True) if not side]
    assert dev.labels == [int(text.split()[-1]) % 3 for text in dev.texts]
    assert 70 <= len(dev) <= 130
    smaller = cut_dev(as_dataset(texts), 0.1)[1]
    assert set(smaller.texts) < set(dev.texts)
    for share in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match=f"share {share} is not between 0 and 1"):
            cut_dev(as_dataset(texts), share)
    with pytest.raises(ValueError, match=r"2 rows leave one side of a cut by 0\.5 empty"):
        cut_dev(as_dataset(["a", "a"]), 0.5)


WORDS = st.sampled_from([f"w{i}" for i in range(60)] + ["W1", " w2 ", "w 3", "w  3"])


@given(st.lists(st.tuples(WORDS, WORDS), min_size=40, max_size=80), st.booleans(), st.randoms())
def test_a_cut_parts_no_text_and_ignores_the_order(
    rows: list[tuple[str, str]], in_pairs: bool, random: random.Random
):
    def sides(rows: list[tuple[str, str]]) -> list[list[tuple[str, ...]]] | None:
        texts, pairs = [row[0] for row in rows], [row[1] for row in rows]
        try:
            cut = cut_dev(as_dataset(texts, pairs if in_pairs else None), 0.5)
        except ValueError:
            return None  # everything hangs together
        return [sorted(zip(*filter(None, (side.texts, side.pairs)), strict=True)) for side in cut]

    found = sides(rows)
    if found is None:
        return
    assert sum(map(len, found)) == len(rows)
    rest, dev = ({" ".join(text.lower().split()) for row in side for text in row} for side in found)
    assert not rest & dev
    assert sides(random.sample(rows, len(rows))) == found
