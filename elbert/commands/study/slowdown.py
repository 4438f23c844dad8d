"""``elbert study slowdown``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elbert import options, policies
from elbert.bundled import BUNDLED, BUNDLED_TASK
from elbert.hints import hint, hint_policy, hint_truncated
from elbert.outputs import check_folder
from elbert.progress import bars
from elbert.results import deliver
from golden_model.data.tables import Columns
from golden_model.data.tasks import TASKS, check_source, find_task, open_data
from quant.studies.slowdown.defaults import CANDIDATES, CHANGED, OBJECTIVE, SIMILARITY

POLICIES = "bias_1,entropy,patience"


def slowdown(
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
    backend: Annotated[
        str, typer.Option(help="Whose exits are reported, golden or float; the search is on float.")
    ] = "golden",
    chosen: Annotated[str, typer.Option("--policies", help="Exit policies, with commas between.")] = POLICIES,
    delta: options.DeltaOption = policies.DELTA,
    window: options.WindowOption = policies.WINDOW,
    margin: options.MarginOption = policies.MARGIN,
    value_range: options.RangeOption = policies.RANGE,
    patience: options.PatienceOption = policies.PATIENCE,
    caps: Annotated[
        str | None,
        typer.Option(help="Iterations at most, with commas between: 3,4,6,12. By default 2 to full depth."),
    ] = None,
    changed: Annotated[float, typer.Option(help="Share of a sentence's words to change at most.")] = CHANGED,
    candidates: Annotated[int, typer.Option(help="Nearest words tried for a word.")] = CANDIDATES,
    similarity: Annotated[float, typer.Option(help="Least cosine of word and substitute.")] = SIMILARITY,
    objective: Annotated[
        str,
        typer.Option(
            help="exit: the exit of each policy; uniform: equal probabilities at all exits (WAFFLE)."
        ),
    ] = OBJECTIVE,
    keep_answer: Annotated[
        bool,
        typer.Option(
            "--keep-answer/--any-answer", help="Whether full depth must answer as to the sentence itself."
        ),
    ] = True,
    text_column: options.TextColumnOption = None,
    pair_column: options.PairColumnOption = None,
    label_column: options.LabelColumnOption = None,
    header: options.HeaderOption = True,
    encoding: options.EncodingOption = "utf-8",
    limit: Annotated[int, typer.Option(min=1, help="Only the first so many sentences.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Of the random substitutions.")] = 0,
    figures: Annotated[
        str, typer.Option(help="Formats of the figure, with commas between: svg, png, pdf.")
    ] = "svg,png",
    device: options.DeviceOption = "cpu",
    threads: options.ThreadsOption = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the results; by default runs/study/slowdown/TASK.")
    ] = None,
    json_file: options.JsonOption = None,
    quiet: options.QuietOption = False,
) -> None:
    """Early exits under attack: words substituted so that sentences leave late, and what a cap saves.

    An interrupted study goes on: sentences already attacked are kept in the output folder.
    """
    from elbert.show.slowdown import print_slowdown
    from golden_model.evaluation.backends import open_backend
    from golden_model.files import write_json
    from golden_model.locks import held
    from quant.studies.exits.rows import table_name
    from quant.studies.slowdown.figures import draw
    from quant.studies.slowdown.run import check_policies, read_caps, study
    from quant.studies.slowdown.search import SearchOptions
    from quant.style import figure_suffixes

    if file is None and task is None:
        task = BUNDLED_TASK
    columns = Columns(text_column, pair_column, label_column, header, encoding)
    check_source(file, task, columns)
    wanted = {
        name: policies.make_policy(
            name, delta=delta, window=window, margin=margin, value_range=value_range, patience=patience
        )
        for name in (part.strip() for part in chosen.split(","))
    }
    check_policies(wanted)
    search = SearchOptions(changed, candidates, similarity, objective, keep_answer, seed)
    suffixes = figure_suffixes(figures)
    name = find_task(task).name if task is not None else table_name(str(file))
    folder = output or Path("runs/study/slowdown") / name
    check_folder("output", folder)
    options.use_threads(threads)
    searched = open_backend("float", model or BUNDLED, device)
    reported = searched if backend == "float" else open_backend(backend, model or BUNDLED, device)
    most = read_caps(caps, reported.config.num_hidden_layers)
    data = open_data(file, task, columns=columns).head(limit)
    context.with_resource(held(folder))  # until the command ends
    result = study(searched, reported, backend, data, wanted, search, most, folder, bars(quiet), hint)
    result = {"task": task, **result}
    write_json(folder / "study.json", result)
    draw(result, folder, suffixes, bars(quiet))

    def show() -> None:
        print_slowdown(result)
        typer.echo(f"figure, result and, with the texts, attacks.jsonl: {folder}")

    deliver(result, json_file, None if quiet else show)
    if not quiet:
        for policy in wanted.values():
            hint_policy(policy, result["iterations"])
        hint_truncated(result["truncated"], result["samples"], reported.config.max_position_embeddings)
