"""sim.build: the cache's keys, parallel builds, and the determinism of hw.emit."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from hw.emit import to_verilog
from sim import toolchain
from sim.build import BuildFailure, BuildOptions, build, build_key, normalise_sources

ROOT = Path(__file__).parents[2]
COUNTER = """module counter #(parameter STEP = 1) (input clk, output reg [31:0] count);
  initial count = 0;
  always @(posedge clk) count <= count + STEP;
endmodule
"""


def test_key_follows_everything_that_matters():
    base = build_key({"a.v": COUNTER}, "counter", BuildOptions())
    assert base == build_key({"a.v": COUNTER}, "counter", BuildOptions())
    others = [
        build_key({"a.v": COUNTER + "\n"}, "counter", BuildOptions()),
        build_key({"b.v": COUNTER}, "counter", BuildOptions()),
        build_key({"a.v": COUNTER}, "other", BuildOptions()),
        build_key({"a.v": COUNTER}, "counter", BuildOptions(fast=True)),
        build_key({"a.v": COUNTER}, "counter", BuildOptions(optimize=3)),
        build_key({"a.v": COUNTER}, "counter", BuildOptions(trace=True)),
        build_key({"a.v": COUNTER}, "counter", BuildOptions(timing=True)),
        build_key({"a.v": COUNTER}, "counter", BuildOptions(parameters={"STEP": 2})),
        build_key({"a.v": COUNTER}, "counter", BuildOptions(defines={"X": 2})),
        build_key({"a.v": COUNTER}, "counter", BuildOptions(public=[("counter", "*")])),
    ]
    assert len({base, *others}) == len(others) + 1


def _build_fresh(cache: str) -> tuple[str, float]:
    os.environ["ELBERT_CACHE"] = cache
    path = build({"counter.v": COUNTER}, top="counter", options=BuildOptions(optimize=0), jobs=1)
    return str(path), path.stat().st_mtime


def test_parallel_processes_share_one_build(tmp_path):
    with ProcessPoolExecutor(3) as pool:
        results = list(pool.map(_build_fresh, [str(tmp_path)] * 3))
    assert len(set(results)) == 1
    binary = Path(results[0][0])
    assert os.access(binary, os.X_OK)
    assert "Vtop__ALL" in (binary.parent / "build.log").read_text()
    assert not [p for p in (tmp_path / "sim").rglob(".new-*")]


def test_failed_build_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("ELBERT_CACHE", str(tmp_path))
    with pytest.raises(BuildFailure, match=r"counter\.v:2"):
        build(
            {"counter.v": "module counter(input clk);\n  assign missing_module u();\nendmodule\n"},
            top="counter",
        )
    assert not [p for p in (tmp_path / "sim").rglob("*") if p.is_dir() and len(p.name) > 2]


def test_sources_and_options_are_checked(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="no Verilog source"):
        normalise_sources([])
    with pytest.raises(ValueError, match=r"\.\./a\.v"):
        normalise_sources({"../a.v": ""})
    with pytest.raises(ValueError, match="optimize 4"):
        BuildOptions(optimize=4)
    path = tmp_path / "x.v"
    path.write_text(COUNTER)
    assert normalise_sources([COUNTER, path]) == {"source0.v": COUNTER, "x.v": COUNTER}
    monkeypatch.setenv("ELBERT_CACHE", str(tmp_path / "with space"))
    with pytest.raises(toolchain.ToolchainError, match="with space"):
        toolchain.cache_dir()


def test_emitted_verilog_is_the_same_in_every_process():
    code = (
        "from sim.benches.agents.counter import Counter\n"
        "from hw.emit import to_verilog\n"
        "print(to_verilog(Counter(), 'counter'))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1
    text = texts.pop()
    assert "module counter(" in text
    assert str(ROOT) not in text
    with pytest.raises(ValueError, match="2bad"):
        to_verilog(object(), "2bad")
