"""The buses: AXI4 reads and AXI4-Lite as signatures, and linear reads as streams.

Every signature is written from the side of the one that starts the conversation; the other side takes
``In(signature)``.
"""

from __future__ import annotations

from amaranth import unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

AXI_ADDRESS_BITS = 32
AXI_PROTECTION = 0b000
"""ARPROT of every read, and AWPROT and ARPROT of the drivers here: data, secure, unprivileged."""
AXI_CACHE = 0b0011
"""ARCACHE of every read: normal memory, not cacheable, bufferable; an interconnect may split bursts."""
AXI_DATA_BITS = (32, 64, 128, 256, 512, 1024)
"""The data widths AXI4 knows, at least one 32-bit token word."""
AXI_BOUNDARY = 4096
"""No burst crosses a multiple of this many bytes (AXI4 A3.4.1)."""
LITE_ADDRESS_BITS = 12
"""The register map's 4 KB."""
LITE_DATA_BITS = 32
READ_BYTES_BITS = 24
"""Bytes of one linear read."""


class Axi4Read(wiring.Signature):
    """The read half of AXI4, from the master's side. A member ``m_axi`` becomes ``m_axi__araddr``…

    ``arid`` (always 0) and ``rid`` (ignored) are one bit wide: interconnects and test benches ask
    for them. ``arprot`` and ``arcache`` are constant: `AXI_PROTECTION`, `AXI_CACHE`.

    Raises:
        ValueError: ``data_width`` is not one of `AXI_DATA_BITS`.
    """

    def __init__(self, data_width: int) -> None:
        if data_width not in AXI_DATA_BITS:
            raise ValueError(f"data_width {data_width} is not one of {AXI_DATA_BITS}")
        self.data_width = data_width
        super().__init__(
            {
                "arid": Out(1),
                "araddr": Out(AXI_ADDRESS_BITS),
                "arlen": Out(8),
                "arsize": Out(3),
                "arburst": Out(2),
                "arprot": Out(3),
                "arcache": Out(4),
                "arvalid": Out(1),
                "arready": In(1),
                "rid": In(1),
                "rdata": In(data_width),
                "rresp": In(2),
                "rlast": In(1),
                "rvalid": In(1),
                "rready": Out(1),
            }
        )


class Axi4Lite(wiring.Signature):
    """AXI4-Lite, 32-bit data, 12-bit byte addresses, from the master's side: the accelerator has
    ``s_axil: In(Axi4Lite())``, which becomes ``s_axil__awaddr``… ``awprot`` and ``arprot`` are there because
    AXI4-Lite has them; the registers answer every kind of access alike.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "awaddr": Out(LITE_ADDRESS_BITS),
                "awprot": Out(3),
                "awvalid": Out(1),
                "awready": In(1),
                "wdata": Out(LITE_DATA_BITS),
                "wstrb": Out(LITE_DATA_BITS // 8),
                "wvalid": Out(1),
                "wready": In(1),
                "bresp": In(2),
                "bvalid": In(1),
                "bready": Out(1),
                "araddr": Out(LITE_ADDRESS_BITS),
                "arprot": Out(3),
                "arvalid": Out(1),
                "arready": In(1),
                "rdata": In(LITE_DATA_BITS),
                "rresp": In(2),
                "rvalid": In(1),
                "rready": Out(1),
            }
        )


ReadCommand = data.StructLayout(
    {
        "address": unsigned(AXI_ADDRESS_BITS),
        "bytes": unsigned(READ_BYTES_BITS),
    }
)
"""One linear read. Both are multiples of the beat (data_width / 8 bytes)."""


def read_beat(data_width: int) -> data.StructLayout:
    """One beat of the answer: ``data`` and ``last`` (of its `ReadCommand`)."""
    return data.StructLayout({"data": data_width, "last": 1})


def read_command_stream() -> stream.Signature:
    """`ReadCommand` to an AxiReader."""
    return stream.Signature(ReadCommand)


def read_data_stream(data_width: int) -> stream.Signature:
    """`read_beat` from an AxiReader."""
    return stream.Signature(read_beat(data_width))
