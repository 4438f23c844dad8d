"""sim.run: what a bench reports when it passes, fails, hangs or breaks, and both clocks agree."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from hw.emit import to_verilog
from sim.benches.agents.counter import Counter
from sim.build import BuildFailure, BuildOptions
from sim.run import BenchFailure, BenchTimeout, run_bench, run_component

HERE = Path(__file__).parent
BENCH = "sim.benches.agents.counter_bench"


@pytest.mark.parametrize("clock_ns", [10.0, 7.0, None])
def test_passes_and_reports(clock_ns):
    table = np.arange(-3, 100, dtype=np.int16)
    result = run_component(
        Counter(), "counter", BENCH, test_args={"cycles": 1000, "table": table}, clock_ns=clock_ns, seed=5
    )
    assert result.passed
    assert [t.name for t in result.tests] == ["counts", "samples_before_the_edge"]
    assert result.metrics == {"seen": 999, "total": int(table.sum())}
    assert result.run_dir is None
    if clock_ns is not None:
        assert 1000 < result.cycles < 1100


def test_failure_names_test_message_log_and_waves(tmp_path):
    with pytest.raises(BenchFailure) as caught:
        run_component(
            Counter(), "counter", BENCH, test_args={"cycles": 20, "mode": "fail"}, run_dir=tmp_path, seed=2
        )
    text = str(caught.value)
    result = caught.value.result
    assert "counted 19, expected 26" in text
    assert [name for name, _ in result.failures] == ["counts"]
    assert str(tmp_path / "bench.log") in text
    assert result.waves == tmp_path / "waves.vcd"
    assert str(result.waves) in text
    vcd = result.waves.read_text()
    assert vcd.count("$var") >= 4
    assert len(vcd) > 1000


def test_failure_is_returned_without_check():
    result = run_component(
        Counter(),
        "counter",
        BENCH,
        test_args={"cycles": 20, "mode": "fail"},
        check=False,
        waves_on_failure=False,
        test_filter="counts",
    )
    assert not result.passed
    assert result.waves is None
    assert len(result.tests) == 1
    assert result.log.exists()


@pytest.mark.parametrize("mode", ["hang", "sleep"])
def test_time_limit_ends_simulated_and_real_hangs(mode, tmp_path):
    begin = time.monotonic()
    with pytest.raises(BenchTimeout, match=r"limit of 3\.0 s"):
        run_component(
            Counter(),
            "counter",
            BENCH,
            test_args={"cycles": 20, "mode": mode},
            timeout_s=3.0,
            run_dir=tmp_path,
        )
    assert time.monotonic() - begin < 30


def test_error_in_verilog_fails_a_run_whose_tests_pass():
    text = to_verilog(Counter(), "counter").replace(
        "endmodule",
        '  always @(posedge clk) if (count == 500) $error("count reached %0d", count);\nendmodule',
        1,
    )
    with pytest.raises(BenchFailure, match="count reached 500"):
        run_bench(
            sources=[text],
            top="counter",
            test_module=BENCH,
            test_args={"cycles": 1000},
            waves_on_failure=False,
        )


def test_missing_module_and_bad_seed_are_refused():
    text = to_verilog(Counter(), "counter")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        run_bench(sources=[text], top="counter", test_module=HERE / "nowhere.py")
    with pytest.raises(BenchFailure, match="bench_that_is_not_there"):
        run_bench(
            sources=[text], top="counter", test_module="bench_that_is_not_there", waves_on_failure=False
        )
    with pytest.raises(ValueError, match="seed -1"):
        run_bench(sources=[text], top="counter", test_module=BENCH, seed=-1)


def test_design_that_does_not_build_says_why():
    with pytest.raises(BuildFailure, match="nonsense"):
        run_bench(sources=["module m(input clk);\n nonsense x;\nendmodule\n"], top="m", test_module=BENCH)


def test_undefined_values_follow_the_seed():
    text = """module m(input clk, output [31:0] value);
  reg [31:0] never_written;
  assign value = never_written;
endmodule
"""
    bench = "sim.benches.agents.undefined_bench"

    def value(seed: int, fast: bool = False) -> int:
        options = BuildOptions(fast=fast)
        return run_bench(
            sources=[text], top="m", test_module=bench, seed=seed, build_options=options
        ).metrics["value"]

    assert value(1) == value(1)
    assert len({value(seed) for seed in (1, 2, 3)}) == 3
    assert value(1, fast=True) == value(2, fast=True)
