"""What can be synthesised by name: every block alone, and the whole machine."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from golden_model.config import ElbertConfig, find_preset
from hw.params import Machine, parse_array

if TYPE_CHECKING:
    from amaranth.hdl import Elaboratable
    from amaranth.lib import wiring

__all__ = [
    "block_names",
    "choose_layernorm_lanes",
    "describe_machine",
    "find_preset",
    "make_block",
    "make_machine",
    "parse_array",
]

TECHNOLOGY = "ecp5"


LEAVES: dict[str, Callable[[], wiring.Component]] = {
    "multiplier": lambda: _make("hw.arith.multiplier", "Multiplier", 18, 18, TECHNOLOGY),
    "requantizer": lambda: _make("hw.arith.requantizer", "Requantizer", TECHNOLOGY),
}
"""Blocks that are the same in every machine."""

ACCELERATOR = ("engine", "reader", "registers", "memories")
"""Blocks of the whole machine; ``memories`` are the engine's, side by side."""


def _make(module: str, name: str, *arguments: object, **options: object) -> wiring.Component:
    """An instance of ``module.name``; imported only now, since Amaranth takes a second to import."""
    return getattr(import_module(module), name)(*arguments, **options)  # type: ignore[no-any-return]


def block_names(machine: Machine) -> list[str]:
    """Names of all blocks that a machine has; those of the engine's parts are its members', with dashes."""
    return [*LEAVES, *ACCELERATOR, *_parts(_engine(machine))]


def make_block(name: str, machine: Machine) -> wiring.Component:
    """The block of that name with the parameters that it has in the machine.

    Raises:
        ValueError: naming the legal ones.
    """
    if name in LEAVES:
        return LEAVES[name]()
    if name == "reader":
        return _make("hw.bus.axi_reader", "AxiReader", machine.axi_bits)
    if name == "registers":
        sizes = (machine.rows, machine.columns, machine.axi_bits)
        return _make("hw.bus.registers.hardware", "Registers", machine.model, *sizes)
    engine = _engine(machine)
    if name == "engine":
        return engine
    if name == "memories":
        return _make("hw.synth.bundle", "Bundle", _memories(engine))
    parts = _parts(engine)
    if name not in parts:
        raise ValueError(f"block {name!r} is not one of {', '.join([*LEAVES, *ACCELERATOR, *parts])}")
    return parts[name]


def _engine(machine: Machine) -> wiring.Component:
    """The engine, some of whose parts stay unused."""
    from hw.unelaborated import unelaborated

    return unelaborated(_make("hw.engine.engine", "Engine", machine))


def _parts(engine: wiring.Component) -> dict[str, wiring.Component]:
    from amaranth.lib.wiring import Component

    members = {name: part for name, part in vars(engine).items() if isinstance(part, Component)}
    return {name.replace("_", "-"): part for name, part in members.items() if not name.startswith("_")}


def _memories(engine: wiring.Component) -> dict[str, Elaboratable]:
    """The engine's memories and those of its parts, by path."""
    from hw.memory.banks import GroupedMemory, WordMemory

    found: dict[str, Elaboratable] = {}
    for prefix, owner in {"": engine, **_parts(engine)}.items():
        for name, part in vars(owner).items():
            if isinstance(part, GroupedMemory | WordMemory):
                found["_".join(filter(None, (prefix.replace("-", "_"), name.strip("_"))))] = part
    return found


def multipliers(rows: int, columns: int, layernorm_lanes: int) -> int:
    """MULT18X18D of a machine: the array; per row one of the requantiser
    (``Machine.requantizer_high_in_logic``) and a square for LayerNorm; two per LayerNorm lane; one of the
    exit unit."""
    return rows * columns + 2 * rows + 2 * layernorm_lanes + 1


def choose_layernorm_lanes(rows: int, columns: int, available: int) -> int:
    """The most lanes, a power of two up to ``rows``, with which the multipliers suffice; 1 if none does."""
    lanes = rows
    while lanes > 1 and multipliers(rows, columns, lanes) > available:
        lanes //= 2
    return max(lanes, 1)


def describe_machine(
    config: ElbertConfig,
    rows: int,
    columns: int,
    layernorm_lanes: int | None = None,
    dense_memories: bool = False,
) -> Machine:
    """The machine as it is synthesised.

    Raises:
        ValueError: if the geometry is not legal.
    """
    return Machine(
        model=config,
        rows=rows,
        columns=columns,
        layernorm_lanes=layernorm_lanes,
        dense_memories=dense_memories,
        technology=TECHNOLOGY,
    )


def make_machine(machine: Machine) -> wiring.Component:
    """The whole accelerator."""
    return _make("hw.accelerator", "Accelerator", machine)
