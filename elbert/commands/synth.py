"""The hardware's commands: ``elbert synth``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from hw.synth.flow import Report


class _Progress:
    """Stages on stderr: a live line with elapsed time on a terminal, a plain line a stage elsewhere."""

    def __init__(self, status: Any, live: bool) -> None:
        self._status, self._live = status, live
        self._stage, self._began = "", time.monotonic()

    def stage(self, text: str) -> None:
        """A new stage begins."""
        self.close()
        self._stage, self._began = text, time.monotonic()
        self._status.update(text)
        if not self._live:
            self._status.console.print(f"{text} ...", highlight=False, markup=False)

    def phase(self, text: str) -> None:
        """Something new inside the stage."""
        elapsed = time.monotonic() - self._began
        self._status.update(f"{self._stage} · {elapsed:.0f} s · {text}".replace("[", "("))

    def close(self) -> None:
        """The running stage has ended."""
        if self._stage:
            elapsed = time.monotonic() - self._began
            self._status.console.print(f"{self._stage}: {elapsed:.1f} s", highlight=False, markup=False)
            self._stage = ""


@contextlib.contextmanager
def _progress() -> Iterator[_Progress]:
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("starting") as status:
        progress = _Progress(status, console.is_terminal)
        yield progress
        progress.close()


def _print(title: str, report: Report) -> None:
    from golden_model.results import print_table

    data = report.as_dict()
    labels = {
        "lut4": "LUT4",
        "ff": "FF",
        "dsp": "DSP (MULT18X18D)",
        "block_ram": "block RAM (DP16KD)",
    }
    rows = [
        [labels[key], value["used"], value["available"], f"{value['percent']:.1f} %"]
        for key, value in data["utilisation"].items()
    ]
    print_table(title, ["resource", "used", "available", "utilisation"], rows)
    if report.modules:
        parts = [[name, *numbers.values()] for name, numbers in report.modules.items()]
        print_table("Parts, before packing", ["part", *labels.values()], parts)
    times = ", ".join(f"{name} {value:g} s" for name, value in report.seconds.items())
    print(f"clock after routing: {report.clock_mhz:.1f} MHz (aimed at {report.clock_target_mhz:g} MHz)")
    print(f"not counted above: the harness with {report.harness.lut4} LUT4 and {report.harness.ff} FF")
    print(f"time: {times}")
    print("files: " + ", ".join(report.files.values()))


def synth(
    device: Annotated[str, typer.Option(help="ECP5 device, such as lfe5u-25f, lfe5um-45f, lfe5um5g-85f.")],
    preset: Annotated[str, typer.Option(help="Model geometry: nano, small, base or large.")] = "nano",
    array: Annotated[str, typer.Option(help="Multipliers, rows x columns.")] = "4x4",
    block: Annotated[str | None, typer.Option(help="One block alone instead of the whole machine.")] = None,
    layernorm_lanes: Annotated[
        int | None,
        typer.Option(
            help="Elements LayerNorm finishes per cycle. Default: as many as the device has multipliers for."
        ),
    ] = None,
    package: Annotated[str, typer.Option(help="Package of the device.")] = "CABGA381",
    speed: Annotated[int, typer.Option(help="Speed grade.")] = 6,
    clock: Annotated[float, typer.Option(help="Clock to aim at in MHz.")] = 100.0,
    router: Annotated[str, typer.Option(help="router1, or router2 for large arrays.")] = "router1",
    seed: Annotated[int, typer.Option(help="Seed of the placer.")] = 1,
    depth: Annotated[int, typer.Option(help="Report the parts of the design down to this level.")] = 0,
    timeout: Annotated[float, typer.Option(help="Seconds that each tool may take.")] = 3600.0,
    json: Annotated[Path | None, typer.Option(help="Write the report to this file.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for netlists, logs and bitstream.")] = None,
) -> None:
    """Synthesises the machine, or one block of it, for an ECP5: area, clock and bitstream.

    The design sits in a harness of shift registers that needs four pins. The bitstream shows that the design
    can be packed; a board needs a platform with a memory controller instead of the harness.
    """
    from golden_model.results import header, write_json
    from hw.synth.designs import choose_layernorm_lanes, find_preset, make_block, make_machine, parse_array
    from hw.synth.devices import find_device
    from hw.synth.flow import ROUTERS, synthesise

    part = find_device(device, package, speed)
    config = find_preset(preset)
    rows, columns = parse_array(array)
    if router not in ROUTERS:
        raise ValueError(f"router {router!r} is not one of {', '.join(ROUTERS)}")
    if clock <= 0 or timeout <= 0:
        raise ValueError(f"clock {clock:g} MHz and timeout {timeout:g} s must be above 0")
    if depth < 0:
        raise ValueError(f"depth {depth} is below 0")

    lanes = None
    if block is None:
        lanes = layernorm_lanes or choose_layernorm_lanes(rows, columns, part.resources.dsp)
    name = f"{block or 'machine'}-{preset}-{rows}x{columns}-{part.name}"
    with _progress() as progress:
        report = synthesise(
            lambda: (
                make_machine(config, rows, columns, lanes)
                if block is None
                else make_block(block, config, rows, columns)
            ),
            part,
            output or Path("build") / "synth" / name,
            seed=seed,
            clock_target_mhz=clock,
            depth=depth,
            router=router,
            timeout=timeout,
            show_stage=progress.stage,
            show_phase=progress.phase,
        )
    title = f"{block or 'ELBERT machine'}, {preset}, array {rows}x{columns}"
    _print(f"{title}, on {part.name} {part.package} speed grade {part.speed}", report)
    if lanes is not None:
        print(f"LayerNorm finishes {lanes} element(s) per cycle")
    if json is not None:
        design = {
            "block": block,
            "preset": preset,
            "rows": rows,
            "columns": columns,
            "layernorm_lanes": lanes,
        }
        write_json(json, {"header": header(seed), "design": design, **report.as_dict()})


def register(app: typer.Typer) -> None:
    """Adds the hardware's commands to ``app``."""
    app.command()(synth)
