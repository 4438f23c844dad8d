"""``elbert report quantisation`` from the command line: files, numbers, and bad input in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from elbert.cli import build_app
from golden_model.files import sha256_of
from golden_model.float.albert import load_float
from golden_model.integer.checkpoint import TENSOR_FILE, IntegerCheckpoint
from golden_model.integer.synthetic import random_checkpoint, random_sentences
from golden_model.numerics import OPERAND_MAX
from quant.calibrate import calibrate
from quant.schemes import Scheme


def run(*arguments: str | Path | int) -> tuple[int, str, BaseException | None]:
    """Exit code, output and exception of the command."""
    result = CliRunner().invoke(build_app(), ["report", "quantisation", *map(str, arguments)])
    return result.exit_code, result.output, result.exception


@pytest.fixture
def model(float_folder: Path) -> Path:
    """A nano model folder: ``float`` with its tables, ``integer``, and ``w4`` beside them."""
    loaded, _, _ = load_float(float_folder)
    sentences = random_sentences(loaded.config, 20, seed=1)
    calibrate(loaded, sentences).save(float_folder.parent / "integer", copy_from=float_folder)
    calibrate(loaded, sentences, Scheme(weight_bits=4)).save(
        float_folder.parent / "w4", copy_from=float_folder
    )
    return float_folder.parent


def test_everything_is_written(model: Path, tmp_path: Path) -> None:
    output, copy = tmp_path / "report", tmp_path / "copy.json"
    code, text, _ = run(
        model / "float", "--model", model, "--against", model / "w4", "--limit", 5, "--exits", 20,
        "--splits", 3, "--cache", tmp_path / "cache", "--output", output, "--json", copy, "--figures", "svg",
    )  # fmt: skip
    assert code == 0, text
    result = json.loads(copy.read_text())
    assert result == json.loads((output / "quantisation.json").read_text())
    names = {"quantisation.html", "quantisation.json"}
    names |= {f"{name}.svg" for name in ("heatmap", "weights", "difference", "exits")}
    assert {file.name for file in output.iterdir()} == names
    assert result["data"]["sentences"] == 5
    assert result["header"]["checkpoint_sha256"] == sha256_of(model / "integer" / TENSOR_FILE)
    assert [each["exits"]["sentences"] for each in result["checkpoints"]] == [20, 20]
    assert result["checkpoints"][1]["weights"]["attention.query.weight"]["bits"] == 4
    for words in ("noisiest tensors", "weights", "exits of 20 sentences", "quantisation.html"):
        assert words in text
    # kept logits, no exits asked for: the rest is the same
    code, text, _ = run(
        model / "float", "--model", model, "--limit", 5, "--exits", 0, "--output", output, "--quiet",
        "--figures", "svg",
    )  # fmt: skip
    assert (code, text) == (0, "")
    again = json.loads((output / "quantisation.json").read_text())
    assert again["checkpoints"][0]["tensors"] == result["checkpoints"][0]["tensors"]
    assert again["checkpoints"][0]["exits"] is None


def test_a_weight_on_its_rails_is_seen(model: Path, tmp_path: Path) -> None:
    checkpoint = IntegerCheckpoint.load(model / "integer")
    tensors = {name: tensor.clone() for name, tensor in checkpoint.tensors.items()}
    weight = tensors["ffn.output.weight"]
    weight.copy_(torch.where(weight < 0, -OPERAND_MAX, OPERAND_MAX))
    IntegerCheckpoint(checkpoint.config, tensors, checkpoint.metadata).save(
        model / "rails", copy_from=model / "integer"
    )
    code, text, _ = run(
        model / "float", "--model", model, "--against", model / "rails", "--limit", 2, "--exits", 0,
        "--output", tmp_path / "report", "--figures", "svg",
    )  # fmt: skip
    assert code == 0, text
    whole, rails = json.loads((tmp_path / "report" / "quantisation.json").read_text())["checkpoints"]
    assert rails["weights"]["ffn.output.weight"]["rails"] == 1.0
    assert whole["weights"]["ffn.output.weight"]["rails"] < 0.2
    assert "warning: rails: ffn.output.weight has an SQNR of" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--exits", "1"], "1 sentences cannot be halved"),
        (["--task", "nosuch"], "both the table"),
        (["--against", "{model}/nowhere"], "nowhere holds no golden checkpoint: there is no such folder"),
        (["--against", "{model}/float"], "float holds no golden checkpoint: no integer.json"),
        (["--against", "{model}/integer"], "integer is named twice"),
        (["--against", "{model}/other"], "other has intermediate_size 44, the float model"),
        (["--figures", "gif"], "'gif' is not one of svg, png, pdf"),
        (["--ablation", "{model}/none.json"], "none.json"),
        (["--ablation", "{model}/float/config.json"], "holds no ablation"),
        (["--policy", "median"], "mode 'median' is not one of"),
        (["--output", "{model}/float/config.json"], "config.json is a file, not a folder"),
        (["--model", "{model}/integer"], "holds no float checkpoint"),
    ],
)
def test_bad_input_is_named_and_writes_nothing(
    model: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    config = IntegerCheckpoint.load(model / "integer").config.model_copy(update={"intermediate_size": 44})
    random_checkpoint(config).save(model / "other", copy_from=model / "float")
    given = [each.format(model=model) for each in options]
    output = [] if "--output" in given else ["--output", str(tmp_path / "report")]
    folder = [] if "--model" in given else ["--model", str(model)]
    code, text, error = run(model / "float", "--limit", 2, "--exits", 0, *folder, *output, *given)
    assert code != 0
    said = str(error) if isinstance(error, (ValueError, OSError)) else text
    assert message in " ".join(said.split())
    assert not (tmp_path / "report").exists()


def test_integers_of_another_float_model_are_told(model: Path, tmp_path: Path) -> None:
    checkpoint = IntegerCheckpoint.load(model / "integer")
    facts = checkpoint.metadata | {"provenance": {"float_sha256": "f" * 64}}
    IntegerCheckpoint(checkpoint.config, checkpoint.tensors, facts).save(model / "integer")
    code, text, _ = run(
        model / "float", "--model", model, "--limit", 1, "--exits", 0, "--output", tmp_path / "report",
        "--quiet", "--figures", "svg",
    )  # fmt: skip
    assert code == 0
    # one checkpoint, no exits, no ablation: no figure of them
    assert {file.stem for file in (tmp_path / "report").glob("*.svg")} == {"heatmap", "weights"}
    assert "was made from another float model (ffffffffffffffff)" in text
