"""``elbert study exits``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elbert import options
from elbert.bundled import BUNDLED
from elbert.progress import bars
from elbert.results import deliver
from golden_model.data.tasks import TASKS, find_task

BUNDLED_TASK = "sst2"
"""What the bundled model was trained on."""


def exits(
    task: Annotated[str, typer.Option(help=f"Its dev split: {', '.join(TASKS)}.")] = BUNDLED_TASK,
    models: Annotated[
        Path | None, typer.Option(help="Folder of the methods' runs; by default runs/methods/TASK.")
    ] = None,
    elbert: Annotated[
        Path | None,
        typer.Option(help=f"ELBERT's model folder (float, integer); for {BUNDLED_TASK} the bundled one."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data sets; by default that of ELBERT_DATA.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=2, help="Only the first so many sentences.")] = None,
    cache: Annotated[Path, typer.Option(help="Folder where computed logits are kept.")] = Path(
        "runs/study/cache"
    ),
    published: Annotated[
        bool, typer.Option(help="Use the logits that come with the project, where they fit.")
    ] = True,
    save_logits: Annotated[
        bool, typer.Option("--save-logits", help="Put all logits used among those of the project.")
    ] = False,
    logits: Annotated[
        Path | None, typer.Option(help="Another folder for the project's logits, a folder per task inside.")
    ] = None,
    splits: Annotated[int, typer.Option(min=1, help="Half-splits: thresholds from one half.")] = 50,
    bootstrap: Annotated[int, typer.Option(min=1, help="Resamples of the sentences.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of splits and resamples.")] = 0,
    caution: Annotated[
        float,
        typer.Option(
            min=0,
            help="Standard errors that a headline's loss must stay below what may be lost, when picked.",
        ),
    ] = 1.0,
    device: options.DeviceOption = "cpu",
    threads: options.ThreadsOption = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the results; by default runs/study/exits/TASK.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the result here too.")] = None,
    quiet: options.QuietOption = False,
) -> None:
    """Early exits compared: methods, policies and thresholds on one task, at equal cost, with intervals."""
    from elbert.show.study import print_study
    from golden_model.data.tasks import load_task
    from golden_model.files import write_json
    from quant.studies.exits.figures import draw
    from quant.studies.exits.points import write_csv
    from quant.studies.exits.run import Options as StudyOptions
    from quant.studies.exits.run import study
    from quant.studies.exits.sources import find_forms, find_runs
    from quant.studies.exits.store import PUBLISHED, Store

    options.use_threads(threads)
    chosen = find_task(task)
    if elbert is None and task == BUNDLED_TASK:
        elbert = BUNDLED
    rows = load_task(chosen, "dev", data)
    if limit is not None:
        rows = rows.head(limit)
    runs = models or Path("runs/methods") / task
    sources = find_runs(runs, device) + ([] if elbert is None else find_forms(elbert, device))
    place = logits or PUBLISHED
    store = Store(task, rows, cache, place if published else None, lambda note: typer.echo(note, err=True))
    found = store.gather(sources, bars(quiet))
    settings = StudyOptions(splits, bootstrap, seed, caution)
    result = study(task, chosen.metric, rows, found.tables, settings)
    result |= {"origins": found.origins, "notes": found.notes}
    folder = output or Path("runs/study/exits") / task
    write_csv(folder / "points.csv", result["points"])
    write_json(folder / "study.json", result)
    draw(result, folder)
    if save_logits:
        store.publish(found.tables.values(), place)

    def show() -> None:
        print_study(result)
        if result["missing"]:
            typer.echo(
                f"without {', '.join(result['missing'])}: to train what is missing, "
                f"elbert train --task {task} --method all --output {runs}"
            )
        typer.echo(f"figures, points and result: {folder}")

    deliver(result, json_file, None if quiet else show)
