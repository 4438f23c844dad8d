"""The synthesis flow: its parts, one block through all tools, and the nano machine on the smallest device."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from html import escape
from pathlib import Path

import pytest
from amaranth import Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from golden_model.config import PRESETS
from golden_model.errors import PromiseBroken
from golden_model.provenance import ROOT
from hw.emit import to_rtlil
from hw.synth import designs, flow, tools
from hw.synth.budget import estimate, memory_blocks
from hw.synth.devices import DEVICES, Resources, find_device, shortages, smallest_that_fits
from hw.synth.harness import Harness, port_bits
from hw.synth.netlist import Netlist, block_of, count_resources
from hw.synth.placement import choose_placer, choose_router
from hw.synth.report import median_seed
from hw.synth.request import Request
from hw.synth.rtlil import scopes


class Mixer(wiring.Component):
    """Ports of every kind: plain, layout, stream in both directions, array."""

    def __init__(self) -> None:
        super().__init__(
            {
                "a": In(signed(4)),
                "pair": In(data.StructLayout({"x": 3, "y": 5})),
                "i": In(stream.Signature(4)),
                "o": Out(stream.Signature(4)),
                "flags": Out(1).array(3),
            }
        )

    def elaborate(self, platform):
        m = Module()
        total = Signal(8)
        m.d.sync += total.eq(self.a + self.pair.x + self.pair.y + self.i.payload)
        m.d.comb += [
            self.o.payload.eq(total),
            self.o.valid.eq(self.i.valid),
            self.i.ready.eq(self.o.ready),
            *(flag.eq(total[4 + n]) for n, flag in enumerate(self.flags)),
        ]
        return m


def elbert(*arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "elbert", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


# -- devices ----------------------------------------------------------------------------------


def test_every_device_has_a_nextpnr_flag():
    flags = {find_device(name, speed=8).nextpnr_arguments[0] for name in DEVICES}
    assert len(flags) == len(DEVICES)
    assert {"--25k", "--85k", "--um-45k", "--um5g-85k"} <= flags


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lfe5u-26f",), r"device 'lfe5u-26f' is not one of lfe5u-12f, lfe5u-25f, .*lfe5um5g-85f"),
        (("lfe5u-25f", "CABGA756"), r"package 'CABGA756' of lfe5u-25f is not one of CABGA256"),
        (("lfe5u-25f", "CABGA381", 5), r"speed grade 5 of lfe5u-25f is not one of 6, 7, 8"),
        (("lfe5um5g-25f", "CABGA381", 6), r"speed grade 6 of lfe5um5g-25f is not one of 8"),
    ],
)
def test_an_illegal_part_is_refused_with_the_legal_ones(arguments, message):
    with pytest.raises(ValueError, match=message):
        find_device(*arguments)


def test_the_clock_pin_follows_the_package():
    assert find_device("lfe5u-25f").clock_pin == "B11"
    assert find_device("lfe5u-85f", "cabga756").clock_pin == "C17"


def test_a_design_too_large_is_refused_naming_what_is_short_and_what_fits():
    needed = Resources(lut4=100, ff=100, dsp=33, block_ram=57)
    device = find_device("LFE5U-25F")
    assert shortages(needed, device.resources) == ["33 DSP of 28", "57 block RAM of 56"]
    assert smallest_that_fits(needed, "lfe5u") == "lfe5u-45f"
    with pytest.raises(PromiseBroken, match=r"33 DSP of 28, 57 block RAM of 56 on lfe5u-25f.*lfe5u-45f"):
        flow.check_fits(needed, device)
    with pytest.raises(PromiseBroken, match="no lfe5u has them"):
        flow.check_fits(Resources(lut4=10**6, ff=0, dsp=0, block_ram=0), device)
    flow.check_fits(device.resources, device)


# -- harness ----------------------------------------------------------------------------------


def test_harness_reaches_every_port_bit():
    mixer = Mixer()
    assert scopes(to_rtlil(Harness(mixer)), "top") == {"design"}
    inputs, outputs = port_bits(mixer)
    assert len(inputs) == 4 + 8 + (4 + 1) + 1  # the payload and valid of i, the ready of o
    assert len(outputs) == 1 + (4 + 1) + 3


def test_harness_carries_the_pin_to_the_inputs_and_every_output_to_the_pin():
    """A wrong bit of any output changes the parity that leaves: here from a component of wires."""

    class Wires(wiring.Component):
        def __init__(self) -> None:
            super().__init__({"a": In(21), "b": Out(21)})

        def elaborate(self, platform):
            m = Module()
            m.d.comb += self.b.eq(self.a)
            return m

    harness = Harness(Wires())
    seen: list[int] = []
    stimulus = [1, 0, 1, 1] + [0] * 36

    async def drive(ctx):
        for bit in stimulus:
            ctx.set(harness.scan_in, bit)
            ctx.set(harness.clk, 0)
            await ctx.delay(1e-7)
            ctx.set(harness.clk, 1)
            await ctx.delay(1e-7)
            seen.append(ctx.get(harness.scan_out))

    simulator = Simulator(harness)
    simulator.add_testbench(drive)
    simulator.run()
    # Parity of the last 21 bits sent: the chain's register, the capturing one, and three levels of the tree.
    latency = 1 + 3
    expected = [sum(stimulus[max(0, n - 20) : n + 1]) & 1 for n in range(len(stimulus))]
    assert seen[latency:] == expected[:-latency]
    assert any(seen)


# -- counting ---------------------------------------------------------------------------------


def test_cells_are_counted_through_kept_modules_but_not_into_the_cell_library():
    def module(*types: str, **attributes: str) -> dict:
        return {"attributes": attributes, "cells": {f"c{n}": {"type": t} for n, t in enumerate(types)}}

    netlist = Netlist(
        {
            "modules": {
                "top": module("LUT4", "TRELLIS_FF", "top.design"),
                "top.design": module("LUT4", "CCU2C", "MULT18X18D", "top.design.a", "top.design.a"),
                "top.design.a": module("TRELLIS_DPR16X4", "DP16KD", "TRELLIS_FF"),
                "MULT18X18D": module("$specify", whitebox="1"),
                "DP16KD": module("$specify", blackbox="1"),
            }
        }
    )
    assert netlist.own("top") == Counter(LUT4=1, TRELLIS_FF=1)
    assert count_resources(netlist.total("top.design")) == Resources(
        lut4=1 + 2 + 2 * 4, ff=2, dsp=1, block_ram=2
    )
    assert netlist.children("top.design") == ["top.design.a"]


def test_flattened_cells_count_for_the_innermost_block_of_their_name():
    cells = (
        "engine.array.sum_3_TRELLIS_FF_Q",
        "engine.array.cell_0.p_LUT4_Z",
        "engine.busy_LUT4_Z",
        "x_LUT4_Z",
    )
    netlist = Netlist(
        {
            "modules": {
                "top": {"attributes": {}, "cells": {"design": {"type": "top.design"}}},
                "top.design": {
                    "attributes": {},
                    "cells": {name: {"type": "TRELLIS_FF" if "FF" in name else "LUT4"} for name in cells},
                },
            }
        }
    )
    found = netlist.blocks({"engine", "engine.array", "engine.array.cell_0"}, 2)
    assert {name: (row["lut4"], row["ff"]) for name, row in found.items()} == {
        "(own logic)": (1, 0),
        "engine": (2, 1),
        "engine.array": (1, 1),
    }
    assert block_of("engine.array.cell_0.p_LUT4_Z", {"engine", "engine.array"}) == "engine.array"
    assert block_of("harness", {"harness"}) == ""


def test_the_median_is_a_seeds_own_clock():
    assert median_seed({1: 90.0, 2: 110.0, 3: 100.0}) == 3
    assert median_seed({7: 101.0, 8: 99.0}) == 8


# -- designs ----------------------------------------------------------------------------------

NANO = designs.describe_machine(PRESETS["nano"], 4, 4, 1)


@pytest.mark.parametrize("name", designs.block_names(NANO))
def test_every_block_elaborates_behind_the_harness(name):
    assert "design" in scopes(to_rtlil(Harness(designs.make_block(name, NANO))), "top")


def test_wrong_names_are_refused_with_the_legal_ones():
    with pytest.raises(ValueError, match=r"block 'gelu' is not one of multiplier, .*, sequencer"):
        designs.make_block("gelu", NANO)
    with pytest.raises(ValueError, match="preset 'tiny' is not one of nano, small"):
        designs.find_preset("tiny")
    for text in ("4", "4x", "x4", "4x4x4", "-4x4"):
        with pytest.raises(ValueError, match="is not of the form ROWSxCOLUMNS"):
            designs.parse_array(text)
    assert designs.parse_array("4x32") == (4, 32)


def test_layernorm_lanes_follow_the_device():
    assert designs.choose_layernorm_lanes(4, 4, 28) == 1
    assert designs.choose_layernorm_lanes(4, 4, 72) == 4
    assert designs.choose_layernorm_lanes(8, 16, 28) == 1
    assert designs.choose_layernorm_lanes(8, 16, 156) == 4


@pytest.mark.parametrize(
    ("rows", "columns", "lanes"), [(4, 4, 1), (8, 8, 4), pytest.param(8, 16, 8, marks=pytest.mark.slow)]
)
def test_the_count_of_multipliers_is_the_designs(rows, columns, lanes):
    machine = designs.describe_machine(PRESETS["nano"], rows, columns, lanes)
    text = to_rtlil(Harness(designs.make_machine(machine)))
    instances = len(re.findall(r"^\s*cell .MULT18X18D ", text, re.M))
    assert instances == designs.multipliers(rows, columns, lanes)
    assert estimate(text).dsp == instances


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"mapper": "abc10"}, "mapper 'abc10' is not one of abc9, abc"),
        ({"router": "router3"}, "router 'router3' is not one of router1, router2"),
        ({"placer": "sa"}, "placer 'sa' is not one of heap, static"),
        ({"block": "gelu"}, "block 'gelu' is not one of multiplier"),
        ({"clock_target_mhz": 0.0}, "clock 0 MHz must be above 0"),
        ({"clock_target_mhz": float("nan")}, "clock nan MHz must be above 0"),
        ({"depth": -1}, "depth -1 is below 0"),
        ({"seeds": ()}, "at least one is needed"),
        ({"seeds": (0,)}, "seed 0 is outside 1..2147483647"),
        ({"seeds": (3, 3)}, "seeds 3, 3: one stands there twice"),
        ({"tokens": 0}, "max_position_embeddings"),
        ({"array": "3x4"}, "array rows 3 is not a power of two"),
        ({"layernorm_lanes": 3}, "layernorm_lanes 3 does not divide"),
    ],
)
def test_what_cannot_be_synthesised_is_refused_before_any_work(asked, message):
    with pytest.raises(ValueError, match=message):
        Request(find_device("lfe5u-25f"), **asked)


def test_tokens_size_the_memories():
    device = find_device("lfe5u-25f")
    assert Request(device, tokens=8).machine.model.max_position_embeddings == 8
    assert Request(device).machine.model.max_position_embeddings == 16


# -- budget -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "depth", "blocks"),
    [(144, 1536, 12), (64, 6144, 24), (64, 1536, 6), (54, 384, 2), (224, 128, 7), (32, 256, 1), (560, 8, 0)],
)
def test_block_ram_of_a_memory_is_what_yosys_makes_of_it(width, depth, blocks):
    """Shapes and blocks as Yosys 0.70 reported them for small at 8x16."""
    assert memory_blocks(width, depth) == blocks


def test_what_cannot_fit_is_refused_before_synthesis_with_what_it_needs(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(flow, "run_tool", lambda *arguments, **options: pytest.fail("a tool ran"))
    request = Request(find_device("lfe5u-25f"), array="8x8")
    with pytest.raises(flow.TooLarge, match=r"by its estimate, .*\d+ DSP of 28.*on lfe5u-25f") as refusal:
        flow.synthesise(request.make, request.device, tmp_path)
    assert refusal.value.needed.dsp == designs.multipliers(8, 8, 1)
    done = elbert("synth", "--device", "lfe5u-25f", "--array", "8x8", "--output", str(tmp_path), timeout=300)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert re.search(r"DSP \(MULT18X18D\) .* 83 .* 28 .* no", done.stdout)


def test_a_crash_of_abc9_is_paid_for_once(tmp_path: Path, monkeypatch):
    """The plain mapper's netlist is kept under the same inputs; ABC9 alone is not silently replaced."""
    ran: list[str] = []

    def crash_on_abc9(tool, arguments, folder, **options):
        mapper = "abc" if "abc -dress" in (folder / "top.ys").read_text() else "abc9"
        ran.append(mapper)
        if mapper == "abc9":
            raise tools.ToolCrashed("yosys ended with code 1 (call stack exhausted)")
        (folder / "top.json").write_text('{"modules": {}}')
        return tools.Usage(1.0, 1.0, 1.0)

    monkeypatch.setattr(flow, "run_tool", crash_on_abc9)
    said: list[str] = []
    nothing = find_device("lfe5u-25f"), 0, 60, said.append, lambda text: None
    work = flow._Flow(flow.Stages(tmp_path), *nothing)
    for _ in range(2):
        stage, _ = work.netlist("module top", ("abc9", "abc"))
        assert stage.record["mapper"] == "abc"
    assert ran == ["abc9", "abc"]
    assert "call stack exhausted" in said[-1]
    with pytest.raises(tools.ToolCrashed):
        work.netlist("module top", ("abc9",))


def test_placer_and_router_follow_the_size():
    small, large = (
        Resources(lut4=20000, ff=13000, dsp=27, block_ram=11),
        Resources(lut4=8000, ff=8000, dsp=128, block_ram=0),
    )
    assert (choose_placer(small), choose_router(small)) == ("heap", "router1")
    assert (choose_placer(large), choose_router(large)) == ("static", "router2")


# -- tools ------------------------------------------------------------------------------------


def test_a_tool_that_fails_is_reported_with_its_message_and_log(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(tools._LAUNCH, "quiet", "run = lambda arguments: 3")
    (tmp_path / "bad.v").write_text("module top(input a; endmodule\n")
    with pytest.raises(PromiseBroken, match=r"yosys: bad\.v:1: ERROR: .*yosys\.log") as failure:
        tools.run_tool("yosys", ["-p", "read_verilog bad.v"], tmp_path, timeout=300)
    assert not isinstance(failure.value, tools.ToolCrashed)
    assert "bad.v" in (tmp_path / "yosys.log").read_text()
    with pytest.raises(tools.ToolCrashed, match="ended with code 3 and no error message"):
        tools.run_tool("quiet", [], tmp_path, timeout=300)


def test_a_tools_processor_time_and_memory_are_measured(tmp_path: Path, monkeypatch):
    work = "import time; end = time.process_time() + 0.3; data = bytes(80 << 20)"
    loop = "exec('while time.process_time() < end: pass')"
    monkeypatch.setitem(tools._LAUNCH, "busy", f"{work}; {loop}; run = lambda arguments: 0")
    usage = tools.run_tool("busy", [], tmp_path, timeout=300)
    assert 0.3 <= usage.cpu_seconds < 60
    assert usage.peak_mib >= 80


def test_what_yosys_says_after_abc_reaches_its_log(tmp_path: Path):
    (tmp_path / "a.v").write_text("module top(input a, b, output y); assign y = a ^ b; endmodule\n")
    script = "read_verilog a.v; synth_ecp5 -top top; log after ABC; select -assert-count 7 t:LUT4"
    with pytest.raises(PromiseBroken, match="Assertion failed") as failure:
        tools.run_tool("yosys", ["-p", script], tmp_path, timeout=300)
    assert not isinstance(failure.value, tools.ToolCrashed)
    assert "after ABC" in (tmp_path / "yosys.log").read_text()


def test_a_tool_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(tools._LAUNCH, "sleeper", "import time; run = lambda arguments: time.sleep(600)")
    with pytest.raises(PromiseBroken, match=r"sleeper took more than 0.5 s"):
        tools.run_tool("sleeper", [], tmp_path, timeout=0.5)


def check_report(report: dict, dsp: int) -> None:
    """What holds of every report: sane figures and harness counted apart."""
    use = report["utilisation"]
    assert use["dsp"]["used"] == use["dsp"]["estimated"] == report["dsp"] == dsp
    assert use["block_ram"]["used"] == use["block_ram"]["estimated"]
    for value in use.values():
        assert 0 <= value["used"] <= value["available"]
        assert value["percent"] == pytest.approx(100 * value["used"] / value["available"], abs=0.01)
    assert (
        report["fmax_mhz"]
        == sorted(report["fmax_per_seed"].values())[(len(report["fmax_per_seed"]) - 1) // 2]
    )
    slowest = report["critical_paths"]
    assert 1 <= len(slowest) <= 10
    assert len({(path["from"], path["to"]) for path in slowest}) == len(slowest)
    # The delays that nextpnr writes give the clock that it reports.
    assert slowest[0]["mhz"] == pytest.approx(report["fmax_mhz"], rel=1e-3)
    assert [path["ns"] for path in slowest] == sorted((path["ns"] for path in slowest), reverse=True)
    assert report["seconds"].keys() >= {"amaranth", "yosys", "ecppack"}
    assert 0 < report["cpu_seconds"]["yosys"] < 3600
    assert Path(ROOT, report["files"]["bitstream"]).stat().st_size > 1000


def test_a_block_goes_through_the_whole_flow_and_is_kept(tmp_path: Path):
    path, page = tmp_path / "report.json", tmp_path / "page.html"
    arguments = ["synth", "--device", "lfe5u-25f", "--block", "requantizer", "--json", str(path)]
    arguments += ["--seeds", "2", "--output", str(tmp_path / "out")]
    done = elbert(*arguments, timeout=900)
    assert done.returncode == 0, done.stderr
    report = json.loads(path.read_text())
    check_report(report, dsp=2)
    assert report["reused"] == []
    assert report["device"] == {"name": "lfe5u-25f", "package": "CABGA381", "speed": 6}
    assert report["design"]["block"] == "requantizer"
    assert {"yosys", "nextpnr"} <= {
        name.split("-")[1] for name in report["header"]["versions"] if "yowasp" in name
    }
    # The harness: 28 + 32 + 16 + 6 bits in, 18 out in a tree of 5 + 2 + 1, a reset of 2.
    assert report["harness"]["ff"] == 82 + 18 + 8 + 2
    assert 90 < report["fmax_mhz"] < 300
    assert {"wide", "round"} <= report["per_block"].keys()
    for text in ("LUT4", "FF", "DSP (MULT18X18D)", "block RAM (DP16KD)", "MHz"):
        assert text in done.stdout

    again = elbert(*arguments, "--page", str(page), timeout=900)
    assert again.returncode == 0, again.stderr
    kept = json.loads(path.read_text())
    assert kept["reused"] == ["yosys", "nextpnr seed 1", "nextpnr seed 2", "ecppack"]
    same = report.keys() - {"reused", "seconds", "cpu_seconds", "header"}
    assert {key: kept[key] for key in same} == {key: report[key] for key in same}
    for tool in ("Yosys", "nextpnr", "ecppack"):
        assert f"{tool}: " not in again.stderr, "a tool ran again"
    text = page.read_text()
    assert "<svg" in text
    assert not re.search(r"(?:src|href)=[\"'](?!data:)", text), "the page would fetch something"
    for path_found in report["critical_paths"]:
        assert escape(path_found["to"]) in text


def test_bad_usage_ends_with_code_two():
    done = elbert("synth", "--device", "xc7a35t", timeout=120)
    assert done.returncode == 2
    assert done.stderr.startswith("error: device 'xc7a35t' is not one of lfe5u-12f")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_nano_machine_fits_the_smallest_device(tmp_path: Path):
    path = tmp_path / "report.json"
    arguments = ["synth", "--device", "lfe5u-25f", "--preset", "nano", "--array", "4x4", "--json", str(path)]
    done = elbert(*arguments, "--output", str(tmp_path / "out"), timeout=1200)
    assert done.returncode == 0, done.stderr
    report = json.loads(path.read_text())
    lanes = report["design"]["layernorm_lanes"]
    assert lanes == designs.choose_layernorm_lanes(4, 4, asdict(find_device("lfe5u-25f").resources)["dsp"])
    check_report(report, dsp=designs.multipliers(4, 4, lanes))
    # Every large memory became block RAM, none a field of flip-flops.
    assert report["utilisation"]["block_ram"]["used"] >= 8
    assert report["utilisation"]["ff"]["percent"] < 75
    assert report["fmax_mhz"] >= 50
