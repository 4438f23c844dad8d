"""``elbert study bits``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elbert import options, policies
from elbert.bundled import BUNDLED, BUNDLED_TASK
from elbert.hints import hint
from elbert.outputs import check_folder
from elbert.progress import bars
from elbert.results import deliver
from golden_model.data.tables import Columns, load_dataset, load_texts
from golden_model.data.tasks import TASKS, check_source, find_task, load_task
from quant.studies.bits.defaults import QUALITY, SAMPLES, WORKERS

if TYPE_CHECKING:
    from golden_model.config import ElbertConfig
    from golden_model.data.tables import TextDataset, Texts
    from golden_model.exits import ExitPolicy
    from golden_model.progress import Bars
    from hw.cycles.memory import MemoryTiming
    from quant.schemes import Scheme
    from quant.studies.bits.subject import Subject

RESULT, TABLE, PAGE = "study.json", "points.csv", "bits.html"


def bits(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(help="A table of one's own, or a folder (its dev); else --task."),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help=f"Dev split of a task: {', '.join(TASKS)}. By default {BUNDLED_TASK}."),
    ] = None,
    model: Annotated[Path, typer.Option(help="Model folder: its float form is quantised.")] = BUNDLED,
    grid: Annotated[
        str | None,
        typer.Option(
            help="Names of schemes with commas between, 'presets' for all, or FILE.json: a list of schemes, "
            "or an object whose lists are multiplied. By default presets, where nothing else is asked for."
        ),
    ] = None,
    search: Annotated[
        int, typer.Option(min=0, help="Trials of the multi-objective search, those of before included.")
    ] = 0,
    ablation: Annotated[
        bool,
        typer.Option("--ablation", help="Activation scales per iteration against shared ones, 8 to 4 bits."),
    ] = False,
    calibration: Annotated[
        str | None,
        typer.Option(
            help="Sentences to calibrate on: a table, a text file or a folder with a train split; by default "
            "the task's train split, the folder's, or the table's own texts."
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Sentences to calibrate on.")] = SAMPLES,
    quality: Annotated[
        int, typer.Option(min=1, help="Of those, sentences whose tensors are compared with float's.")
    ] = QUALITY,
    seed: Annotated[int, typer.Option(min=0, help="Of the calibration's sentences and of the search.")] = 0,
    text_column: options.TextColumnOption = None,
    pair_column: options.PairColumnOption = None,
    label_column: options.LabelColumnOption = None,
    header: options.HeaderOption = True,
    encoding: options.EncodingOption = "utf-8",
    limit: options.LimitOption = None,
    policy: Annotated[
        str, typer.Option(help="Exit policy: none, entropy, entropy_raw, patience, bias_1, bias_2 or bias_3.")
    ] = policies.POLICY,
    delta: options.DeltaOption = policies.DELTA,
    window: options.WindowOption = policies.WINDOW,
    margin: options.MarginOption = policies.MARGIN,
    value_range: options.RangeOption = policies.RANGE,
    patience: options.PatienceOption = policies.PATIENCE,
    array: options.ArrayOption = "4x4",
    bandwidth: options.BandwidthOption = "unlimited",
    latency: options.LatencyOption = 20,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes of this machine, of one thread each.")
    ] = WORKERS,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler instead: tcp://HOST:PORT.")
    ] = None,
    figures: Annotated[
        str, typer.Option(help="Formats of the figures, with commas between: svg, png, pdf.")
    ] = "svg,png",
    output: Annotated[
        Path | None, typer.Option(help="Folder of the results; by default runs/study/bits/TASK.")
    ] = None,
    json_file: options.JsonOption = None,
    quiet: options.QuietOption = False,
) -> None:
    """Quantisation compared: widths, granularities and methods, by accuracy, bytes, products and cycles.

    Every scheme is calibrated and run in integers by the golden model. An interrupted study goes on: what is
    measured is kept in the output folder.
    """
    from elbert.show.bits import print_bits
    from golden_model.files import write_json
    from golden_model.locks import held
    from hw.cycles.memory import MemoryTiming, parse_bandwidth
    from hw.params import parse_array
    from quant.report.bits.page import write_page
    from quant.studies.bits.candidates import ALL, Grid, read_grid
    from quant.studies.bits.figures import draw
    from quant.studies.bits.run import Plan, study
    from quant.studies.bits.runner import open_runner
    from quant.studies.bits.table import write_csv
    from quant.studies.exits.rows import table_name
    from quant.style import figure_suffixes

    if file is None and task is None:
        task = BUNDLED_TASK
    columns = Columns(text_column, pair_column, label_column, header, encoding)
    check_source(file, task, columns)
    if scheduler is not None and workers != WORKERS:
        raise ValueError(f"--workers {workers} starts processes here; --scheduler {scheduler} has its own")
    if grid is None and not search and not ablation:
        grid = ALL
    asked = Grid([], []) if grid is None else read_grid(grid)
    suffixes = figure_suffixes(figures)
    chosen = policies.make_policy(
        policy, delta=delta, window=window, margin=margin, value_range=value_range, patience=patience
    )
    shape, memory = parse_array(array), MemoryTiming(latency, parse_bandwidth(bandwidth))
    name = find_task(task).name if task is not None else table_name(str(file))
    folder = output or Path("runs/study/bits") / name
    check_folder("output", folder)
    context.with_resource(held(folder))  # until the command ends

    data = load_task(task, "dev") if task is not None else load_dataset(str(file), "dev", columns)
    seen = _calibration(calibration, file, task, columns, data)
    metric = "accuracy" if task is None else find_task(task).metric
    rows = data if limit is None else data.head(limit)
    subject, facts = _subject(model, rows, seen, metric, chosen, (samples, seed, quality), bars(quiet))
    cycles, machine = _cycles(subject.config, subject.lengths, shape, memory)
    plan = Plan(asked.candidates, asked.left_out, ablation, search, seed)
    with open_runner(subject, workers, scheduler) as runner:
        found = study(subject, plan, runner, folder, cycles, bars(quiet), hint)
    result: dict[str, Any] = {
        "task": task,
        "model": model.resolve().name,
        "classes": facts["classes"],
        "data": {"name": name, "source": rows.source, "sha256": rows.sha256},
        "calibrated_on": {"source": seen.source, "sha256": seen.sha256, "seed": seed},
        "machine": machine,
        **found,
    }
    write_json(folder / RESULT, result)
    if json_file is not None:
        write_json(json_file, result)
    write_csv(folder / TABLE, result["points"])
    write_page(result, folder / PAGE)
    draw(result, folder, suffixes, bars(quiet))

    def show() -> None:
        print_bits(result)
        typer.echo(f"page, figures, points and result: {folder}")

    deliver(result, None, None if quiet else show)
    if not quiet:
        for note in facts["notes"]:
            hint(note)


def _calibration(
    named: str | None, file: Path | None, task: str | None, columns: Columns, data: TextDataset
) -> Texts | TextDataset:
    """The texts that ranges are found on."""
    if named is not None:
        return load_texts(named, "train", columns)
    if task is not None:
        return load_task(task, "train")
    if file is not None and file.is_dir():
        return load_texts(str(file), "train", columns)
    hint(f"calibrated on texts of {data.source} itself, without its labels: --calibration names others")
    return data


def _subject(
    model: Path,
    rows: TextDataset,
    seen: Texts | TextDataset,
    metric: str,
    policy: ExitPolicy,
    numbers: tuple[int, int, int],
    shown: Bars,
) -> tuple[Subject, dict[str, Any]]:
    """What schemes are measured on; names of the classes, and notes for the user."""
    from golden_model.evaluation.backends import model_folder
    from golden_model.float.albert import load_float
    from golden_model.float.logits import sentence_logits
    from golden_model.float.weights import stored_sha256
    from golden_model.labels import read_label_names
    from quant.samples import choose_samples
    from quant.studies.bits.subject import Subject

    samples, seed, quality = numbers
    folder = model_folder(model, "float")
    floating, tokenizer, config = load_float(folder)
    names = read_label_names(folder, config.num_labels)
    match = rows.match(names, config.num_labels)
    sentences = tokenizer.encode_many(rows.texts, config.max_position_embeddings, rows.pairs)
    chosen = choose_samples(len(seen), samples, seed)
    watched = tokenizer.encode_many(
        [seen.texts[i] for i in chosen],
        config.max_position_embeddings,
        None if seen.pairs is None else [seen.pairs[i] for i in chosen],
    )
    with shown("float model", len(sentences)) as progress:
        logits = sentence_logits(floating, sentences, tokenizer.pad_id, progress)
    notes = [note for note in (sentences.note,) if note is not None]
    if len(chosen) < samples:
        notes.append(f"{seen.source} holds {len(seen)} rows: all were used, {samples} were asked for")
    subject = Subject(
        str(folder.resolve()),
        stored_sha256(folder),
        config,
        list(watched),
        list(sentences),
        [match.classes[label] for label in rows.labels],
        list(match.order),
        metric,
        policy,
        quality,
        logits,
    )
    return subject, {"classes": names or [str(i) for i in range(config.num_labels)], "notes": notes}


def _cycles(
    config: ElbertConfig, lengths: list[int], shape: tuple[int, int], memory: MemoryTiming
) -> tuple[Callable[[Scheme], int | None], dict[str, Any]]:
    """The machine's cycles of a scheme, full depth, for a sentence of the median length; and of what machine.

    A scheme that the hardware runs takes as long as any other: it stores every weight in a byte.
    """
    from hw.cycles.sentence import predict
    from hw.params import Machine

    length = sorted(lengths)[(len(lengths) - 1) // 2]
    facts: dict[str, Any] = {"array": f"{shape[0]}x{shape[1]}", "memory": str(memory), "tokens": length}
    try:
        machine = Machine(model=config, rows=shape[0], columns=shape[1])
    except ValueError as error:
        from golden_model.errors import describe

        hint(f"no cycles: {describe(error)}")
        return lambda scheme: None, facts | {"cycles": None}
    cycles = predict(machine, length, memory).cycles
    return lambda scheme: cycles if scheme.runs_on_hardware else None, facts | {"cycles": cycles}
