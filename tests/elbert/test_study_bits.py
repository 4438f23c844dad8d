"""``elbert study bits``: one's own table and checkpoint, files written, a killed study that goes on."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from elbert.cli import build_app
from quant.studies.bits import runner


def run(*arguments: str | Path | int) -> tuple[int, str, BaseException | None]:
    """Exit code, output and exception of the command."""
    result = CliRunner().invoke(build_app(), ["study", "bits", *map(str, arguments)])
    return result.exit_code, result.output, result.exception


def test_a_table_and_a_checkpoint_of_ones_own(float_folder: Path, tmp_path: Path) -> None:
    output, file = tmp_path / "out", tmp_path / "result.json"
    code, text, error = run(
        float_folder, "--model", float_folder, "--grid", "w8a8,w4a8,w2a8", "--samples", 20, "--quality", 2,
        "--limit", 12, "--output", output, "--json", file,
    )  # fmt: skip
    assert code == 0, error
    assert "12 sentences" in text
    result = json.loads(file.read_text())
    assert json.loads((output / "study.json").read_text()) == result
    assert [point["name"] for point in result["points"]] == ["w8a8", "w4a8", "w2a8"]
    eight, four, two = result["points"]
    # two bits but for the projection's 512 weights: ternary, 103 bytes instead of 128
    assert [point["weight_bytes"] for point in (eight, four, two)] == [9792, 4896, 2448 - 128 + 103]
    assert eight["predicted_cycles"] == four["predicted_cycles"] == result["machine"]["cycles"] > 1000
    assert two["predicted_cycles"] is None
    assert result["calibrated_on"]["source"].endswith("train.tsv")
    assert result["ablation"] is None
    with (output / "points.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [float(row["accuracy"]) for row in rows] == [point["accuracy"] for point in result["points"]]
    for name in ("pareto.svg", "parallel.png", "bits.html"):
        assert (output / name).stat().st_size > 1000


def test_a_killed_study_goes_on_and_loses_nothing(float_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    arguments = [
        float_folder, "--model", float_folder, "--ablation", "--samples", 20, "--quality", 2, "--limit", 12,
        "--output", output, "--quiet", "--figures", "svg",
    ]  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "elbert", "study", "bits", *map(str, arguments)])
    points = output / "points"
    until = time.monotonic() + 300
    while len(list(points.glob("*.json")) if points.is_dir() else []) < 3:
        assert process.poll() is None, "ended before it could be killed"
        assert time.monotonic() < until
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in points.glob("*.json")}
    assert len(kept) < 14
    assert not (output / "study.json").exists()
    code, _, error = run(*arguments)
    assert code == 0, error
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert len(list(points.glob("*.json"))) == 14
    assert len(json.loads((output / "study.json").read_text())["ablation"]) == 18


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--grid", "w9"], "'w9' is neither a file .json nor one of"),
        (["--workers", 2, "--scheduler", "tcp://127.0.0.1:1"], "--workers 2 starts processes here"),
        (["--policy", "certified"], "'certified' is not one of"),
        (["--array", "4by4"], "array '4by4'"),
        (["--figures", "gif"], "'gif' is not one of"),
        (["--task", "sst2"], "not both"),
        (["--scheduler", "127.0.0.1:1"], "--scheduler 127.0.0.1:1"),
    ],
)
def test_wrong_options_are_named(
    float_folder: Path,
    tmp_path: Path,
    extra: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "CONNECT_SECONDS", 1)
    common = ("--model", float_folder, "--output", tmp_path / "out", "--samples", 4)
    code, _, error = run(float_folder, *common, *extra)
    assert code != 0
    assert isinstance(error, ValueError | OSError)
    assert message in str(error)
    assert not (tmp_path / "out" / "study.json").exists()
