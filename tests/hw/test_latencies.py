"""Latencies of the blocks, as the engine aligns to them."""

from __future__ import annotations

from typing import Any

from hw.arith.integer_divider import IntegerDivider
from hw.arith.multiplier import Multiplier, WideMultiplier
from hw.arith.requantizer import Requantizer
from hw.units.activation_table import ActivationTable
from hw.units.layernorm import LayerNorm


def test_latencies(elaborated: Any) -> None:
    """What the engine aligns to; the benches of sim/ measure the same properties."""
    assert Multiplier.LATENCY == 2
    assert {elaborated(Multiplier(18, 18, t)).latency for t in ("generic", "ecp5", "xilinx")} == {2}
    assert (elaborated(WideMultiplier()).latency, elaborated(WideMultiplier(high_in_logic=True)).latency) == (
        3,
        4,
    )
    assert (elaborated(Requantizer()).latency, elaborated(Requantizer(high_in_logic=True)).latency) == (8, 9)
    assert elaborated(ActivationTable(1)).latency == 3
    assert elaborated(IntegerDivider(32, 17, 16)).latency == 17
    full, half, one = (elaborated(LayerNorm(4, (384,), 4, lanes)) for lanes in (4, 2, 1))
    assert [b.cycles_per_feature for b in (full, half, one)] == [1, 2, 4]
    assert full.read_to_write_latency == half.read_to_write_latency - 1 == one.read_to_write_latency - 3 == 20
    # 384 = 512 - 128 and S1: three addends. 59 = 64 - 4 - 1 and S1: four. 16 and S1: two.
    assert elaborated(LayerNorm(4, (59,), 4)).read_to_write_latency == 20
    assert elaborated(LayerNorm(4, (16,), 4)).read_to_write_latency == 19
