"""``elbert quantize``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from elbert import options
from elbert.progress import bars
from elbert.results import deliver


def quantize(
    float_dir: Annotated[Path, typer.Argument(help="Folder of the float checkpoint.")],
    output_dir: Annotated[Path, typer.Argument(help="Folder of the integer checkpoint to write.")],
    data: Annotated[
        str | None,
        typer.Option(
            help="Sentences to calibrate on: a table, with or without labels, a text file with a sentence a "
            "line, or a folder with a train split."
        ),
    ] = None,
    task: Annotated[str | None, typer.Option(help="A task instead of --data: its train split.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Sentences to calibrate on.")] = 256,
    seed: Annotated[int, typer.Option(help="Chooses the sentences.")] = 0,
    scheme_name: Annotated[
        str,
        typer.Option(
            "--scheme",
            help="A named scheme, or FILE.json (docs/quantisation.md); the options below change it.",
        ),
    ] = "w8a8",
    observer: Annotated[
        str | None, typer.Option(help="Ranges of activations: max, percentile, mse or entropy.")
    ] = None,
    percentile: Annotated[float | None, typer.Option(help="Share that does not saturate.")] = None,
    weight_bits: Annotated[int | None, typer.Option(help="8, 6, 4, 3 or 2.")] = None,
    weight_observer: Annotated[
        str | None, typer.Option(help="Ranges of weights: max, mse or hessian.")
    ] = None,
    rounding: Annotated[str | None, typer.Option(help="Of weights: nearest, gptq or adaround.")] = None,
    activation_bits: Annotated[int | None, typer.Option(help="2 to 8; below 8 for studies.")] = None,
    equalize: Annotated[
        bool | None,
        typer.Option("--equalize/--no-equalize", help="Move ranges between channels where it is free."),
    ] = None,
    correct_bias: Annotated[
        bool | None,
        typer.Option("--correct-bias/--no-correct-bias", help="Match the float model's channel means."),
    ] = None,
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
    header: options.HeaderOption = True,
    encoding: options.EncodingOption = "utf-8",
    threads: options.ThreadsOption = None,
    json_file: options.JsonOption = None,
    quiet: options.QuietOption = False,
) -> None:
    """Calibrates a float checkpoint, writes the integer one, and says what that costs tensor by tensor.

    Warns where a tensor or a weight falls below its bound; the integers do not depend on the threads.

    Named schemes: w8a8 and w4a8, which the accelerator runs; others the golden model alone. A file holds a
    JSON object of the members of quant.schemes.Scheme.
    """
    from elbert.hints import hint
    from elbert.show.quantisation import print_quantisation
    from golden_model.data.tables import Columns, load_texts
    from golden_model.data.tasks import check_source, load_task
    from golden_model.files import sha256_of
    from golden_model.float.albert import load_float
    from golden_model.float.weights import stored_sha256
    from golden_model.integer.checkpoint import TENSOR_FILE
    from golden_model.locks import held
    from golden_model.provenance import header as result_header
    from quant.calibrate import calibrate
    from quant.quality import QUALITY_SENTENCES, measure
    from quant.samples import choose_samples
    from quant.schemes import Scheme
    from quant.weights import packed_bytes

    options.use_threads(threads)
    changes: dict[str, Any] = {
        "observer": observer,
        "percentile": percentile,
        "weight_bits": weight_bits,
        "weight_observer": weight_observer,
        "rounding": rounding,
        "activation_bits": activation_bits,
        "equalize": equalize,
        "correct_bias": correct_bias,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    scheme = replace(Scheme.from_json(scheme_name), **given)
    columns = Columns(text_column, pair_column, label_column, header, encoding)
    check_source(data, task)
    if eval_task and task is None:
        raise ValueError("--eval-task compares on the dev split of --task: name one")
    model, tokenizer, config = load_float(float_dir)
    rows = load_task(task, "train") if task is not None else load_texts(str(data), "train", columns)
    chosen = choose_samples(len(rows), samples, seed)
    sentences = tokenizer.encode_many(
        [rows.texts[i] for i in chosen],
        config.max_position_embeddings,
        None if rows.pairs is None else [rows.pairs[i] for i in chosen],
    )
    provenance = {
        "float_sha256": stored_sha256(float_dir),
        "data_sha256": rows.sha256,
        "samples": len(chosen),
        "seed": seed,
    }
    with bars(quiet)("calibration", len(chosen)) as progress:
        checkpoint = calibrate(model, sentences, scheme, provenance, progress)
    quality = measure(model, checkpoint, sentences[:QUALITY_SENTENCES])
    packed = packed_bytes(scheme, config)
    with held(output_dir):
        checkpoint.save(output_dir, copy_from=float_dir)
        record: dict[str, Any] = {
            "header": result_header(seed, sha256_of(output_dir / TENSOR_FILE)),
            "scheme": scheme.as_dict(),
            "contract": scheme.contract.differences(),
            "runs_on_hardware": scheme.runs_on_hardware,
            "weight_bytes": packed.weights,
            "packed_bytes": packed.total,
            "provenance": provenance,
            "bytes": (output_dir / TENSOR_FILE).stat().st_size,
            "quality": quality.as_dict(),
            "evaluation": None,
        }
        if eval_file is not None or eval_task:
            compared = None if eval_file is not None else task
            place = columns if eval_file is not None else None
            record["evaluation"] = _compare(float_dir, output_dir, eval_file, compared, place, limit, quiet)
    deliver(record, json_file, None if quiet else lambda: print_quantisation(record, quality, output_dir))
    for warning in quality.warnings():
        hint(warning, "warning")
    if not quiet:
        if len(chosen) < samples:
            hint(f"{rows.source} holds {len(rows)} rows: all of them were used, {samples} were asked for")
        if sentences.note is not None:
            hint(sentences.note)


def _compare(
    float_dir: Path,
    output_dir: Path,
    file: Path | None,
    task: str | None,
    columns: Any,
    limit: int | None,
    quiet: bool,
) -> dict[str, Any]:
    """Accuracy of both forms per iteration."""
    from golden_model.evaluation.score import evaluate_file

    results = {
        backend: evaluate_file(
            backend, folder, file, task=task, columns=columns, limit=limit, bars=bars(quiet)
        )
        for backend, folder in (("float", float_dir), ("golden", output_dir))
    }
    lists = {name: result["accuracy_per_iteration"] for name, result in results.items()}
    return {
        "data": results["float"]["data"],
        "samples": results["float"]["samples"],
        "classes": results["float"]["classes"],
        "float": lists["float"],
        "golden": lists["golden"],
        "points_lost": 100 * (lists["float"][-1] - lists["golden"][-1]),
    }
