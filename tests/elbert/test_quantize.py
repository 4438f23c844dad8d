"""``elbert quantize`` from a float folder and a table to an integer folder that loads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from elbert.cli import build_app
from elbert.commands.quantize import choose_sentences
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
        (["--samples", "51"], "samples 51 is not in 1..50"),
        (["--samples", "5", "--weight-bits", "3"], "weight_bits 3"),
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


def test_sentences_are_chosen_once_each() -> None:
    chosen = choose_sentences(100, 30, seed=5)
    assert len(set(chosen)) == 30
    assert set(chosen) <= set(range(100))
    assert chosen == choose_sentences(100, 30, seed=5) != choose_sentences(100, 30, seed=6)
    with pytest.raises(ValueError, match="samples 0"):
        choose_sentences(3, 0, seed=0)
