"""``elbert study peers``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elbert import options, policies
from elbert.bundled import BUNDLED, BUNDLED_TASK
from elbert.hints import hint
from elbert.outputs import check_folder
from elbert.progress import bars
from elbert.results import deliver
from golden_model.data.tables import Columns
from golden_model.data.tasks import TASKS, check_source, find_task, open_data
from quant.studies.peers.defaults import BATCH, PEERS, REPETITIONS, SAMPLES, TIMED


def peers(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(help="A table of one's own, or a folder (its dev); else --task."),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help=f"Dev split of a task: {', '.join(TASKS)}. By default {BUNDLED_TASK}."),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Model folder (float, integer); by default the bundled one.")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Sentences to calibrate on for a table of one's own: a table, or a folder's train split. A "
            "task has its own."
        ),
    ] = None,
    chosen: Annotated[
        str, typer.Option("--peers", help=f"With commas between, of {', '.join(PEERS)}.")
    ] = ",".join(PEERS),
    policy: options.PolicyOption = policies.POLICY,
    batch: Annotated[int, typer.Option(min=1, help="Sentences computed together.")] = BATCH,
    timed: Annotated[int, typer.Option(min=1, help="Sentences that are timed.")] = TIMED,
    repetitions: Annotated[
        int, typer.Option(min=1, help="Of the timing, in turn with float32; medians count.")
    ] = REPETITIONS,
    samples: Annotated[int, typer.Option(min=1, help="Sentences to calibrate on.")] = SAMPLES,
    seed: Annotated[int, typer.Option(min=0, help="Chooses them.")] = 0,
    text_column: options.TextColumnOption = None,
    pair_column: options.PairColumnOption = None,
    label_column: options.LabelColumnOption = None,
    header: options.HeaderOption = True,
    encoding: options.EncodingOption = "utf-8",
    limit: options.LimitOption = None,
    figures: Annotated[
        str, typer.Option(help="Formats of the figure, with commas between: svg, png, pdf.")
    ] = "svg,png",
    threads: options.ThreadsOption = 1,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the results; by default runs/study/peers/TASK.")
    ] = None,
    json_file: options.JsonOption = None,
    quiet: options.QuietOption = False,
) -> None:
    """The same checkpoint quantised by others: accuracy, bytes, speed, and who computes in integers alone.

    An interrupted study goes on: rows that are done are kept in the output folder. A package that is not
    installed is named in its row.
    """
    from elbert.show.peers import print_peers
    from golden_model.data.tables import load_texts
    from golden_model.evaluation.backends import model_folder
    from golden_model.files import write_json
    from golden_model.locks import held
    from quant.studies.peers.figures import draw
    from quant.studies.peers.run import Options as StudyOptions
    from quant.studies.peers.run import study
    from quant.style import figure_suffixes

    if file is None and task is None:
        task = BUNDLED_TASK
    columns = Columns(text_column, pair_column, label_column, header, encoding)
    check_source(file, task, columns)
    if task is not None and calibration is not None:
        raise ValueError(f"--calibration is for a table; task {task} calibrates on its train split")
    if file is not None and calibration is None:
        raise ValueError(f"{file}: name the sentences to calibrate on: --calibration TABLE")
    names = tuple(dict.fromkeys(part.strip() for part in chosen.split(",")))
    settings = StudyOptions(names, batch, timed, repetitions, samples, seed)
    suffixes = figure_suffixes(figures)
    name = find_task(task).name if task is not None else Path(str(file)).stem
    folder = output or Path("runs/study/peers") / name
    check_folder("output", folder)
    options.use_threads(threads)
    place = model or BUNDLED
    float_folder = model_folder(place, "float")
    try:
        integer_folder = model_folder(place, "golden")
    except FileNotFoundError:
        integer_folder = None
    leaving = policies.choose_policy(policy, place, "golden")
    data = open_data(file, task, columns=columns)
    data = data if limit is None else data.head(limit)
    watched = (
        open_data(None, task, "train") if task is not None else load_texts(str(calibration), "train", columns)
    )
    context.with_resource(held(folder))  # until the command ends
    result = study(float_folder, integer_folder, data, watched, leaving, settings, folder, bars(quiet), hint)
    result = {"task": task, **result}
    write_json(folder / "study.json", result)
    draw(result, folder, suffixes, bars(quiet))

    def show() -> None:
        print_peers(result)
        typer.echo(f"figure and result: {folder}")

    deliver(result, json_file, None if quiet else show)
