"""The netlist that synthesis leaves, on whole sentences: equal to the golden model and to the Verilog."""

from __future__ import annotations

from pathlib import Path

import pytest

from golden_model.config import PRESETS, ElbertConfig
from golden_model.integer.rails import SMALL
from golden_model.integer.synthetic import random_checkpoint, random_sentences
from hw.accelerator import Accelerator
from hw.params import Machine
from hw.synth.devices import find_device
from hw.synth.flow import make_netlist
from sim.machine import Job, simulate
from sim.netlist import cell_library, netlist_verilog, simulate_netlist
from sim.rails import rail_jobs


def test_every_cell_has_a_model() -> None:
    library = cell_library()
    text = "\n".join(library.values())
    for cell in (
        "LUT4",
        "PFUMX",
        "L6MUX21",
        "TRELLIS_FF",
        "TRELLIS_DPR16X4",
        "CCU2C",
        "DP16KD",
        "MULT18X18D",
    ):
        assert text.count(f"module {cell}") == 1, cell


@pytest.mark.slow
@pytest.mark.parametrize(("config", "rows", "columns"), [(SMALL, 2, 4), (PRESETS["nano"], 4, 4)])
def test_the_netlist_equals_golden_model_and_verilog(
    config: ElbertConfig, rows: int, columns: int, tmp_path: Path
) -> None:
    fields = {"model": config, "rows": rows, "columns": columns, "layernorm_lanes": rows // 2}
    machine = Machine(**fields, technology="ecp5")
    netlist = make_netlist(lambda: Accelerator(machine), find_device("lfe5u-25f"), tmp_path, timeout=7200)
    checkpoint = random_checkpoint(config, 3)
    jobs = [Job(sentence) for sentence in random_sentences(config, 3, seed=3)]
    jobs += [job for job in rail_jobs(config, seed=1) if len(job.sentence[0]) > 1][::3]
    said = simulate_netlist(netlist_verilog(netlist), machine, checkpoint, jobs, stall_mode=1, seed=2)
    traced = Machine(**fields, technology="ecp5", trace=True)
    report = simulate(traced, checkpoint, jobs, stall_mode=1, seed=2, waves_on_failure=False)
    assert report.equal, report.errors
    assert [registers["cycles"] for registers in said] == [outcome.cycles for outcome in report.outcomes]
