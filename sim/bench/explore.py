"""Machines told from their description alone: cycles by the cycle model, area by the synthesis's estimate."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import product
from typing import Any

from golden_model.config import ElbertConfig
from golden_model.progress import Bars, silent
from hw.cycles.memory import MemoryTiming, format_bandwidth
from hw.cycles.sentence import predict
from hw.params import Machine
from hw.synth.budget import certain, estimate
from hw.synth.designs import choose_layernorm_lanes, describe_machine, make_machine
from hw.synth.devices import Device, Resources, shortages
from hw.synth.flow import describe

COMPUTED = 2
"""Iterations that are followed; later ones are alike."""


def spread(values: Counter[int]) -> dict[str, float]:
    """Mean, median and 99th percentile (nearest rank) of values and how often each occurs."""
    count, ordered = sum(values.values()), sorted(values.items())

    def rank(share: float) -> int:
        wanted, seen = math.ceil(share * count), 0
        for value, times in ordered:
            seen += times
            if seen >= wanted:
                return value
        raise ValueError("no values")

    mean = sum(value * times for value, times in ordered) / count
    return {"mean": mean, "p50": rank(0.5), "p99": rank(0.99)}


def sentence_cycles(
    machine: Machine, memory: MemoryTiming, sentences: Counter[tuple[int, int]]
) -> Counter[int]:
    """Cycles of sentences, (tokens, exit iteration) and how often each occurs, and how often those occur."""
    found: Counter[int] = Counter()
    iterations = min(COMPUTED, machine.model.num_hidden_layers)
    told = {length: predict(machine, length, memory, iterations) for length in {n for n, _ in sentences}}
    for (length, exit_iteration), times in sentences.items():
        found[told[length].cycles_after(exit_iteration)] += times
    return found


@cache
def needed(machine: Machine) -> Resources:
    """What the machine is estimated to take of an ECP5."""
    return estimate(describe(make_machine(machine)))


def explore(
    config: ElbertConfig,
    arrays: Sequence[tuple[int, int]],
    memories: Sequence[MemoryTiming],
    devices: Sequence[Device],
    sentences: Counter[tuple[int, int]],
    clock_mhz: float,
    *,
    with_area: bool = True,
    bars: Bars = silent,
) -> list[dict[str, Any]]:
    """One dictionary per array, memory and device.

    Args:
        config: Geometry of the model.
        arrays: Rows and columns.
        memories: Latency and bandwidth.
        devices: Each decides how many lanes LayerNorm has.
        sentences: (tokens, exit iteration), and how often each occurs.
        clock_mhz: For latencies in milliseconds.
        with_area: False leaves out what takes longest, the estimate of area.
        bars: Shows how far it is.

    Raises:
        ValueError: an array is not legal for the model, or a sentence is too long.
    """
    machines = {
        (array, device): describe_machine(
            config, *array, choose_layernorm_lanes(*array, device.resources.dsp)
        )
        for array, device in product(arrays, devices)
    }
    points = []
    cycles: dict[tuple[Machine, MemoryTiming], Counter[int]] = {}
    with bars("machines", len(machines) * len(memories)) as progress:
        for (array, device), machine in machines.items():
            area = needed(machine) if with_area else None
            for memory in memories:
                if (machine, memory) not in cycles:
                    cycles[machine, memory] = sentence_cycles(machine, memory, sentences)
                points.append(
                    {
                        "array": "{}x{}".format(*array),
                        "multipliers": array[0] * array[1],
                        "device": device.name,
                        "layernorm_lanes": machine.normalize_lanes,
                        "bandwidth": format_bandwidth(memory.bandwidth),
                        "latency": memory.latency,
                        "cycles": spread(cycles[machine, memory]),
                        "milliseconds": {
                            name: value / (1000 * clock_mhz)
                            for name, value in spread(cycles[machine, memory]).items()
                        },
                        **_area(area, device),
                    }
                )
                progress(1)
    _mark_best(points)
    return points


def _area(area: Resources | None, device: Device) -> dict[str, Any]:
    if area is None:
        return {"block_ram": None, "dsp": None, "lut4": None, "fits": None, "short": None}
    short = shortages(certain(area), device.resources)
    return {
        "block_ram": area.block_ram,
        "dsp": area.dsp,
        "lut4": area.lut4,
        "fits": not short,
        "short": short,
    }


def _mark_best(points: list[dict[str, Any]]) -> None:
    """``best``: on the same device and memory no machine with as few multipliers is as fast (Pareto)."""
    for point in points:
        rivals = [
            other
            for other in points
            if all(other[key] == point[key] for key in ("device", "bandwidth", "latency"))
            and other is not point
            and other["fits"] is not False
        ]
        point["best"] = point["fits"] is not False and not any(
            other["multipliers"] <= point["multipliers"]
            and other["cycles"]["mean"] <= point["cycles"]["mean"]
            and (other["multipliers"], other["cycles"]["mean"])
            != (point["multipliers"], point["cycles"]["mean"])
            for other in rivals
        )
