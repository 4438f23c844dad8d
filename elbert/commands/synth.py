"""``elbert synth``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elbert import options
from elbert.progress import stages
from elbert.results import deliver


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
    json_file: options.JsonOption = None,
    output: Annotated[Path | None, typer.Option(help="Folder for netlists, logs and bitstream.")] = None,
) -> None:
    """Synthesises the machine, or one block of it, for an ECP5: area, clock and bitstream.

    The design sits in a harness of shift registers that needs four pins. The bitstream shows that the design
    can be packed; a board needs a platform with a memory controller instead of the harness.
    """
    from elbert.show.synthesis import print_synthesis
    from golden_model.provenance import header
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
    with stages() as progress:
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
    design = {
        "block": block,
        "preset": preset,
        "rows": rows,
        "columns": columns,
        "layernorm_lanes": lanes,
    }
    title = f"{block or 'ELBERT machine'}, {preset}, array {rows}x{columns}"

    def show() -> None:
        print_synthesis(f"{title}, on {part.name} {part.package} speed grade {part.speed}", report)
        if lanes is not None:
            typer.echo(f"LayerNorm finishes {lanes} element(s) per cycle")

    deliver({"header": header(seed), "design": design, **report.as_dict()}, json_file, show)
