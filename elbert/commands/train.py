"""``elbert train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from elbert import options
from elbert.progress import TrainingProgress
from elbert.results import deliver
from elbert.tables import print_table
from golden_model.config import ElbertConfig
from golden_model.data.tasks import check_source
from golden_model.float.methods.names import METHODS

TEACHER, ALL = "teacher", "all"
"""What ``train`` trains beside the methods: a BERT to learn from; and every run a comparison wants."""


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
    stage_two: Annotated[
        Path | None,
        typer.Option(
            help="Finished ELBERT, a run or a float checkpoint, to go on from: elbert's first exits learn "
            "what its full depth answers; pabee, deebert and fastbert get the same start and teacher."
        ),
    ] = None,
    exits: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="With --stage-two: so many first exits learn, equally; by default those of half the depth.",
        ),
    ] = None,
    last_weight: Annotated[
        float, typer.Option(min=0, help="With --stage-two: weight of the last exit beside them.")
    ] = 0.0,
    own_answers: Annotated[
        float | None,
        typer.Option(
            help="With --stage-two: share of the start's own full depth in the teachers' answers; by default "
            "1, with --teacher 0.5."
        ),
    ] = None,
    quantize: Annotated[
        str | None,
        typer.Option(
            help="With --stage-two: trains under a scheme, named or FILE.json (docs/quantisation.md), and "
            "writes integer checkpoints."
        ),
    ] = None,
    step_learning_rate: Annotated[
        float | None,
        typer.Option(help="With --quantize: of the scales, in shares of their start; by default 1e-3."),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(min=1, help="With --quantize: sentences to calibrate the start on; by default 256."),
    ] = None,
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
    soft: Annotated[
        float | None,
        typer.Option(
            help="Share of the teacher's answers in the loss, 0..1; by default 0, with --stage-two 0.6."
        ),
    ] = None,
    self_distillation: Annotated[
        float, typer.Option(help="Share, in ELBERT's earlier exits' loss, of its last exit's answers, 0..1.")
    ] = 0.0,
    temperature: Annotated[float, typer.Option(help="Softens the answers that are learnt.")] = 2.0,
    hidden: Annotated[float, typer.Option(help="Weight of the teacher's hidden states.")] = 0.0,
    stretch: Annotated[int, typer.Option(help="Iterations per layer of the teacher, for --hidden.")] = 1,
    unlabelled: Annotated[
        list[Path] | None,
        typer.Option(
            help="Table (column text) of documents whose sentences the teacher answers, or with --stage-two "
            "the start."
        ),
    ] = None,
    unlabelled_task: Annotated[
        list[str] | None,
        typer.Option(
            help="Task whose training texts are answered too, without their labels; may be repeated."
        ),
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
        str | None,
        typer.Option(
            help="Weights of ELBERT's exits: dynamic, equal or linear; by default dynamic, with --stage-two "
            "equal."
        ),
    ] = None,
    average: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Measure and write the mean of the weights over this share of the steps, the last ones; "
            "0: the weights themselves.",
        ),
    ] = 0.0,
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

    from golden_model.data.tables import Columns
    from golden_model.train.joint import JointOptions
    from golden_model.train.methods import Prepare, check_folder, run, summary_rows, train_all, train_method
    from golden_model.train.processes import is_main, leaving
    from golden_model.train.setup import Splits, Teaching, Vocabulary, prepare, prepare_teacher
    from golden_model.train.stage_two import StageTwo, checkpoint_of
    from golden_model.train.texts import Unlabelled
    from golden_model.train.trainer import Trainer, TrainingOptions
    from quant.qat.objective import QuantizedOptions
    from quant.qat.setup import under_scheme
    from quant.schemes import Scheme

    options.use_threads(threads)
    columns = Columns(text_column, pair_column, label_column, header, encoding)
    check_source(data, task, columns)
    if method not in (*METHODS, ALL, TEACHER):
        raise ValueError(f"method {method!r} is not one of {', '.join((*METHODS, ALL, TEACHER))}")
    if after_albert and method != ALL:
        raise ValueError(f"--after-albert is for --method {ALL}; for {method} name --stage-one")
    if stage_two is not None:
        unread = {
            "init": init != "minilm",
            "tokenizer": tokenizer is not None,
            "vocabulary-text": bool(vocabulary_text),
            "vocabulary-size": vocabulary_size is not None,
            "config": config is not None,
        }
        if method == TEACHER:
            raise ValueError(f"a second stage goes on from a finished elbert: not {method}")
        if method != "elbert" and (exits is not None or last_weight):
            raise ValueError(
                f"--exits and --last-weight are elbert's: {method} weighs its exits by its own rule"
            )
        if method == "fastbert" and own_answers is not None:
            raise ValueError(
                f"--own-answers {own_answers} has no use: fastbert learns its own last exit alone"
            )
        for name in (name for name, given in unread.items() if given):
            raise ValueError(f"--{name} has no use: --stage-two {stage_two} says where elbert starts")
        config = checkpoint_of(stage_two) / "config.json"
    elif exits is not None or last_weight or own_answers is not None:
        raise ValueError("--exits, --last-weight and --own-answers are for --stage-two")
    elif unlabelled and teacher is None:
        raise ValueError(f"--unlabelled {unlabelled[0]}: there is no --teacher to answer it")
    elif unlabelled_task and teacher is None:
        raise ValueError(f"--unlabelled-task {unlabelled_task[0]}: there is no --teacher to answer it")
    if quantize is not None and (stage_two is None or method != "elbert"):
        raise ValueError(f"--quantize {quantize} trains on from a finished elbert: name it with --stage-two")
    if quantize is None and (samples is not None or step_learning_rate is not None):
        raise ValueError("--samples and --step-learning-rate are for --quantize")
    scheme = None if quantize is None else Scheme.from_json(quantize)
    geometry = options.read_config(preset, config)
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
        "average": average,
    }
    joint: dict[str, Any] = {
        "head_learning_rate": head_learning_rate,
        "exit_learning_rate": exit_learning_rate,
        "weighting": weighting or ("dynamic" if stage_two is None else "equal"),
        "exit_start": exit_start,
        "freeze": freeze,
        "soft": (0.0 if stage_two is None else 0.6) if soft is None else soft,
        "self_distillation": self_distillation,
        "temperature": temperature,
        "hidden": hidden,
        "last_weight": last_weight,
    }
    if stage_two is not None and method == "elbert":
        joint["exits"] = exits or max(1, geometry.num_hidden_layers // 2)
    numbers = JointOptions(**settings, **joint)
    if scheme is not None:
        own: dict[str, Any] = {"samples": samples, "step_learning_rate": step_learning_rate}
        joint |= {name: value for name, value in own.items() if value is not None}
        numbers = QuantizedOptions(**settings, **joint)
    splits = Splits.of_task(task) if task is not None else Splits.of_folder(str(data), columns)
    start: Prepare = partial(
        prepare,
        splits,
        geometry,
        numbers,
        init=init,
        tokenizer_folder=tokenizer,
        vocabulary=Vocabulary(vocabulary_text or [], vocabulary_rows),
        teaching=None if teacher is None else Teaching(teacher, stretch),
        unlabelled=Unlabelled(unlabelled or [], unlabelled_rows, unlabelled_task or []),
        stage_two=None if stage_two is None else StageTwo(stage_two, own_answers),
        device=device,
    )
    if scheme is not None and stage_two is not None:
        start = under_scheme(start, scheme, stage_two)
    shown = is_main() and not quiet
    watch = TrainingProgress() if shown else None
    with leaving():
        if method == ALL:
            for name, value in (
                ("iterations", iterations),
                ("stage-one", stage_one),
                ("stage-two", stage_two),
                ("stop-after", stop_after),
            ):
                if value is not None:
                    raise ValueError(f"--{name} {value} is for one method, not for {ALL}")

            def report(name: str, trainer: Trainer) -> None:
                if shown:
                    typer.echo(f"{name}: step {trainer.step} of {trainer.total_steps}")

            record = train_all(start, output, after_albert=after_albert, report=report, watch=watch)
        elif method == TEACHER:
            check_folder(output, resume)
            trainer = prepare_teacher(splits, TrainingOptions(**settings), output, device=device)
            record = run(trainer, stop_after, watch)
        else:
            record = train_method(
                start,
                output,
                method,
                iterations,
                stage_one=stage_one,
                started=stage_two is not None,
                resume=resume,
                stop_after=stop_after,
                watch=watch,
            )

    def show() -> None:
        if method == ALL:
            print_table(
                "dev accuracy by iteration, %; added parameters; training", *summary_rows(record["methods"])
            )
        elif record["best"] is not None:
            best = record["best"]
            typer.echo(f"best step {best['step']}: dev accuracy {best['dev_accuracy'][-1]:.4f}")

    if is_main():
        deliver(record, json_file, show if shown else None)
