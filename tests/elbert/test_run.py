"""`elbert run` and `elbert simulate` as a user meets them: output, JSON, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from elbert import cli
from elbert.bundled import BUNDLED
from elbert.commands.run import read_sentences
from hw.params import parse_array


def elbert(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "elbert", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_array_text():
    assert parse_array("8x16") == (8, 16)
    with pytest.raises(ValueError, match="array '8by16' is not of the form ROWSxCOLUMNS"):
        parse_array("8by16")


def test_sentences_come_from_arguments_file_and_examples(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("one\n\ntwo\n")
    assert read_sentences(["zero"], file) == ["zero", "one", "two"]
    assert len(read_sentences(None, None)) >= 8
    assert read_sentences(["mine"], None, examples=True)[-1] == "mine"
    with pytest.raises(ValueError, match="sentence 1 is empty"):
        read_sentences([" "], None)


@pytest.mark.parametrize("backend", ["float", "golden"])
def test_run_in_software_writes_what_the_readme_promises(tmp_path, backend):
    result = elbert(
        "run", "--backend", backend, "--json", "out.json", "a wonderful film", "dull", cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert "positive" in result.stdout
    document = json.loads((tmp_path / "out.json").read_text())
    header = document["header"]
    assert header["checkpoint_sha256"]
    assert {"versions", "seed", "commit"} <= header.keys()
    first = document["sentences"][0]
    assert first["text"] == "a wonderful film"
    assert first["label_name"] == "positive"
    assert first["iterations"] == 12
    assert 1 <= first["exit_iteration"] <= 12
    assert sum(first["probabilities"]) == pytest.approx(1, abs=1e-3)
    assert len(first["confidences"]) == first["exit_iteration"]


def test_float_and_golden_give_one_answer(tmp_path):
    answers = {}
    for backend in ("float", "golden"):
        elbert("run", "--backend", backend, "--json", f"{backend}.json", cwd=tmp_path)
        answers[backend] = json.loads((tmp_path / f"{backend}.json").read_text())["sentences"]
    assert [a["label"] for a in answers["float"]] == [a["label"] for a in answers["golden"]]


def test_simulate_prints_utilisation_and_reasons(tmp_path):
    result = elbert("simulate", "--lengths", "3,16", "--json", "out.json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "utilisation" in result.stdout
    rows = json.loads((tmp_path / "out.json").read_text())["sentences"]
    assert [row["tokens"] for row in rows] == [3, 16]
    for row in rows:
        assert row["mismatches"] == 0
        assert row["checkpoints"] >= 30
        assert abs(row["active"] + sum(row["idle"].values()) - row["cycles"]) <= 2
        assert 0 < row["utilisation"] < row["bound"] <= 1


@pytest.mark.slow  # builds with waves: those are in tests/sim/test_build.py, the error in test_machine.py
def test_a_watchdog_is_exit_code_1_with_its_name(tmp_path):
    result = elbert("simulate", "--lengths", "9", "--watchdog", "2000", cwd=tmp_path)
    assert result.returncode == 1
    assert "ended with error WATCHDOG" in result.stderr
    assert "waves" in result.stderr
    assert list(tmp_path.glob("**/waves.vcd"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--backend", "fpga", "x"], "backend 'fpga' is not one of"),
        (["run", "--window", "17", "x"], "17"),
        (["run", "--model", "nowhere", "x"], "nowhere holds no golden checkpoint"),
        (["simulate", "--preset", "tiny"], "preset 'tiny' is not one of"),
        (["simulate", "--lengths", "17"], "length 17 is outside 1..16"),
        (["simulate", "--lengths", "5,x"], "length 'x' in '5,x' is not a number of tokens"),
        (["simulate", "--model", str(BUNDLED), "--array", "8x64"], "array columns 64 is not one of"),
        (["simulate", "--array", "4x5"], "array columns 5 is not one of"),
    ],
)
def test_bad_input_is_exit_code_2_and_names_value_and_bound(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["elbert", *arguments])
    monkeypatch.delenv(cli.TRACEBACK_VARIABLE, raising=False)
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_run_on_rtl(tmp_path):
    result = elbert("run", "--backend", "rtl", "--json", "out.json", "great", "dull", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for sentence in json.loads((tmp_path / "out.json").read_text())["sentences"]:
        assert sentence["mismatches"] == 0
        assert sentence["checkpoints"] >= 30
        assert sentence["cycles"] < sentence["cycles_full"]


def test_bundled_model_is_there_and_small_enough():
    files = [f for f in BUNDLED.rglob("*") if f.is_file()]
    assert {"float", "integer"} <= {f.parent.name for f in files}
    assert sum(f.stat().st_size for f in files) <= 30_000_000
    assert (BUNDLED / "README.md").is_file()
