"""Commands of the float model: ``train`` and ``eval``."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from elbert import options
from golden_model.config import ElbertConfig, find_preset
from golden_model.data.tasks import TASKS, check_source
from golden_model.float.methods.names import METHODS
from golden_model.results import BUNDLED, print_table, write_json

TEACHER, ALL = "teacher", "all"
"""What ``train`` trains beside the methods: a BERT to learn from; and every run a comparison wants."""


def read_config(preset: str, file: Path | None) -> ElbertConfig:
    """The geometry of a preset, or of a Hugging Face ``config.json``; raises ValueError for neither."""
    if file is not None:
        return ElbertConfig.from_json(file)
    return find_preset(preset)


@contextmanager
def _termination_interrupts() -> Iterator[None]:
    """Within it SIGTERM and SIGINT raise KeyboardInterrupt, also in background jobs: training then saves."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def train(
    output: Annotated[Path, typer.Option(help="Folder of the run.")],
    data: Annotated[
        str | None, typer.Argument(help="Folder with train.tsv and dev.tsv, or hub:NAME, hub:NAME/CONFIG.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="A task of the registry instead of DATA.")] = None,
    method: Annotated[
        str,
        typer.Option(
            help=f"{', '.join(METHODS)}; {ALL}: each of them, and ALBERT cut to fewer iterations, into "
            f"folders of their own; {TEACHER}: fine-tunes a BERT for --teacher."
        ),
    ] = "elbert",
    iterations: Annotated[int | None, typer.Option(help="Cuts --method albert to so many.")] = None,
    stage_one: Annotated[
        Path | None,
        typer.Option(
            help="Finished run of --method albert that deebert and fastbert start from, by default it is "
            "trained first; elbert may."
        ),
    ] = None,
    after_albert: Annotated[
        bool, typer.Option("--after-albert", help=f"With {ALL}: elbert starts from the finished albert too.")
    ] = False,
    preset: options.PresetOption = "small",
    config: options.ConfigOption = None,
    init: Annotated[
        str, typer.Option(help="Start: minilm, fresh, or the folder of a local ALBERT checkpoint.")
    ] = "minilm",
    tokenizer: Annotated[
        Path | None, typer.Option(help="Folder of the tokenizer; by default the start's own.")
    ] = None,
    vocabulary_text: Annotated[
        list[Path] | None,
        typer.Option(help="Table (column text) whose words rank the pruned vocabulary after the task's own."),
    ] = None,
    vocabulary_rows: Annotated[int, typer.Option(min=1, help="Rows read of each such table.")] = 20000,
    vocabulary_size: Annotated[
        int | None, typer.Option(help="Pieces to keep of a whole vocabulary; by default the geometry's.")
    ] = None,
    teacher: Annotated[
        Path | None, typer.Option(help="Folder of a fine-tuned BERT to learn from (--soft, --hidden).")
    ] = None,
    soft: Annotated[float, typer.Option(help="Share of the teacher's answers in the loss, 0..1.")] = 0.0,
    self_distillation: Annotated[
        float, typer.Option(help="Share, in ELBERT's earlier exits' loss, of its last exit's answers, 0..1.")
    ] = 0.0,
    temperature: Annotated[float, typer.Option(help="Softens the answers that are learnt.")] = 2.0,
    hidden: Annotated[float, typer.Option(help="Weight of the teacher's hidden states.")] = 0.0,
    stretch: Annotated[int, typer.Option(help="Iterations per layer of the teacher, for --hidden.")] = 1,
    unlabelled: Annotated[
        list[Path] | None,
        typer.Option(help="Table (column text) of documents whose sentences the teacher answers."),
    ] = None,
    unlabelled_rows: Annotated[int | None, typer.Option(min=1, help="Documents read of each.")] = None,
    freeze: Annotated[str, typer.Option(help="Stays as it starts: none, projection or embeddings.")] = "none",
    exit_start: Annotated[
        float, typer.Option(help="Start of the exits' weights t; below 0 the last iteration leads.")
    ] = 4.0,
    epochs: options.EpochsOption = 3.0,
    max_steps: options.MaxStepsOption = None,
    batch_size: options.BatchSizeOption = 32,
    learning_rate: options.LearningRateOption = 3e-5,
    head_learning_rate: Annotated[
        float | None,
        typer.Option(help="Of pooler, classifier and a method's own heads; by default as the rest."),
    ] = None,
    exit_learning_rate: Annotated[float, typer.Option(help="Of the exits' weights t.")] = 1e-2,
    weighting: Annotated[
        str, typer.Option(help="Weights of ELBERT's exits: dynamic, equal or linear.")
    ] = "dynamic",
    autocast: options.AutocastOption = "none",
    max_length: options.MaxLengthOption = None,
    seed: options.SeedOption = 0,
    evaluate_every: options.EvaluateEveryOption = 1000,
    save_every: options.SaveEveryOption = 250,
    stop_after: options.StopAfterOption = None,
    resume: options.ResumeOption = False,
    text_column: options.TextColumnOption = None,
    pair_column: options.PairColumnOption = None,
    label_column: options.LabelColumnOption = None,
    header: options.HeaderOption = True,
    encoding: options.EncodingOption = "utf-8",
    device: options.DeviceOption = "cpu",
    threads: options.ThreadsOption = None,
    json_file: options.JsonOption = None,
    quiet: options.QuietOption = False,
) -> None:
    """Trains ELBERT or another early-exit method from a pretrained start; can be stopped and resumed."""
    from functools import partial

    import torch

    from golden_model.data.tables import Columns
    from golden_model.train.joint import JointOptions
    from golden_model.train.methods import check_folder, run, summary_rows, train_all, train_method
    from golden_model.train.processes import is_main, leaving
    from golden_model.train.setup import Splits, Teaching, Vocabulary, prepare, prepare_teacher
    from golden_model.train.trainer import Trainer, TrainingOptions

    if threads is not None:
        torch.set_num_threads(threads)
    columns = Columns(text_column, pair_column, label_column, header, encoding)
    check_source(data, task, columns)
    if method not in (*METHODS, ALL, TEACHER):
        raise ValueError(f"method {method!r} is not one of {', '.join((*METHODS, ALL, TEACHER))}")
    if after_albert and method != ALL:
        raise ValueError(f"--after-albert is for --method {ALL}; for {method} name --stage-one")
    geometry = read_config(preset, config)
    if vocabulary_size is not None:
        geometry = ElbertConfig(**{**geometry.model_dump(), "vocab_size": vocabulary_size})
    settings: dict[str, Any] = {
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
    joint: dict[str, Any] = {
        "head_learning_rate": head_learning_rate,
        "exit_learning_rate": exit_learning_rate,
        "weighting": weighting,
        "exit_start": exit_start,
        "freeze": freeze,
        "soft": soft,
        "self_distillation": self_distillation,
        "temperature": temperature,
        "hidden": hidden,
    }
    splits = Splits.of_task(task) if task is not None else Splits.of_folder(str(data), columns)
    start = partial(
        prepare,
        splits,
        geometry,
        JointOptions(**settings, **joint),
        init=init,
        tokenizer_folder=tokenizer,
        vocabulary=Vocabulary(vocabulary_text or [], vocabulary_rows),
        teaching=None if teacher is None else Teaching(teacher, stretch, unlabelled or [], unlabelled_rows),
        device=device,
    )
    shown = is_main() and not quiet
    with _termination_interrupts(), leaving():
        if method == ALL:
            for name, value in (
                ("iterations", iterations),
                ("stage-one", stage_one),
                ("stop-after", stop_after),
            ):
                if value is not None:
                    raise ValueError(f"--{name} {value} is for one method, not for {ALL}")

            def report(name: str, trainer: Trainer) -> None:
                if shown:
                    typer.echo(f"{name}: step {trainer.step} of {trainer.total_steps}")

            record = train_all(start, output, after_albert=after_albert, report=report, quiet=quiet)
        elif method == TEACHER:
            check_folder(output, resume)
            trainer = prepare_teacher(splits, TrainingOptions(**settings), output, device=device)
            record = run(trainer, stop_after, quiet)
        else:
            record = train_method(
                start,
                output,
                method,
                iterations,
                stage_one=stage_one,
                resume=resume,
                stop_after=stop_after,
                quiet=quiet,
            )
    if json_file is not None and is_main():
        write_json(json_file, record)
    if not shown:
        return
    if method == ALL:
        print_table(
            "dev accuracy by iteration, %; added parameters; training", *summary_rows(record["methods"])
        )
    elif record["best"] is not None:
        best = record["best"]
        typer.echo(f"best step {best['step']}: dev accuracy {best['dev_accuracy'][-1]:.4f}")


def pretrain(
    output: Annotated[Path, typer.Option(help="Folder of the run.")],
    text: Annotated[
        list[Path] | None,
        typer.Option(help="Table with a column 'text' of documents, split into sentences; may be repeated."),
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
    import torch

    from golden_model.data.tasks import load_task
    from golden_model.train.initialise import minilm_folder
    from golden_model.train.methods import check_folder, run
    from golden_model.train.pretrain import PretrainingOptions, prepare_pretraining
    from golden_model.train.processes import is_main, leaving
    from golden_model.train.texts import read_sentences

    if threads is not None:
        torch.set_num_threads(threads)
    if not text and not task:
        raise ValueError("nothing to learn from: name --text or --task")
    geometry = read_config(preset, config)
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
    trainer = prepare_pretraining(
        texts,
        geometry,
        PretrainingOptions(**settings),
        output,
        teacher or minilm_folder(),
        init=init,
        device=device,
    )
    with _termination_interrupts(), leaving():
        record = run(trainer, stop_after, quiet)
    if json_file is not None and is_main():
        write_json(json_file, record)
    if is_main() and not quiet and record["best"] is not None:
        best = record["best"]
        error = sum(best["held_out_error"]) / len(best["held_out_error"])
        typer.echo(f"best step {best['step']}: {100 * error:.1f} % of the teacher's variance missed")


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
    delta: options.DeltaOption = options.DELTA,
    window: options.WindowOption = options.WINDOW,
    margin: options.MarginOption = options.MARGIN,
    value_range: options.RangeOption = options.RANGE,
    patience: options.PatienceOption = options.PATIENCE,
    text_column: options.TextColumnOption = None,
    pair_column: options.PairColumnOption = None,
    label_column: options.LabelColumnOption = None,
    header: options.HeaderOption = True,
    encoding: options.EncodingOption = "utf-8",
    limit: options.LimitOption = None,
    device: options.DeviceOption = "cpu",
    json_file: options.JsonOption = None,
    quiet: options.QuietOption = False,
) -> None:
    """Accuracy, mean exit iteration, cost and speedup of a checkpoint on a labelled table or a task."""
    from golden_model.data.tables import Columns
    from golden_model.evaluation.evaluate import evaluate_file, print_evaluation

    chosen = options.make_policy(policy, delta, window, margin, value_range, patience)
    result = evaluate_file(
        backend,
        model or BUNDLED,
        file,
        chosen,
        task=task,
        columns=Columns(text_column, pair_column, label_column, header, encoding),
        limit=limit,
        device=device,
        quiet=quiet,
    )
    if json_file is not None:
        write_json(json_file, result)
    if not quiet:
        print_evaluation(result)


def export_float(
    source: Annotated[Path, typer.Argument(help="Checkpoint folder that training wrote: RUN/best.")],
    destination: Annotated[Path, typer.Argument(help="Folder to write.")],
    data: Annotated[
        str | None, typer.Option(help="Folder with dev.tsv, or hub:NAME, hub:NAME/CONFIG.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="A task instead of --data: its dev split.")] = None,
    vocabulary: Annotated[
        int | None, typer.Option(help="Keep only so many pieces of a pruned vocabulary.")
    ] = None,
    json_file: options.JsonOption = None,
) -> None:
    """Writes a float checkpoint with 16-bit weights and measures it as stored."""
    from golden_model.data.tasks import open_data
    from golden_model.train.export import export

    record = export(source, destination, open_data(data, task), vocabulary)
    if json_file is not None:
        write_json(json_file, record)
    stored = record["stored"]
    rows = [[i, f"{100 * value:.2f}"] for i, value in enumerate(stored["dev_accuracy"], start=1)]
    print_table("dev accuracy as stored", ["iteration", "accuracy, %"], rows)


def register(app: typer.Typer) -> None:
    """Adds the float model's commands to ``app``."""
    app.command("train")(train)
    app.command("pretrain")(pretrain)
    app.command("eval")(evaluate)
    app.command("export")(export_float)
