"""``elbert study exits``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from elbert import options
from elbert.bundled import BUNDLED, BUNDLED_TASK
from elbert.hints import hint
from elbert.outputs import check_folder
from elbert.progress import bars
from elbert.results import deliver
from golden_model.data.tables import Columns, load_dataset
from golden_model.data.tasks import TASKS, check_source, find_task


def exits(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(help="A table of one's own, or a folder (its dev); else --task."),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help=f"Dev split of a task: {', '.join(TASKS)}. By default {BUNDLED_TASK}."),
    ] = None,
    models: Annotated[
        Path | None,
        typer.Option(help="Folder of the methods' runs; for a task by default runs/methods/TASK."),
    ] = None,
    elbert: Annotated[
        Path | None,
        typer.Option(
            help=f"ELBERT's model folder (float, integer); for {BUNDLED_TASK}, and for a table without "
            "--models, the bundled one."
        ),
    ] = None,
    text_column: options.TextColumnOption = None,
    pair_column: options.PairColumnOption = None,
    label_column: options.LabelColumnOption = None,
    header: options.HeaderOption = True,
    encoding: options.EncodingOption = "utf-8",
    data: Annotated[
        Path | None, typer.Option(help="Folder of the tasks' data sets; by default that of ELBERT_DATA.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=2, help="Only the first so many sentences.")] = None,
    cache: Annotated[Path, typer.Option(help="Folder where computed logits are kept.")] = Path(
        "runs/study/cache"
    ),
    published: Annotated[
        bool, typer.Option(help="Use a task's logits that come with the project, where they fit.")
    ] = True,
    save_logits: Annotated[
        bool, typer.Option("--save-logits", help="Put all logits used, and the labels, among the project's.")
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
    figures: Annotated[
        str, typer.Option(help="Formats of the figures, with commas between: svg, png, pdf.")
    ] = "svg,png",
    device: options.DeviceOption = "cpu",
    threads: options.ThreadsOption = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the results; by default runs/study/exits/TASK.")
    ] = None,
    json_file: options.JsonOption = None,
    quiet: options.QuietOption = False,
) -> None:
    """Early exits compared: methods, policies and thresholds on one data set, at equal cost, with intervals.

    Cost is multiply-adds, answer first. A task's published logits are used where they fit: that needs neither
    checkpoint nor, where it is not there, the data set.
    """
    from elbert.show.study import print_study
    from golden_model.files import write_json
    from golden_model.locks import held
    from quant.studies.exits.figures import draw
    from quant.studies.exits.points import write_csv
    from quant.studies.exits.rows import table_name, table_rows, task_rows
    from quant.studies.exits.run import Options as StudyOptions
    from quant.studies.exits.run import study
    from quant.studies.exits.sources import find_forms, find_runs
    from quant.studies.exits.store import PUBLISHED, Store
    from quant.style import figure_suffixes

    if file is None and task is None:
        task = BUNDLED_TASK
    columns = Columns(text_column, pair_column, label_column, header, encoding)
    check_source(file, task, columns)
    _check_options(file, limit, save_logits, {"--data": data, "--logits": logits})
    suffixes = figure_suffixes(figures)
    name = table_name(str(file)) if task is None else find_task(task).name
    folder = output or Path("runs/study/exits") / name
    check_folder("output", folder)
    context.with_resource(held(folder))  # until the command ends
    options.use_threads(threads)

    place = None if task is None else logits or PUBLISHED
    runs = models if models is not None or task is None else Path("runs/methods") / task
    if elbert is None and (task == BUNDLED_TASK or (task is None and models is None)):
        elbert = BUNDLED
    sources = [] if runs is None else find_runs(runs, device)
    sources += [] if elbert is None else find_forms(elbert, device)
    if task is not None:
        metric = find_task(task).metric
        rows = task_rows(find_task(task), data, place if published else None)
        if rows.absent is not None:
            hint(f"no sentences here, scored by the labels published with the logits: {rows.absent}")
    else:
        metric = "accuracy"
        if not sources:
            raise ValueError(f"--models {runs} holds no run of a method, and --elbert names no model folder")
        naming = next((source for source in sources if source.classes is not None), sources[0])
        rows = table_rows(load_dataset(str(file), "dev", columns), *naming.known_classes)
    if limit is not None:
        rows = rows.head(limit)
    store = Store(name, rows, cache, place if published else None, hint)
    found = store.gather(sources, bars(quiet))
    settings = StudyOptions(splits, bootstrap, seed, caution)
    result = study(name, metric, rows, found.tables, settings, bars(quiet))
    result |= {"origins": found.origins, "notes": found.notes}
    write_csv(folder / "points.csv", result["points"])
    write_json(folder / "study.json", result)
    if json_file is not None:
        write_json(json_file, result)
    if save_logits:
        assert place is not None, "refused above for tables"
        store.publish(found.tables.values(), place)
    draw(result, folder, suffixes, bars(quiet))

    def show() -> None:
        print_study(result)
        if result["missing"] and task is not None:
            typer.echo(
                f"without {', '.join(result['missing'])}: to train what is missing, "
                f"elbert train --task {task} --method all --output {runs}"
            )
        numbered = ", ".join(f"{i} {word}" for i, word in enumerate(rows.classes))
        typer.echo(f"classes of the logits, the data's matched by name: {numbered}")
        typer.echo(f"figures, points and result: {folder}")

    deliver(result, None, None if quiet else show)


def _check_options(file: Path | None, limit: int | None, save_logits: bool, of_tasks: dict[str, Any]) -> None:
    """Raises ValueError for options that do not go together."""
    if save_logits and limit is not None:
        raise ValueError(f"--save-logits is for all sentences, not for --limit {limit}")
    if file is not None:
        given = [name for name, value in of_tasks.items() if value is not None]
        given += ["--save-logits"] if save_logits else []
        if given:
            raise ValueError(f"{given[0]} is for tasks, and {file} is a table")
