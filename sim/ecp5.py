"""Models of the ECP5's cells, for simulating what the technology ``ecp5`` instantiates."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent / "benches"

ECP5_CELLS = {name: (_FOLDER / name).read_text() for name in ("mult18x18d.v", "ccu2c.v")}
"""File name to Verilog: sources to add to such a design's."""
