"""cocotb side of test_agents.py: the stream agents on StreamAdder."""

from __future__ import annotations

import random

import cocotb
from cocotb.simtime import get_sim_time

from sim.agents import clock
from sim.agents.lanes import pack, unpack
from sim.agents.stream import StreamSink, StreamSource, exchange
from sim.run import bench_args, report


@cocotb.test
async def adds_lanes(dut):
    args = bench_args()
    StreamSource(dut)
    StreamSink(dut)
    await clock.start(dut)
    generator = random.Random(7)
    rows = [[generator.randrange(256) for _ in range(4)] for _ in range(args["count"])]
    for source, sink in args["pairs"]:
        begin = get_sim_time("ns")
        out = await exchange(
            dut,
            [pack(row, 8) for row in rows],
            len(rows),
            source=source,
            sink=sink,
            seed=3,
            limit_cycles=args.get("limit", 100_000),
        )
        report(**{f"{source}_{sink}": (get_sim_time("ns") - begin) / clock.period_ns()})
        for row, packed in zip(rows, out, strict=True):
            assert unpack(packed, 8, 4, signed=False) == [(v + n + 1) % 256 for n, v in enumerate(row)]
