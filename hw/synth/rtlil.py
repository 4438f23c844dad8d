"""What Amaranth's RTLIL says of a design before any tool has seen it: modules, cells, memories."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_MODULE = re.compile(r"^module \\(\S+)")
_MEMORY = re.compile(r"^  memory width (\d+) size (\d+) \\(\S+)")
_CELL = re.compile(r"^  cell (\S+) \S+")
_PARAMETER = re.compile(r"^    parameter \\(\w+) (\d+)$")
_MEMORY_NAME = re.compile(r'^    parameter \\MEMID "\\\\(\S+)"')
_CONNECT = re.compile(r"^    connect \\(\w+) (.*)$")
_CHOICE = re.compile(r"^ {6,}assign \\\S+ \[(\d+)(?::(\d+))?\]")
_CONSTANT = re.compile(r"^-?\d+('[01xz-]+)?$")


@dataclass
class Cell:
    """One cell: its type, its integer parameters, and which ports are tied to constants."""

    kind: str
    parameters: dict[str, int] = field(default_factory=dict)
    constants: set[str] = field(default_factory=set)

    def width(self, port: str) -> int:
        """Bits of a port of one of Yosys's own cells."""
        return self.parameters.get(f"{port}_WIDTH" if port else "WIDTH", 0)


@dataclass
class ModuleText:
    """One module of the text."""

    name: str
    cells: list[Cell] = field(default_factory=list)
    memories: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Width and depth by name."""
    written: set[str] = field(default_factory=set)
    """Memories with a write port."""
    registered: list[tuple[str, int]] = field(default_factory=list)
    """Memory and width of each read port with a clock."""
    choices: int = 0
    """Bits assigned inside cases: inputs of multiplexers."""


def modules(text: str) -> Iterator[ModuleText]:
    """The modules of an RTLIL text, as they stand there."""
    module: ModuleText | None = None
    cell: Cell | None = None
    memory = ""
    for line in text.splitlines():
        if match := _MODULE.match(line):
            module = ModuleText(match.group(1))
        elif module is None:
            continue
        elif line == "end":
            yield module
            module = None
        elif match := _CELL.match(line):
            cell = Cell(match.group(1).removeprefix("\\"))
            module.cells.append(cell)
        elif match := _MEMORY.match(line):
            module.memories[match.group(3)] = (int(match.group(1)), int(match.group(2)))
        elif cell is not None:
            if line == "  end":
                if cell.kind == "$memrd_v2" and cell.parameters.get("CLK_ENABLE"):
                    module.registered.append((memory, cell.width("")))
                elif cell.kind == "$memwr_v2":
                    module.written.add(memory)
                cell = None
            elif match := _PARAMETER.match(line):
                cell.parameters[match.group(1)] = int(match.group(2))
            elif match := _CONNECT.match(line):
                if _CONSTANT.match(match.group(2)):
                    cell.constants.add(match.group(1))
            elif match := _MEMORY_NAME.match(line):
                memory = match.group(1)
        elif match := _CHOICE.match(line):
            high, low = match.groups()
            module.choices += int(high) - int(low or high) + 1


def scopes(text: str, top: str = "top.design") -> set[str]:
    """Paths of all modules below ``top``."""
    names = re.findall(r"^module \\(\S+)", text, re.MULTILINE)
    return {name.removeprefix(f"{top}.") for name in names if name.startswith(f"{top}.")}
