"""What can be synthesised by name: every block alone, and the whole machine."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from golden_model.config import ElbertConfig, find_preset
from hw.arith.widths import ceil_div
from hw.params import parse_array

if TYPE_CHECKING:
    from amaranth.lib import wiring

__all__ = ["BLOCKS", "choose_layernorm_lanes", "find_preset", "make_block", "make_machine", "parse_array"]

TECHNOLOGY = "ecp5"


def _layernorm_sizes(config: ElbertConfig) -> tuple[int, ...]:
    return tuple(sorted({config.embedding_size, config.hidden_size}))


def _make(module: str, name: str, *arguments: object, **options: object) -> wiring.Component:
    """An instance of ``module.name``; imported only now, since Amaranth takes a second to import."""
    return getattr(import_module(module), name)(*arguments, **options)  # type: ignore[no-any-return]


BLOCKS: dict[str, Callable[[ElbertConfig, int, int], wiring.Component]] = {
    "multiplier": lambda c, p, q: _make("hw.arith.multiplier", "Multiplier", 18, 18, TECHNOLOGY),
    "requantizer": lambda c, p, q: _make("hw.arith.requantizer", "Requantizer", TECHNOLOGY),
    "activation-table": lambda c, p, q: _make("hw.units.activation_table", "ActivationTable", p),
    "softmax": lambda c, p, q: _make("hw.units.softmax", "Softmax", p, c.max_position_embeddings),
    "layernorm": lambda c, p, q: _make(
        "hw.units.layernorm",
        "LayerNorm",
        p,
        _layernorm_sizes(c),
        ceil_div(c.max_position_embeddings, p),
        technology=TECHNOLOGY,
    ),
    "array": lambda c, p, q: _make("hw.engine.array", "Array", p, q, TECHNOLOGY),
    "exit-unit": lambda c, p, q: _make("hw.units.exit_unit", "ExitUnit", c.num_labels),
}
"""Blocks by the name that ``--block`` takes; sizes come from the preset c and the array p x q."""


def make_block(name: str, config: ElbertConfig, rows: int, columns: int) -> wiring.Component:
    """The block of that name, sized for a machine.

    Raises:
        ValueError: naming the legal ones.
    """
    if name not in BLOCKS:
        raise ValueError(f"block {name!r} is not one of {', '.join(BLOCKS)}")
    return BLOCKS[name](config, rows, columns)


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


def make_machine(
    config: ElbertConfig, rows: int, columns: int, layernorm_lanes: int | None = None
) -> wiring.Component:
    """The whole accelerator with an array of ``rows`` x ``columns``.

    Raises:
        ValueError: from the accelerator, if the geometry is not legal.
    """
    from hw.params import Machine

    machine = Machine(
        model=config, rows=rows, columns=columns, layernorm_lanes=layernorm_lanes, technology=TECHNOLOGY
    )
    return _make("hw.accelerator", "Accelerator", machine)
