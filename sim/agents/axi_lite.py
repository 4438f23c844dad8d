"""AXI4-Lite master that costs nothing between its transactions.

Ports are ``s_axil__awaddr`` and so on. For an independent check of the slave, cocotbext-axi takes the same
names: ``AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil_"), dut.clk, dut.rst)``; its channels wake on
every clock, which makes long runs slow.
"""

from __future__ import annotations

from typing import Any

from cocotb.triggers import RisingEdge

from hw.bus.axi import AXI_PROTECTION

RESPONSES = ("OKAY", "EXOKAY", "SLVERR", "DECERR")


class AxiLiteError(AssertionError):
    """A response other than the one expected, or none in time."""


class AxiLiteMaster:
    """Reads and writes registers, one transaction at a time. Make it before reset: it lowers its valids.

    Args:
        dut: has ``clk`` and the ports.
        name: prefix of the ports, two underscores follow.
        limit_cycles: clocks after which a transaction without an answer is an error.
    """

    def __init__(self, dut: Any, name: str = "s_axil", *, limit_cycles: int = 1000) -> None:
        self._dut, self._name, self._limit = dut, name, limit_cycles
        for signal in ("awvalid", "wvalid", "bready", "arvalid", "rready"):
            self._port(signal).value = 0
        for signal in ("awprot", "arprot"):
            self._port(signal).value = AXI_PROTECTION

    def _port(self, signal: str) -> Any:
        return getattr(self._dut, f"{self._name}__{signal}")

    async def _wait(self, signal: str, what: str) -> None:
        """Returns after the edge at which ``signal`` was high."""
        edge, port = RisingEdge(self._dut.clk), self._port(signal)
        for _ in range(self._limit):
            await edge
            if int(port.value):
                return
        raise AxiLiteError(f"{what}: no {signal} within {self._limit} cycles")

    def _check(self, response: int, expected: int | None, what: str) -> int:
        if expected is not None and response != expected:
            raise AxiLiteError(f"{what}: response {RESPONSES[response]}, expected {RESPONSES[expected]}")
        return response

    async def write(
        self,
        address: int,
        value: int,
        *,
        strobe: int = 0xF,
        order: str = "together",
        delay: int = 0,
        expected: int | None = 0,
    ) -> int:
        """Writes one 32-bit register; returns the response.

        Args:
            order: of the two channels, "together", "address_first" or "data_first" (the other waits until it
                is taken).
            delay: clocks before the response is accepted.
            expected: response that must come (0: OKAY); None takes any.

        Raises:
            AxiLiteError: another response, or none in time.
        """
        what = f"write of {value:#x} to {address:#x}"
        channels = {
            "address_first": [["aw"], ["w"]],
            "data_first": [["w"], ["aw"]],
            "together": [["aw", "w"]],
        }
        if order not in channels:
            raise ValueError(f"order {order!r} is not one of {tuple(channels)}")
        self._port("awaddr").value = address
        self._port("wdata").value = value & 0xFFFFFFFF
        self._port("wstrb").value = strobe
        edge = RisingEdge(self._dut.clk)
        for group in channels[order]:
            waiting = list(group)
            for channel in waiting:
                self._port(f"{channel}valid").value = 1
            for _ in range(self._limit):
                await edge
                for channel in tuple(waiting):
                    if int(self._port(f"{channel}ready").value):
                        self._port(f"{channel}valid").value = 0
                        waiting.remove(channel)
                if not waiting:
                    break
            else:
                raise AxiLiteError(f"{what}: no {waiting[0]}ready within {self._limit} cycles")
        for _ in range(delay):
            await edge
        self._port("bready").value = 1
        await self._wait("bvalid", what)
        response = int(self._port("bresp").value)
        self._port("bready").value = 0
        return self._check(response, expected, what)

    async def read(self, address: int, *, delay: int = 0, expected: int | None = 0) -> int:
        """The value of one 32-bit register; arguments and errors as for ``write``."""
        what = f"read of {address:#x}"
        self._port("araddr").value = address
        self._port("arvalid").value = 1
        await self._wait("arready", what)
        self._port("arvalid").value = 0
        edge = RisingEdge(self._dut.clk)
        for _ in range(delay):
            await edge
        self._port("rready").value = 1
        await self._wait("rvalid", what)
        value, response = int(self._port("rdata").value), int(self._port("rresp").value)
        self._port("rready").value = 0
        self._check(response, expected, what)
        return value
