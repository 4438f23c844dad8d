"""Which rows go where: tables of a folder's splits, and dev rows cut by text."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden_model.data.splits import cut_dev, find_split
from golden_model.data.tables import TextDataset


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


@settings(deadline=None)
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


def test_a_split_is_found_by_name_and_only_if_there_is_one(tmp_path: Path):
    for name in ("train.jsonl", "validation.parquet", "test.tsv.gz", "notes.txt", "dev.txt", "dev.md"):
        (tmp_path / name).touch()
    assert find_split(tmp_path, "train").name == "train.jsonl"
    assert find_split(tmp_path, "dev").name == "validation.parquet"
    assert find_split(tmp_path, "test").name == "test.tsv.gz"
    assert find_split(tmp_path / "notes.txt", "dev").name == "notes.txt"
    with pytest.raises(
        ValueError, match=r"several tables of the dev split: dev\.txt, validation\.parquet; name"
    ):
        find_split(tmp_path, "dev", labelled=False)
    (tmp_path / "train.csv.xz").touch()
    with pytest.raises(ValueError, match=r"several tables of the train split: train\.csv\.xz, train\.jsonl"):
        find_split(tmp_path, "train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        FileNotFoundError, match=r"no dev split: none of dev, validation, valid with \.tsv, \.csv"
    ):
        find_split(tmp_path / "empty", "dev")
    (tmp_path / "empty" / "dev.tsv").mkdir()  # a folder is no table
    with pytest.raises(FileNotFoundError, match="holds no dev split"):
        find_split(tmp_path / "empty", "dev")
    with pytest.raises(FileNotFoundError, match="neither a file nor a folder"):
        find_split(tmp_path / "nowhere", "dev")
    with pytest.raises(ValueError, match=r"split 'all' is not one of"):
        find_split(tmp_path, "all")
