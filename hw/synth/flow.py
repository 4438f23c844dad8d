"""Component to bitstream: Amaranth, Verilog, Yosys, nextpnr-ecp5, ecppack, and the figures of each step."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from golden_model.errors import PromiseBroken
from golden_model.files import write_text
from golden_model.locks import held
from hw.synth.devices import Device, Resources, shortages, smallest_that_fits
from hw.synth.script import yosys_script
from hw.synth.tools import ShowPhase, ToolCrashed, run_tool

if TYPE_CHECKING:
    from amaranth.lib import wiring

LUTS_OF_CELL = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 4}
"""LUT4 sites that one cell of Yosys takes: plain, two bits of carry chain, 16x4 bits of distributed RAM."""

_NEXTPNR_NAMES = {"lut4": "TRELLIS_COMB", "ff": "TRELLIS_FF", "dsp": "MULT18X18D", "block_ram": "DP16KD"}

ROUTERS = ("router1", "router2")
"""nextpnr's. router1 reaches a higher clock (the nano machine on a 25F: 78 against 65 MHz from one placement,
in 144 against 111 s); router2 finishes where router1 does not (an 8x16 array)."""

ShowStage = Callable[[str], None]


@dataclass
class Report:
    """Figures of one run; ``as_dict`` is what goes to JSON."""

    device: Device
    seed: int
    used: Resources
    """After placement, the harness not counted."""
    harness: Resources
    cells: dict[str, int]
    """Yosys's cells of the design by type."""
    modules: dict[str, dict[str, int]]
    """LUT4, FF, DSP and block RAM of each part that was kept apart, before packing."""
    mapper: str
    """Yosys's technology mapper: ``abc9``, or ``abc`` where that one crashed."""
    router: str
    clock_mhz: float
    clock_target_mhz: float
    critical_path: list[str]
    """Cells from start to end, with the delay in ns up to each."""
    seconds: dict[str, float]
    files: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        offered = self.device.resources
        return {
            "device": {"name": self.device.name, "package": self.device.package, "speed": self.device.speed},
            "seed": self.seed,
            "mapper": self.mapper,
            "router": self.router,
            "utilisation": {
                key: {"used": used, "available": offer, "percent": round(100 * used / offer, 2)}
                for (key, used), offer in zip(
                    asdict(self.used).items(), asdict(offered).values(), strict=True
                )
            },
            "harness": asdict(self.harness),
            "cells": self.cells,
            "modules": self.modules,
            "clock": {"mhz": self.clock_mhz, "target_mhz": self.clock_target_mhz},
            "critical_path": self.critical_path,
            "seconds": self.seconds,
            "files": self.files,
        }


def count_resources(cells: Counter[str]) -> Resources:
    """Resources that Yosys's cells take before packing."""
    return Resources(
        lut4=sum(sites * cells[name] for name, sites in LUTS_OF_CELL.items()),
        ff=cells["TRELLIS_FF"],
        dsp=cells["MULT18X18D"],
        block_ram=cells["DP16KD"],
    )


class Netlist:
    """Cell counts by module, from the JSON netlist that Yosys writes."""

    def __init__(self, netlist: dict[str, Any]) -> None:
        self._own = {
            name: Counter(cell["type"] for cell in module["cells"].values())
            for name, module in netlist["modules"].items()
            if not {"blackbox", "whitebox"} & module["attributes"].keys()  # the cell library
        }

    def total(self, module: str) -> Counter[str]:
        """Cells of ``module`` and of everything inside it."""
        cells: Counter[str] = Counter()
        for kind, count in self._own[module].items():
            inner = self.total(kind) if self._is_design(kind) else Counter({kind: 1})
            for name, number in inner.items():
                cells[name] += count * number
        return cells

    def own(self, module: str) -> Counter[str]:
        """Cells of ``module`` itself."""
        return Counter({k: n for k, n in self._own[module].items() if not self._is_design(k)})

    def children(self, module: str) -> list[str]:
        """Modules directly inside ``module``, in order of name."""
        return sorted(kind for kind in self._own[module] if self._is_design(kind))

    def _is_design(self, kind: str) -> bool:
        return kind in self._own


def _critical_path(report: dict[str, Any], clock: str) -> list[str]:
    """The longest register-to-register path of ``clock``, a line a step."""
    for path in report.get("critical_paths", []):
        if path["from"].split()[-1] == clock and path["to"].split()[-1] == clock:
            total, lines = 0.0, []
            for step in path["path"]:
                total += step["delay"]
                lines.append(f"{total:6.2f} ns {step['type']} {step['to']['cell']}.{step['to']['port']}")
            return lines
    return []


def _split_modules(netlist: Netlist, module: str = "top.design") -> dict[str, dict[str, int]]:
    """Resources of every kept part, with all that is inside it, by path below the design."""
    rows: dict[str, dict[str, int]] = {}
    for name in netlist.children(module):
        rows[name.removeprefix("top.design.")] = asdict(count_resources(netlist.total(name)))
        rows |= _split_modules(netlist, name)
    return rows


def check_fits(needed: Resources, device: Device) -> None:
    """Raises PromiseBroken naming what is short and the smallest device of the family with enough."""
    if missing := shortages(needed, device.resources):
        family = device.name.partition("-")[0]
        other = smallest_that_fits(needed, family)
        hint = f"the smallest {family} that has them is {other}" if other else f"no {family} has them"
        raise PromiseBroken(f"the design needs {', '.join(missing)} on {device.name}; {hint}")


def synthesise(
    make: Callable[[], wiring.Component],
    device: Device,
    folder: Path,
    *,
    seed: int = 1,
    clock_target_mhz: float = 100.0,
    depth: int = 0,
    router: str = "router1",
    bitstream: bool = True,
    timeout: float = 3600.0,
    show_stage: ShowStage = lambda text: None,
    show_phase: ShowPhase = lambda text: None,
) -> Report:
    """The whole flow for one component; all files and logs land in ``folder``.

    Args:
        make: returns the component, not yet elaborated.
        seed: of nextpnr; the same seed gives the same result.
        clock_target_mhz: what placement and routing aim at. Missing it is reported, not an error.
        depth: levels of parts whose area is counted one by one; keeping them apart costs some area.
        router: nextpnr's; see ROUTERS.
        bitstream: also pack one.
        timeout: seconds for each tool.

    Raises:
        PromiseBroken: a tool failed or took too long, or the design is too large for the device.
        FolderInUse: another process writes into the folder.
    """
    from hw.emit import to_verilog
    from hw.synth.harness import Harness

    with held(folder):
        seconds: dict[str, float] = {}

        show_stage("Amaranth to Verilog")
        began = time.monotonic()
        verilog = to_verilog(Harness(make()), "top")
        write_text(folder / "top.v", verilog)
        seconds["amaranth"] = time.monotonic() - began

        def tool(name: str, *arguments: str) -> None:
            seconds[name] = run_tool(name, arguments, folder, timeout=timeout, show_phase=show_phase)

        show_stage("Yosys: logic synthesis")
        mapper = "abc9"
        write_text(folder / "top.ys", yosys_script(verilog, depth, mapper))
        try:
            tool("yosys", "-s", "top.ys")
        except ToolCrashed:
            # The WebAssembly build of ABC9 dies on some netlists; the older mapper takes them, untimed.
            mapper = "abc"
            show_stage("Yosys: logic synthesis again, with the plain mapper (ABC9 crashed)")
            write_text(folder / "top.ys", yosys_script(verilog, depth, mapper))
            tool("yosys", "-s", "top.ys")
        netlist = Netlist(json.loads((folder / "top.json").read_text(encoding="utf-8")))
        check_fits(count_resources(netlist.total("top")), device)

        show_stage("nextpnr: placement and routing")
        # The other pins may lie anywhere; from an ordinary pin the clock may not reach the clock network.
        write_text(folder / "top.lpf", f'LOCATE COMP "clk" SITE "{device.clock_pin}";\n')
        tool(
            "nextpnr",
            *device.nextpnr_arguments,
            *("--json", "top.json", "--textcfg", "top.config", "--report", "report.json"),
            *("--seed", str(seed), "--freq", f"{clock_target_mhz:g}", "--timing-allow-fail"),
            *("--router", router, "--lpf", "top.lpf", "--lpf-allow-unconstrained"),
        )
        found = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        files = {"verilog": "top.v", "netlist": "top.json", "configuration": "top.config"}
        if bitstream:
            show_stage("ecppack: bitstream")
            tool("ecppack", "--compress", "top.config", "top.bit")
            files["bitstream"] = "top.bit"

        harness = count_resources(netlist.own("top"))
        placed = {
            key: found["utilization"].get(name, {"used": 0})["used"] for key, name in _NEXTPNR_NAMES.items()
        }
        used = Resources(**{key: count - getattr(harness, key) for key, count in placed.items()})
        if len(found["fmax"]) != 1:
            raise PromiseBroken(f"one clock was expected, nextpnr found {sorted(found['fmax'])}")
        ((clock, fmax),) = found["fmax"].items()
        return Report(
            device=device,
            seed=seed,
            used=used,
            harness=harness,
            cells={k: n for k, n in sorted(netlist.total("top.design").items()) if not k.startswith("$")},
            modules=_split_modules(netlist),
            mapper=mapper,
            router=router,
            clock_mhz=round(fmax["achieved"], 2),
            clock_target_mhz=clock_target_mhz,
            critical_path=_critical_path(found, clock),
            seconds={name: round(value, 1) for name, value in seconds.items()},
            files={name: str(folder / file) for name, file in files.items()},
        )
