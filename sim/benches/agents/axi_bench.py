"""cocotb side of test_agents.py: AxiProbe reads from the memory model."""

from __future__ import annotations

import cocotb
from cocotb.triggers import RisingEdge

from sim.agents import clock, system
from sim.agents.stream import StreamSource
from sim.run import bench_args, report


def _command(address, length, size, burst=1):
    return address | length << 32 | size << 40 | burst << 43


async def _finish(dut, bursts, limit=20_000):
    """Waits for the bursts in strides of 16 clocks, then flushes the trace."""
    for _ in range(limit // 16):
        if int(dut.bursts_done.value) == bursts:
            break
        await clock.cycles(dut, 16)
    assert int(dut.bursts_done.value) == bursts, f"{int(dut.bursts_done.value)} of {bursts} bursts ended"
    dut.flush.value = 1
    await RisingEdge(dut.clk)
    dut.flush.value = 0
    await RisingEdge(dut.clk)


@cocotb.test
async def reads(dut):
    args = bench_args()
    dut.refuse.value = 0
    source = StreamSource(dut, "command")
    await system.start(dut, stall_mode=args.get("stall", 0), **args.get("inputs", {}))
    for address, value in args.get("pokes", []):
        dut.poke_valid.value, dut.poke_address.value, dut.poke_data.value = 1, address, value
        await RisingEdge(dut.clk)
    dut.poke_valid.value = 0
    dut.sentence.value = 5
    await source.send([_command(*command) for command in args["commands"]])
    if args.get("hang"):
        await clock.cycles(dut, 5000)
        assert int(dut.beats_done.value) == 0
        dut.hang.value = 0
    await _finish(dut, len(args["commands"]))
    report(
        bursts=int(dut.bursts.value),
        beats=int(dut.beats.value),
        records=int(dut.records.value),
        protocol_error=int(dut.protocol_error.value),
    )
