"""``elbert synth``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elbert import options
from elbert.outputs import check_files
from elbert.progress import stages
from elbert.results import deliver

if TYPE_CHECKING:
    from hw.synth.request import Request

FOLDER = Path("build") / "synth"
"""Where stages are kept."""


def synth(
    device: Annotated[str, typer.Option(help="ECP5 device, such as lfe5u-25f, lfe5um-45f, lfe5um5g-85f.")],
    preset: Annotated[str, typer.Option(help="Model geometry: nano, small, base or large.")] = "nano",
    tokens: Annotated[
        int | None, typer.Option(help="Longest sentence that the memories hold. Default: the preset's.")
    ] = None,
    array: Annotated[str, typer.Option(help="Multipliers, rows x columns.")] = "4x4",
    block: Annotated[
        str | None,
        typer.Option(help="One block alone instead of the whole machine; a wrong name lists them."),
    ] = None,
    layernorm_lanes: Annotated[
        int | None,
        typer.Option(
            help="Elements LayerNorm finishes per cycle. Default: as many as the device has multipliers for."
        ),
    ] = None,
    dense_memories: Annotated[
        bool,
        typer.Option(
            "--dense-memories", help="As few block RAM as possible, with multiplexers behind them: slower."
        ),
    ] = False,
    package: Annotated[str, typer.Option(help="Package of the device.")] = "CABGA381",
    speed: Annotated[int, typer.Option(help="Speed grade.")] = 6,
    clock: Annotated[float, typer.Option(help="Clock to aim at in MHz.")] = 100.0,
    mapper: Annotated[
        str | None, typer.Option(help="abc9 or abc of Yosys. Default: abc9, and abc where that crashes.")
    ] = None,
    placer: Annotated[
        str | None, typer.Option(help="heap or static of nextpnr. Default: static above an LFE5U-25F.")
    ] = None,
    router: Annotated[
        str | None, typer.Option(help="router1 or router2 of nextpnr. Default: router2 above an LFE5U-25F.")
    ] = None,
    seed: Annotated[
        list[int] | None, typer.Option(help="Seed of the placer; may be given again. Default: 1.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Place with so many seeds, from 1 on.")] = None,
    workers: Annotated[int, typer.Option(help="Placements at a time, a core and up to 3 GB each.")] = 1,
    depth: Annotated[int, typer.Option(help="Levels of parts that are kept apart, not flattened.")] = 0,
    estimate: Annotated[
        bool,
        typer.Option("--estimate", help="Only estimate what the design needs, in seconds, without tools."),
    ] = False,
    timeout: Annotated[float, typer.Option(help="Seconds that each run of a tool may take.")] = 3600.0,
    json_file: options.JsonOption = None,
    page: Annotated[
        Path | None, typer.Option(help="Write the report as one HTML page, with the floorplan.")
    ] = None,
    output: Annotated[
        Path, typer.Option(help="Folder of the stages: netlists, placements, bitstreams, logs.")
    ] = FOLDER,
) -> None:
    """Synthesises the machine, or one block of it, for an ECP5: area, clock and bitstream.

    The design sits in a harness of shift registers that needs four pins. The bitstream shows that the design
    can be packed; a board needs a platform with a memory controller instead of the harness. Stages are kept:
    the same design with the same options is only read again. docs/synthesis.md says what is measured.
    """
    from elbert.show.synthesis import print_budget, print_synthesis
    from golden_model.files import write_text
    from golden_model.provenance import header
    from hw.synth.devices import find_device
    from hw.synth.flow import TooLarge
    from hw.synth.page import render_page
    from hw.synth.request import Request

    check_files(page=page)
    if seed and seeds is not None:
        raise ValueError("--seed and --seeds exclude each other")
    request = Request(
        device=find_device(device, package, speed),
        preset=preset,
        tokens=tokens,
        array=array,
        block=block,
        layernorm_lanes=layernorm_lanes,
        dense_memories=dense_memories,
        clock_target_mhz=clock,
        seeds=tuple(seed or range(1, (1 if seeds is None else seeds) + 1)),
        depth=depth,
        mapper=mapper,
        placer=placer,
        router=router,
    )
    if workers < 1 or timeout <= 0:
        raise ValueError(f"workers {workers} and timeout {timeout:g} s must be above 0")
    design = request.design()
    if estimate:
        _estimate(request, json_file)
        return
    with stages() as progress:
        try:
            report = request.synthesise(
                output,
                workers=workers,
                timeout=timeout,
                show_stage=progress.stage,
                show_phase=progress.phase,
            )
        except TooLarge as refusal:
            progress.close()
            print_budget(f"{request.title}: what it needs", refusal.needed, request.device.resources)
            raise
    data = {"header": header(request.seeds[0]), "design": design, **report.as_dict()}
    if page is not None:
        write_text(page, render_page(request.title, data))
    deliver(data, json_file, lambda: print_synthesis(request.title, data))


def _estimate(request: Request, json_file: Path | None) -> None:
    """Shows what a design will need; raises PromiseBroken if that is more than the device has."""
    from elbert.show.synthesis import print_budget
    from golden_model.provenance import header
    from hw.synth.budget import certain, estimate
    from hw.synth.flow import AT_LEAST, check_fits, describe

    with stages() as progress:
        progress.stage("Amaranth to RTLIL")
        needed = estimate(describe(request.make()))
    device = {"name": request.device.name, "package": request.device.package, "speed": request.device.speed}
    data = {"header": header(None), "design": request.design(), "device": device, "estimated": asdict(needed)}
    title = f"{request.title}: estimated"
    deliver(data, json_file, lambda: print_budget(title, needed, request.device.resources))
    check_fits(certain(needed), request.device, AT_LEAST)
