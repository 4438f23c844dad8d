"""``elbert bench rtl``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elbert import options, policies
from elbert.bundled import BUNDLED
from elbert.commands.simulate import parse_lengths
from elbert.outputs import check_files
from elbert.progress import SimulationProgress
from elbert.results import deliver

if TYPE_CHECKING:
    from hw.cycles.memory import MemoryTiming
    from sim.performance import Case

PRESET = "nano"
SAMPLE = 8
"""Sentences of a sample, unless told otherwise."""


def rtl(
    preset: Annotated[
        str | None,
        typer.Option(help="Geometry: nano (the default), small, base or large; a model has its own."),
    ] = None,
    array: options.ArrayOption = "4x4",
    lengths: Annotated[
        str | None,
        typer.Option(
            help="Tokens of random sentences; by default 5,12,27,64 and the longest, as far as they fit."
        ),
    ] = None,
    sample: Annotated[
        str | None, typer.Option(help="Instead, sentences of a task's dev split, on --model: sst2, trec …")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Sentences of the sample.")] = SAMPLE,
    model: Annotated[
        Path | None,
        typer.Option(
            help="Model folder, instead of random integers; with --sample the bundled one by default."
        ),
    ] = None,
    policy: options.PolicyOption = "none",
    iterations: Annotated[int | None, typer.Option(help="Of the model; by default all.")] = None,
    bandwidth: options.BandwidthOption = "unlimited",
    latency: options.LatencyOption = 20,
    predict: Annotated[bool, typer.Option("--predict", help="Only the cycle model: no simulation.")] = False,
    timeline: Annotated[
        Path | None, typer.Option(help="Write a timeline here, to be opened at ui.perfetto.dev (.json).")
    ] = None,
    roofline: Annotated[
        Path | None, typer.Option(help="Draw products a cycle over products a byte here (.svg, .png, .pdf).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of integers, tokens, sample and undefined values.")] = 1,
    threads: options.ThreadsOption = None,
    run_dir: options.RunDirOption = Path("runs/simulation"),
    json_file: options.JsonOption = None,
) -> None:
    """Cycles of sentences on the simulated machine, what each was for, and what the cycle model says."""
    from elbert.show.bench import draw_roofline, print_bench
    from golden_model.errors import PromiseBroken
    from golden_model.files import write_json
    from golden_model.provenance import header
    from hw.cycles.memory import MemoryTiming, format_bandwidth, parse_bandwidth
    from quant.style import check_suffix
    from sim.bench.run import totals

    options.use_threads(threads)
    check_files(timeline=timeline, roofline=roofline)
    if roofline is not None:
        check_suffix(roofline)
    if predict and timeline is not None:
        raise ValueError("--timeline shows a simulation, which --predict leaves out")
    memory = MemoryTiming(latency, parse_bandwidth(bandwidth))
    case = _case(preset, array, lengths, sample, limit, model, policy, iterations, seed, predict)
    bench = (
        _predicted(case, memory) if predict else _simulated(case, memory, timeline is not None, seed, run_dir)
    )
    machine, rows = case.machine, bench["sentences"]
    document: dict[str, Any] = {
        "header": header(seed, case.sha256),
        "preset": preset or (None if model or sample else PRESET),
        "array": array,
        "sample": sample,
        "policy": policy,
        "iterations": machine.model.num_hidden_layers,
        "bandwidth": format_bandwidth(memory.bandwidth),
        "latency": latency,
        **totals(machine, rows),
        **{name: bench[name] for name in ("mismatches", "wall_s", "cycles_per_s")},
        "sentences": rows,
    }
    if timeline is not None:
        write_json(timeline, bench["timeline"])

    def show() -> None:
        title = f"{model or (BUNDLED if sample else preset or PRESET)}, {array} array, memory of {memory}"
        print_bench(title, document)
        for path in filter(None, (timeline, roofline)):
            typer.echo(f"written: {path}")

    if roofline is not None:
        draw_roofline(machine, memory, rows, roofline)
    deliver(document, json_file, show)
    if bench["error"]:
        raise PromiseBroken(bench["error"])


def _case(
    preset: str | None,
    array: str,
    lengths: str | None,
    sample: str | None,
    limit: int,
    model: Path | None,
    policy: str,
    iterations: int | None,
    seed: int,
    predict: bool,
) -> Case:
    from hw.params import parse_array
    from sim.performance import random_case, sample_case

    shape = parse_array(array)
    chosen = policies.choose_policy(policy, model or BUNDLED, "rtl").to_fixed()
    if sample is not None and lengths is not None:
        raise ValueError(f"--lengths {lengths} is for random sentences, not for a --sample")
    if sample is None:
        case = random_case(
            preset or PRESET,
            shape,
            None if lengths is None else parse_lengths(lengths),
            model=model,
            iterations=iterations,
            policy=chosen,
            seed=seed,
            with_checkpoint=not predict or chosen.mode.name != "none",
        )
    else:
        case = sample_case(
            sample, shape, model or BUNDLED, limit, iterations=iterations, policy=chosen, seed=seed
        )
    if preset is not None:
        _check_preset(preset, case)
    return case


def _check_preset(preset: str, case: Case) -> None:
    """Raises ValueError where the model's geometry is another than the preset's."""
    from golden_model.config import find_preset

    wanted, found = find_preset(preset), case.machine.model
    for name in ("hidden_size", "embedding_size", "intermediate_size", "num_attention_heads"):
        if getattr(wanted, name) != getattr(found, name):
            raise ValueError(
                f"--preset {preset} has {name} {getattr(wanted, name)}, the model has {getattr(found, name)}"
            )


def _predicted(case: Case, memory: MemoryTiming) -> dict[str, Any]:
    from sim.bench.run import predict_rows
    from sim.performance import exits_of

    sentences = [(len(job.sentence[0]), exit_) for job, exit_ in zip(case.jobs, exits_of(case), strict=True)]
    return {
        "sentences": predict_rows(case.machine, memory, sentences),
        "mismatches": None,
        "wall_s": None,
        "cycles_per_s": None,
        "error": None,
    }


def _simulated(
    case: Case, memory: MemoryTiming, with_timeline: bool, seed: int, run_dir: Path
) -> dict[str, Any]:
    from sim.bench.timeline import timeline
    from sim.performance import measured_rows, run_case

    with SimulationProgress(len(case.jobs)) as progress:
        report = run_case(
            case,
            memory=memory,
            activity=with_timeline,
            seed=seed,
            run_dir=run_dir,
            on_build=progress.built,
            on_sentence=lambda i, outcome: progress.advance(
                f"{len(case.jobs[i].sentence[0])} tokens, {outcome.cycles:,} cycles",
                outcome.comparison.mismatches,
            ),
        )
    first = next((o.comparison.first for o in report.outcomes if o.comparison.first), None)
    told = [*report.errors, *([str(first)] if first else []), f"the run's files: {report.folder}"]
    if not report.outcomes:
        from golden_model.errors import PromiseBroken

        raise PromiseBroken("; ".join(told))
    rows = measured_rows(report, case.machine, memory)
    seconds = report.bench.wall_s
    lengths = [row["tokens"] for row in rows]
    return {
        "sentences": rows,
        "mismatches": sum(row["mismatches"] for row in rows),
        "wall_s": seconds,
        "cycles_per_s": sum(row["cycles"] for row in rows) / seconds,
        "timeline": timeline(case.machine, report.activity, lengths) if with_timeline else None,
        "error": None if report.equal else "; ".join(told),
    }
