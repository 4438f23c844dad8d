"""Copies of a register that divide a fan-out are in the netlist, all of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from amaranth import ClockDomain, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.emit import to_verilog
from hw.engine.array import Array
from hw.synth.harness import Harness
from hw.synth.script import MAPPERS, yosys_script
from hw.synth.tools import run_tool

COPIES = 3


class Copies(wiring.Component):
    """Equal registers of every kind that Amaranth writes, COPIES of each, two bits wide."""

    KINDS = ("plain", "enabled", "reset", "enabled_reset", "asynchronous")

    def __init__(self) -> None:
        super().__init__({"a": In(2), "en": In(1), **{kind: Out(2).array(COPIES) for kind in self.KINDS}})

    def elaborate(self, platform):
        m = Module()
        m.domains.asynchronous = domain = ClockDomain(async_reset=True, local=True)
        m.d.comb += [domain.clk.eq(self.a[0]), domain.rst.eq(self.en)]
        for kind in self.KINDS:
            for copy in range(COPIES):
                register = Signal(
                    2, name=f"{kind}_{copy}", attrs={"keep": 1}, reset_less="reset" not in kind, init=1
                )
                written = m.d["asynchronous" if kind == "asynchronous" else "sync"]
                with m.If(self.en if "enabled" in kind else 1):
                    written += register.eq(self.a)
                m.d.comb += getattr(self, kind)[copy].eq(register)
        return m


def kept_flip_flops(component: wiring.Component, folder: Path, mapper: str = "abc9") -> int:
    """Kept flip-flops in the design's netlist; ``top.v`` is left in the folder."""
    verilog = to_verilog(Harness(component), "top")
    (folder / "top.v").write_text(verilog)
    (folder / "top.ys").write_text(yosys_script(verilog, 0, mapper))
    run_tool("yosys", ["-s", "top.ys"], folder, timeout=300)
    cells = json.loads((folder / "top.json").read_text())["modules"]["top.design"]["cells"].values()
    return sum(cell["type"] == "TRELLIS_FF" and "keep" in cell["attributes"] for cell in cells)


@pytest.mark.parametrize("mapper", MAPPERS)
def test_equal_registers_of_every_kind_stay_as_many_as_are_kept(tmp_path: Path, mapper: str):
    assert kept_flip_flops(Copies(), tmp_path, mapper) == 2 * COPIES * len(Copies.KINDS)


def test_the_arrays_copies_stay_as_many_as_they_are(tmp_path: Path):
    found = kept_flip_flops(Array(2, 4, "ecp5"), tmp_path)
    registers = re.findall(
        r"\(\* keep = 32'd1 \*\)\s+reg (?:\[(\d+):0\] )?", (tmp_path / "top.v").read_text()
    )
    assert len(registers) >= 4  # at least one a column
    assert found == sum(int(width or 0) + 1 for width in registers)
