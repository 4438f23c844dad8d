"""Rewrites hw/include/elbert_registers.h and docs/registers.md."""

from __future__ import annotations

from golden_model.provenance import ROOT
from hw.bus.registers.exports import write_generated

write_generated(ROOT)
