"""``elbert simulate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elbert import options
from elbert.results import deliver
from elbert.show.performance import print_performance
from hw.params import parse_array


def parse_lengths(text: str) -> list[int]:
    """``"5,16"`` to [5, 16].

    Raises:
        ValueError: a part is not a number.
    """
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if not part.isdecimal():
            raise ValueError(f"length {part!r} in {text!r} is not a number of tokens")
    return [int(part) for part in parts]


def simulate(
    preset: Annotated[str, typer.Option(help="nano, small, base or large.")] = "nano",
    array: options.ArrayOption = "4x4",
    lengths: Annotated[str, typer.Option(help="Tokens of the sentences, separated by commas.")] = "5,16,1",
    model: Annotated[
        Path | None, typer.Option(help="Model folder, instead of random integers of the preset.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of checkpoint, tokens and undefined values.")] = 1,
    bandwidth: options.BandwidthOption = "unlimited",
    latency: options.LatencyOption = 20,
    stall_mode: Annotated[int, typer.Option(min=0, max=3, help="Of the memory: 0 never, 1 at random …")] = 0,
    fast: Annotated[bool, typer.Option(help="Optimised build, undefined values zero.")] = False,
    watchdog: Annotated[
        int | None,
        typer.Option(
            min=1, help="Cycles after which the hardware drops a sentence; by default more than any takes."
        ),
    ] = None,
    threads: options.ThreadsOption = None,
    run_dir: options.RunDirOption = Path("runs/simulation"),
    json_file: options.JsonOption = None,
    mutants: Annotated[
        bool,
        typer.Option("--mutants", help="Plant faults in the hardware's source, count what is caught."),
    ] = False,
    block: Annotated[str | None, typer.Option(help="With --mutants: faults of this block alone.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="With --mutants: faults at most [64].")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="With --mutants: side by side [2].")] = None,
) -> None:
    """Runs whole sentences of a preset, compares every named tensor, and says where the cycles went.

    With --mutants: plants faults in the hardware, one at a time, and counts how many the benches catch.
    """
    if mutants:
        _plant(block, limit or 64, workers or 2, seed, json_file)
        return
    for name, value in (("block", block), ("limit", limit), ("workers", workers)):
        if value is not None:
            raise ValueError(f"--{name} {value} goes with --mutants alone")
    from golden_model.errors import PromiseBroken
    from golden_model.provenance import header
    from hw.cycles.memory import MemoryTiming, parse_bandwidth
    from sim.performance import performance_rows, run_preset

    options.use_threads(threads)
    rows, columns = parse_array(array)
    counts = parse_lengths(lengths)
    memory = MemoryTiming(latency, parse_bandwidth(bandwidth))
    report, machine, sha256 = run_preset(
        preset, rows, columns, counts, model=model, seed=seed, memory=memory,
        stall_mode=stall_mode, fast=fast, watchdog=watchdog, run_dir=run_dir,
    )  # fmt: skip
    table = performance_rows(report, machine)
    document = {"header": header(seed, sha256), "preset": preset, "array": array, "sentences": table}
    title = f"{preset}, {array} array: utilisation = products / (multipliers x cycles)"
    deliver(document, json_file, lambda: print_performance(title, table))
    if not report.equal:
        first = next((o.comparison.first for o in report.outcomes if o.comparison.first), None)
        waves = [f"waves: {report.waves}"] if report.waves else []
        waves.append(f"the run's files: {report.folder}")
        raise PromiseBroken("; ".join([*report.errors, *([str(first)] if first else []), *waves]))


def _plant(block: str | None, limit: int, workers: int, seed: int, json_file: Path | None) -> None:
    """``--mutants``."""
    from elbert.progress import bars
    from elbert.show.mutants import print_mutants, survivor_lines
    from golden_model.errors import PromiseBroken
    from golden_model.provenance import header
    from sim.mutants.campaign import PROMISED, run_campaign, stale_reviews, summary

    verdicts = run_campaign(block=block, limit=limit, workers=workers, seed=seed, bars=bars(False))
    document = {
        "header": header(seed),
        **summary(verdicts),
        "promised": PROMISED,
        "stale_reviews": stale_reviews(verdicts),
        "mutants": [verdict.as_json() for verdict in verdicts],
    }
    deliver(document, json_file, lambda: print_mutants(document))
    share = document["all"]["share"]
    if share is not None and share < PROMISED:
        unexplained = [mutant for mutant in document["mutants"] if mutant["reason"] is None]
        first = survivor_lines(unexplained)[0]
        raise PromiseBroken(f"{100 * share:.1f} % killed, below {100 * PROMISED:.0f} %; the first {first}")
