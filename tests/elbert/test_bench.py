"""``elbert bench rtl`` and ``elbert explore``, as far as no simulation is needed."""

from __future__ import annotations

import json
import sys
from collections import Counter
from fractions import Fraction

import pytest

from elbert import cli
from elbert.commands.bench import rtl
from elbert.show.explore import draw_explored, print_explored
from golden_model.config import PRESETS
from golden_model.errors import PromiseBroken
from hw.cycles.memory import MemoryTiming
from hw.cycles.sentence import predict
from hw.params import Machine
from hw.synth.devices import find_device
from sim.bench.explore import explore, sentence_cycles, spread


def main(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["elbert", *arguments])
    monkeypatch.delenv(cli.TRACEBACK_VARIABLE, raising=False)
    with pytest.raises(SystemExit) as left:
        cli.main()
    return int(left.value.code or 0)


def test_a_prediction_has_the_keys_of_a_measurement(monkeypatch, capsys, tmp_path):
    file, picture = tmp_path / "b.json", tmp_path / "roof.svg"
    arguments = ["bench", "rtl", "--predict", "--array", "4x4", "--lengths", "5,16", "--bandwidth", "3"]
    arguments += ["--latency", "200", "--iterations", "2", "--json", str(file), "--roofline", str(picture)]
    assert main(monkeypatch, *arguments) == 0
    found = json.loads(file.read_text())
    machine = Machine(model=PRESETS["nano"], rows=4, columns=4)
    cycles = [predict(machine, n, MemoryTiming(200, Fraction(3)), 2).cycles for n in (5, 16)]
    assert found["predicted_cycles"] == found["cycles"] == sum(cycles)
    assert [row["cycles"] for row in found["sentences"]] == cycles
    assert found["active"] + sum(found["idle"].values()) == found["cycles"]
    assert found["mismatches"] is found["wall_s"] is found["cycles_per_s"] is None
    assert found["utilisation"] == found["products"] / (16 * found["cycles"])
    assert found["header"]["seed"] == 1
    assert (found["bandwidth"], found["latency"], found["iterations"]) == ("3", 200, 2)
    assert picture.read_text().startswith("<?xml")
    assert f"{cycles[0]:,}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lengths", "17"], "length 17 is outside 1..16"),
        (["--bandwidth", "fast"], "bandwidth 'fast'"),
        (["--latency", "0"], "latency 0 is outside 1..1048576"),
        (["--iterations", "9"], "iterations 9 is outside 1..4"),
        (["--array", "3x4"], "array rows 3"),
        (["--preset", "huge"], "preset 'huge'"),
        (["--timeline", "t.json"], "--timeline shows a simulation"),
        (["--roofline", "t.txt"], "t.txt"),
        (["--lengths", "5", "--sample", "sst2"], "--lengths 5 is for random sentences"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(monkeypatch, capsys, arguments, message):
    assert main(monkeypatch, "bench", "rtl", "--predict", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_mismatch_is_saved_and_ends_with_one(monkeypatch, tmp_path):
    """What a simulation that differs hands over: the result is there, the exit code 1."""
    predicted = rtl._predicted

    def differs(case, memory, *rest):
        return {**predicted(case, memory), "mismatches": 1, "wall_s": 1.0, "cycles_per_s": 1.0,
                "error": "iteration.1.attention.query"}  # fmt: skip

    monkeypatch.setattr(rtl, "_simulated", differs)
    monkeypatch.setattr(rtl, "_case", lambda *a: _nano_case())
    file = tmp_path / "b.json"
    monkeypatch.setattr("elbert.show.bench.print_bench", lambda *a: None)
    with pytest.raises(PromiseBroken, match=r"iteration\.1\.attention\.query"):
        rtl.rtl(json_file=file, run_dir=tmp_path)
    assert json.loads(file.read_text())["mismatches"] == 1


def _nano_case():
    from sim.performance import random_case

    return random_case("nano", (4, 4), [5], with_checkpoint=False)


def test_spread_is_of_nearest_ranks():
    assert spread(Counter({10: 98, 20: 1, 1000: 1})) == {"mean": 20.0, "p50": 10, "p99": 20}
    assert spread(Counter({7: 1})) == {"mean": 7.0, "p50": 7, "p99": 7}


def test_later_iterations_are_told_from_two():
    machine, memory = Machine(model=PRESETS["nano"], rows=4, columns=4), MemoryTiming()
    found = sentence_cycles(machine, memory, Counter({(9, 4): 2, (5, 1): 1}))
    exact = predict(machine, 9, memory).cycles
    [told] = [cycles for cycles, times in found.items() if times == 2]
    assert told == pytest.approx(exact, rel=0.002)
    assert predict(machine, 5, memory, 1).cycles in found


def test_a_grid_marks_the_best(monkeypatch, tmp_path, capsys):
    points = explore(
        PRESETS["nano"], [(2, 4), (4, 4), (1, 16)], [MemoryTiming(), MemoryTiming(20, Fraction(1))],
        [find_device("lfe5u-25f")], Counter({(5, 2): 1, (16, 4): 1}), 100.0, with_area=False,
    )  # fmt: skip
    assert len(points) == 6
    fast = {p["array"]: p for p in points if p["bandwidth"] == "unlimited"}
    assert fast["4x4"]["cycles"]["mean"] < fast["2x4"]["cycles"]["mean"]
    assert fast["2x4"]["best"], "no other has as few multipliers"
    assert fast["4x4"]["best"] == (fast["4x4"]["cycles"]["mean"] <= fast["1x16"]["cycles"]["mean"])
    assert fast["4x4"]["milliseconds"]["mean"] == fast["4x4"]["cycles"]["mean"] / 100_000
    draw_explored(points, tmp_path / "p.svg")
    assert (tmp_path / "p.svg").read_text().startswith("<?xml")
    document = {
        "preset": "nano", "sample": "none", "sentences": 2, "mean_tokens": 10.5, "mean_exit_iteration": 3.0,
        "clock_mhz": 100.0, "machines": points,
    }  # fmt: skip
    print_explored(document)
    assert "4x4" in capsys.readouterr().out
