"""Rewrites hw/include/elbert_registers.h."""

from __future__ import annotations

from golden_model.provenance import ROOT
from hw.bus.registers.export import HEADER, export

export("c", ROOT / HEADER)
