"""``elbert quantize`` from a float folder and a table to an integer folder that loads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from elbert.cli import build_app
from golden_model.files import sha256_of
from golden_model.integer.checkpoint import METADATA_FILE, TENSOR_FILE, IntegerCheckpoint
from golden_model.text.tokenizer import ElbertTokenizer


def run(*arguments: str | Path) -> tuple[int, str, BaseException | None]:
    """Exit code, output and exception of the command."""
    app = build_app()
    app.callback()(lambda: None)  # with a callback a single command keeps its name
    result = CliRunner().invoke(app, ["quantize", *map(str, arguments)])
    return result.exit_code, result.output, result.exception


def test_quantize_writes_a_checkpoint_and_a_record(float_folder: Path, tmp_path: Path) -> None:
    output, record_file = tmp_path / "integer", tmp_path / "record.json"
    code, text, _ = run(
        float_folder, output, "--data", float_folder, "--samples", 40, "--eval", float_folder,
        "--limit", 20, "--json", record_file,
    )  # fmt: skip
    assert code == 0, text
    assert "float" in text
    assert "golden" in text
    checkpoint = IntegerCheckpoint.load(output)
    assert checkpoint.metadata["calibration"]["sentences"] == 40
    assert checkpoint.metadata["provenance"] == {
        "float_sha256": sha256_of(float_folder / "model.safetensors"),
        "data_sha256": sha256_of(float_folder / "train.tsv"),
        "samples": 40,
        "seed": 0,
    }
    assert ElbertTokenizer.from_folder(output).size == 64
    record = json.loads(record_file.read_text())
    assert record["header"]["checkpoint_sha256"] == sha256_of(output / TENSOR_FILE) == checkpoint.sha256
    assert record["scheme"] == checkpoint.metadata["scheme"]
    evaluation = record["evaluation"]
    assert evaluation["samples"] == 20
    assert len(evaluation["float"]) == len(evaluation["golden"]) == 4
    lost = 100 * (evaluation["float"][-1] - evaluation["golden"][-1])
    assert evaluation["points_lost"] == pytest.approx(lost)


def test_quantize_is_reproducible_and_follows_its_options(float_folder: Path, tmp_path: Path) -> None:
    options = {
        "a": [],
        "b": [],
        "seed": ["--seed", 1],
        "bits": ["--weight-bits", 4, "--weight-observer", "mse"],
        "observer": ["--observer", "percentile", "--percentile", 0.99],
    }
    for name, extra in options.items():
        common = ("--data", float_folder, "--samples", 20, "--quiet")
        code, text, _ = run(float_folder, tmp_path / name, *common, *extra)
        assert code == 0, text
    hashes = {name: IntegerCheckpoint.load(tmp_path / name).sha256 for name in options}
    assert hashes["a"] == hashes["b"]
    assert len(set(hashes.values())) == 4
    assert sha256_of(tmp_path / "a" / METADATA_FILE) == sha256_of(tmp_path / "b" / METADATA_FILE)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--samples", "5", "--weight-bits", "5"], "weight_bits 5"),
        (["--samples", "5", "--observer", "median"], "observer 'median'"),
    ],
)
def test_wrong_options_are_named_and_write_nothing(
    float_folder: Path, tmp_path: Path, extra: list[str], message: str
) -> None:
    code, _, error = run(float_folder, tmp_path / "integer", "--data", float_folder, "--quiet", *extra)
    assert code != 0
    assert isinstance(error, ValueError)
    assert message in str(error)
    assert not (tmp_path / "integer").exists()


def test_the_cost_is_reported_per_tensor_and_iteration(float_folder: Path, tmp_path: Path) -> None:
    record_file = tmp_path / "record.json"
    code, text, _ = run(
        float_folder, tmp_path / "integer", "--data", float_folder, "--json", record_file, "--samples", 12
    )
    assert code == 0, text
    quality = json.loads(record_file.read_text())["quality"]
    assert len(quality["tensors"]["attention.scores"]["sqnr_db"]) == 4
    assert set(quality["tensors"]["hidden"]) == {"sqnr_db", "error_lsb", "saturated", "range_used"}
    assert "attention.query.weight" in quality["weights_sqnr_db"]
    for title in ("worst first", "Weights", "attention.scores"):
        assert title in text


def test_a_damaged_row_is_said(float_folder: Path, tmp_path: Path) -> None:
    path = float_folder / "model.safetensors"
    tensors = load_file(path)
    name = "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight"
    tensors[name][3] *= 1000
    save_file(tensors, path, {"format": "pt"})
    code, text, _ = run(
        float_folder, tmp_path / "integer", "--data", float_folder, "--samples", 12, "--quiet"
    )
    assert code == 0
    assert "warning: " in text
    assert "SQNR" in text


@pytest.mark.parametrize("form", ["plain text", "table without labels"])
def test_calibration_needs_no_labels_and_takes_the_rows_there_are(
    float_folder: Path, tmp_path: Path, form: str
) -> None:
    lines = [f"w{i} w{i + 1}" for i in range(9)]
    path = tmp_path / ("mine.txt" if form == "plain text" else "mine.tsv")
    head = [] if form == "plain text" else ["text"]
    path.write_text("\n".join(head + lines) + "\n")
    code, text, _ = run(float_folder, tmp_path / "integer", "--data", path, "--samples", 100)
    assert code == 0, text
    assert IntegerCheckpoint.load(tmp_path / "integer").metadata["calibration"]["sentences"] == 9
    assert "holds 9 rows" in text


def test_tables_of_other_encodings_and_without_a_header(float_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.tsv"
    path.write_bytes("w1 w2 é\t1\nw3\t0\n".encode("latin-1"))
    options = ("--no-header", "--encoding", "latin-1", "--text-column", "0", "--quiet")
    code, text, _ = run(float_folder, tmp_path / "integer", "--data", path, *options)
    assert code == 0, text
