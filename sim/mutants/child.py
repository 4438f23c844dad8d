"""The process of one mutant: plants it, runs one bench, writes what came of it as JSON.

    python -m sim.mutants.child REQUEST ANSWER

The request names the block, the run's number (or "machine") and the mutant, if any. Nothing of hw but the
package's own name is imported before the mutant is planted.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sim.mutants.blocks import BLOCKS, MACHINE
from sim.mutants.importing import plant
from sim.mutants.rules import Mutant

PASSED, FAILED, SLOW, UNBUILDABLE = "passed", "failed", "timed out", "not built"
SAME, ELABORATED = "same netlist", "elaborated"
"""What a run says. ``SAME``: the netlist is the unmutated one's, so nothing had to run; ``ELABORATED``: it is
another, and no more was asked."""
MEMORY_BYTES = 1 << 19
"""Simulated memory: the rails' images fit."""
WATCHDOG = 40_000
"""Cycles; the longest sentence of the rails takes a quarter."""


def _first_line(text: object) -> str:
    lines = [line for line in str(text).splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else type(text).__name__


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Runs what the request names."""
    mutant = Mutant(**request["mutant"]) if request["mutant"] else None
    if mutant:
        plant(mutant)
    begin = time.monotonic()
    run = _machine if request["run"] == MACHINE else _block
    result = run(request)
    return result | {"seconds": round(time.monotonic() - begin, 1)}


def _block(request: dict[str, Any]) -> dict[str, Any]:
    run = BLOCKS[request["block"]].runs[request["run"]]

    def simulated() -> list[tuple[str, str]] | None:
        from hw.emit import to_verilog
        from sim.ecp5 import ECP5_CELLS

        component = run.make()
        test_args = run.test_args(component)
        sources = {"dut.v": to_verilog(component, "dut"), **(ECP5_CELLS if run.ecp5 else {})}
        return _bench(sources, run.bench, test_args, request)

    return _answer(request, run.make, simulated)


def _bench(
    sources: dict[str, str], test_module: str, test_args: dict[str, Any], request: dict[str, Any]
) -> list[tuple[str, str]] | None:
    """The failures of a block's bench; None where it took too long."""
    from sim.build import build
    from sim.run import BenchTimeout, run_bench

    binary = build(sources, top="dut")
    try:
        result = run_bench(
            sources=sources,
            top="dut",
            test_module=test_module,
            test_args=test_args,
            seed=request["seed"],
            timeout_s=request["timeout_s"],
            waves_on_failure=False,
        )
        return list(result.failures)
    except BenchTimeout:
        return None
    except AssertionError as error:
        shutil.rmtree(error.result.run_dir, ignore_errors=True)  # type: ignore[attr-defined]
        return list(error.result.failures)  # type: ignore[attr-defined]
    finally:
        _drop(binary, request)


def _drop(binary: Path, request: dict[str, Any]) -> None:
    """A mutant's simulation is of no use to anybody else."""
    if request["mutant"]:
        shutil.rmtree(binary.parent, ignore_errors=True)


def _machine(request: dict[str, Any]) -> dict[str, Any]:
    def make() -> Any:
        from hw.accelerator import Accelerator

        return Accelerator(_small())

    def simulated() -> list[tuple[str, str]] | None:
        from golden_model.integer.rails import SMALL
        from golden_model.integer.synthetic import random_checkpoint
        from sim.build import build
        from sim.machine import accelerator_system, simulate
        from sim.rails import rail_jobs

        machine = _small()
        sources = accelerator_system(machine, MEMORY_BYTES)
        binary = build(sources, top="system")
        try:
            report = simulate(
                machine,
                random_checkpoint(SMALL),
                rail_jobs(SMALL, request["seed"]),
                seed=request["seed"],
                stall_mode=1,
                watchdog=WATCHDOG,
                timeout_s=request["timeout_s"],
                waves_on_failure=False,
                sources=sources,
            )
        finally:
            _drop(binary, request)
        first = next((o.comparison.first for o in report.outcomes if o.comparison.first), None)
        if first:
            return [("equality", str(first))]
        if any("ended after the limit" in error for error in report.errors):
            return None
        return [("machine", error) for error in report.errors]

    return _answer(request, make, simulated)


def _small() -> Any:
    """Two rows of lanes, two groups in a word, one LayerNorm lane: what differs from the smallest, once."""
    from golden_model.integer.rails import SMALL
    from hw.params import Machine

    return Machine(model=SMALL, rows=2, columns=4, layernorm_lanes=1, trace=True)


def _answer(
    request: dict[str, Any], make: Callable[[], Any], simulated: Callable[[], list[tuple[str, str]] | None]
) -> dict[str, Any]:
    """Elaborated, told from the unmutated, built and run.

    Args:
        request: its ``netlist`` is the unmutated one's SHA-256, or empty.
        make: the component.
        simulated: the bench's failures; None where it took too long.
    """
    from amaranth.back import rtlil

    from sim.build import BuildFailure

    try:
        text = rtlil.convert(make(), name="dut", emit_src=False)
    except Exception as error:  # a mutant may fail in any way while it is elaborated
        return {
            "outcome": UNBUILDABLE,
            "message": f"{type(error).__name__}: {_first_line(error)}",
            "netlist": "",
        }
    netlist = hashlib.sha256(text.encode()).hexdigest()
    if netlist == request["netlist"]:
        return {"outcome": SAME, "message": "", "netlist": netlist}
    if request["elaborate_only"]:
        return {"outcome": ELABORATED, "message": "", "netlist": netlist}
    try:
        failures = simulated()
    except BuildFailure as error:
        return {"outcome": UNBUILDABLE, "message": _first_line(error), "netlist": netlist}
    if failures is None:
        return {"outcome": SLOW, "message": f"over {request['timeout_s']:g} s", "netlist": netlist}
    if failures:
        name, message = failures[0]
        return {"outcome": FAILED, "message": f"{name}: {_first_line(message)}", "netlist": netlist}
    return {"outcome": PASSED, "message": "", "netlist": netlist}


if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text())
    Path(sys.argv[2]).write_text(json.dumps(answer(asked)))
