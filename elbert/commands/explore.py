"""``elbert explore``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from elbert import options, policies
from elbert.bundled import BUNDLED
from elbert.outputs import check_files
from elbert.progress import bars
from elbert.results import deliver


def explore(
    preset: options.PresetOption = "small",
    arrays: Annotated[
        str, typer.Option(help="Multiplier arrays, separated by commas.")
    ] = "4x8,8x8,4x16,8x16",
    bandwidths: Annotated[
        str, typer.Option(help="Of the memory, in bytes a cycle, separated by commas.")
    ] = "2,4.3,unlimited",
    latency: options.LatencyOption = 40,
    devices: Annotated[str, typer.Option(help="ECP5 devices, separated by commas.")] = "lfe5u-85f",
    clock: Annotated[float, typer.Option(help="Clock in MHz, for latencies in milliseconds.")] = 100.0,
    sample: Annotated[str, typer.Option(help="Task whose dev split's lengths and exits count.")] = "sst2",
    limit: options.LimitOption = None,
    model: Annotated[Path, typer.Option(help="Model folder whose exits are measured.")] = BUNDLED,
    policy: options.PolicyOption = policies.POLICY,
    area: Annotated[bool, typer.Option(help="Estimate the area too, which takes minutes an array.")] = True,
    figure: Annotated[
        Path | None, typer.Option(help="Draw latency over multipliers here (.svg, .png, .pdf).")
    ] = None,
    threads: options.ThreadsOption = None,
    json_file: options.JsonOption = None,
    quiet: options.QuietOption = False,
) -> None:
    """Predicted latency of a grid of machines and memories at a task's measured exits, and what they need."""
    from elbert.show.explore import draw_explored, print_explored
    from golden_model.config import find_preset
    from golden_model.provenance import header
    from hw.cycles.memory import MemoryTiming, parse_bandwidth
    from hw.params import parse_array
    from hw.synth.devices import find_device
    from quant.style import check_suffix
    from sim.bench.explore import explore as explore_machines
    from sim.performance import measured_exits

    options.use_threads(threads)
    check_files(figure=figure)
    if figure is not None:
        check_suffix(figure)
    if clock <= 0:
        raise ValueError(f"clock {clock:g} MHz must be above 0")
    config = find_preset(preset)
    shapes = [parse_array(text) for text in _list(arrays)]
    memories = [MemoryTiming(latency, parse_bandwidth(text)) for text in _list(bandwidths)]
    parts = [find_device(name) for name in _list(devices)]
    chosen = policies.choose_policy(policy, model, "golden")
    measured, sha256 = measured_exits(sample, model, chosen, limit, bars(quiet))
    sentences = _fitted(measured, config.max_position_embeddings, config.num_hidden_layers)
    points = explore_machines(
        config, shapes, memories, parts, sentences, clock, with_area=area, bars=bars(quiet)
    )
    count = sum(sentences.values())
    document = {
        "header": header(None, sha256),
        "preset": preset,
        "sample": sample,
        "sentences": count,
        "mean_tokens": sum(length * times for (length, _), times in sentences.items()) / count,
        "mean_exit_iteration": sum(exit_ * times for (_, exit_), times in sentences.items()) / count,
        "policy": chosen.model_dump(mode="json"),
        "clock_mhz": clock,
        "machines": points,
    }
    if figure is not None:
        draw_explored(points, figure)
    deliver(document, json_file, None if quiet else lambda: print_explored(document))


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _fitted(measured: Counter[tuple[int, int]], longest: int, iterations: int) -> Counter[tuple[int, int]]:
    """The sentences on another geometry.

    Raises:
        ValueError: one is longer, or leaves later, than the geometry goes.
    """
    length, exit_iteration = max(n for n, _ in measured), max(e for _, e in measured)
    if length > longest:
        raise ValueError(f"the sample has a sentence of {length} tokens, the geometry's longest is {longest}")
    if exit_iteration > iterations:
        raise ValueError(f"a sentence leaves after iteration {exit_iteration}, the geometry has {iterations}")
    return measured
