"""``elbert export`` of integer checkpoints; the memory image as a third party reads it."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from elbert.cli import build_app
from golden_model.config import PRESETS, ElbertConfig
from golden_model.files import sha256_of
from golden_model.integer.checkpoint import MATMULS, NORMS, TABLES, IntegerCheckpoint
from golden_model.integer.contract import Contract
from golden_model.integer.synthetic import random_checkpoint

READER = Path(__file__).parents[2] / "docs" / "read_image.py"
NANO = PRESETS["nano"]
CHUNKED = NANO.model_copy(update={"num_labels": 5, "intermediate_size": 96, "num_hidden_layers": 3})
"""Three classes more than a tile of 4 features holds; weights of the second feed-forward matrix in chunks."""


def run(*arguments: str | Path) -> tuple[int, str, BaseException | None]:
    """Exit code, output and exception of the command."""
    app = build_app()
    app.callback()(lambda: None)  # with a callback a single command keeps its name
    result = CliRunner().invoke(app, ["export", *map(str, arguments)])
    return result.exit_code, result.output, result.exception


@pytest.fixture
def model(request: pytest.FixtureRequest, float_folder: Path, tmp_path: Path) -> Path:
    """A model folder with a random integer checkpoint of the geometry asked for."""
    folder = tmp_path / "model"
    config: ElbertConfig = getattr(request, "param", NANO)
    random_checkpoint(config, 3).save(folder / "integer", copy_from=float_folder)
    return folder


def test_every_format_is_written_and_recorded(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the extra 'export' is not installed")
    out, record_file = tmp_path / "out", tmp_path / "record.json"
    code, text, error = run(
        model, out, "--format", "integers,onnx,qonnx,image", "--length", 5, "--json", record_file
    )
    assert code == 0, (text, error)
    record = json.loads(record_file.read_text())
    names = ["integers.safetensors", "integers.json", "model.onnx", "model.qonnx.onnx"]
    names += ["image.bin", "image.json"]
    assert [each["file"] for each in record["files"]] == names
    for each in record["files"]:
        assert sha256_of(out / each["file"]) == each["sha256"]
        assert each["file"] in text
    checkpoint = IntegerCheckpoint.load(model / "integer")
    assert record["header"]["checkpoint_sha256"] == checkpoint.sha256


@pytest.mark.parametrize(
    ("model", "array"), [(NANO, "4x4"), (CHUNKED, "4x4"), (CHUNKED, "8x8")], indirect=["model"]
)
def test_a_third_party_reads_the_checkpoint_back_from_the_image(
    model: Path, array: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    code, text, error = run(model, out, "--format", "image", "--array", array, "--sentence", "w5 w6")
    assert code == 0, (text, error)
    about = json.loads((out / "image.json").read_text())
    image = (out / "image.bin").read_bytes()
    found = runpy.run_path(str(READER))["read"](image, about)
    tensors = IntegerCheckpoint.load(model / "integer").tensors

    def per_iteration(name: str, *parts: str) -> list[list[tuple[int, ...]]]:
        columns = [tensors[f"{name}.{part}"].tolist() for part in parts]
        return [list(zip(*rows, strict=True)) for rows in zip(*columns, strict=True)]

    expected = {f"{name}.weight": tensors[f"{name}.weight"].tolist() for name in MATMULS}
    expected |= {name: per_iteration(name, "offset", "multiplier", "shift") for name in MATMULS}
    expected |= {name: per_iteration(name, "beta", "gamma", "shift") for name in NORMS}
    expected |= {name: tensors[name].tolist() for name in TABLES}
    rows = [
        tensors[f"attention.{part}.{field}"].tolist()
        for part in ("score", "context")
        for field in ("multiplier", "shift")
    ]
    expected["attention"] = [[(0, m, s), (0, n, t)] for m, s, n, t in zip(*rows, strict=True)]
    expected["embedding"] = tensors["embedding.word"].tolist()
    expected["position"] = tensors["embedding.position_type"].flatten(0, 1).tolist()
    assert found == expected
    # and any other byte of what is described gives other integers
    regions = about["regions"]
    for name in ("embedding", "position", "embedding_layer", "layer", "parameters"):
        spoiled = bytearray(image)
        spoiled[regions[name]["address"]] ^= 1
        assert runpy.run_path(str(READER))["read"](bytes(spoiled), about) != expected, name
    size = about["iteration_bytes"]
    assert regions["parameters"]["bytes"] >= size * len(expected["attention"])
    assert about["sentences"] == [about["registers"]["TOKENS_BASE"]] == [0]
    token = int.from_bytes(image[:4], "little")
    assert token >> 24 == 0
    assert token < about["geometry"]["vocab_size"]


def test_the_reader_is_a_program_of_some_fifty_lines_that_needs_nothing(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(model, out, "--format", "image")[0] == 0
    files = [str(out / name) for name in ("image.bin", "image.json")]
    # -I -S: neither this project nor any installed package is there
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(READER), *files], capture_output=True, text=True, check=True
    )
    assert "attention.query.weight 32 x 32" in done.stdout
    assert len(READER.read_text().splitlines()) <= 55


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "pdf"], "format 'pdf' is not one of float16, integers, onnx, qonnx, image"),
        (["--format", "float16,image"], "float16 is of a float checkpoint"),
        (["--format", "image", "--task", "sst2"], "--task is for --format float16, not for image"),
        (["--format", "image", "--array", "4x5"], "columns 5"),
        (["--format", "image", "--array", "16x16", "--sentence", "w"], "hidden_size|columns"),
    ],
)
def test_what_cannot_be_exported_is_named(
    model: Path, arguments: list[str], message: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    if "16x16" in arguments:
        small = NANO.model_copy(update={"hidden_size": 24, "num_attention_heads": 2})
        random_checkpoint(small).save(model / "integer")
    code, _, error = run(model, out, *arguments)
    assert code == 1
    assert isinstance(error, ValueError)
    with pytest.raises(ValueError, match=message):
        raise error
    assert not list(out.rglob("image.*"))


def test_a_checkpoint_of_another_contract_has_no_image(model: Path, tmp_path: Path) -> None:
    random_checkpoint(NANO, contract=Contract(query_bits=6)).save(model / "integer")
    code, _, error = run(model, tmp_path / "out", "--format", "image")
    assert code == 1
    assert "query_bits is 6, the hardware's is 8" in str(error)
