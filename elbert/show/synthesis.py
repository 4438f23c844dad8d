"""A synthesis report as tables."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from elbert.tables import print_table

if TYPE_CHECKING:
    from hw.synth.baseline import Change
    from hw.synth.devices import Resources

LABELS = {"lut4": "LUT4", "ff": "FF", "dsp": "DSP (MULT18X18D)", "block_ram": "block RAM (DP16KD)"}


def print_budget(title: str, needed: Resources, offered: Resources) -> None:
    """What a design needs beside what a device has."""
    have = asdict(offered)
    rows = [
        [
            LABELS[key],
            value,
            have[key],
            f"{100 * value / have[key]:.1f} %",
            "" if value <= have[key] else "no",
        ]
        for key, value in asdict(needed).items()
    ]
    print_table(title, ["resource", "needed", "available", "share", "fits"], rows)


def print_synthesis(title: str, data: dict[str, Any]) -> None:
    """Utilisation, blocks, slowest paths, clock, times and files of a report's JSON form."""
    rows = [
        [LABELS[key], value["used"], value["available"], f"{value['percent']:.1f} %", value["estimated"]]
        for key, value in data["utilisation"].items()
    ]
    print_table(title, ["resource", "used", "available", "utilisation", "estimated"], rows)
    if data["per_block"]:
        blocks = [[name, *numbers.values()] for name, numbers in data["per_block"].items()]
        print_table("Blocks, before packing", ["block", *LABELS.values()], blocks)
    if data["modules"]:
        parts = [[name, *numbers.values()] for name, numbers in data["modules"].items()]
        print_table("Parts kept apart, before packing", ["part", *LABELS.values()], parts)
    paths = [
        [
            path["from"],
            path["to"],
            f"{path['ns']:.2f}",
            f"{path['mhz']:.1f}",
            f"{path['routing_percent']:.0f} %",
        ]
        for path in data["critical_paths"]
    ]
    print_table("Slowest paths", ["from", "to", "ns", "MHz", "% in wires"], paths)
    seeds = ", ".join(f"{seed}: {mhz:.1f}" for seed, mhz in data["fmax_per_seed"].items())
    print(
        f"clock after routing: {data['fmax_mhz']:.1f} MHz, aimed at {data['clock_target_mhz']:g} MHz "
        f"(by seed: {seeds}; {data['mapper']}, {data['placer']}, {data['router']})"
    )
    harness = data["harness"]
    print(f"not counted above: the harness with {harness['lut4']} LUT4 and {harness['ff']} FF")
    times = [
        f"{step} {data['cpu_seconds'][step]:g} of {wall:g} s{' (kept)' * (step in data['reused'])}"
        for step, wall in data["seconds"].items()
    ]
    print("processor and wall time: " + ", ".join(times))
    lanes = data["design"]["layernorm_lanes"]
    print(f"LayerNorm finishes {lanes} element(s) per cycle")
    print("files: " + ", ".join(data["files"].values()))


def print_changes(changes: dict[str, list[Change]], new: list[str]) -> None:
    """Figures of designs beside their baselines, and the names of those that have none."""
    rows = [
        [name, change.figure, f"{change.was:g}", f"{change.now:g}", f"{100 * change.share:+.1f} %", verdict]
        for name, found in changes.items()
        for change in found
        for verdict in ["too much" if change.too_much else ""]
    ]
    print_table("Against the baselines", ["design", "figure", "was", "is", "change", ""], rows)
    if new:
        print("without a baseline: " + ", ".join(new))
