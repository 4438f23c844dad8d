"""Source and sink for Amaranth streams (``valid``/``ready``/``payload``), with stalls and protocol checks.

The ports of a stream member ``i`` are ``i__payload``, ``i__valid`` and ``i__ready``; a stream that is always
ready or always valid lacks that port. Payloads are integers; ``sim.agents.lanes`` packs vectors into one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import cocotb
from cocotb.triggers import RisingEdge

from sim.agents.stall import stall_pattern


class StreamError(AssertionError):
    """The design broke the stream protocol, or did not deliver in time."""


def _port(dut: Any, name: str) -> Any | None:
    return getattr(dut, name) if hasattr(dut, name) else None


class StreamSource:
    """Drives the input stream ``name`` of ``dut``. Make it before reset: it lowers ``valid``."""

    def __init__(self, dut: Any, name: str = "i", *, stall: str = "none", seed: int = 0) -> None:
        self._dut = dut
        self._payload = getattr(dut, f"{name}__payload")
        self._valid = _port(dut, f"{name}__valid")
        self._ready = _port(dut, f"{name}__ready")
        self._go = stall_pattern(stall, seed)
        if self._valid is None and stall != "none":
            raise ValueError(f"stream {name!r} is always valid: it cannot have the stall pattern {stall!r}")
        self.idle()

    def idle(self) -> None:
        """Lowers ``valid``."""
        if self._valid is not None:
            self._valid.value = 0

    async def send(self, payloads: Iterable[int]) -> None:
        """Sends all payloads in order; returns after the edge that took the last one."""
        edge = RisingEdge(self._dut.clk)
        go, valid, ready, payload = self._go, self._valid, self._ready, self._payload
        high = False
        for value in payloads:
            while not next(go):
                if high and valid is not None:
                    valid.value = 0
                    high = False
                await edge
            payload.value = int(value)
            if not high and valid is not None:
                valid.value = 1
                high = True
            await edge
            if ready is not None:
                while not int(ready.value):
                    await edge
        self.idle()


class StreamSink:
    """Takes from the output stream ``name`` of ``dut``. Make it before reset: it lowers ``ready``.

    While it refuses, it checks that ``valid`` stays and ``payload`` does not change.
    """

    def __init__(self, dut: Any, name: str = "o", *, stall: str = "none", seed: int = 1) -> None:
        self._dut, self._name = dut, name
        self._payload = getattr(dut, f"{name}__payload")
        self._valid = _port(dut, f"{name}__valid")
        self._ready = _port(dut, f"{name}__ready")
        self._go = stall_pattern(stall, seed)
        if self._ready is None and stall != "none":
            raise ValueError(f"stream {name!r} is always ready: it cannot have the stall pattern {stall!r}")
        if self._ready is not None:
            self._ready.value = 0

    async def receive(self, count: int, *, limit_cycles: int = 1_000_000) -> list[int]:
        """The next ``count`` payloads.

        Raises:
            StreamError: ``limit_cycles`` clocks went by first, or the protocol was broken.
        """
        edge = RisingEdge(self._dut.clk)
        taken: list[int] = []
        offered: int | None = None  # the payload that was valid and refused at the last edge
        ready = False
        for cycle in range(limit_cycles):
            go = next(self._go)
            if self._ready is not None and (go != ready or cycle == 0):
                self._ready.value = int(go)
            ready = go or self._ready is None
            await edge
            valid = self._valid is None or bool(int(self._valid.value))
            if offered is not None:
                if not valid:
                    raise StreamError(
                        f"stream {self._name!r}: valid fell before payload {len(taken)} was taken"
                    )
                if int(self._payload.value) != offered:
                    raise StreamError(
                        f"stream {self._name!r}: payload {len(taken)} changed while refused, "
                        f"from {offered:#x} to {int(self._payload.value):#x}"
                    )
            offered = None
            if valid and ready:
                taken.append(int(self._payload.value))
                if len(taken) == count:
                    break
            elif valid:
                offered = int(self._payload.value)
        if self._ready is not None:
            self._ready.value = 0
        if len(taken) < count:
            raise StreamError(
                f"stream {self._name!r}: {len(taken)} of {count} payloads after {limit_cycles} cycles"
            )
        return taken


async def exchange(
    dut: Any,
    payloads: Sequence[int],
    count: int,
    *,
    source: str = "none",
    sink: str = "none",
    seed: int = 0,
    input_name: str = "i",
    output_name: str = "o",
    limit_cycles: int = 1_000_000,
) -> list[int]:
    """Sends ``payloads`` and returns the ``count`` that come out, under the two stall patterns.

    Raises:
        StreamError: see ``StreamSink.receive``.
    """
    sender = StreamSource(dut, input_name, stall=source, seed=2 * seed)
    receiver = StreamSink(dut, output_name, stall=sink, seed=2 * seed + 1)
    sending = cocotb.start_soon(sender.send(payloads))
    try:
        return await receiver.receive(count, limit_cycles=limit_cycles)
    finally:
        if not sending.done():
            sending.cancel()
            sender.idle()
