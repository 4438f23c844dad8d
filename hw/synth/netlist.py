"""What a netlist holds: cells by module, by resource and by block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from hw.synth.devices import Resources

LUTS_OF_CELL = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 4}
"""LUT4 sites that one cell of Yosys takes: plain, two bits of carry chain, 16x4 bits of distributed RAM."""

DESIGN = "top.design"
"""The design's module inside the harness."""

OWN = "(own logic)"
"""Name of what lies in the design itself and in no block of it."""


def count_resources(cells: Mapping[str, int]) -> Resources:
    """Resources that Yosys's cells take before packing."""
    return Resources(
        lut4=sum(sites * cells.get(name, 0) for name, sites in LUTS_OF_CELL.items()),
        ff=cells.get("TRELLIS_FF", 0),
        dsp=cells.get("MULT18X18D", 0),
        block_ram=cells.get("DP16KD", 0),
    )


class Netlist:
    """Cells by module, from the JSON netlist that Yosys writes."""

    def __init__(self, netlist: dict[str, Any]) -> None:
        self._cells = {
            name: {cell: about["type"] for cell, about in module["cells"].items()}
            for name, module in netlist["modules"].items()
            if not {"blackbox", "whitebox"} & module["attributes"].keys()  # the cell library
        }
        self._own = {name: Counter(cells.values()) for name, cells in self._cells.items()}

    def total(self, module: str) -> Counter[str]:
        """Cells of ``module`` and of everything inside it."""
        cells: Counter[str] = Counter()
        for kind, count in self._own[module].items():
            inner = self.total(kind) if self._is_design(kind) else Counter({kind: 1})
            for name, number in inner.items():
                cells[name] += count * number
        return cells

    def own(self, module: str) -> Counter[str]:
        """Cells of ``module`` itself."""
        return Counter({k: n for k, n in self._own[module].items() if not self._is_design(k)})

    def children(self, module: str) -> list[str]:
        """Modules directly inside ``module``, in order of name."""
        return sorted(kind for kind in self._own[module] if self._is_design(kind))

    def modules(self, module: str = DESIGN) -> dict[str, dict[str, int]]:
        """Resources of every module that was kept apart, with all inside it, by path below the design."""
        rows: dict[str, dict[str, int]] = {}
        for name in self.children(module):
            rows[name.removeprefix(f"{DESIGN}.")] = asdict(count_resources(self.total(name)))
            rows |= self.modules(name)
        return rows

    def blocks(self, scopes: Iterable[str], depth: int) -> dict[str, dict[str, int]]:
        """Resources of each of ``scopes`` down to ``depth`` levels, with all that is inside it.

        Flattened cells go by their names: a register has its own, a LUT that of the signal it makes. So logic
        at a border may count on the side of its reader.
        """
        known = set(scopes)
        cells: dict[str, Counter[str]] = {}

        def add(path: str, kind: str) -> None:
            parts = (block_of(path, known) or OWN).split(".")
            for level in range(min(len(parts), depth)):
                cells.setdefault(".".join(parts[: level + 1]), Counter())[kind] += 1

        def walk(module: str, inside: str) -> None:
            for name, kind in self._cells[module].items():
                if self._is_design(kind):
                    walk(kind, kind.removeprefix(f"{DESIGN}.") + ".")
                else:
                    add(inside + name, kind)

        walk(DESIGN, "")
        rows = {name: asdict(count_resources(found)) for name, found in sorted(cells.items())}
        return {name: row for name, row in rows.items() if any(row.values())}

    def _is_design(self, kind: str) -> bool:
        return kind in self._own


def block_of(path: str, scopes: set[str]) -> str:
    """The innermost of ``scopes`` (paths below the design) that a cell of that name lies in, or ``""``."""
    parts = path.split(".")
    for end in range(len(parts) - 1, 0, -1):
        if (scope := ".".join(parts[:end])) in scopes:
            return scope
    return ""
