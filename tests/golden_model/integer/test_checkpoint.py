"""The integer checkpoint: survives a round trip, and refuses by name whatever breaks the contract."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from golden_model.config import PRESETS
from golden_model.files import sha256_of
from golden_model.integer.checkpoint import (
    METADATA_FILE,
    TENSOR_FILE,
    TOKENIZER_FILES,
    CheckpointError,
    IntegerCheckpoint,
    tensor_specs,
)
from golden_model.integer.synthetic import random_checkpoint
from golden_model.labels import read_label_names
from golden_model.text.tokenizer import FILES

NANO = PRESETS["nano"]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    random_checkpoint(NANO, 5).save(tmp_path / "integer")
    return tmp_path / "integer"


def edit(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Changes the tensors of a saved checkpoint and makes the hash right again."""
    tensors = load_file(folder / TENSOR_FILE)
    change(tensors)
    save_file(tensors, folder / TENSOR_FILE)
    document = json.loads((folder / METADATA_FILE).read_text())
    document["sha256"] = sha256_of(folder / TENSOR_FILE)
    (folder / METADATA_FILE).write_text(json.dumps(document))


def test_round_trip(saved: Path) -> None:
    original, loaded = random_checkpoint(NANO, 5), IntegerCheckpoint.load(saved)
    assert loaded.config == original.config
    assert loaded.metadata == original.metadata
    assert loaded.sha256 == original.sha256 == sha256_of(saved / TENSOR_FILE)
    assert set(loaded.tensors) == set(original.tensors)
    assert all(torch.equal(loaded.tensors[name], t) for name, t in original.tensors.items())
    assert sorted(p.name for p in saved.iterdir()) == [METADATA_FILE, TENSOR_FILE]


def test_tokenizer_files_are_copied_beside(tmp_path: Path) -> None:
    source = tmp_path / "float"
    source.mkdir()
    (source / "tokenizer.json").write_text("{}")
    (source / "unrelated.txt").write_text("x")
    random_checkpoint(NANO, 5).save(tmp_path / "integer", copy_from=source)
    assert (tmp_path / "integer" / "tokenizer.json").read_text() == "{}"
    assert not (tmp_path / "integer" / "unrelated.txt").exists()


def test_the_folder_alone_knows_the_classes_and_the_tokenizer(tmp_path: Path) -> None:
    """Names come from where the float checkpoint has them; what another checkpoint left behind goes."""
    source, target = tmp_path / "model" / "float", tmp_path / "integer"
    source.mkdir(parents=True)
    (source / "vocab.txt").write_text("[PAD]\n")
    (source / "config.json").write_text('{"id2label": {"1": "good", "0": "bad"}}')
    checkpoint = random_checkpoint(NANO, 5)
    checkpoint.save(target, copy_from=source)
    assert read_label_names(target) == ["bad", "good"]
    assert (target / "vocab.txt").read_text() == "[PAD]\n"
    (target / "kept_vocabulary.json").write_text("[0]")
    (source / "config.json").unlink()
    checkpoint.save(target, copy_from=source)
    assert read_label_names(target) is None
    assert sorted(p.name for p in target.iterdir()) == [METADATA_FILE, TENSOR_FILE, "vocab.txt"]
    (tmp_path / "model" / "labels.json").write_text('["no", "yes"]')
    checkpoint.save(target, copy_from=source)
    assert read_label_names(target) == ["no", "yes"]
    checkpoint.save(target, copy_from=target)  # itself: nothing to copy, nothing to lose
    assert read_label_names(target) == ["no", "yes"]
    (tmp_path / "model" / "labels.json").write_text('["one"]')
    with pytest.raises(ValueError, match=r"labels\.json names 1 classes, the model has 2"):
        checkpoint.save(target, copy_from=source)


def test_every_file_of_a_tokenizer_is_copied() -> None:
    assert set(TOKENIZER_FILES) == set(FILES)


def test_specs_are_those_of_the_contract() -> None:
    specs = {name: (str(s.dtype)[6:], s.shape) for name, s in tensor_specs(NANO).items()}
    assert specs["embedding.word"] == ("int8", (64, 16))
    assert specs["embedding.position_type"] == ("int16", (2, 16, 16))
    assert specs["embedding.norm.gamma"] == ("int16", (1, 16))
    assert specs["embedding.projection.offset"] == ("int32", (1, 32))
    assert specs["attention.query.weight"] == ("int8", (32, 32))
    assert specs["ffn.intermediate.weight"] == ("int8", (64, 32))
    assert specs["ffn.output.multiplier"] == ("int32", (4, 32))
    assert specs["attention.score.shift"] == ("uint8", (4,))
    assert specs["attention.norm.beta"] == ("int32", (4, 32))
    assert specs["pooler.table"] == ("int8", (4, 1024))
    assert specs["classifier.weight"] == ("int8", (2, 32))
    assert len(specs) == 2 + 9 * 4 + 3 * 3 + 2 * 2 + 2


def replace(
    name: str, make: Callable[[torch.Tensor], torch.Tensor]
) -> Callable[[dict[str, torch.Tensor]], None]:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors[name] = make(tensors[name])

    return change


def put(value: int) -> Callable[[torch.Tensor], torch.Tensor]:
    def make(tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.clone()
        tensor.view(-1)[-1] = value
        return tensor

    return make


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("ffn.table"), "tensor ffn.table is missing"),
        (lambda t: t.update(more=torch.zeros(1)), "tensor more is not part"),
        (
            replace("pooler.weight", lambda t: t[:-1].clone()),
            "pooler.weight has shape (31, 32), expected (32, 32)",
        ),
        (replace("ffn.norm.gamma", lambda t: t.int()), "ffn.norm.gamma is torch.int32, expected torch.int16"),
        (replace("attention.key.weight", put(-128)), "attention.key.weight holds -128, below -127"),
        (replace("ffn.table", put(-128)), "ffn.table holds -128, below -127"),
        (replace("ffn.output.offset", put(1 << 27)), "ffn.output.offset holds 134217728, above 134217727"),
        (replace("pooler.offset", put(-(1 << 27))), "pooler.offset holds -134217728, below -134217727"),
        (replace("classifier.multiplier", put(32767)), "classifier.multiplier holds 32767, neither 0 nor"),
        (
            replace("attention.score.multiplier", put(65536)),
            "attention.score.multiplier holds 65536, neither",
        ),
        (replace("attention.context.multiplier", put(-1)), "attention.context.multiplier holds -1, neither"),
        (replace("attention.query.shift", put(64)), "attention.query.shift holds 64, above 63"),
        (replace("embedding.norm.shift", put(64)), "embedding.norm.shift holds 64, above 63"),
        (replace("attention.context.shift", put(48)), "attention.context.shift holds 48, above 47"),
    ],
)
def test_what_breaks_the_contract_is_named(
    saved: Path, change: Callable[[dict[str, torch.Tensor]], None], message: str
) -> None:
    edit(saved, change)
    with pytest.raises(CheckpointError, match=re.escape(message)):
        IntegerCheckpoint.load(saved)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("version", 2, "version is 2, expected 1"),
        ("format", "other", "format is 'other'"),
        ("sha256", "0" * 64, "sha256 is"),
        ("config", {"vocab_size": 64}, "config: "),
        ("config", [1], r"config is \[1\], expected an object"),
        ("config", {**NANO.model_dump(), "hidden_size": "x"}, r"config: hidden_size 'x': input should be"),
        ("config", {**NANO.model_dump(), "vocab_size": 10**9}, "config: vocab_size 1000000000: "),
        ("config", {**NANO.model_dump(), "more": 1}, "config: more 1: extra inputs are not permitted"),
        ("metadata", "x", "metadata is 'x', expected an object"),
        ("metadata", None, "lacks the key 'metadata'"),
    ],
)
def test_a_wrong_document_is_named(saved: Path, key: str, value: object, message: str) -> None:
    document = json.loads((saved / METADATA_FILE).read_text())
    document[key] = value
    if value is None:
        del document[key]
    (saved / METADATA_FILE).write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match=message) as caught:
        IntegerCheckpoint.load(saved)
    assert str(saved) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_geometry_that_is_not_the_tensors_is_refused(saved: Path) -> None:
    document = json.loads((saved / METADATA_FILE).read_text())
    document["config"]["num_hidden_layers"] = 5
    (saved / METADATA_FILE).write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match=r"has shape \(4, 32\), expected \(5, 32\)"):
        IntegerCheckpoint.load(saved)


@pytest.mark.parametrize("name", [METADATA_FILE, TENSOR_FILE])
def test_a_missing_file_is_named(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        IntegerCheckpoint.load(saved)


def test_damage_is_found(saved: Path) -> None:
    data = bytearray((saved / TENSOR_FILE).read_bytes())
    data[-1] ^= 1
    (saved / TENSOR_FILE).write_bytes(data)
    with pytest.raises(CheckpointError, match="sha256"):
        IntegerCheckpoint.load(saved)
    document = json.loads((saved / METADATA_FILE).read_text())
    (saved / TENSOR_FILE).write_bytes(b"not tensors")
    document["sha256"] = sha256_of(saved / TENSOR_FILE)
    (saved / METADATA_FILE).write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        IntegerCheckpoint.load(saved)
    (saved / METADATA_FILE).write_text("{")
    with pytest.raises(CheckpointError, match="not JSON"):
        IntegerCheckpoint.load(saved)


def test_what_is_no_folder_of_a_checkpoint_is_named(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="is a file, expected the folder"):
        IntegerCheckpoint.load(saved / METADATA_FILE)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        IntegerCheckpoint.load(tmp_path / "nothing")
    (saved / TENSOR_FILE).write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(CheckpointError, match="git lfs pull"):
        IntegerCheckpoint.load(saved)
