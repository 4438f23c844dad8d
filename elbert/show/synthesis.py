"""A synthesis report as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from elbert.tables import print_table

if TYPE_CHECKING:
    from hw.synth.flow import Report


def print_synthesis(title: str, report: Report) -> None:
    """Utilisation, parts, clock, times and files."""
    data = report.as_dict()
    labels = {
        "lut4": "LUT4",
        "ff": "FF",
        "dsp": "DSP (MULT18X18D)",
        "block_ram": "block RAM (DP16KD)",
    }
    rows = [
        [labels[key], value["used"], value["available"], f"{value['percent']:.1f} %"]
        for key, value in data["utilisation"].items()
    ]
    print_table(title, ["resource", "used", "available", "utilisation"], rows)
    if report.modules:
        parts = [[name, *numbers.values()] for name, numbers in report.modules.items()]
        print_table("Parts, before packing", ["part", *labels.values()], parts)
    times = ", ".join(f"{name} {value:g} s" for name, value in report.seconds.items())
    print(f"clock after routing: {report.clock_mhz:.1f} MHz (aimed at {report.clock_target_mhz:g} MHz)")
    print(f"not counted above: the harness with {report.harness.lut4} LUT4 and {report.harness.ff} FF")
    print(f"time: {times}")
    print("files: " + ", ".join(report.files.values()))
