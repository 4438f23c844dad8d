"""What a design will need of a device, from Amaranth's RTLIL, before minutes of synthesis.

Multipliers are counted and block RAM follows from the memories' shapes: what Yosys makes of them, as
tests compare. Flip-flops are those described, before Yosys removes constant and equal ones. Logic is a rough
sum over operators.
"""

from __future__ import annotations

from collections import Counter

from hw.arith.widths import ceil_div
from hw.memory.block_ram import fewest_blocks
from hw.synth.devices import Resources
from hw.synth.rtlil import Cell, ModuleText, modules

BLOCK_COST = 128
"""What Yosys weighs a block RAM against: LUT4 sites of distributed RAM and the multiplexers behind it."""

ROM_BITS = 4096
"""Smaller memories that nobody writes become logic."""

LOGIC_SCALE = 1.25
"""LUT4 of small at 8x16 and of single blocks over the sum of their operators (measured: 1.19 to 1.32)."""

LOGIC_MARGIN = 1.4
"""How many times fewer logic and flip-flops than estimated a design may turn out to need: it is refused
before synthesis only where even that does not fit."""

_CARRY = {"$add", "$sub", "$neg", "$lt", "$le", "$gt", "$ge", "$mul"}
_BITWISE = {"$and", "$or", "$xor", "$xnor"}
_REDUCE = {"$reduce_or", "$reduce_and", "$reduce_xor", "$reduce_bool", "$eq", "$ne"}
_SHIFT = {"$shl", "$shr", "$sshl", "$sshr", "$shift", "$shiftx"}


def memory_blocks(width: int, depth: int, *, written: bool = True) -> int:
    """DP16KD of a memory of ``depth`` words; 0 if it becomes distributed RAM or logic."""
    if not written and width * depth <= ROM_BITS:
        return 0
    blocks = fewest_blocks(width, depth)
    return blocks if blocks * BLOCK_COST < _distributed_luts(width, depth) else 0


def _distributed_luts(width: int, depth: int) -> int:
    """LUT4 sites of a memory in 16x4 cells, with the multiplexer that joins them."""
    return 4 * ceil_div(width, 4) * ceil_div(depth, 16) + width * (ceil_div(depth, 16) - 1)


def _logic(cell: Cell) -> float:
    """LUT4 of one operator of Yosys; 0 for everything that is none."""
    a, y = cell.width("A"), cell.width("Y")
    if cell.kind == "CCU2C":
        return 2
    if cell.kind in _CARRY:
        return max(a, y) if cell.kind != "$mul" else 0
    if cell.kind == "$mux":
        return 0.7 * cell.width("")
    if cell.kind in _BITWISE:
        return 0.4 * y
    if cell.kind in _REDUCE:
        return a / 3
    if cell.kind in _SHIFT and "B" not in cell.constants:
        return 0.6 * y * min(cell.width("B"), max(a, 2).bit_length())
    return 0


def _multipliers(cell: Cell) -> int:
    if cell.kind == "$mul" and not cell.constants and min(cell.width("A"), cell.width("B")) > 1:
        return ceil_div(cell.width("A"), 18) * ceil_div(cell.width("B"), 18)
    return 1 if cell.kind == "MULT18X18D" else 0


def _module(module: ModuleText) -> Counter[str]:
    found: Counter[str] = Counter()
    luts = 0.6 * module.choices
    distributed = set()
    for name, (width, depth) in module.memories.items():
        written = name in module.written
        blocks = memory_blocks(width, depth, written=written)
        found["block_ram"] += blocks
        if not blocks:
            distributed.add(name)
            luts += _distributed_luts(width, depth) if written else width * depth / 16
    for cell in module.cells:
        luts += _logic(cell)
        found["dsp"] += _multipliers(cell)
        found["ff"] += cell.width("") if cell.kind in ("$dff", "$adff") else 0
    found["ff"] += sum(width for name, width in module.registered if name in distributed)
    found["lut4"] = round(LOGIC_SCALE * luts)
    return found


def estimate(text: str, top: str = "top.design") -> Resources:
    """Resources of module ``top`` with all that is inside it."""
    every = {module.name: module for module in modules(text)}
    inside = {name: _module(module) for name, module in every.items()}

    def total(name: str) -> Counter[str]:
        found = Counter(inside[name])
        for cell in every[name].cells:
            if cell.kind in every:
                found.update(total(cell.kind))
        return found

    found = total(top)
    return Resources(lut4=found["lut4"], ff=found["ff"], dsp=found["dsp"], block_ram=found["block_ram"])


def certain(estimated: Resources) -> Resources:
    """The least that a design of this estimate is known to need."""
    return Resources(
        lut4=int(estimated.lut4 / LOGIC_MARGIN),
        ff=int(estimated.ff / LOGIC_MARGIN),
        dsp=estimated.dsp,
        block_ram=estimated.block_ram,
    )
