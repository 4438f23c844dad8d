"""``elbert report quantisation``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elbert import options, policies
from elbert.bundled import BUNDLED, BUNDLED_TASK
from elbert.hints import hint, hint_policy
from elbert.outputs import check_folder
from elbert.progress import bars
from elbert.results import deliver
from golden_model.files import write_json

PAGE, RESULT = "quantisation.html", "quantisation.json"


def quantisation(
    file: Annotated[
        Path | None,
        typer.Argument(help="A table of one's own, or a folder (its dev); else --task."),
    ] = None,
    task: Annotated[str | None, typer.Option(help=f"Dev split of a task, by default {BUNDLED_TASK}.")] = None,
    model: Annotated[Path, typer.Option(help="Model folder: its float form and its integers.")] = BUNDLED,
    against: Annotated[
        list[Path] | None,
        typer.Option(help="Another integer checkpoint of the same float model, side by side; repeatable."),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, help="Sentences whose tensors are compared: the first so many.")
    ] = 32,
    exits: Annotated[
        int, typer.Option(min=0, help="Sentences whose exits are compared; 0 leaves exits out.")
    ] = 256,
    policy: options.PolicyOption = policies.POLICY,
    delta: options.DeltaOption = policies.DELTA,
    window: options.WindowOption = policies.WINDOW,
    margin: options.MarginOption = policies.MARGIN,
    value_range: options.RangeOption = policies.RANGE,
    patience: options.PatienceOption = policies.PATIENCE,
    splits: Annotated[int, typer.Option(min=1, help="Half-splits: thresholds from one half.")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="Of splits and resamples.")] = 0,
    ablation: Annotated[
        Path | None, typer.Option(help="Result of elbert study bits whose ablation the page shows.")
    ] = None,
    cache: Annotated[Path, typer.Option(help="Folder where computed logits are kept.")] = Path(
        "runs/study/cache"
    ),
    text_column: options.TextColumnOption = None,
    pair_column: options.PairColumnOption = None,
    label_column: options.LabelColumnOption = None,
    header: options.HeaderOption = True,
    encoding: options.EncodingOption = "utf-8",
    figures: Annotated[
        str, typer.Option(help="Formats of the figures, with commas between: svg, png, pdf.")
    ] = "svg,pdf",
    threads: options.ThreadsOption = None,
    output: Annotated[Path, typer.Option(help="Folder of page, figures and result.")] = Path(
        "runs/report/quantisation"
    ),
    json_file: options.JsonOption = None,
    quiet: options.QuietOption = False,
) -> None:
    """What a quantisation loses and why: every tensor, iteration, weight and exit, on one web page."""
    from elbert.show.reasons import print_reasons
    from golden_model.data.tables import Columns
    from golden_model.data.tasks import check_source, find_task, open_data
    from golden_model.evaluation.backends import model_folder
    from golden_model.float.albert import load_float
    from golden_model.labels import read_label_names
    from quant.report.quantisation.ablation import read_ablation
    from quant.report.quantisation.exits import compare_exits
    from quant.report.quantisation.figures import draw_all
    from quant.report.quantisation.page import write_page
    from quant.report.quantisation.record import Extras, Source, describe, open_checkpoints
    from quant.report.quantisation.tensors import check_geometry, compare
    from quant.studies.exits.rows import Rows, table_name, table_rows
    from quant.studies.exits.run import Options
    from quant.studies.exits.store import PUBLISHED, Store
    from quant.style import figure_suffixes

    if file is None and task is None:
        task = BUNDLED_TASK
    columns = Columns(text_column, pair_column, label_column, header, encoding)
    check_source(file, task, columns)
    check_folder("output", output)
    suffixes = figure_suffixes(figures)
    options.use_threads(threads)
    extras = Extras(ablation=None if ablation is None else read_ablation(ablation))
    chosen = policies.choose_policy(
        policy,
        model,
        "golden",
        delta=delta,
        window=window,
        margin=margin,
        value_range=value_range,
        patience=patience,
    )
    float_folder = model_folder(model, "float")
    opened = open_checkpoints([model, *(against or [])], float_folder)
    floating, tokenizer, config = load_float(float_folder)
    for each in opened:
        check_geometry(each.name, each.checkpoint, floating)
        if each.note is not None:
            hint(each.note, "warning")
    data = open_data(file, task, columns=columns)
    names = read_label_names(float_folder, config.num_labels)
    part = data.head(limit)
    sentences = tokenizer.encode_many(part.texts, config.max_position_embeddings, part.pairs)
    with bars(quiet)("tensors compared", len(sentences)) as progress:
        compared = compare(floating, {each.name: each.checkpoint for each in opened}, sentences, progress)
    if exits:
        rows = Rows.of(data) if task is not None else table_rows(data, names, config.num_labels)
        store = Store(
            task or table_name(data.source), rows.head(exits), cache, None if task is None else PUBLISHED
        )
        extras.seed = seed
        extras.exits = compare_exits(
            float_folder,
            {each.name: each.folder for each in opened},
            store,
            chosen,
            find_task(task).metric if task is not None else "accuracy",
            Options(splits=splits, seed=seed),
            bars(quiet),
        )
    classes = names or [str(i) for i in range(config.num_labels)]
    result = describe(opened, compared, Source((data.source, data.sha256), task, classes), extras)
    write_json(output / RESULT, result)
    if json_file is not None:
        write_json(json_file, result)
    write_page(result, output / PAGE)
    written = [output / PAGE, output / RESULT, *draw_all(result, output, suffixes, bars(quiet))]
    deliver(result, None, None if quiet else lambda: print_reasons(result, written))
    for each in result["checkpoints"]:
        for warning in each["warnings"]:
            hint(f"{each['name']}: {warning}", "warning")
    if not quiet:
        if exits:
            hint_policy(chosen, config.num_hidden_layers)
        if sentences.note is not None:
            hint(sentences.note)
