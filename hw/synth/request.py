"""What is asked of a synthesis: a design, a device, a clock and seeds, checked before any work."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw.params import Machine
from hw.synth.designs import (
    block_names,
    choose_layernorm_lanes,
    describe_machine,
    find_preset,
    make_block,
    make_machine,
    parse_array,
)
from hw.synth.devices import Device
from hw.synth.flow import synthesise
from hw.synth.placement import PLACERS, ROUTERS
from hw.synth.report import Report
from hw.synth.script import MAPPERS

if TYPE_CHECKING:
    from amaranth.lib import wiring

LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True)
class Request:
    """A synthesis.

    Raises:
        ValueError: naming the value and what is legal.
    """

    device: Device
    preset: str = "nano"
    tokens: int | None = None
    """Longest sentence; None: the preset's."""
    array: str = "4x4"
    block: str | None = None
    """None: the whole machine."""
    layernorm_lanes: int | None = None
    dense_memories: bool = False
    clock_target_mhz: float = 100.0
    seeds: tuple[int, ...] = (1,)
    depth: int = 0
    mapper: str | None = None
    placer: str | None = None
    router: str | None = None

    def __post_init__(self) -> None:
        if self.mapper is not None and self.mapper not in MAPPERS:
            raise ValueError(f"mapper {self.mapper!r} is not one of {', '.join(MAPPERS)}")
        if self.placer is not None and self.placer not in PLACERS:
            raise ValueError(f"placer {self.placer!r} is not one of {', '.join(PLACERS)}")
        if self.router is not None and self.router not in ROUTERS:
            raise ValueError(f"router {self.router!r} is not one of {', '.join(ROUTERS)}")
        if not self.clock_target_mhz > 0:
            raise ValueError(f"clock {self.clock_target_mhz:g} MHz must be above 0")
        if self.depth < 0:
            raise ValueError(f"depth {self.depth} is below 0")
        if not self.seeds:
            raise ValueError("seeds: at least one is needed")
        for seed in self.seeds:
            if not 0 < seed <= LARGEST_SEED:
                raise ValueError(f"seed {seed} is outside 1..{LARGEST_SEED}")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {', '.join(map(str, self.seeds))}: one stands there twice")
        machine = self.machine
        if self.block is not None and self.block not in (names := block_names(machine)):
            raise ValueError(f"block {self.block!r} is not one of {', '.join(names)}")

    @cached_property
    def machine(self) -> Machine:
        """The machine, or the one that the block is a part of."""
        config = find_preset(self.preset)
        if self.tokens is not None:
            config = type(config)(**{**config.model_dump(), "max_position_embeddings": self.tokens})
        rows, columns = parse_array(self.array)
        lanes = self.layernorm_lanes or choose_layernorm_lanes(rows, columns, self.device.resources.dsp)
        return describe_machine(config, rows, columns, lanes, self.dense_memories)

    def make(self) -> wiring.Component:
        """The component, not yet elaborated."""
        return make_machine(self.machine) if self.block is None else make_block(self.block, self.machine)

    def synthesise(self, folder: Path, **how: Any) -> Report:
        """`hw.synth.flow.synthesise` of what is asked for; ``how`` is the rest of its arguments."""
        return synthesise(
            self.make,
            self.device,
            folder,
            seeds=self.seeds,
            clock_target_mhz=self.clock_target_mhz,
            depth=self.depth,
            mapper=self.mapper,
            placer=self.placer,
            router=self.router,
            **how,
        )

    @property
    def title(self) -> str:
        """In words."""
        machine, device = self.machine, self.device
        return (
            f"{self.block or 'ELBERT machine'}, {self.preset} at {machine.model.max_position_embeddings} "
            f"tokens, array {machine.rows}x{machine.columns}, "
            f"on {device.name} {device.package} speed grade {device.speed}"
        )

    def design(self) -> dict[str, Any]:
        """JSON form of the design."""
        machine = self.machine
        return {
            "block": self.block,
            "preset": self.preset,
            "tokens": machine.model.max_position_embeddings,
            "rows": machine.rows,
            "columns": machine.columns,
            "layernorm_lanes": machine.layernorm_lanes,
            "dense_memories": machine.dense_memories,
        }
