"""The arithmetic blocks in Verilator against their golden functions."""

from __future__ import annotations

import pytest

from golden_model.config import PRESETS
from golden_model.integer.ops.table import activation_table
from hw.arith.requantizer import Requantizer
from hw.engine.array import Array
from hw.engine.vector_path import VectorPath
from hw.params import Machine
from hw.units.activation_table import ActivationTable
from hw.units.layernorm import LayerNorm
from hw.units.softmax import Softmax
from sim.ecp5 import ECP5_CELLS
from sim.run import run_component


@pytest.mark.parametrize(
    ("technology", "high_in_logic"),
    [
        ("generic", False),
        ("ecp5", True),
        pytest.param("generic", True, marks=pytest.mark.slow),
        pytest.param("ecp5", False, marks=pytest.mark.slow),
        pytest.param("xilinx", False, marks=pytest.mark.slow),
        pytest.param("xilinx", True, marks=pytest.mark.slow),
    ],
)
def test_requantizer(technology: str, high_in_logic: bool) -> None:
    block = Requantizer(technology, high_in_logic)
    result = run_component(
        block,
        f"requantizer_{technology}_{int(high_in_logic)}",
        "sim.benches.requantizer_bench",
        extra_sources=ECP5_CELLS if technology == "ecp5" else None,
        test_args={"latency": block.latency, "count": 4000},
        seed=11,
    )
    checked, saturated = result.metrics["checked"], result.metrics["saturated"]
    assert checked > 6000
    assert checked / 10 < saturated < checked * 9 / 10  # both outcomes are met


@pytest.mark.parametrize("lanes", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_activation_table(lanes: int) -> None:
    block = ActivationTable(lanes)
    table = activation_table("gelu_new", 1 / 64, 1 / 16)
    result = run_component(
        block,
        f"activation_table_{lanes}",
        "sim.benches.activation_table_bench",
        test_args={"lanes": lanes, "latency": block.latency, "table": table.numpy()},
        seed=lanes,
    )
    assert result.metrics["checked"] == 2 * 1024 * lanes


@pytest.mark.parametrize(
    ("lanes", "max_keys", "source", "reader"),
    [
        pytest.param(4, 16, "none", "none", marks=pytest.mark.slow),
        pytest.param(4, 16, "random", "none", marks=pytest.mark.slow),
        pytest.param(4, 16, "none", "random", marks=pytest.mark.slow),
        (3, 40, "random", "random"),
        (2, 512, "none", "none"),
        pytest.param(1, 1, "random", "random", marks=pytest.mark.slow),
    ],
)
def test_softmax(lanes: int, max_keys: int, source: str, reader: str) -> None:
    block = Softmax(lanes, max_keys)
    row_blocks = 12 if max_keys > 100 else 60
    result = run_component(
        block,
        f"softmax_{lanes}_{max_keys}",
        "sim.benches.softmax_bench",
        test_args={
            "lanes": lanes,
            "max_keys": max_keys,
            "pass_overhead": block.PASS_OVERHEAD,
            "divide_cycles": block.DIVIDE_CYCLES,
            "row_blocks": row_blocks,
            "source": source,
            "reader": reader,
        },
        seed=max_keys,
    )
    assert result.metrics["rows"] == (row_blocks + 3) * lanes
    if max_keys > 1:
        assert result.metrics["overlapping_columns"] > 10


@pytest.mark.parametrize(
    ("lanes", "sizes", "normalize_lanes", "technology", "gap", "pause"),
    [
        pytest.param(4, (32, 16), 4, "generic", "none", "none", marks=pytest.mark.slow),
        (4, (32, 16), 4, "ecp5", "random", "none"),
        pytest.param(4, (32, 16), 4, "xilinx", "none", "random", marks=pytest.mark.slow),
        (4, (32, 16), 2, "generic", "random", "random"),
        pytest.param(4, (32, 16), 1, "generic", "none", "random", marks=pytest.mark.slow),
        (3, (11, 20, 59), 3, "generic", "random", "random"),
        (2, (1024, 128), 2, "generic", "none", "none"),
        pytest.param(1, (384,), 1, "generic", "none", "random", marks=pytest.mark.slow),
    ],
)
def test_layernorm(
    lanes: int, sizes: tuple[int, ...], normalize_lanes: int, technology: str, gap: str, pause: str
) -> None:
    blocks = 5
    read_latency = 1 if pause == "none" else 4
    block = LayerNorm(lanes, sizes, blocks, normalize_lanes, technology, read_latency)
    rounds = 2 if max(sizes) > 300 else 8
    result = run_component(
        block,
        f"layernorm_{lanes}_{max(sizes)}_{normalize_lanes}_{technology}",
        "sim.benches.layernorm_bench",
        extra_sources=ECP5_CELLS if technology == "ecp5" else None,
        test_args={
            "lanes": lanes,
            "sizes": list(sizes),
            "blocks": blocks,
            "read_latency": read_latency,
            "read_to_write_latency": block.read_to_write_latency,
            "cycles_per_feature": block.cycles_per_feature,
            "rounds": rounds,
            "gap": gap,
            "pause": pause,
        },
        seed=lanes + len(sizes),
    )
    assert result.metrics["rows"] > rounds * blocks / 2
    assert result.metrics["columns_under_work"] > 10


@pytest.mark.parametrize(
    ("rows", "columns", "technology", "holes"),
    [
        pytest.param(4, 4, "generic", 0.0, marks=pytest.mark.slow),
        (2, 8, "generic", 0.3),
        pytest.param(8, 16, "generic", 0.1, marks=pytest.mark.slow),
        (1, 4, "ecp5", 0.1),
        (2, 4, "ecp5", 0),
        pytest.param(4, 8, "ecp5", 0, marks=pytest.mark.slow),  # four times the multipliers to compile
    ],
)
def test_array(rows: int, columns: int, technology: str, holes: float) -> None:
    block = Array(rows, columns, technology)
    result = run_component(
        block,
        f"array_{rows}_{columns}_{technology}",
        "sim.benches.array_bench",
        extra_sources=ECP5_CELLS if technology == "ecp5" else None,
        test_args={
            "rows": rows,
            "columns": columns,
            "latency": block.latency,
            "shift_latency": block.shift_latency,
            "tiles": 60,
            "holes": holes,
        },
        seed=rows + columns,
    )
    assert result.metrics["checked"] == 60
    assert result.metrics["largest"] >= 200 * 127 * 127


@pytest.mark.parametrize(("rows", "columns", "technology"), [(4, 4, "generic"), (2, 8, "ecp5")])
def test_vector_path(rows: int, columns: int, technology: str) -> None:
    """Reaches both ends of every clamp, and ties of either sign."""
    fields = {"model": "nano", "rows": rows, "columns": columns, "technology": technology}
    machine = Machine(**{**fields, "model": PRESETS["nano"]})
    block = VectorPath(machine, norm_latency=24, drain_lead=3)
    result = run_component(
        block,
        f"vector_path_{rows}_{columns}_{technology}",
        "sim.benches.vector_path_bench",
        extra_sources=ECP5_CELLS if technology == "ecp5" else None,
        test_args={
            "machine": fields,
            "lead": block.drain_lead,
            "latencies": {
                "column": block.column_latency,
                "score": block.score_latency,
                "sum": block.sum_latency,
                "residual_read": block.residual_read_latency,
                "residual": block.residual_latency,
                "idle": block.idle_latency,
            },
            "tiles": 150,
        },
        seed=rows,
    )
    rails = {
        f"{clamp}_{end}"
        for clamp in ("byte", "index", "score", "hidden", "residual")
        for end in ("low", "high")
    }
    assert all(result.metrics.get(name, 0) > 3 for name in rails | {"tie_of_a_positive", "tie_of_a_negative"})
    assert result.metrics["columns"] > 200
