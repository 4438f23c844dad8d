"""``elbert registers``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from elbert import options
from elbert.results import deliver


def registers(
    form: Annotated[str, typer.Option("--format", help="c, markdown, html, ipxact or python.")] = "c",
    output: Annotated[
        Path | None,
        typer.Option(help="File to write; for html and python a new folder. Default: a usual name, here."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="Fill in the constants of this model's machine: nano, small, base or large."),
    ] = None,
    config: options.ConfigOption = None,
    array: options.ArrayOption = "4x4",
    json_file: options.JsonOption = None,
) -> None:
    """Writes the accelerator's register map for programs and people, from its SystemRDL description."""
    from golden_model.provenance import header
    from hw.bus.registers.export import FORMATS, export
    from hw.bus.registers.model import compile_registers, geometry_parameters, read_registers
    from hw.params import Machine, parse_array

    if form not in FORMATS:
        raise ValueError(f"format {form!r} is not one of {', '.join(FORMATS)}")
    parameters = None
    if preset is not None or config is not None:
        rows, columns = parse_array(array)
        machine = Machine(model=options.read_config(preset or "", config), rows=rows, columns=columns)
        parameters = geometry_parameters(machine.model, rows, columns, machine.axi_bits)
    path = output or Path(FORMATS[form][1])
    export(form, path, parameters)
    document = {
        "header": header(None),
        "format": form,
        "file": str(path),
        "registers": [asdict(each) for each in read_registers(compile_registers(parameters).top).values()],
    }
    deliver(document, json_file, lambda: typer.echo(f"wrote {path}"))
