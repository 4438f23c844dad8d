"""``elbert report decisions``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elbert import options, policies
from elbert.bundled import BUNDLED
from elbert.progress import bars
from elbert.results import deliver
from elbert.tables import print_table


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
    output: Annotated[Path, typer.Option(help="The page to write.")] = Path("runs/report/decisions.html"),
    svg: Annotated[Path | None, typer.Option(help="Folder of the SVG files; by default the page's.")] = None,
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
    """One web page, and SVG files, of when and why each sentence leaves."""
    from golden_model.data.tables import Columns
    from golden_model.data.tasks import find_task, open_data
    from golden_model.evaluation.backends import label_names
    from quant.report.decisions.figures import decisions as describe
    from quant.report.decisions.page import write_page
    from quant.report.decisions.record import open_recorder
    from quant.report.decisions.svg import draw_all

    options.use_threads(threads)
    chosen = policies.make_policy(
        policy, delta=delta, window=window, margin=margin, value_range=value_range, patience=patience
    )
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
            class_names=None if task else label_names(model),
            task=task,
            metric=find_task(task).metric if task else "accuracy",
            progress=progress,
        )
    write_page(result, output)
    written = [output, *draw_all(result, svg or output.parent)]
    if json_file is not None:
        written.append(json_file)

    def show() -> None:
        files = [(path, f"{path.stat().st_size / 1000:.0f}") for path in written]
        print_table("Written", ["file", "kB"], files)

    deliver(result, json_file, None if quiet else show)
