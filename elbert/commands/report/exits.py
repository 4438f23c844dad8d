"""``elbert report exits``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elbert import options
from elbert.outputs import check_files
from elbert.results import deliver
from golden_model.files import write_json, write_text


def exits(
    studies: Annotated[
        list[Path],
        typer.Argument(
            help="Results of elbert study exits (--json, or study.json), one of each task or table."
        ),
    ],
    markdown_file: Annotated[
        Path | None, typer.Option("--markdown", help="Write the tables to this file as Markdown.")
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(help="Write score against speedup, a panel a study, to this file: .svg, .png or .pdf."),
    ] = None,
    json_file: options.JsonOption = None,
    quiet: options.QuietOption = False,
) -> None:
    """Early exits of several tasks together: every method at equal cost, and ELBERT's mean lead."""
    from elbert.show.gathered import print_gathered
    from quant.report.exits.gather import gather, read_studies
    from quant.report.exits.table import markdown
    from quant.style import check_suffix

    check_files(markdown=markdown_file, figure=figure)
    if figure is not None:
        check_suffix(figure)
    found = read_studies(studies)
    gathered = gather(found)
    if json_file is not None:
        write_json(json_file, gathered)
    if markdown_file is not None:
        write_text(markdown_file, markdown(gathered))
    if figure is not None:
        from quant.report.exits.figure import draw

        draw(found, figure)
    deliver(gathered, None, None if quiet else lambda: print_gathered(gathered))
