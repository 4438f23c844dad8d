"""cocotb side of test_agents.py: cocotbext-axi's read master on the memory model."""

from __future__ import annotations

import random

import cocotb
from cocotbext.axi import AxiMasterRead, AxiReadBus, AxiResp

from sim.agents import system
from sim.run import bench_args


@cocotb.test
async def reads_like_the_reference_master(dut):
    image = bench_args()["image"].tobytes()
    dut.m_axi__arvalid.value = 0  # the reference master drives only from its first transaction on
    dut.m_axi__rready.value = 0
    await system.start(dut, stall_mode=1)
    master = AxiMasterRead(AxiReadBus.from_prefix(dut, "m_axi_"), dut.clk, dut.rst)
    generator = random.Random(1)
    for _ in range(60):
        length = generator.choice((8, 64, 800, 4096))
        address = 8 * generator.randrange((len(image) - length) // 8)
        answer = await master.read(address, length)
        assert answer.resp == AxiResp.OKAY
        assert answer.data == image[address : address + length]
    answer = await master.read(len(image), 8)
    assert answer.resp == AxiResp.SLVERR
    assert int(dut.protocol_error.value) == 0
