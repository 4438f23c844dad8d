"""One run of nextpnr: its arguments, and what is kept of its results."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from golden_model.errors import PromiseBroken
from golden_model.files import write_json
from hw.synth.devices import Device, Resources, find_device, shortages
from hw.synth.floorplan import floorplan
from hw.synth.guidance import Guidance
from hw.synth.timing import slowest_paths
from hw.synth.tools import ShowPhase, run_tool

_NAMES = {"lut4": "TRELLIS_COMB", "ff": "TRELLIS_FF", "dsp": "MULT18X18D", "block_ram": "DP16KD"}
_CLOCK = re.compile(r"Max frequency for clock\s+'[^']*': ([\d.]+) MHz")
_BULKY = ("guided.json", "top.sdf", "placed.json")
"""Files of hundreds of megabytes, read once and not kept."""

ROUTERS = ("router1", "router2")
"""nextpnr's. router1 reaches a higher clock (the nano machine on a 25F: 78 against 65 MHz from one placement,
in 144 against 111 s); router2 finishes where router1 does not (an 8x16 array)."""

PLACERS = ("heap", "static")
"""nextpnr's. static, which spreads all kinds of cells together, leaves ``small`` at 8x16 on an 85F a wire
length of 520 thousand before its refinement, heap 610 to 690 in more time."""

LARGEST_FOR_HEAP_AND_ROUTER1 = "lfe5u-25f"
"""What fits this device is placed by heap and routed by router1, if nothing else is asked for."""

CONFIGURATION = "top.config"
FLOORPLAN = "floorplan.json"
REPORT = "report.json"


@dataclass(frozen=True)
class Options:
    """What placement and routing depend on, the netlist and the seed apart."""

    device: Device
    clock_target_mhz: float
    router: str
    placer: str = PLACERS[0]

    def arguments(self, seed: int) -> list[str]:
        """Of nextpnr, its files apart."""
        return [
            *self.device.nextpnr_arguments,
            *("--seed", str(seed), "--freq", f"{self.clock_target_mhz:g}", "--timing-allow-fail"),
            *("--placer", self.placer, "--router", self.router, "--lpf-allow-unconstrained"),
        ]

    @property
    def constraints(self) -> str:
        """The LPF. Pins but the clock's lie anywhere; from an ordinary pin it may miss the clock network."""
        return f'LOCATE COMP "clk" SITE "{self.device.clock_pin}";\n'


def choose_router(needed: Resources) -> str:
    """The router for a design of that size."""
    return ROUTERS[0] if _is_small(needed) else ROUTERS[1]


def choose_placer(needed: Resources) -> str:
    """The placer for a design of that size."""
    return PLACERS[0] if _is_small(needed) else PLACERS[1]


def _is_small(needed: Resources) -> bool:
    return not shortages(needed, find_device(LARGEST_FOR_HEAP_AND_ROUTER1).resources)


def place(
    netlist: Path,
    options: Options,
    guidance: Guidance,
    seed: int,
    folder: Path,
    *,
    scopes: set[str],
    timeout: float,
    show_phase: ShowPhase,
) -> dict[str, Any]:
    """Places and routes ``netlist`` with its ``guidance``; configuration, report and floorplan stay in
    ``folder``.

    Returns:
        ``{"used", "fmax_mhz", "placed_mhz" (estimate before routing), "critical_paths", "usage"}``.

    Raises:
        PromiseBroken: nextpnr failed or took too long, or found several clocks.
    """
    (folder / "top.lpf").write_text(options.constraints, encoding="utf-8")
    guided = json.loads(netlist.read_text(encoding="utf-8"))
    guidance.apply(guided)
    (folder / "guided.json").write_text(json.dumps(guided), encoding="utf-8")
    del guided
    try:
        usage = run_tool(
            "nextpnr",
            [
                *("--json", "guided.json"),
                *("--textcfg", CONFIGURATION, "--report", REPORT, "--lpf", "top.lpf"),
                *("--sdf", "top.sdf", "--write", "placed.json"),
                *options.arguments(seed),
            ],
            folder,
            timeout=timeout,
            show_phase=show_phase,
        )
    except PromiseBroken as failure:
        clocks = _clocks(folder)
        if not clocks:
            raise
        raise type(failure)(f"{failure}; after placement the clock was {clocks[0]:g} MHz") from failure
    report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    if len(report["fmax"]) != 1:
        raise PromiseBroken(f"one clock was expected, nextpnr found {sorted(report['fmax'])}")
    ((_, fmax),) = report["fmax"].items()
    with (folder / "top.sdf").open(encoding="utf-8") as lines:
        paths = slowest_paths(lines)
    placed = json.loads((folder / "placed.json").read_text(encoding="utf-8"))
    write_json(folder / FLOORPLAN, floorplan(placed, options.device.grid, scopes, 2, paths))
    for name in _BULKY:
        (folder / name).unlink()
    return {
        "used": {key: report["utilization"].get(name, {"used": 0})["used"] for key, name in _NAMES.items()},
        "fmax_mhz": round(fmax["achieved"], 2),
        "placed_mhz": next(iter(_clocks(folder)), None),
        "critical_paths": [path.as_dict() for path in paths],
        "usage": asdict(usage),
    }


def _clocks(folder: Path) -> list[float]:
    """Clocks that nextpnr has printed so far: after placement, then after routing."""
    try:
        text = (folder / "nextpnr.log").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    return [float(mhz) for mhz in _CLOCK.findall(text)]
