"""The integers' file and what its JSON says of every tensor."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from golden_model.config import PRESETS
from golden_model.float.albert import ElbertForSequenceClassification
from golden_model.integer.model import Sentence
from golden_model.integer.ops.softmax import exp_table
from golden_model.integer.scales import dequantize, named_tensors
from golden_model.integer.synthetic import random_checkpoint
from quant.calibrate import calibrate
from quant.export.integers import EXPLANATION_FILE, TENSOR_FILE, write_integers


def test_a_calibrated_checkpoint_says_everything(
    float_model: ElbertForSequenceClassification, sentences: list[Sentence], tmp_path: Path
) -> None:
    checkpoint = calibrate(float_model, sentences[:10])
    write_integers(checkpoint, tmp_path)
    tensors = load_file(tmp_path / TENSOR_FILE)
    said = json.loads((tmp_path / EXPLANATION_FILE).read_text())
    assert said["checkpoint_sha256"] == checkpoint.sha256
    assert said["geometry"] == checkpoint.config.model_dump()
    assert set(said["tensors"]) == set(tensors)
    for name, entry in said["tensors"].items():
        assert entry["shape"] == list(tensors[name].shape), name
        assert f"torch.{entry['dtype']}" == str(tensors[name].dtype)
        assert entry["meaning"]
        assert entry["axes"]
    for name, tensor in checkpoint.tensors.items():
        assert torch.equal(tensors[name], tensor)
        lsb = said["tensors"][name]["lsb"]
        scale = tensors[lsb] if isinstance(lsb, str) else torch.tensor(lsb, dtype=torch.float64)
        real = tensors[name].double() * scale
        assert torch.equal(real, dequantize(checkpoint, name)), name
    assert {f"scale.{name}" for name in named_tensors(checkpoint.config)} <= set(tensors)
    assert "scale.iteration.1.ffn.index" in tensors
    assert tensors["table.exponential"].tolist() == exp_table()
    assert tensors["table.exit.exp_coarse"][16] == round(65536 / torch.e)


def test_a_random_checkpoint_has_integers_without_scales(tmp_path: Path) -> None:
    checkpoint = random_checkpoint(PRESETS["nano"])
    write_integers(checkpoint, tmp_path)
    said = json.loads((tmp_path / EXPLANATION_FILE).read_text())["tensors"]
    assert not any(name.startswith("scale.") for name in said)
    assert said["attention.query.weight"]["lsb"] is None
    assert said["attention.query.shift"]["lsb"] == 1.0
