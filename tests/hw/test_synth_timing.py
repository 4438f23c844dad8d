"""Slowest paths from delays, and the drawing of a placement."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from golden_model.errors import PromiseBroken
from hw.synth.floorplan import TILE, draw, floorplan
from hw.synth.timing import register_name, slowest_paths

CLOCK = "(SETUPHOLD (posedge {port}) (posedge CLK) ({setup}:{setup}:{setup}) (0:0:0))"


def sdf(*wires: str, cells: dict[str, list[str]]) -> list[str]:
    """Lines as nextpnr writes them: wires ``a/Q b/A 5``, and per cell ``A F 7`` (arc) or ``DI 3`` (setup)."""

    def line(text: str) -> str:
        parts = text.split()
        if len(parts) == 2:
            return CLOCK.format(port=parts[0], setup=parts[1])
        delay = f"(1:2:{parts[2]}) (1:2:{int(parts[2]) - 1})"
        return f"(IOPATH {parts[0]} {parts[1]} {delay})"

    lines = [
        f"        (INTERCONNECT {a} {b} (0:0:{t}) (0:0:{t}))" for a, b, t in (wire.split() for wire in wires)
    ]
    for name, parts in cells.items():
        lines += [f"    (INSTANCE {name})", *(f"        {line(part)}" for part in parts)]
    return lines


def flip_flop() -> list[str]:
    return ["CLK Q 500", "DI 100", "CE 200"]


A, B, C = (
    "design.a_TRELLIS_FF_Q",
    "design.block.b\\[1\\]_TRELLIS_FF_Q_1",
    "design.block.b\\[0\\]_TRELLIS_FF_Q",
)


def test_a_path_is_the_longest_of_all_that_lead_to_its_end_and_one_for_a_pair_of_registers():
    paths = slowest_paths(
        sdf(
            f"{A}/Q lut/A 1000",
            f"{B}/Q lut/B 900",
            f"lut/F {B}/DI 400",
            f"lut/F {C}/CE 200",
            f"{C}/Q {A}/DI 50",
            cells={A: flip_flop(), B: flip_flop(), C: flip_flop(), "lut": ["A F 200", "B F 450"]},
        )
    )
    # to b[1]: 500 + 900 + 450 + 400 + 100; to b[0]'s enable 100 less, the same pair
    assert [(path.start, path.end, path.nanoseconds) for path in paths] == [
        ("block.b", "block.b", 2.35),
        ("block.b", "a", 0.65),
    ]
    slow = paths[0]
    assert [(at, kind) for at, kind, _ in slow.steps] == [
        (0.5, "logic"),
        (1.4, "routing"),
        (1.85, "logic"),
        (2.25, "routing"),
        (2.35, "setup"),
    ]
    assert slow.routing == pytest.approx(1.3 / 2.35)
    assert slow.as_dict()["mhz"] == 425.53


def test_only_so_many_paths_are_kept_the_slowest_first():
    names = [f"design.r{n}_TRELLIS_FF_Q" for n in range(5)]
    wires = [f"{A}/Q {name}/DI {100 * n}" for n, name in enumerate(names)]
    paths = slowest_paths(sdf(*wires, cells={A: flip_flop(), **{n: flip_flop() for n in names}}), 2)
    assert [path.end for path in paths] == ["r4", "r3"]


def test_what_no_register_reaches_is_no_path_and_a_loop_is_reported():
    assert slowest_paths(sdf(f"pin/O {A}/DI 700", cells={A: flip_flop()})) == []
    loop = sdf(
        "u/F v/A 1", "v/F u/A 1", f"v/F {A}/DI 1", cells={A: flip_flop(), "u": ["A F 1"], "v": ["A F 1"]}
    )
    with pytest.raises(PromiseBroken, match="combinational loop through"):
        slowest_paths(loop)


def test_names_of_registers_lose_what_yosys_and_the_bit_add():
    assert register_name("design.engine.sum[3]_TRELLIS_FF_Q_12") == "engine.sum"
    assert register_name("captured_TRELLIS_FF_Q") == "captured"


def cell(kind: str, bel: str) -> dict:
    return {"type": kind, "attributes": {"NEXTPNR_BEL": bel}}


def test_a_tile_has_the_colour_of_the_block_with_most_cells_in_it():
    cells = {
        A: cell("TRELLIS_FF", "X2/Y1/SLICEA.FF0"),
        "design.engine.array.p_LUT4_Z": cell("TRELLIS_COMB", "X3/Y1/SLICEA.K0"),
        "design.engine.array.q_LUT4_Z": cell("TRELLIS_COMB", "X3/Y1/SLICEA.K1"),
        "design.engine.busy_LUT4_Z": cell("TRELLIS_COMB", "X3/Y1/SLICEB.K0"),
        "design.engine.array.cell.m_MULT18X18D_P0": cell("MULT18X18D", "X4/Y1/MULT18_0"),
        "chain_TRELLIS_FF_Q": cell("TRELLIS_FF", "X0/Y0/SLICEA.FF0"),
        "clk": cell("TRELLIS_IO", "X9/Y9/PIOA"),
    }
    paths = slowest_paths(sdf(f"{A}/Q x/A 5", f"x/F {A}/DI 5", cells={A: flip_flop(), "x": ["A F 3"]}))
    plan = floorplan(
        {"modules": {"top": {"cells": cells}}},
        (6, 4),
        {"engine", "engine.array", "engine.array.cell"},
        2,
        paths,
    )
    assert plan == {
        "width": 6,
        "height": 4,
        "blocks": ["engine.array", "(own logic)", "engine"],
        "tiles": [[0, 0, -1, 1], [2, 1, 1, 1], [3, 1, 0, 3], [4, 1, 0, 1]],
        "routes": [[(2, 1)]],
    }
    root = ElementTree.fromstring(draw(plan))
    assert root.attrib["viewBox"] == f"0 0 {6 * TILE} {4 * TILE}"
    drawn = {path[0].text: path.attrib["d"] for path in root if path.tag.endswith("path")}
    # Neighbours are one rectangle.
    assert drawn["engine.array"] == f"M{3 * TILE} {TILE}h{2 * TILE}v{TILE}h-{2 * TILE}z"
    assert len(re.findall("M", drawn["harness"])) == 1
