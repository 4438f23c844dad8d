"""Activation table against ``golden_model.integer.ops.table.lookup``, exact equality.

Arguments (``bench_args``): lanes, latency (the block's own property), table (int64 [1024]).
Reported: look-ups checked.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
import torch
from cocotb.triggers import RisingEdge

from golden_model.integer.ops.table import lookup
from golden_model.numerics import OPERAND_BITS, TABLE_INDEX_BITS, TABLE_SIZE
from hw.units.activation_table import ENTRIES_PER_WORD
from sim.agents import clock
from sim.agents.lanes import pack, unpack
from sim.run import bench_args, report


async def load(dut: Any, table: list[int], order: list[int]) -> None:
    """Writes the words of ``table`` in the given order."""
    for word in order:
        dut.write_enable.value = 1
        dut.write_address.value = word
        dut.write_data.value = pack(table[ENTRIES_PER_WORD * word :][:ENTRIES_PER_WORD], OPERAND_BITS)
        await RisingEdge(dut.clk)
    dut.write_enable.value = 0


@cocotb.test
async def equals_golden(dut: Any) -> None:
    """Every index in every lane; then another table, half of it, over the first."""
    args = bench_args()
    lanes, latency, rng = args["lanes"], args["latency"], random.Random(cocotb.RANDOM_SEED)
    first = [int(v) for v in args["table"]]
    words = TABLE_SIZE // ENTRIES_PER_WORD
    # The second load replaces half of the words only.
    replaced = sorted(rng.sample(range(words), words // 2))
    second = list(first)
    for word in replaced:
        for entry in range(ENTRIES_PER_WORD):
            second[ENTRIES_PER_WORD * word + entry] = rng.randint(-128, 127)

    dut.write_enable.value = 0
    dut.index.value = 0
    await clock.start(dut)
    checked = 0
    half = TABLE_SIZE // 2
    for table, loaded in ((first, list(range(words))), (second, replaced)):
        await load(dut, table, loaded)
        indices = [
            [(i * (2 * lane + 1)) % TABLE_SIZE - half for lane in range(lanes)] for i in range(TABLE_SIZE)
        ]
        expected = lookup(torch.tensor(table), torch.tensor(indices)).tolist()
        for i in range(TABLE_SIZE + latency):
            dut.index.value = pack(indices[min(i, TABLE_SIZE - 1)], TABLE_INDEX_BITS)
            # without write_enable, address and data must not matter
            dut.write_address.value = rng.randrange(words)
            dut.write_data.value = rng.randrange(1 << 32)
            await RisingEdge(dut.clk)
            if i >= latency:
                got = unpack(int(dut.values.value), OPERAND_BITS, lanes)
                want = expected[i - latency]
                assert got == want, f"indices {indices[i - latency]}: expected {want}, got {got}"
                checked += lanes
    report(checked=checked)
