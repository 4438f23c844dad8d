"""Runs a cocotb test module on a Verilog design, and says what came of it.

Usage, from a pytest function (or anywhere else)::

    from sim.run import run_bench, run_component

    def test_adder(tmp_path):
        run_component(Adder(), "adder", Path(__file__).with_name("bench_adder.py"),
                      test_args={"count": 1000, "expected": array}, seed=3)

and in ``bench_adder.py``, the cocotb side::

    import cocotb
    from sim.agents import clock
    from sim.run import bench_args, report

    @cocotb.test
    async def adds(dut):
        args = bench_args()                # the same dictionary; arrays are numpy arrays again
        await clock.start(dut)             # the clock runs; rst was held for 2 cycles
        ...
        report(cycles_per_row=17)          # comes back as result.metrics["cycles_per_row"]

What holds:

- ``sources`` is ``{file name: text}`` or a list of texts and paths; builds are cached (``sim.build``).
  ``test_module`` is a dotted module name, or the path of a .py file (its folder is then importable). Only
  the ports of ``top`` are visible.
- An input ``clk`` of the top module is driven by the simulator's main loop, period ``clock_ns``.
  RisingEdge(dut.clk) samples values from before the edge, and writes take effect after it.
  ``clock_ns=None`` leaves the clock to the bench.
- A failing test raises ``BenchFailure`` (``check=False``: returned instead) whose text names each failed
  test, its message, the log and the wave file. The failure was repeated with waves, same seed, into
  ``run_dir/waves.vcd``.
- A run over ``timeout_s`` of wall-clock time is ended and raises ``BenchTimeout``. It is not repeated.
- ``$error``, ``$fatal`` or a crash of the simulator fail the run even where every cocotb test passed.
- ``run_dir`` is where log, results.xml and files that the bench writes lie (it is the simulator's working
  folder). By default a temporary folder, removed if everything passed.
- ``BuildOptions(fast=True, optimize=3)`` for long speed runs; the default randomises undefined values by
  ``seed``.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from golden_model.children import child
from sim import toolchain
from sim.build import BuildOptions, build

_ARGS_VARIABLE = "ELBERT_BENCH_DIR"
_ARGS_FILE = "bench_args.json"
_METRICS_FILE = "bench_metrics.json"
_WAVES_LIMIT_BYTES = 2 << 30
_LOG_TAIL_LINES = 25


@dataclasses.dataclass(frozen=True)
class TestOutcome:
    """One cocotb test: its name, simulated nanoseconds, and the failure's message (None: it passed)."""

    __test__ = False  # not for pytest's collection

    name: str
    sim_time_ns: float
    message: str | None


@dataclasses.dataclass(frozen=True)
class BenchResult:
    """What came of a run.

    Attributes:
        passed: every test passed and the simulator ended cleanly.
        tests: the tests that ran, in order.
        failures: what went wrong, as (name, message); name is "simulator" where no test is to blame.
        metrics: what the bench handed to ``report``.
        log: the simulator's output; None once a passed run's temporary folder is gone.
        run_dir: the working folder of the run, same remark.
        waves: the VCD of the repeated run, if there was one.
        wall_s: seconds the simulation took. build_s: seconds until the binary was there.
        cycles: simulated clock periods, all tests together; None without ``clock_ns``.
    """

    passed: bool
    tests: tuple[TestOutcome, ...]
    failures: tuple[tuple[str, str], ...]
    metrics: dict[str, Any]
    log: Path | None
    run_dir: Path | None
    waves: Path | None
    wall_s: float
    build_s: float
    cycles: int | None

    def describe(self) -> str:
        """The failures in words, with the places to look at."""
        if self.passed:
            return f"{len(self.tests)} tests passed"
        lines = [f"{len(self.failures)} failure(s) in {len(self.tests)} test(s)"]
        lines += [f"- {name}: {message}" for name, message in self.failures]
        lines.append(f"log: {self.log}")
        lines.append(f"waves: {self.waves}" if self.waves else "waves: none were written")
        return "\n".join(lines)


class BenchFailure(AssertionError):
    """A bench failed; ``result`` holds the details."""

    def __init__(self, result: BenchResult) -> None:
        super().__init__(result.describe())
        self.result = result


class BenchTimeout(BenchFailure):
    """A bench did not end within its time."""


# --- the cocotb side ---


def _bench_dir() -> Path:
    folder = os.environ.get(_ARGS_VARIABLE)
    if folder is None:
        raise RuntimeError(f"{_ARGS_VARIABLE} is not set: this is not a run of sim.run.run_bench")
    return Path(folder)


@functools.cache
def bench_args() -> dict[str, Any]:
    """The ``test_args`` of this run (call it from the cocotb module).

    Raises:
        RuntimeError: outside of ``run_bench``.
    """
    folder = _bench_dir()
    values: dict[str, Any] = json.loads((folder / _ARGS_FILE).read_text())
    arrays = values.pop("__arrays__")
    for name in arrays:
        values[name] = np.load(folder / f"arg_{name}.npy", allow_pickle=False)
    return values


def report(**metrics: Any) -> None:
    """Hands JSON values back to the caller of ``run_bench``, as ``result.metrics`` (for the bench)."""
    path = _bench_dir() / _METRICS_FILE
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(known | metrics))


# --- the calling side ---


def _write_arguments(folder: Path, values: Mapping[str, Any]) -> None:
    arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    for name, array in arrays.items():
        np.save(folder / f"arg_{name}.npy", array, allow_pickle=False)
    plain = {name: value for name, value in values.items() if name not in arrays}
    (folder / _ARGS_FILE).write_text(json.dumps({**plain, "__arrays__": sorted(arrays)}))


def _library_path() -> dict[str, str]:
    """Where the simulation finds cocotb's libraries, before what was to be searched already."""
    name = "DYLD_LIBRARY_PATH" if sys.platform == "darwin" else "LD_LIBRARY_PATH"
    before = os.environ.get(name)
    return {name: os.pathsep.join([str(toolchain.cocotb_libs()), *([before] if before else [])])}


def _environment(
    folder: Path, top: str, test_module: str | Path, seed: int, test_filter: str | None
) -> dict[str, str]:
    search = [str(Path(__file__).parent.parent), *(p for p in sys.path if p)]
    name = str(test_module)
    if name.endswith(".py"):
        path = Path(test_module).resolve()
        if not path.exists():
            raise FileNotFoundError(f"the test module {path} does not exist")
        search.insert(0, str(path.parent))
        name = path.stem
    env = {k: v for k, v in os.environ.items() if not k.startswith(("COCOTB_", "PYTEST_", "GPI_"))}
    env.update(
        COCOTB_TOPLEVEL=top,
        COCOTB_TEST_MODULES=name,
        COCOTB_RANDOM_SEED=str(seed),
        COCOTB_RESULTS_FILE=str(folder / "results.xml"),
        COCOTB_TRUST_INERTIAL_WRITES="1",
        COCOTB_ANSI_OUTPUT="0",
        # cocotb rewrites assertions by pytest, whose plugins (trio and others) would take half of the start
        PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
        TOPLEVEL_LANG="verilog",
        GPI_USERS=toolchain.gpi_users(),
        **_library_path(),
        PYGPI_PYTHON_BIN=sys.executable,
        PYTHONPATH=os.pathsep.join(search),
    )
    env[_ARGS_VARIABLE] = str(folder)
    if test_filter is not None:
        env["COCOTB_TEST_FILTER"] = test_filter
    return env


def _read_results(path: Path) -> tuple[TestOutcome, ...]:
    """The outcomes in cocotb's results.xml; none if the file is missing or cut short."""
    try:
        tree = ElementTree.parse(path)
    except (OSError, ElementTree.ParseError):
        return ()
    outcomes = []
    for case in tree.iter("testcase"):
        if case.find("skipped") is not None:
            continue
        bad = case.find("failure")
        bad = case.find("error") if bad is None else bad
        message = None
        if bad is not None:
            text = (bad.text or "").strip()  # the traceback, which ends with the message
            message = text or f"{bad.get('type')}: {bad.get('message')}"
        properties = {p.get("name"): p.get("value") for p in case.iter("property")}
        sim_time = float(properties.get("sim_time_duration") or 0.0)
        outcomes.append(TestOutcome(str(case.get("name")), sim_time, message))
    return tuple(outcomes)


def _verilator_errors(log: str) -> list[str]:
    return [line.strip() for line in log.splitlines() if re.search(r"%(Error|Fatal)", line)]


@dataclasses.dataclass(frozen=True)
class _Run:
    status: int | None  # None: ended by the time limit
    wall_s: float


def _execute(
    binary: Path, folder: Path, env: Mapping[str, str], arguments: Sequence[str], log: Path, timeout_s: float
) -> _Run:
    begin = time.monotonic()
    with (
        log.open("wb") as handle,
        child([str(binary), *arguments], folder=folder, output=handle, environment=env) as simulator,
    ):
        process = simulator.process
        if "--trace-file" in arguments:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (_WAVES_LIMIT_BYTES, _WAVES_LIMIT_BYTES))
        try:
            status: int | None = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            status = None
    return _Run(status, time.monotonic() - begin)


def _failures(
    run: _Run, tests: Sequence[TestOutcome], log_text: str, timeout_s: float
) -> list[tuple[str, str]]:
    failures = [(test.name, test.message) for test in tests if test.message is not None]
    tail = "\n".join(log_text.splitlines()[-_LOG_TAIL_LINES:])
    if run.status is None:
        failures.append(("simulator", f"ended after the limit of {timeout_s} s; the log ends with\n{tail}"))
    elif errors := _verilator_errors(log_text):
        failures.append(("simulator", "\n".join(errors[:10])))
    elif run.status != 0 and not failures:
        failures.append(("simulator", f"exit status {run.status}; the log ends with\n{tail}"))
    elif not tests:
        failures.append(("simulator", f"no test ran; the log ends with\n{tail}"))
    return failures


def _waves(
    sources: Any,
    top: str,
    options: BuildOptions,
    folder: Path,
    env: dict[str, str],
    arguments: list[str],
    limit: float,
) -> tuple[Path | None, str]:
    """Repeats a failed run with a VCD; the path, or None and why there is none."""
    path = folder / "waves.vcd"
    try:
        binary = build(sources, top=top, options=dataclasses.replace(options, trace=True))
    except Exception as error:
        return None, f"the build with waves failed: {error}"
    env = env | {"COCOTB_RESULTS_FILE": str(folder / "results_waves.xml")}
    run = _execute(binary, folder, env, [*arguments, "--trace-file", str(path)], folder / "waves.log", limit)
    if not path.exists():
        return None, f"the run with waves wrote none (status {run.status})"
    if run.status is not None and not any(t.message for t in _read_results(folder / "results_waves.xml")):
        return path, "note: the repeated run passed, so the failure depends on undefined values or on time"
    return path, ""


def run_bench(
    *,
    sources: Mapping[str, str] | Sequence[str | Path] | str | Path,
    top: str,
    test_module: str | Path,
    test_args: Mapping[str, Any] | None = None,
    seed: int = 1,
    timeout_s: float = 300.0,
    waves_on_failure: bool = True,
    build_options: BuildOptions | None = None,
    clock_ns: float | None = 10.0,
    plusargs: Sequence[str] = (),
    extra_env: Mapping[str, str] | None = None,
    test_filter: str | None = None,
    run_dir: Path | str | None = None,
    check: bool = True,
) -> BenchResult:
    """Builds (or finds) the simulation and runs the cocotb tests of ``test_module`` on it (see
    above).

    Args:
        sources: ``{file name: Verilog text}``, or a list of texts and paths.
        top: top module; cocotb's ``dut``.
        test_module: dotted name, or path of a .py file.
        test_args: JSON values and numpy arrays, read by ``bench_args()``.
        seed: of Python's ``random`` inside the bench and of undefined values; 0 to 2**31 - 1.
        timeout_s: wall-clock limit of the simulation, the build not counted.
        waves_on_failure: repeat a failed run with a VCD.
        build_options: see ``sim.build.BuildOptions``.
        clock_ns: period of ``clk``, driven by the simulator; None leaves it to the bench.
        plusargs: further arguments of the simulation, such as ``+image=weights.bin``.
        extra_env: further environment variables.
        test_filter: regular expression over test names; others do not run.
        run_dir: working folder, made if missing; by default a temporary one.
        check: raise on failure.

    Raises:
        BenchFailure: a test failed or the simulator reported errors (only with ``check``).
        BenchTimeout: the run was ended after ``timeout_s`` (only with ``check``).
        BuildFailure: the design does not build.
    """
    if not 0 <= seed < 2**31:
        raise ValueError(f"seed {seed} is not in 0..2**31-1")
    options = build_options or BuildOptions()
    toolchain.gpi_users()  # what is missing is missed before minutes of building
    begin = time.monotonic()
    binary = build(sources, top=top, options=options)
    build_s = time.monotonic() - begin

    temporary = run_dir is None
    folder = Path(tempfile.mkdtemp(prefix=f"bench-{top}-")) if run_dir is None else Path(run_dir).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("results.xml", "results_waves.xml", _METRICS_FILE, "waves.vcd"):
            (folder / name).unlink(missing_ok=True)
        _write_arguments(folder, test_args or {})
        env = _environment(folder, top, test_module, seed, test_filter) | dict(extra_env or {})
        arguments = ["+verilator+rand+reset+2", f"+verilator+seed+{seed % (2**31 - 1) + 1}", *plusargs]
        if clock_ns is not None:
            half = round(clock_ns * 500)  # half a period in picoseconds
            arguments.append(f"+bench+half+{half}")
            env["ELBERT_BENCH_CLOCK_NS"] = str(clock_ns)
        else:
            env.pop("ELBERT_BENCH_CLOCK_NS", None)

        log = folder / "bench.log"
        run = _execute(binary, folder, env, arguments, log, timeout_s)
        tests = _read_results(folder / "results.xml")
        failures = _failures(run, tests, log.read_text(errors="replace"), timeout_s)
        metrics_path = folder / _METRICS_FILE
        metrics = json.loads(metrics_path.read_text()) if metrics_path.exists() else {}
        waves = None
        if failures and waves_on_failure and run.status is not None:
            waves, note = _waves(sources, top, options, folder, env, arguments, 4 * timeout_s)
            if note:
                failures.append(("waves", note))
    except BaseException:
        if temporary:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    keep = bool(failures) or not temporary
    result = BenchResult(
        passed=not failures,
        tests=tests,
        failures=tuple(failures),
        metrics=metrics,
        log=log if keep else None,
        run_dir=folder if keep else None,
        waves=waves,
        wall_s=run.wall_s,
        build_s=build_s,
        cycles=None if clock_ns is None else round(sum(t.sim_time_ns for t in tests) / clock_ns),
    )
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
    if check and failures:
        raise BenchTimeout(result) if run.status is None else BenchFailure(result)
    return result


def run_component(
    component: Any,
    name: str,
    test_module: str | Path,
    *,
    extra_sources: Mapping[str, str] | None = None,
    **arguments: Any,
) -> BenchResult:
    """``run_bench`` on an Amaranth component, emitted as module ``name``; further arguments as there.

    The ports are the signature's, members joined by two underscores (``dut.i__payload``), plus ``clk`` and
    ``rst``.
    """
    from hw.emit import to_verilog

    sources = {f"{name}.v": to_verilog(component, name), **(extra_sources or {})}
    return run_bench(sources=sources, top=name, test_module=test_module, **arguments)
