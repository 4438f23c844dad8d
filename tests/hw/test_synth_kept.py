"""Copies of a register that divide a fan-out are in the netlist, all of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from amaranth import ClockDomain, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.emit import to_rtlil
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
    """Kept flip-flops in the design's netlist; ``top.il`` is left in the folder."""
    text = to_rtlil(Harness(component))
    (folder / "top.il").write_text(text)
    (folder / "top.ys").write_text(yosys_script(text, 0, mapper))
    run_tool("yosys", ["-s", "top.ys"], folder, timeout=300)
    cells = json.loads((folder / "top.json").read_text())["modules"]["top.design"]["cells"].values()
    return sum(cell["type"] == "TRELLIS_FF" and "keep" in cell["attributes"] for cell in cells)


@pytest.mark.parametrize("mapper", MAPPERS)
def test_equal_registers_of_every_kind_stay_as_many_as_are_kept(tmp_path: Path, mapper: str):
    assert kept_flip_flops(Copies(), tmp_path, mapper) == 2 * COPIES * len(Copies.KINDS)


def test_the_arrays_copies_stay_as_many_as_they_are(tmp_path: Path):
    found = kept_flip_flops(Array(2, 4, "ecp5"), tmp_path)
    assert found == described((tmp_path / "top.il").read_text())
    assert found >= 4  # at least one a column


def described(rtlil: str) -> int:
    """Bits of the registers of an RTLIL text whose wire is marked keep."""
    wire = re.compile(r"  attribute .keep 1\n(?:  attribute .*\n)*  wire width \d+ .*?(\\\S+)\n")
    register = re.compile(r"  cell \$a?dff .*?WIDTH (\d+)\n.*?connect .Q (\\\S+).*?\n  end", re.DOTALL)
    bits = 0
    for module in rtlil.split("\nmodule "):
        marked = set(wire.findall(module))
        bits += sum(int(width) for width, output in register.findall(module) if output in marked)
    return bits
