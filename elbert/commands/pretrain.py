"""``elbert pretrain``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from elbert import options
from elbert.progress import TrainingProgress
from elbert.results import deliver


def pretrain(
    output: Annotated[Path, typer.Option(help="Folder of the run.")],
    text: Annotated[
        list[Path] | None,
        typer.Option(help="Table with a column 'text' of documents, split into sentences; may be repeated."),
    ] = None,
    pairs: Annotated[
        list[Path] | None,
        typer.Option(help="Such a table, whose neighbouring sentences are read as pairs; may be repeated."),
    ] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="Documents read of each table.")] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(help="Task whose training texts are read, without labels; may be repeated."),
    ] = None,
    preset: options.PresetOption = "small",
    config: options.ConfigOption = None,
    teacher: Annotated[Path | None, typer.Option(help="Folder of a BERT; by default MiniLM.")] = None,
    init: Annotated[
        Path | None, typer.Option(help="Checkpoint whose layer to start from, instead of --start-layer.")
    ] = None,
    stretch: Annotated[int, typer.Option(help="Iterations per layer of the teacher.")] = 1,
    start_layer: Annotated[int, typer.Option(help="Teacher's layer the shared layer starts as.")] = -1,
    epochs: options.EpochsOption = 1.0,
    max_steps: options.MaxStepsOption = None,
    batch_size: options.BatchSizeOption = 64,
    learning_rate: options.LearningRateOption = 1e-3,
    autocast: options.AutocastOption = "none",
    max_length: options.MaxLengthOption = None,
    seed: options.SeedOption = 0,
    evaluate_every: options.EvaluateEveryOption = 500,
    save_every: options.SaveEveryOption = 250,
    stop_after: options.StopAfterOption = None,
    resume: options.ResumeOption = False,
    device: options.DeviceOption = "cpu",
    threads: options.ThreadsOption = None,
    json_file: options.JsonOption = None,
    quiet: options.QuietOption = False,
) -> None:
    """Teaches the shared layer a BERT's hidden states from plain text; a start for ``train --init``."""
    from golden_model.data.tasks import load_task
    from golden_model.train.initialise import minilm_folder
    from golden_model.train.methods import check_folder, run
    from golden_model.train.pretrain import PretrainingOptions, prepare_pretraining
    from golden_model.train.processes import is_main, leaving
    from golden_model.train.texts import read_pairs, read_sentences

    options.use_threads(threads)
    if not text and not task and not pairs:
        raise ValueError("nothing to learn from: name --text, --pairs or --task")
    geometry = options.read_config(preset, config)
    settings: dict[str, Any] = {
        "stretch": stretch,
        "start_layer": start_layer,
        "epochs": epochs,
        "max_steps": max_steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "autocast": autocast,
        "max_length": geometry.max_position_embeddings if max_length is None else max_length,
        "seed": seed,
        "evaluate_every": evaluate_every,
        "save_every": save_every,
    }
    check_folder(output, resume)
    texts: list[tuple[str, str | None]] = []
    for name in task or []:
        data = load_task(name, "train")
        seconds: Sequence[str | None] = data.pairs or [None] * len(data)
        texts += zip(data.texts, seconds, strict=True)
    for path in text or []:
        texts += ((sentence, None) for sentence in read_sentences(path, rows))
    for path in pairs or []:
        texts += read_pairs(path, rows)
    trainer = prepare_pretraining(
        texts,
        geometry,
        PretrainingOptions(**settings),
        output,
        teacher or minilm_folder(),
        init=init,
        device=device,
    )
    with leaving():
        shown = is_main() and not quiet
        record = run(trainer, stop_after, TrainingProgress() if shown else None)

    def show() -> None:
        if record["best"] is not None:
            best = record["best"]
            error = sum(best["held_out_error"]) / len(best["held_out_error"])
            typer.echo(f"best step {best['step']}: {100 * error:.1f} % of the teacher's variance missed")

    if is_main():
        deliver(record, json_file, show if shown else None)
