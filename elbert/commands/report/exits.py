"""``elbert report exits``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elbert import options
from elbert.results import deliver
from golden_model.files import write_text


def exits(
    studies: Annotated[
        list[Path], typer.Argument(help="Results of elbert study exits --json, one of each task.")
    ],
    markdown_file: Annotated[
        Path | None, typer.Option("--markdown", help="Write the tables here as Markdown.")
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Write score against speedup, a panel a task, here (svg or png).")
    ] = None,
    json_file: options.JsonOption = None,
    quiet: options.QuietOption = False,
) -> None:
    """Early exits of several tasks together: every method at equal cost, and ELBERT's mean lead."""
    from elbert.show.gathered import print_gathered
    from quant.report.exits.gather import gather, read_studies
    from quant.report.exits.table import markdown

    found = read_studies(studies)
    gathered = gather(found)
    if figure is not None:
        from quant.report.exits.figure import draw

        draw(found, figure)
    if markdown_file is not None:
        write_text(markdown_file, markdown(gathered))
    deliver(gathered, json_file, None if quiet else lambda: print_gathered(gathered))
