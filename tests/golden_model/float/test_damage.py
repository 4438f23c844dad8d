"""Damaged files of model folders, by chance: ValueError or OSError in one line that names the file."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers.implementations import BertWordPieceTokenizer
from transformers import AlbertForSequenceClassification

from golden_model.config import PRESETS
from golden_model.evaluation.backends import FloatBackend, GoldenBackend
from golden_model.exits import ExitPolicy
from golden_model.files import sha256_of
from golden_model.float.albert import hugging_face_config
from golden_model.integer.checkpoint import METADATA_FILE, TENSOR_FILE
from golden_model.integer.synthetic import random_checkpoint
from golden_model.labels import read_label_names, write_label_names
from golden_model.text.tokenizer import ElbertTokenizer

NANO = PRESETS["nano"]
TEXT = "The film is good, acting 9, unevens"
LONGEST = 500
"""Characters of a message, the path of the test's folder aside."""


def save_sentencepiece(folder: Path) -> None:
    """A small ``spiece.model`` with a character map of no rules."""

    def field(number: int, value: bytes) -> bytes:
        return bytes([number << 3 | 2, len(value)]) + value

    out = b""
    for i, piece in enumerate(
        ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]", "\u2581good", "\u2581", "g", "o", "d"]
    ):
        out += field(1, field(1, piece.encode()) + b"\x15" + struct.pack("<f", -i))
    (folder / "spiece.model").write_bytes(out + field(2, b"\x18\x01") + field(3, b"\x20\x01"))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of both forms; ``pieces`` and ``words`` hold other tokenizers."""
    root = tmp_path_factory.mktemp("good")
    torch.manual_seed(0)
    AlbertForSequenceClassification(hugging_face_config(NANO)).save_pretrained(root / "float")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "film", "good", "##s", "acting", "is", ","]
    full = BertWordPieceTokenizer({word: i for i, word in enumerate(words)})
    tokenizer = ElbertTokenizer(full._tokenizer, [0, 1, 2, 3, 4, 6, 7, 9])
    tokenizer.save(root / "float")
    (root / "float" / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    write_label_names(root / "float", ["bad", "good"])
    random_checkpoint(NANO, 2).save(root / "integer", copy_from=root / "float")
    for name in ("pieces", "words"):
        (root / name).mkdir()
    save_sentencepiece(root / "pieces")
    (root / "words" / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ngood\n##s\n")
    return root


def use_float(folder: Path) -> None:
    backend = FloatBackend(folder)
    backend.answer([backend.tokenizer.encode(TEXT, 16)], ExitPolicy())


def use_golden(folder: Path) -> None:
    backend = GoldenBackend(folder)
    backend.answer([backend.tokenizer.encode(TEXT, 16)], ExitPolicy())


def use_tokenizer(folder: Path) -> None:
    tokenizer = ElbertTokenizer.from_folder(folder)
    tokenizer.pieces(tokenizer.encode(TEXT, 16, "good")[0])


def use_golden_with_its_hash(folder: Path) -> None:
    """As if the damage had happened before the hash was taken."""
    document = json.loads((folder / METADATA_FILE).read_text())
    document["sha256"] = sha256_of(folder / TENSOR_FILE)
    (folder / METADATA_FILE).write_text(json.dumps(document))
    use_golden(folder)


FILES = {
    "float/config.json": use_float,
    "float/model.safetensors": use_float,
    "float/tokenizer.json": use_float,
    "float/tokenizer_config.json": use_float,
    "float/kept_vocabulary.json": use_float,
    "float/labels.json": read_label_names,
    "integer/integer.json": use_golden,
    "integer/integer.safetensors": use_golden_with_its_hash,
    "pieces/spiece.model": use_tokenizer,
    "words/vocab.txt": use_tokenizer,
}


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Truncations, bytes changed, cut out and put in; most at the beginning, where headers are."""
    kind = draw(st.sampled_from(["cut", "change", "change", "remove", "insert"]))
    place = draw(st.one_of(st.floats(0, 1), st.floats(0, 0.05)))
    some = draw(
        st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from([b"1e400", b"-1", b"99999999", b"null"]))
    )

    def damage(data: bytes) -> bytes:
        at = int(place * len(data))
        if kind == "cut":
            return data[:at]
        if kind == "remove":
            return data[:at] + data[at + len(some) :]
        return data[:at] + some + data[at + (len(some) if kind == "change" else 0) :]

    return damage


@pytest.mark.parametrize("name", FILES)
def test_damage_is_one_line_that_names_the_file(
    name: str, good: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], one_thread: None
) -> None:
    part, file = name.split("/")
    folder = tmp_path / part
    shutil.copytree(good / part, folder)
    data = (good / name).read_bytes()
    refused = []

    @settings(
        max_examples=40,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(damages())
    def check(damage: Callable[[bytes], bytes]) -> None:
        shutil.copytree(good / part, folder, dirs_exist_ok=True)
        (folder / file).write_bytes(damage(data))
        try:
            FILES[name](folder)
        except (ValueError, OSError) as error:
            message = str(error)
            assert message
            assert "\n" not in message
            assert len(message.replace(str(tmp_path), "")) <= LONGEST, message
            assert str(folder) in message, message
            refused.append(message)

    check()
    assert len(refused) > 5
    assert "panicked" not in capfd.readouterr().err


@pytest.mark.parametrize("name", [name for name in FILES if not name.endswith("safetensors")])
@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[" * 50_000, b"[]", b"{}", b"null", b"3", b'"x"', b'{"a": NaN}']
)
def test_other_contents_are_one_line(name: str, content: bytes, good: Path, tmp_path: Path) -> None:
    part, file = name.split("/")
    shutil.copytree(good / part, tmp_path / part)
    (tmp_path / part / file).write_bytes(content)
    try:
        FILES[name](tmp_path / part)
    except (ValueError, OSError) as error:
        message = str(error)
        assert "\n" not in message
        assert file in message
        assert len(message.replace(str(tmp_path), "")) <= LONGEST
    else:
        assert name == "float/tokenizer_config.json"  # may be empty, or say nothing of splitting
        assert content in (b"{}", b'{"a": NaN}')
