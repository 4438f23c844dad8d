"""The array against the exact integer matrix product: tiles back to back and with holes in them.

Arguments (``bench_args``): rows, columns, latency, shift_latency, tiles, holes (chance of an idle cycle
within a tile).
Reported: tiles checked, and the largest absolute sum seen.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from golden_model.numerics import ACCUMULATOR_BITS
from hw.engine.array import COLUMN_BITS, ROW_BITS
from sim.agents import clock
from sim.agents.lanes import pack, unpack
from sim.run import bench_args, report

KINDS = ("signed", "exponentials", "extremes")


def make_tile(rng: np.random.Generator, rows: int, columns: int, depth: int, kind: str) -> Any:
    """Row operands [depth, rows] and column operands [depth, columns] of one tile."""
    if kind == "extremes":
        # The largest sums the contract allows: 255 · -127, and 127 · 127.
        row = np.full((depth, rows), rng.choice([255, 127, -127]))
        return row, np.full((depth, columns), rng.choice([-127, 127]))
    low, high = (0, 256) if kind == "exponentials" else (-127, 128)
    return rng.integers(low, high, (depth, rows)), rng.integers(-127, 128, (depth, columns))


@cocotb.test
async def equals_the_matrix_product(dut: Any) -> None:
    """Feeds tiles as close together as the drain allows; every column of every tile must be exact."""
    args = bench_args()
    rows, columns, latency = args["rows"], args["columns"], args["latency"]
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    coin = random.Random(cocotb.RANDOM_SEED)
    edge = RisingEdge(dut.clk)
    for port in ("valid", "first", "last", "shift", "row_operands", "column_operands"):
        getattr(dut, port).value = 0
    await clock.start(dut)

    expected: list[np.ndarray] = []
    closed: list[int] = []
    pauses: list[int] = []  # cycles from a tile's sums to the first move
    cycle = 0
    largest = 0
    checked = 0

    async def feed() -> None:
        nonlocal cycle
        for number in range(args["tiles"]):
            kind = KINDS[number % len(KINDS)]
            # A tile may not close before the buffer of the one before is empty.
            pause = 0 if coin.random() < 0.7 else coin.randrange(rows + 1)
            floor = columns + (pauses[-1] if pauses else 0)
            depth = int(rng.choice([floor, floor + 1, 3 * floor, floor + 7]))
            if number % (2 * len(KINDS)) == KINDS.index("extremes"):
                depth = 200
            row, column = make_tile(rng, rows, columns, depth, kind)
            expected.append(row.T @ column)
            pauses.append(pause)
            for k in range(depth):
                while coin.random() < args["holes"]:
                    dut.valid.value = 0
                    # Whatever lies on the operands and flags of an idle cycle must not matter.
                    dut.first.value = coin.randrange(2)
                    dut.last.value = coin.randrange(2)
                    dut.row_operands.value = coin.getrandbits(rows * ROW_BITS)
                    await edge
                dut.valid.value = 1
                dut.first.value = int(k == 0)
                dut.last.value = int(k == depth - 1)
                dut.row_operands.value = pack(row[k], ROW_BITS)
                dut.column_operands.value = pack(column[k], COLUMN_BITS)
                await edge
            closed.append(cycle)
        dut.valid.value = 0

    async def shift() -> None:
        """Moves so that they take effect, one column a cycle, ``pause`` cycles after each tile's load."""
        moves: set[int] = set()
        seen = 0
        while True:
            await edge
            for number in range(seen, len(closed)):
                first = closed[number] + latency + pauses[number] - args["shift_latency"]
                moves |= set(range(first + 1, first + columns))
            seen = len(closed)
            moves.discard(cycle)
            dut.shift.value = int(cycle + 1 in moves)  # until the next edge

    async def drain() -> None:
        nonlocal cycle, largest, checked
        position = columns
        loaded_at = -1
        while checked < args["tiles"]:
            await edge
            cycle += 1
            if int(dut.loaded.value):
                assert position == columns, (
                    f"tile {checked} was loaded over column {position} of the one before"
                )
                position, loaded_at = 0, cycle
                assert loaded_at - closed[checked] == latency, (
                    f"tile {checked} took {loaded_at - closed[checked]} cycles to load, latency is {latency}"
                )
            if position < columns:
                got = unpack(int(dut.column.value), ACCUMULATOR_BITS, rows)
                want = expected[checked][:, position].tolist()
                assert got == want, f"tile {checked}, column {position}: {got}, expected {want}"
                position += cycle >= loaded_at + pauses[checked]
                if position == columns:
                    largest = max(largest, int(np.abs(expected[checked]).max()))
                    checked += 1

    feeding = cocotb.start_soon(feed())
    shifting = cocotb.start_soon(shift())
    await drain()
    await feeding
    shifting.cancel()
    report(checked=checked, largest=largest)
