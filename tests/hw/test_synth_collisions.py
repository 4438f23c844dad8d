"""Memories whose collisions are left open cost no logic in the netlist; the others keep their promise."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.emit import to_rtlil
from hw.memory.attributes import DONT_CARE_ON_COLLISION
from hw.synth.harness import Harness
from hw.synth.script import yosys_script
from hw.synth.tools import run_tool

WIDTH, DEPTH = 36, 512


class TwoPorts(wiring.Component):
    """One block memory, read and written every cycle."""

    def __init__(self, attributes: dict[str, int]) -> None:
        self._attributes = attributes
        super().__init__({"read": In(9), "write": In(9), "word": In(WIDTH), "out": Out(WIDTH)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=WIDTH, depth=DEPTH, init=[], attrs=self._attributes)
        read, write = memory.read_port(), memory.write_port()
        m.d.comb += [
            read.addr.eq(self.read),
            self.out.eq(read.data),
            write.addr.eq(self.write),
            write.data.eq(self.word),
            write.en.eq(1),
        ]
        return m


def cells(component: wiring.Component, folder: Path) -> Counter[str]:
    text = to_rtlil(Harness(component))
    (folder / "top.il").write_text(text)
    (folder / "top.ys").write_text(yosys_script(text, 0, "abc9"))
    run_tool("yosys", ["-s", "top.ys"], folder, timeout=300)
    design = json.loads((folder / "top.json").read_text())["modules"]["top.design"]["cells"]
    return Counter(cell["type"] for cell in design.values() if not cell["type"].startswith("$"))


@pytest.mark.parametrize("open_", [True, False])
def test_what_a_collision_costs(tmp_path: Path, open_: bool) -> None:
    found = cells(TwoPorts(DONT_CARE_ON_COLLISION if open_ else {}), tmp_path)
    assert found["DP16KD"] == 1
    if open_:
        assert set(found) == {"DP16KD"}
    else:
        # the word written is kept and chosen
        assert found["TRELLIS_FF"] > WIDTH
        assert found["LUT4"] >= WIDTH
