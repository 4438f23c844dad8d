"""``elbert export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elbert import options
from elbert.results import deliver
from elbert.tables import print_table


def export(
    source: Annotated[Path, typer.Argument(help="Checkpoint folder that training wrote: RUN/best.")],
    destination: Annotated[Path, typer.Argument(help="Folder to write.")],
    data: Annotated[
        str | None, typer.Option(help="Folder with dev.tsv, or hub:NAME, hub:NAME/CONFIG.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="A task instead of --data: its dev split.")] = None,
    vocabulary: Annotated[
        int | None, typer.Option(help="Keep only so many pieces of a pruned vocabulary.")
    ] = None,
    threads: options.ThreadsOption = None,
    json_file: options.JsonOption = None,
) -> None:
    """Writes a float checkpoint with 16-bit weights and measures it as stored."""
    from golden_model.data.tasks import open_data
    from golden_model.train.export import export as write

    options.use_threads(threads)
    record = write(source, destination, open_data(data, task), vocabulary)
    stored = record["stored"]
    rows = [[i, f"{100 * value:.2f}"] for i, value in enumerate(stored["dev_accuracy"], start=1)]
    columns = ["iteration", "accuracy, %"]
    deliver(record, json_file, lambda: print_table("dev accuracy as stored", columns, rows))
