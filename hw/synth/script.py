"""The Yosys script: which parts stay apart, which flip-flops stay as many as they are, which mapper."""

from __future__ import annotations

import re

MAPPERS = {
    "abc9": ["synth_ecp5 -top top -json top.json"],
    "abc": [
        "synth_ecp5 -top top -run begin:map_luts",
        "techmap -map +/lattice/latches_map.v",
        "abc -dress -lut 4:7",
        "clean",
        "synth_ecp5 -top top -json top.json -run map_cells:",
    ],
}
"""Yosys commands by technology mapper."""

KEEP_FLIP_FLOPS = [
    "proc",
    "select -set kept w:* a:keep %i %ci*:+[Q] t:$*dff* %i",
    "setattr -set keep 1 @kept",
]
"""Hands the attribute ``keep`` of a register's wire on to its flip-flops, of every kind. Yosys merges equal
flip-flops whose wires alone are kept, and with them the copies that divide a fan-out."""


def yosys_script(verilog: str, depth: int, mapper: str) -> str:
    """Yosys commands from ``top.v``, whose text is given, to ``top.json``.

    The design keeps a module of its own inside the harness, so that nothing is optimised across that border
    and the harness can be counted apart; so do the design's parts down to ``depth`` levels.
    """
    keep = ["top.design", *_module_names(verilog, depth)]
    marks = [f"setattr -mod -set keep_hierarchy 1 {name}" for name in keep]
    return "\n".join(["read_verilog top.v", *marks, *KEEP_FLIP_FLOPS, *MAPPERS[mapper], ""])


def _module_names(verilog: str, depth: int) -> list[str]:
    names = re.findall(r"^module \\(top\.design\.[^ ]+) ", verilog, re.MULTILINE)
    return [name for name in names if name.count(".") <= depth + 1]
