"""The Yosys script: which parts stay apart, which flip-flops stay as many as they are, which mapper."""

from __future__ import annotations

from hw.synth.netlist import DESIGN
from hw.synth.rtlil import scopes

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


def yosys_script(rtlil: str, depth: int, mapper: str) -> str:
    """Yosys commands from ``top.il``, whose text is given, to ``top.json``.

    The design keeps a module of its own inside the harness, so that nothing is optimised across that border
    and the harness can be counted apart; so do the design's parts down to ``depth`` levels.
    """
    keep = [DESIGN, *sorted(f"{DESIGN}.{path}" for path in scopes(rtlil) if path.count(".") < depth)]
    marks = [f"setattr -mod -set keep_hierarchy 1 {name}" for name in keep]
    return "\n".join(["read_rtlil top.il", *marks, *KEEP_FLIP_FLOPS, *MAPPERS[mapper], ""])
