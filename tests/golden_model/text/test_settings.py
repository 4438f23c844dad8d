"""Settings beside a vocabulary: honoured as transformers does, or refused by name."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from tokenizers import normalizers
from transformers import AlbertTokenizer, BertTokenizer

from golden_model.text.tokenizer import ElbertTokenizer

ALBERT = [(p, 0.0) for p in ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")]
_WORDS = '\u2581good \u2581Good \u2581caf\u00e9 \u2581cafe \u2581 C c a f e \u00e9 g o d G O D " , good'
ALBERT += [(piece, -1.0 - 0.01 * i) for i, piece in enumerate(_WORDS.split(" "))]
BERT = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "Good", "caf\u00e9", "cafe"]
BERT += ["##s", "\u597d", "\u5f71", "\u597d\u5f71", "##\u5f71", "[", "]", "\u2028", ","]
TEXTS = [
    "Good CAF\u00c9 good,  caf\u00e9",
    "caf\u00e9s Cafes \u597d\u5f71 good",
    " good\tGood\u00a0\u597d ``good''",
    "",
    "[SEP] good [MASK]",
]


def message(*fields: tuple[int, int, bytes | int]) -> bytes:
    """A protocol buffer of (field number, wire type, value) of less than 128 bytes each."""
    out = b""
    for number, kind, value in fields:
        key = number << 3 | kind
        out += bytes([key]) if key < 128 else bytes([key & 127 | 128, key >> 7])
        if isinstance(value, int):
            out += bytes([value])
        else:
            out += (bytes([len(value)]) if kind == 2 else b"") + value
    return out


def pieces_file(folder: Path, trainer: bytes = b"", normalizer: bytes = b"") -> Path:
    out = b""
    for piece, score in ALBERT:
        out += message((1, 2, message((1, 2, piece.encode()), (2, 5, struct.pack("<f", score)))))
    out += message((2, 2, trainer)) + message((3, 2, normalizer))
    folder.mkdir(exist_ok=True)
    (folder / "spiece.model").write_bytes(out)
    return folder


def vocabulary_file(folder: Path, newline: str = "\n") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "vocab.txt").write_bytes("".join(piece + newline for piece in BERT).encode())
    return folder


def settings(folder: Path, **values: Any) -> Path:
    (folder / "tokenizer_config.json").write_text(json.dumps(values))
    return folder


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("accents", [True, False])
@pytest.mark.parametrize("prefix", [True, False])
def test_albert_settings_split_as_transformers_does(
    tmp_path: Path, lower: bool, accents: bool, prefix: bool
) -> None:
    values = {"do_lower_case": lower, "keep_accents": accents, "add_prefix_space": prefix}
    ours = ElbertTokenizer.from_folder(settings(pieces_file(tmp_path), remove_space=True, **values))
    stored = [(piece, struct.unpack("<f", struct.pack("<f", score))[0]) for piece, score in ALBERT]
    theirs = AlbertTokenizer(vocab=stored, **values)
    for text in TEXTS:
        assert ours.encode(text, 64)[0] == theirs(text)["input_ids"], text
        assert ours.encode(text, 64, "good")[0] == theirs(text, "good")["input_ids"], text


def test_albert_settings_have_transformers_defaults(tmp_path: Path) -> None:
    ours = ElbertTokenizer.from_folder(pieces_file(tmp_path))
    assert ours.pieces(ours.encode("GOOD caf\u00e9", 9)[0])[1:3] == ["\u2581good", "\u2581cafe"]
    cased = ElbertTokenizer.from_folder(settings(tmp_path, do_lower_case=False, keep_accents=True))
    assert cased.pieces(cased.encode("Good caf\u00e9", 9)[0])[1:3] == ["\u2581Good", "\u2581caf\u00e9"]


@pytest.mark.parametrize("lower", [True, False, None])
@pytest.mark.parametrize("strip", [True, False, None])
@pytest.mark.parametrize("chinese", [True, False, None])
def test_bert_settings_split_as_transformers_does(
    tmp_path: Path, lower: bool | None, strip: bool | None, chinese: bool | None
) -> None:
    values = {"do_lower_case": lower, "strip_accents": strip, "tokenize_chinese_chars": chinese}
    given = {key: value for key, value in values.items() if value is not None}
    ours = ElbertTokenizer.from_folder(
        settings(vocabulary_file(tmp_path), tokenizer_class="BertTokenizer", **given)
    )
    theirs = BertTokenizer(vocab={piece: i for i, piece in enumerate(BERT)}, **given)
    for text in TEXTS:
        assert ours.encode(text, 64) == (
            theirs(text)["input_ids"],
            theirs(text)["token_type_ids"],
        ), text
        pair = theirs(text, "good")
        assert ours.encode(text, 64, "good") == (pair["input_ids"], pair["token_type_ids"])


def test_a_vocabulary_is_one_piece_a_line(tmp_path: Path) -> None:
    tokenizer = ElbertTokenizer.from_folder(vocabulary_file(tmp_path, "\r\n"))
    assert [
        tokenizer.full.id_to_token(i) for i in range(tokenizer.size)
    ] == BERT  # a line separator is a piece
    tokenizer.save(tmp_path / "saved")
    again = ElbertTokenizer.from_folder(tmp_path / "saved")
    assert [again.encode(text, 64) for text in TEXTS] == [tokenizer.encode(text, 64) for text in TEXTS]
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n")
    with pytest.raises(ValueError, match=r"vocab\.txt lacks the piece \[MASK\]"):
        ElbertTokenizer.from_folder(tmp_path)
    (tmp_path / "vocab.txt").write_bytes(b"\xff\n")
    with pytest.raises(ValueError, match=r"vocab\.txt is not a vocabulary"):
        ElbertTokenizer.from_folder(tmp_path)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"do_lower_case": "no"}, "do_lower_case is 'no', expected true or false"),
        ({"truncation_side": "left"}, "truncation_side is 'left', only 'right' is taken"),
        ({"tokenizer_class": "T5Tokenizer"}, "tokenizer_class is 'T5Tokenizer'"),
        ({"cls_token": "<s>"}, "cls_token is '<s>', only '[CLS]' is taken"),
        ({"mask_token": {"content": "<mask>"}}, "mask_token is '<mask>', only '[MASK]' is taken"),
        (
            {"added_tokens_decoder": {"99": {"content": "<extra>"}}},
            "the piece '<extra>' was added to the vocabulary",
        ),
    ],
)
@pytest.mark.parametrize("write", [pieces_file, vocabulary_file])
def test_settings_that_are_not_taken_are_named(
    tmp_path: Path, write: Any, values: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=r"tokenizer_config|added to the vocabulary") as caught:
        ElbertTokenizer.from_folder(settings(write(tmp_path), **values))
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"do_basic_tokenize": False}, "do_basic_tokenize is False"),
        ({"never_split": ["a"]}, "never_split is"),
    ],
)
def test_bert_settings_that_are_not_taken_are_named(
    tmp_path: Path, values: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        ElbertTokenizer.from_folder(settings(vocabulary_file(tmp_path), **values))


def test_sentencepiece_models_of_another_kind_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"model_type is 2, only 1 \(unigram\) is read"):
        ElbertTokenizer.from_folder(pieces_file(tmp_path, trainer=message((3, 0, 2))))
    with pytest.raises(ValueError, match="byte_fallback is set"):
        ElbertTokenizer.from_folder(pieces_file(tmp_path, trainer=message((35, 0, 1))))
    keeps = pieces_file(tmp_path, normalizer=message((4, 0, 0)))
    ElbertTokenizer.from_folder(keeps)
    with pytest.raises(ValueError, match="remove_space is false"):
        ElbertTokenizer.from_folder(settings(keeps, remove_space=False))
    ElbertTokenizer.from_folder(settings(pieces_file(tmp_path), remove_space=False))  # the model does it
    with pytest.raises(ValueError, match="sp_model_kwargs"):
        ElbertTokenizer.from_folder(settings(tmp_path, sp_model_kwargs={"enable_sampling": True}))


def test_pieces_in_added_tokens_json_are_refused(tmp_path: Path) -> None:
    (vocabulary_file(tmp_path) / "added_tokens.json").write_text('{"good": 6}')
    ElbertTokenizer.from_folder(tmp_path)  # in the vocabulary already
    (tmp_path / "added_tokens.json").write_text('{"<new>": 99}')
    with pytest.raises(ValueError, match="'<new>' was added"):
        ElbertTokenizer.from_folder(tmp_path)


@pytest.mark.parametrize(
    ("values", "fits"),
    [
        ({"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True}, True),
        ({"do_lower_case": False}, False),
        ({"strip_accents": False}, False),
        ({"strip_accents": True}, True),  # what lower case brings with it
        ({"tokenize_chinese_chars": False}, False),
        ({"model_max_length": 512, "padding_side": "left", "clean_up_tokenization_spaces": True}, True),
    ],
)
def test_settings_must_agree_with_tokenizer_json(
    make_full: Any, tmp_path: Path, values: dict[str, Any], fits: bool
) -> None:
    ElbertTokenizer(make_full()).save(tmp_path)
    settings(tmp_path, **values)
    if fits:
        ElbertTokenizer.from_folder(tmp_path)
    else:
        with pytest.raises(
            ValueError, match=r"tokenizer_config\.json: \w+ is \w+, but tokenizer\.json does as"
        ):
            ElbertTokenizer.from_folder(tmp_path)


def test_albert_settings_must_agree_with_tokenizer_json(make_full: Any, tmp_path: Path) -> None:
    full = make_full()
    full.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents()])
    ElbertTokenizer(full).save(tmp_path)
    ElbertTokenizer.from_folder(settings(tmp_path, do_lower_case=False, keep_accents=False))
    for key in ("do_lower_case", "keep_accents"):
        with pytest.raises(ValueError, match=f"{key} is true, but"):
            ElbertTokenizer.from_folder(settings(tmp_path, **{key: True}))
    full.normalizer = None
    ElbertTokenizer(full).save(tmp_path)
    with pytest.raises(ValueError, match="do_lower_case is true, but"):
        ElbertTokenizer.from_folder(settings(tmp_path, do_lower_case=True))
