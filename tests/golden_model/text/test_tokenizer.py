"""Tokenisation, and that pruning the vocabulary changes nothing but what it drops."""

from __future__ import annotations

import json
import os
import random
import struct
from pathlib import Path

import pytest
from tokenizers import Tokenizer, processors

from elbert.bundled import BUNDLED
from golden_model.text.sentencepiece import read_sentencepiece
from golden_model.text.tokenizer import ElbertTokenizer, select_vocabulary

FLOAT = BUNDLED / "float"


def ids_of(full: Tokenizer, *pieces: str) -> list[int]:
    return [full.token_to_id(p) for p in pieces]


def test_layout_of_one_sentence_and_of_a_pair(make_full):
    tokenizer = ElbertTokenizer(make_full())
    ids, types = tokenizer.encode("The film is uneven.", 32)
    assert tokenizer.pieces(ids) == ["[CLS]", "the", "film", "is", "un", "##even", ".", "[SEP]"]
    assert types == [0] * 8
    ids, types = tokenizer.encode("acting", 32, pair="a film")
    assert tokenizer.pieces(ids) == ["[CLS]", "act", "##ing", "[SEP]", "a", "film", "[SEP]"]
    assert types == [0, 0, 0, 0, 1, 1, 1]
    assert tokenizer.encode("", 32) == ([tokenizer.cls_id, tokenizer.sep_id], [0, 0])


@pytest.mark.parametrize("length", [2, 3, 4, 5, 8, 9])
def test_truncation_keeps_the_special_pieces_and_the_beginning(make_full, length):
    tokenizer = ElbertTokenizer(make_full())
    whole, _ = tokenizer.encode("the film is very good .", 32)
    ids, types = tokenizer.encode("the film is very good .", length)
    assert len(ids) == len(types) == min(length, len(whole))
    assert ids[:-1] == whole[: len(ids) - 1]
    assert ids[-1] == tokenizer.sep_id


def test_too_short_a_length_is_refused(make_full):
    tokenizer = ElbertTokenizer(make_full())
    with pytest.raises(ValueError, match="max_length 1 is below 2"):
        tokenizer.encode("good", 1)
    with pytest.raises(ValueError, match="max_length 2 is below 3"):
        tokenizer.encode("good", 2, pair="bad")


def test_pruned_vocabulary_maps_kept_pieces_one_to_one_and_the_rest_to_unknown(make_full):
    full = make_full()
    kept = ids_of(full, "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "film", "##ing")
    whole, pruned = ElbertTokenizer(full), ElbertTokenizer(make_full(), kept)
    ids, types = pruned.encode("The good film is acting", 32)
    full_ids, full_types = whole.encode("The good film is acting", 32)
    assert types == full_types
    assert pruned.pieces(ids) == ["[CLS]", "[UNK]", "good", "film", "[UNK]", "[UNK]", "##ing", "[SEP]"]
    assert whole.pieces(full_ids) == ["[CLS]", "the", "good", "film", "is", "act", "##ing", "[SEP]"]
    assert (pruned.pad_id, pruned.unk_id, pruned.cls_id, pruned.sep_id, pruned.mask_id) == (0, 1, 2, 3, 4)
    assert pruned.size == 8


@pytest.mark.skipif(not FLOAT.is_dir(), reason="no bundled checkpoint")
def test_bundled_tokenizer_is_exact_for_every_kept_piece():
    pruned = ElbertTokenizer.from_folder(FLOAT)
    full = Tokenizer.from_file(str(FLOAT / "tokenizer.json"))
    full.no_truncation()
    full.no_padding()
    assert pruned.kept is not None
    kept = set(pruned.kept)
    size = full.get_vocab_size()
    assert pruned.size < size
    draw = random.Random(7)
    words = [full.id_to_token(i).removeprefix("##") for i in draw.sample(range(size), 3000)]
    texts = [" ".join(draw.sample(words, 12)) for _ in range(400)]
    unknown = 0
    for text in texts:
        ids, _ = pruned.encode(text, 10_000)
        expected = full.encode(text).ids
        assert len(ids) == len(expected)
        for compact, original in zip(ids, expected, strict=True):
            if original in kept:
                assert pruned.kept[compact] == original
            else:
                assert compact == pruned.unk_id
                unknown += 1
    assert unknown > 100  # both cases were met


def test_folder_round_trip_with_and_without_pruning(make_full, tmp_path: Path):
    kept = [0, 2, 3, 4, 5, 9, 7]
    for name, tokenizer in (
        ("whole", ElbertTokenizer(make_full())),
        ("pruned", ElbertTokenizer(make_full(), kept)),
    ):
        tokenizer.encode("the film", 3)  # truncation must not leak into the file
        tokenizer.save(tmp_path / name)
        again = ElbertTokenizer.from_folder(tmp_path / name)
        assert again.kept == tokenizer.kept
        text = "the film is good , the acting very uneven ."
        assert again.encode(text, 32) == tokenizer.encode(text, 32)
        assert json.loads((tmp_path / name / "tokenizer.json").read_text())["truncation"] is None
    assert not (tmp_path / "whole" / "kept_vocabulary.json").exists()


def test_selection_ranks_task_text_before_other_text_and_fills_up(make_full):
    tokenizer = ElbertTokenizer(make_full())
    kept = select_vocabulary(tokenizer, ["bad bad film", "film film"], ["good good good good very"], 11)
    pieces = [tokenizer.full.id_to_token(i) for i in kept]
    assert pieces[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert pieces[5:9] == ["film", "bad", "good", "very"]
    assert pieces[9:] == ["[unused0]", "the"]  # the remaining in the order of their ids
    everything = select_vocabulary(tokenizer, [], [], tokenizer.size)
    assert sorted(everything) == list(range(tokenizer.size))


def test_illegal_vocabularies_are_refused(make_full, tmp_path: Path):
    tokenizer = ElbertTokenizer(make_full())
    with pytest.raises(ValueError, match=r"size 4 is not in 5\.\.20"):
        select_vocabulary(tokenizer, [], [], 4)
    with pytest.raises(ValueError, match="pruned to 5 pieces already"):
        select_vocabulary(tokenizer.pruned([0, 2, 3, 4, 5]), [], [], 5)
    with pytest.raises(ValueError, match=r"lacks the special piece \[UNK\]"):
        tokenizer.pruned([0, 3, 4, 5])
    with pytest.raises(ValueError, match="repeats an id: 7"):
        tokenizer.pruned([0, 2, 3, 4, 5, 7, 7])
    with pytest.raises(ValueError, match=r"kept id 20 is not in 0\.\.19"):
        tokenizer.pruned([0, 2, 3, 4, 5, 20])
    with pytest.raises(FileNotFoundError, match=r"neither tokenizer\.json nor spiece\.model"):
        ElbertTokenizer.from_folder(tmp_path)
    with pytest.raises(ValueError, match="compact id 20"):
        tokenizer.pieces([20])


def message(*fields: tuple[int, int, bytes | int]) -> bytes:
    """A protocol buffer of (field number, wire type, value), values shorter than 128 bytes."""
    out = b""
    for number, kind, value in fields:
        out += bytes([number << 3 | kind])
        if isinstance(value, int):
            out += bytes([value])
        else:
            out += (bytes([len(value)]) if kind == 2 else b"") + value
    return out


def sentencepiece_model(pieces: list[tuple[str, float]]) -> bytes:
    out = b""
    for piece, score in pieces:
        inner = message((1, 2, piece.encode()), (2, 5, struct.pack("<f", score)), (3, 0, 1))
        out += message((1, 2, inner))
    return out + message((3, 2, message((1, 2, b"identity"), (3, 0, 1))))


def test_folder_with_a_sentencepiece_model_alone(tmp_path: Path):
    pieces = [(p, 0.0) for p in ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")]
    pieces += [
        ("\u2581good", -1.0),
        ("\u2581go", -2.0),
        ("od", -2.0),
        ("\u25819", -3.0),
        (",", -3.0),
        ("\u25819,", -1.0),
    ]  # the last is never used
    (tmp_path / "spiece.model").write_bytes(sentencepiece_model(pieces))
    tokenizer = ElbertTokenizer.from_folder(tmp_path)
    assert tokenizer.size == 11
    ids, types = tokenizer.encode("  G\u00d3OD   go 9, Xx ", 32, pair="good")
    assert tokenizer.pieces(ids) == [
        *("[CLS]", "\u2581good", "\u2581go", "\u25819", ",", "<unk>", "[SEP]", "\u2581good", "[SEP]"),
    ]
    assert types[-2:] == [1, 1]
    (tmp_path / "spiece.model").write_bytes(b"\x0a\xff\xff no model")
    with pytest.raises(ValueError, match=r"spiece\.model is not a sentencepiece model"):
        ElbertTokenizer.from_folder(tmp_path)
    (tmp_path / "spiece.model").write_bytes(sentencepiece_model(pieces[1:]))
    with pytest.raises(ValueError, match="lacks the piece <pad>"):
        ElbertTokenizer.from_folder(tmp_path)


def test_the_genuine_albert_model_reads_as_its_tokenizer_json():
    folder = Path(os.environ.get("ELBERT_DATA", "")) / "tokenizer-albert"
    if not (folder / "spiece.model").is_file():
        pytest.skip("ELBERT_DATA holds no tokenizer-albert")
    ours = json.loads(read_sentencepiece(folder / "spiece.model").to_str())
    theirs = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    for part in ("normalizer", "pre_tokenizer", "post_processor", "decoder", "added_tokens", "model"):
        assert ours[part] == theirs[part], part


def test_what_was_cut_is_told(make_full):
    tokenizer = ElbertTokenizer(make_full())
    found = tokenizer.encode_many(["good", "the film is very good .", "bad , bad , bad"], 5)
    assert [len(ids) for ids, _ in found] == [3, 5, 5]
    assert found.cut == (1, 2)
    assert found.note == "2 of 3 sentences were cut to 5 tokens"
    assert tokenizer.encode_many(["the film is", "the film is good"], 5).note == (
        "1 of 2 sentences was cut to 5 tokens"
    )
    assert tokenizer.encode_many(["the film is"], 5).note is None  # just fits
    pairs = tokenizer.encode_many(["good", "good"], 6, ["bad", "the film is bad"])
    assert pairs.cut == (1,)


def test_half_a_surrogate_pair_is_refused_by_the_sentences_number(make_full):
    tokenizer = ElbertTokenizer(make_full())
    with pytest.raises(ValueError, match=r"^sentence 2: character 6 is '\\udc80', half of a pair") as caught:
        tokenizer.encode_many(["good", "film \udc80"], 8)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="sentence 1: character 1"):
        tokenizer.encode("good", 8, "\ud800")


def test_a_tokenizer_that_does_not_frame_sentences_is_refused(make_full, tmp_path: Path):
    full = make_full()
    full.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B:1", special_tokens=[])
    full.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match=r"tokenizer\.json: its post_processor does not put \[CLS\] before"):
        ElbertTokenizer.from_folder(tmp_path)
    single = "[CLS] $A [SEP]"
    special = [("[CLS]", 3), ("[SEP]", 4)]
    full.post_processor = processors.TemplateProcessing(
        single=single, pair="[CLS] $A [SEP] [SEP] $B [SEP]", special_tokens=special
    )
    tokenizer = ElbertTokenizer(full)
    assert tokenizer.encode("good", 8)[1] == [0, 0, 0]
    with pytest.raises(ValueError, match="does not make a pair"):
        tokenizer.encode("good", 8, "bad")


def test_ids_with_gaps_need_an_embedding_of_the_largest(make_full):
    document = json.loads(make_full().to_str())
    document["model"]["vocab"]["gap"] = 1000
    tokenizer = ElbertTokenizer(Tokenizer.from_str(json.dumps(document)))
    assert tokenizer.size == 1001
    with pytest.raises(ValueError, match="folder: the tokenizer holds 1001 pieces, the embedding 21"):
        tokenizer.check_fits(21, "folder")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{}", r"kept_vocabulary\.json holds a dict, expected a list of ids"),
        ("[0, 2, true]", "entry 2 is True, expected an id"),
        ('[0, "2"]', "entry 1 is '2', expected an id"),
        ("[0, 2, 3, 4, 5, 99]", r"kept_vocabulary\.json: kept id 99 is not in 0\.\.19"),
        ("[0", r"kept_vocabulary\.json is not JSON"),
    ],
)
def test_a_wrong_kept_vocabulary_is_named(make_full, tmp_path: Path, content: str, text: str):
    ElbertTokenizer(make_full()).save(tmp_path)
    (tmp_path / "kept_vocabulary.json").write_text(content)
    with pytest.raises(ValueError, match=text):
        ElbertTokenizer.from_folder(tmp_path)
