"""``elbert eval``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elbert import options, policies
from elbert.bundled import BUNDLED
from elbert.progress import bars
from elbert.results import deliver
from golden_model.data.tasks import TASKS


def evaluate(
    file: Annotated[
        Path | None, typer.Argument(help="Table with a text and a label column, or a folder (its dev).")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help=f"Instead of a table, the dev split of a task: {', '.join(TASKS)}.")
    ] = None,
    backend: Annotated[str, typer.Option(help="float or golden.")] = "float",
    model: Annotated[Path | None, typer.Option(help="Model folder; by default the bundled one.")] = None,
    policy: options.PolicyOption = "none",
    delta: options.DeltaOption = policies.DELTA,
    window: options.WindowOption = policies.WINDOW,
    margin: options.MarginOption = policies.MARGIN,
    value_range: options.RangeOption = policies.RANGE,
    patience: options.PatienceOption = policies.PATIENCE,
    answer_first: options.AnswerFirstOption = True,
    text_column: options.TextColumnOption = None,
    pair_column: options.PairColumnOption = None,
    label_column: options.LabelColumnOption = None,
    header: options.HeaderOption = True,
    encoding: options.EncodingOption = "utf-8",
    limit: options.LimitOption = None,
    device: options.DeviceOption = "cpu",
    threads: options.ThreadsOption = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Write every sentence with its answer here (.csv or .jsonl).")
    ] = None,
    json_file: options.JsonOption = None,
    quiet: options.QuietOption = False,
) -> None:
    """Accuracy, mean exit iteration, cost and speedup of a checkpoint on a labelled table or a task."""
    from elbert.hints import hint_policy, hint_truncated
    from elbert.show.evaluation import print_evaluation
    from golden_model.data.tables import Columns
    from golden_model.evaluation.predictions import check_suffix, write_predictions
    from golden_model.evaluation.score import examine_file

    options.use_threads(threads)
    if predictions is not None:
        check_suffix(predictions)
    chosen = policies.choose_policy(
        policy,
        model or BUNDLED,
        backend,
        delta=delta,
        window=window,
        margin=margin,
        value_range=value_range,
        patience=patience,
    )
    found = examine_file(
        backend,
        model or BUNDLED,
        file,
        chosen,
        task=task,
        columns=Columns(text_column, pair_column, label_column, header, encoding),
        limit=limit,
        device=device,
        bars=bars(quiet),
        answer_first=answer_first,
    )
    result = found.result
    if predictions is not None:
        write_predictions(predictions, found.predictions())
    deliver(result, json_file, None if quiet else lambda: print_evaluation(result, str(found.match)))
    if not quiet:
        hint_policy(chosen, result["iterations"])
        hint_truncated(result["truncated"], result["samples"], result["max_length"])
