"""What nextpnr is told of a netlist beside its constraints: sites of the array's multipliers, global nets.

Both it finds badly by itself. Its placers treat multipliers like any other cell until the end, then move each
to the next free one of their few sites, and the logic around it does not follow: of ``small`` at 8x16 on an
85F, where 153 of 156 sites are taken, a product's way to its sum was 39 tiles long; with the multipliers put
in place beforehand it is 3, and all wires together are a third shorter. And it promotes clocks alone to the
global network, though that reaches resets as well: there a reset takes no wire from others.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hw.arith.widths import ceil_div
from hw.synth.devices import Device
from hw.synth.netlist import DESIGN

_CELL = re.compile(r"(?:(?:.*\.)?array\.)?cell_(\d+)_(\d+)\..*")
"""Name of what lies in that cell of the array (`hw.engine.array`), which may itself be the design."""

GLOBAL_LOADS = 300
"""A reset with more flip-flops than this is worth one of the eight global nets that the fabric can drive."""

GLOBAL_NETS = 4
"""Resets at most on global nets."""


@dataclass(frozen=True)
class Guidance:
    """Sites by multiplier, and bits (numbers in the netlist's JSON) that go on global nets."""

    sites: dict[str, str]
    global_bits: tuple[int, ...]

    def as_dict(self) -> dict[str, Any]:
        """For the stage's inputs."""
        return asdict(self)

    def apply(self, netlist: dict[str, Any]) -> None:
        """Writes it into the netlist it was made for: BEL attributes, and a DCCA before flip-flops' resets.

        What else reads a global bit stays on ordinary wires: global nets do not reach a LUT's inputs.
        """
        cells = netlist["modules"][DESIGN]["cells"]
        for name, site in self.sites.items():
            cells[name]["attributes"]["BEL"] = site
        bits = (bit for cell in cells.values() for bits in cell["connections"].values() for bit in bits)
        free = 1 + max((bit for bit in bits if isinstance(bit, int)), default=0)
        buffered = {bit: free + i for i, bit in enumerate(self.global_bits)}
        for cell in cells.values():
            if cell["type"] == "TRELLIS_FF":
                reset = cell["connections"].get("LSR", [])
                reset[:] = [buffered.get(bit, bit) for bit in reset]
        for i, (bit, copy) in enumerate(buffered.items()):
            cells[f"global_reset_{i}"] = {
                "hide_name": 0,
                "type": "DCCA",
                "parameters": {},
                "attributes": {},
                "port_directions": {"CLKI": "input", "CLKO": "output"},
                "connections": {"CLKI": [bit], "CLKO": [copy]},
            }


def guide(netlist: Mapping[str, Any], device: Device) -> Guidance:
    """The guidance for a netlist, Yosys's JSON: of the design's own cells, all where it is flattened.

    Empty where they hold no array and no wide reset.
    """
    cells = netlist["modules"][DESIGN]["cells"]
    multipliers = {
        (int(match[1]), int(match[2])): name
        for name, cell in cells.items()
        if cell["type"] == "MULT18X18D" and (match := _CELL.fullmatch(name))
    }
    sites = array_sites(multipliers, device) if multipliers else {}
    loads = Counter(
        bit
        for cell in cells.values()
        if cell["type"] == "TRELLIS_FF"
        for bit in cell["connections"].get("LSR", ())
        if isinstance(bit, int)
    )
    return Guidance(
        {multipliers[place]: site for place, site in sites.items()},
        tuple(bit for bit, number in loads.most_common(GLOBAL_NETS) if number >= GLOBAL_LOADS),
    )


def array_sites(places: Iterable[tuple[int, int]], device: Device) -> dict[tuple[int, int], str]:
    """Sites of the multipliers of an array.

    Each row of sites takes whole rows of the array if they fit, one beside the other: a sum drains from cell
    to cell along a row, and the vector path's lanes, at the rows' ends, then lie all over the device. (All
    rows together, column by column, bring them to one edge, where wires run out.) Sites that stay free are
    spread among them.

    Args:
        places: row and column of each cell; at most as many as the device has multipliers.
        device: the part.
    """
    order = sorted(places)
    rows, columns = 1 + max(p for p, _ in order), 1 + max(q for _, q in order)
    lines = device.multiplier_rows
    each = ceil_div(rows, len(lines))
    if each * columns <= min(map(len, lines)):
        shares = [[place for place in order if place[0] // each == i] for i in range(len(lines))]
    else:
        share = ceil_div(len(order), len(lines))
        shares = [order[i * share : (i + 1) * share] for i in range(len(lines))]
    return {
        place: line[i * len(line) // len(share)]
        for line, share in zip(lines, shares, strict=True)
        for i, place in enumerate(share)
    }
