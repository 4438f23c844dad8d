"""``elbert report decisions``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elbert import options, policies
from elbert.bundled import BUNDLED
from elbert.hints import hint_policy, hint_truncated
from elbert.outputs import check_folder, file_in
from elbert.progress import bars
from elbert.results import deliver
from elbert.tables import print_table
from golden_model.files import write_json

PAGE = "decisions.html"
"""Name of the page in a folder."""


def decisions(
    file: Annotated[
        Path | None,
        typer.Argument(help="Table with a text and a label column, or a folder (its dev); or --task."),
    ] = None,
    task: Annotated[str | None, typer.Option(help="A task by name, such as sst2; its dev split.")] = None,
    model: Annotated[Path, typer.Option(help="Model folder.")] = BUNDLED,
    backend: Annotated[str, typer.Option(help="float or golden.")] = "float",
    policy: options.PolicyOption = policies.POLICY,
    delta: options.DeltaOption = policies.DELTA,
    window: options.WindowOption = policies.WINDOW,
    margin: options.MarginOption = policies.MARGIN,
    value_range: options.RangeOption = policies.RANGE,
    patience: options.PatienceOption = policies.PATIENCE,
    output: Annotated[
        str,
        typer.Option(
            metavar="PATH",
            help=f"The page to write; in a folder (one that is there, or ends in /) it is called {PAGE}.",
        ),
    ] = f"runs/report/{PAGE}",
    svg: Annotated[Path | None, typer.Option(help="Folder of the figures; by default the page's.")] = None,
    figures: Annotated[
        str, typer.Option(help="Formats of the figures, with commas between: svg, png, pdf.")
    ] = "svg",
    sentences: Annotated[
        int, typer.Option(min=1, max=2000, help="Sentences shown one by one; figures are over all.")
    ] = 200,
    examples: Annotated[int, typer.Option(min=1, max=64, help="Sentences with an attention map.")] = 8,
    text_column: options.TextColumnOption = None,
    pair_column: options.PairColumnOption = None,
    label_column: options.LabelColumnOption = None,
    header: options.HeaderOption = True,
    encoding: options.EncodingOption = "utf-8",
    limit: options.LimitOption = None,
    device: options.DeviceOption = "cpu",
    threads: options.ThreadsOption = None,
    json_file: options.JsonOption = None,
    quiet: options.QuietOption = False,
) -> None:
    """One web page, and figures for a paper, of when and why each sentence leaves."""
    from golden_model.data.tables import Columns
    from golden_model.data.tasks import find_task, open_data
    from quant.report.decisions.figures import decisions as describe
    from quant.report.decisions.page import write_page
    from quant.report.decisions.record import open_recorder
    from quant.report.decisions.svg import draw_all
    from quant.style import figure_suffixes

    page = file_in(output, PAGE)
    folder = svg or page.parent
    check_folder("output", page.parent)
    check_folder("svg", folder)
    suffixes = figure_suffixes(figures)
    options.use_threads(threads)
    chosen = policies.choose_policy(
        policy,
        model,
        backend,
        delta=delta,
        window=window,
        margin=margin,
        value_range=value_range,
        patience=patience,
    )
    promise = policies.promise_of(chosen, policy, model, backend)
    data = open_data(file, task, columns=Columns(text_column, pair_column, label_column, header, encoding))
    if limit is not None:
        data = data.head(limit)
    recorder = open_recorder(backend, model, device)
    with bars(quiet)(f"{backend} model, all iterations", len(data)) as progress:
        result = describe(
            recorder,
            data,
            chosen,
            backend=backend,
            model=model,
            sentences=sentences,
            examples=examples,
            task=task,
            metric=find_task(task).metric if task else "accuracy",
            certified=promise,
            progress=progress,
        )
    if json_file is not None:
        write_json(json_file, result)
    write_page(result, page)
    written = [page, *draw_all(result, folder, suffixes, bars(quiet))]
    if json_file is not None:
        written.append(json_file)

    def show() -> None:
        files = [(path, f"{path.stat().st_size / 1000:.0f}") for path in written]
        print_table("Written", ["file", "kB"], files)
        if promise is not None:
            typer.echo(promise)

    deliver(result, None, None if quiet else show)
    if not quiet:
        evaluated = result["with_exit"]
        hint_policy(chosen, evaluated["iterations"])
        hint_truncated(evaluated["truncated"], evaluated["samples"], evaluated["max_length"])
