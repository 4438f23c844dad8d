"""``elbert quantize``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from elbert import options
from elbert.progress import bars
from elbert.tables import print_table


def choose_sentences(count: int, samples: int, seed: int) -> list[int]:
    """Row numbers of ``samples`` different rows of ``count``, by a generator of its own.

    Raises:
        ValueError: ``samples`` is not in 1..count.
    """
    import torch

    if not 1 <= samples <= count:
        raise ValueError(f"samples {samples} is not in 1..{count}, the rows of the data")
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(count, generator=generator)[:samples].tolist()


def quantize(
    float_dir: Annotated[Path, typer.Argument(help="Folder of the float checkpoint.")],
    output_dir: Annotated[Path, typer.Argument(help="Folder of the integer checkpoint to write.")],
    data: Annotated[
        str | None, typer.Option(help="Sentences to calibrate on: a table, or a folder with a train split.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="A task instead of --data: its train split.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Sentences to calibrate on.")] = 256,
    seed: Annotated[int, typer.Option(help="Chooses the sentences.")] = 0,
    observer: Annotated[str, typer.Option(help="Ranges of activations: max, percentile or mse.")] = "max",
    percentile: Annotated[float, typer.Option(help="Share that does not saturate.")] = 0.9999,
    weight_bits: Annotated[int, typer.Option(help="8 or 4.")] = 8,
    weight_observer: Annotated[str, typer.Option(help="Ranges of weights: max or mse.")] = "max",
    equalize: Annotated[bool, typer.Option(help="Move ranges between channels where it is free.")] = True,
    correct_bias: Annotated[bool, typer.Option(help="Match the float model's channel means.")] = False,
    eval_file: Annotated[
        Path | None,
        typer.Option("--eval", help="Labelled table, or folder with a dev split: compare float and golden."),
    ] = None,
    eval_task: Annotated[
        bool, typer.Option("--eval-task", help="Compare float and golden on the dev split of --task.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first rows of the comparison.")] = None,
    text_column: options.TextColumnOption = None,
    pair_column: options.PairColumnOption = None,
    label_column: options.LabelColumnOption = None,
    json_file: options.JsonOption = None,
    quiet: options.QuietOption = False,
) -> None:
    """Calibrates a float checkpoint and writes the integer one."""
    from golden_model.data.tables import Columns
    from golden_model.data.tasks import check_source, open_data
    from golden_model.files import sha256_of, write_json
    from golden_model.float.albert import load_float
    from golden_model.integer.checkpoint import TENSOR_FILE
    from golden_model.provenance import header
    from quant.calibrate import calibrate
    from quant.schemes import Scheme

    scheme = Scheme(weight_bits, weight_observer, observer, percentile, equalize, correct_bias)
    columns = Columns(text_column, pair_column, label_column)
    check_source(data, task)
    if eval_task and task is None:
        raise ValueError("--eval-task compares on the dev split of --task: name one")
    model, tokenizer, config = load_float(float_dir)
    rows = open_data(data, task, "train", columns if task is None else None)  # else --eval's
    chosen = choose_sentences(len(rows), samples, seed)
    sentences = tokenizer.encode_many(
        [rows.texts[i] for i in chosen],
        config.max_position_embeddings,
        None if rows.pairs is None else [rows.pairs[i] for i in chosen],
    )
    provenance = {
        "float_sha256": sha256_of(float_dir / "model.safetensors"),
        "data_sha256": rows.sha256,
        "samples": samples,
        "seed": seed,
    }
    with bars(quiet)("calibration", samples) as progress:
        checkpoint = calibrate(model, sentences, scheme, provenance, progress)
    checkpoint.save(output_dir, copy_from=float_dir)
    digest = sha256_of(output_dir / TENSOR_FILE)
    record: dict[str, Any] = {
        "header": header(seed, digest),
        "scheme": scheme.as_dict(),
        "provenance": provenance,
        "bytes": (output_dir / TENSOR_FILE).stat().st_size,
        "evaluation": None,
    }
    if eval_file is not None or eval_task:
        compared = None if eval_file is not None else task
        record["evaluation"] = _compare(float_dir, output_dir, eval_file, compared, columns, limit, quiet)
    if json_file is not None:
        write_json(json_file, record)
    if not quiet:
        typer.echo(f"{output_dir}: {record['bytes'] / 1e6:.1f} MB of integers, sha256 {digest[:16]}")


def _compare(
    float_dir: Path,
    output_dir: Path,
    file: Path | None,
    task: str | None,
    columns: Any,
    limit: int | None,
    quiet: bool,
) -> dict[str, Any]:
    """Accuracy of both forms per iteration; printed unless quiet."""
    from golden_model.evaluation.score import evaluate_file

    results = {
        backend: evaluate_file(
            backend,
            folder,
            file,
            task=task,
            columns=None if task is not None else columns,
            limit=limit,
            bars=bars(quiet),
        )
        for backend, folder in (("float", float_dir), ("golden", output_dir))
    }
    lists = {name: result["accuracy_per_iteration"] for name, result in results.items()}
    loss = 100 * (lists["float"][-1] - lists["golden"][-1])
    if not quiet:
        rows = [
            (i + 1, round(100 * f, 2), round(100 * g, 2), round(100 * (g - f), 2))
            for i, (f, g) in enumerate(zip(lists["float"], lists["golden"], strict=True))
        ]
        print_table(
            f"Accuracy on {results['float']['samples']} sentences, %",
            ["iteration", "float", "golden", "difference"],
            rows,
        )
    return {
        "data": results["float"]["data"],
        "samples": results["float"]["samples"],
        "float": lists["float"],
        "golden": lists["golden"],
        "points_lost": loss,
    }
