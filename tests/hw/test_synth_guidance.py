"""What nextpnr is told of a netlist: sites for the array's multipliers, global nets for wide resets."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.synth.devices import DEVICES, find_device
from hw.synth.guidance import GLOBAL_LOADS, GLOBAL_NETS, array_sites, guide
from hw.synth.netlist import DESIGN
from hw.synth.tools import run_tool

LARGE = find_device("lfe5u-85f")


def column_of(site: str) -> int:
    return int(re.match(r"X(\d+)/", site)[1])  # type: ignore[index]


def line_of(site: str) -> str:
    return site.split("/")[1]


@pytest.mark.parametrize("name", DEVICES)
def test_a_device_has_as_many_sites_as_multipliers(name: str) -> None:
    device = find_device(name, speed=8)
    sites = [site for row in device.multiplier_rows for site in row]
    assert len(set(sites)) == len(sites) == device.resources.dsp


@given(st.integers(1, 12), st.integers(1, 32))
def test_every_multiplier_has_a_site_of_its_own(rows: int, columns: int) -> None:
    places = [(p, q) for p in range(rows) for q in range(columns)][: LARGE.resources.dsp]
    sites = array_sites(places, LARGE)
    assert set(sites) == set(places)
    assert len(set(sites.values())) == len(places)
    assert set(sites.values()) <= {site for row in LARGE.multiplier_rows for site in row}


def test_rows_stay_together_one_beside_the_other() -> None:
    sites = array_sites([(p, q) for p in range(8) for q in range(16)], LARGE)
    for p in range(8):
        row = [sites[p, q] for q in range(16)]
        columns = [column_of(site) for site in row]
        assert {line_of(site) for site in row} == {("Y10", "Y34", "Y58")[p // 3]}
        assert columns == sorted(columns)
        if p % 3:
            assert columns[0] > column_of(sites[p - 1, 15])


def test_an_array_with_more_columns_than_a_row_has_sites() -> None:
    sites = array_sites([(p, q) for p in range(2) for q in range(64)], LARGE)
    assert len(set(sites.values())) == 128


def flip_flop(reset: Any) -> dict[str, Any]:
    return {"type": "TRELLIS_FF", "attributes": {}, "connections": {"CLK": [1], "LSR": [reset], "Q": [2]}}


def multiplier() -> dict[str, Any]:
    return {"type": "MULT18X18D", "attributes": {}, "connections": {"A0": [40], "P0": [41]}}


def netlist(loads: dict[int, int], multipliers: list[str]) -> dict[str, Any]:
    cells: dict[str, Any] = {f"ff_{bit}_{i}": flip_flop(bit) for bit, n in loads.items() for i in range(n)}
    cells |= {name: multiplier() for name in multipliers}
    cells["constant"] = flip_flop("0")
    cells["lut"] = {"type": "LUT4", "attributes": {}, "connections": {"A": [next(iter(loads), 3)], "Z": [50]}}
    return {"modules": {DESIGN: {"attributes": {}, "cells": cells}}}


def test_wide_resets_get_a_buffer_before_their_flip_flops_and_nothing_else() -> None:
    before = netlist({7: GLOBAL_LOADS, 8: GLOBAL_LOADS - 1}, [])
    guidance = guide(before, LARGE)
    assert guidance.global_bits == (7,)
    after = copy.deepcopy(before)
    guidance.apply(after)
    cells = after["modules"][DESIGN]["cells"]
    (buffer,) = [cell for cell in cells.values() if cell["type"] == "DCCA"]
    assert buffer["connections"]["CLKI"] == [7]
    (copied,) = buffer["connections"]["CLKO"]
    assert copied > 50  # no bit that anything else uses
    resets = [cell["connections"]["LSR"] for cell in cells.values() if cell["type"] == "TRELLIS_FF"]
    assert resets.count([copied]) == GLOBAL_LOADS
    assert resets.count([8]) == GLOBAL_LOADS - 1
    assert resets.count(["0"]) == 1
    assert cells["lut"]["connections"]["A"] == [7]


def test_no_more_resets_are_global_than_there_are_nets() -> None:
    guidance = guide(netlist({7 + i: GLOBAL_LOADS + i for i in range(GLOBAL_NETS + 1)}, []), LARGE)
    assert set(guidance.global_bits) == {8 + i for i in range(GLOBAL_NETS)}  # the one with the fewest is not


def test_the_array_s_multipliers_and_no_others_are_put_in_place() -> None:
    names = [f"engine.array.cell_{p}_{q}.multiplier.dsp" for p in range(2) for q in range(3)]
    design = netlist({}, [*names, "engine.layernorm.square.dsp"])
    guidance = guide(design, LARGE)
    assert sorted(guidance.sites) == names
    guidance.apply(design)
    cells = design["modules"][DESIGN]["cells"]
    assert [cells[name]["attributes"]["BEL"] for name in names] == [guidance.sites[name] for name in names]
    assert not cells["engine.layernorm.square.dsp"]["attributes"]
    # the array alone, as a block; and what only sounds like it
    assert len(guide(netlist({}, ["cell_0_0.multiplier.dsp", "cell_0_1.multiplier.dsp"]), LARGE).sites) == 2
    assert not guide(netlist({}, ["engine.other.cell_0_0.dsp"]), LARGE).sites


def test_what_has_neither_stays_as_it_is() -> None:
    design = netlist({}, ["multiplier.dsp"])
    before = copy.deepcopy(design)
    guide(design, LARGE).apply(design)
    assert design == before


@pytest.mark.slow  # three runs of Yosys and nextpnr; the counts and the geometry are checked above
@pytest.mark.parametrize("size", [25, 45, 85])
def test_the_sites_are_nextpnr_s(tmp_path: Path, size: int) -> None:
    """As many multipliers as the device has, in a chain: they can only lie where there are any."""
    device = find_device(f"lfe5u-{size}f")
    count = device.resources.dsp
    text = "module top(input clk, input [17:0] a, output [17:0] y);\n"
    text += (
        "".join(f"wire [17:0] w{n};\n" for n in range(count + 1)) + f"assign w0 = a;\nassign y = w{count};\n"
    )
    for n in range(count):
        pins = [f".{x}{i}(w{n}[{i}])" for x in "AB" for i in range(18)]
        pins += [f".P{i}(w{n + 1}[{i}])" for i in range(18)]
        text += f'MULT18X18D #(.REG_OUTPUT_CLK("CLK0")) m{n}({", ".join(pins)}, .CLK0(clk), .CE0(1\'b1));\n'
    (tmp_path / "chain.v").write_text(text + "endmodule\n")
    quiet: Any = {"timeout": 600, "show_phase": lambda text: None}
    run_tool("yosys", ["-p", "read_verilog chain.v; synth_ecp5 -top top -json top.json"], tmp_path, **quiet)
    arguments = [*device.nextpnr_arguments, "--json", "top.json", "--write", "placed.json", "--no-route"]
    run_tool("nextpnr", [*arguments, "--lpf-allow-unconstrained", "--timing-allow-fail"], tmp_path, **quiet)
    cells = json.loads((tmp_path / "placed.json").read_text())["modules"]["top"]["cells"].values()
    placed = {cell["attributes"]["NEXTPNR_BEL"] for cell in cells if cell["type"] == "MULT18X18D"}
    assert placed == {site for row in device.multiplier_rows for site in row}
