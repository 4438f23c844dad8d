"""The figures of a synthesis; ``as_dict`` is what goes to JSON."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from hw.synth.devices import Device, Resources


@dataclass(frozen=True)
class Report:
    """Figures of one design on one device, placed and routed with one or several seeds."""

    device: Device
    used: Resources
    """After placement, the harness not counted."""
    harness: Resources
    estimated: Resources
    """Before synthesis, see `hw.synth.budget`."""
    cells: dict[str, int]
    """Yosys's cells of the design by type."""
    blocks: dict[str, dict[str, int]]
    """Resources by block, told apart by names, before packing."""
    modules: dict[str, dict[str, int]]
    """Resources of the parts that were kept apart, before packing."""
    mapper: str
    """Yosys's technology mapper: ``abc9``, or ``abc`` where that one crashed."""
    placer: str
    router: str
    clock_target_mhz: float
    placements: Mapping[int, Mapping[str, Any]]
    """By seed, see `hw.synth.placement.place`."""
    seconds: dict[str, float]
    """Wall time by step; of a step that was there already, when it was made."""
    cpu_seconds: dict[str, float]
    peak_mib: dict[str, float]
    reused: list[str]
    """Steps that were there already."""
    files: dict[str, str] = field(default_factory=dict)

    @property
    def fmax_per_seed(self) -> dict[int, float]:
        """Clock in MHz after routing."""
        return {seed: found["fmax_mhz"] for seed, found in self.placements.items()}

    @property
    def median_seed(self) -> int:
        """The seed with the median clock (of two, the slower): area, paths and floorplan are its."""
        return median_seed(self.fmax_per_seed)

    @property
    def clock_mhz(self) -> float:
        """Median over the seeds."""
        return self.fmax_per_seed[self.median_seed]

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        offered = asdict(self.device.resources)
        used = asdict(self.used)
        return {
            "device": {"name": self.device.name, "package": self.device.package, "speed": self.device.speed},
            "lut": self.used.lut4,
            "ff": self.used.ff,
            "dsp": self.used.dsp,
            "bram": self.used.block_ram,
            "fmax_mhz": self.clock_mhz,
            "fmax_per_seed": {str(seed): mhz for seed, mhz in self.fmax_per_seed.items()},
            "placed_mhz_per_seed": {str(seed): p["placed_mhz"] for seed, p in self.placements.items()},
            "clock_target_mhz": self.clock_target_mhz,
            "median_seed": self.median_seed,
            "mapper": self.mapper,
            "placer": self.placer,
            "router": self.router,
            "utilisation": {
                key: {
                    "used": used[key],
                    "available": offer,
                    "percent": round(100 * used[key] / offer, 2),
                    "estimated": asdict(self.estimated)[key],
                }
                for key, offer in offered.items()
            },
            "harness": asdict(self.harness),
            "per_block": self.blocks,
            "modules": self.modules,
            "cells": self.cells,
            "critical_paths": self.placements[self.median_seed]["critical_paths"],
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "peak_mib": self.peak_mib,
            "reused": self.reused,
            "files": self.files,
        }


def median_seed(clocks: Mapping[int, float]) -> int:
    """The seed with the median clock; of two, the slower."""
    middle = statistics.median_low(clocks.values())
    return next(seed for seed, mhz in clocks.items() if mhz == middle)
