"""LayerNorm's sums over the features of every token block."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from golden_model.numerics import RESIDUAL_BITS
from hw.arith.check import check_int, check_technology
from hw.arith.delay import delay
from hw.arith.fan_out import register_each
from hw.arith.multiplier import Multiplier
from hw.memory.attributes import DONT_CARE_ON_COLLISION

MAX_FEATURES = 1024
"""Most features of a row; the sums' widths and the exponents follow from it."""


def sum_layout(features: int) -> data.StructLayout:
    """{s1: sum y, s2: sum y²} of up to ``features`` values of RESIDUAL_BITS bits, exact."""
    top = 1 << (RESIDUAL_BITS - 1)
    return data.StructLayout(
        {
            "s1": signed((features * top - 1).bit_length() + 1),
            "s2": (features * top * top).bit_length(),
        }
    )


class Statistics(wiring.Component):
    """S1 = sum y and S2 = sum y² of each row of each token block, accumulated as columns pass.

    Golden: ``golden_model.integer.ops.layernorm.statistics``. The running block's sums lie in registers; the
    others' in a memory, loaded and stored at the ends of a burst of columns of one block.

    Parameters
    ----------
    lanes : int
        P, 1..64.
    features : int
        Most columns of a block, 2..1024.
    max_blocks : int
        1..512.
    technology : str
        Form of the P multipliers.

    Members
    -------
    valid, lanes, first, block, block_start, block_end, values : In
        As ``stat_*`` of :class:`hw.units.layernorm.LayerNorm`.
    sums_request : In(1)
        Asks for the sums of ``sums_block``, held until ``sums_grant``.
    sums_block : In(range(max_blocks))
    sums_grant : Out(1)
        ``sums`` holds the block's sums ``SUMS_LATENCY`` cycles later, and only there. Low in cycles where a
        burst loads.
    sums : Out(ArrayLayout(sum_layout(features), P))

    A column's sums are in the memory ``LATENCY`` cycles after its ``block_end``. One column per cycle.
    """

    LATENCY = Multiplier.LATENCY + 3
    SUMS_LATENCY = 2

    def __init__(self, lanes: int, features: int, max_blocks: int, technology: str = "generic"):
        self._lanes = check_int("lanes", lanes, 1, 64)
        check_int("features", features, 2, MAX_FEATURES)
        self._max_blocks = check_int("max_blocks", max_blocks, 1, 512)
        self._technology = check_technology(technology)
        self._row = data.ArrayLayout(sum_layout(features), lanes)
        block = range(max_blocks)
        super().__init__(
            {
                "valid": In(1),
                "lanes": In(lanes),
                "first": In(1),
                "block": In(block),
                "block_start": In(1),
                "block_end": In(1),
                "values": In(data.ArrayLayout(signed(RESIDUAL_BITS), lanes)),
                "sums_request": In(1),
                "sums_block": In(block),
                "sums_grant": Out(1),
                "sums": Out(self._row),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # Loading is timed so that the saved sums meet the burst's first square. Either has a register before
        # the sum: behind a memory and behind a multiplier lies nothing else.
        load, end = Signal(2), Signal(3)
        saved = Signal(self._row, reset_less=True)
        m.d.sync += [
            load.eq((load << 1) | (self.valid & self.block_start)),
            end.eq((end << 1) | (self.valid & self.block_end)),
        ]
        m.d.comb += [self.sums_grant.eq(self.sums_request & ~load[0]), self.sums.eq(saved)]

        running = Signal(self._row, reset_less=True)
        # Each lane has a memory of its wide sums, and registers of its own for what addresses and picks them.
        loads = register_each(m, self.valid & self.block_start, self._lanes, "loads", reset=True)
        loaded_block = register_each(m, self.block, self._lanes, "loaded_block")
        stores = register_each(m, end[2], self._lanes, "stores", reset=True)
        stored_block = register_each(m, delay(m, self.block, 3, "block"), self._lanes, "stored_block")
        loading = register_each(m, load[1], self._lanes, "loading", reset=True)
        restart = register_each(m, delay(m, self.first, 2, "first"), self._lanes, "restart")
        for lane in range(self._lanes):
            m.submodules[f"sums_{lane}"] = sums = memory.Memory(
                shape=self._row.elem_shape, depth=self._max_blocks, init=[], attrs=DONT_CARE_ON_COLLISION
            )
            read, write = sums.read_port(), sums.write_port()
            m.d.sync += saved[lane].eq(read.data)
            m.d.comb += [
                read.addr.eq(Mux(loads[lane], loaded_block[lane], self.sums_block)),
                write.en.eq(stores[lane]),
                write.addr.eq(stored_block[lane]),
                write.data.eq(running[lane]),
            ]
            m.submodules[f"square_{lane}"] = square = Multiplier(
                RESIDUAL_BITS, RESIDUAL_BITS, self._technology
            )
            m.d.comb += [square.a.eq(self.values[lane]), square.b.eq(self.values[lane])]
            value = delay(m, self.values[lane], 3, f"value_{lane}")
            product = delay(m, square.product, 1, f"product_{lane}")
            counts = Signal(3, name=f"counts_{lane}")
            m.d.sync += counts.eq((counts << 1) | (self.valid & self.lanes[lane]))
            base = Signal.like(running[lane], name=f"base_{lane}")
            with m.If(~(counts[2] & restart[lane])):
                m.d.comb += base.eq(Mux(loading[lane], saved[lane].as_value(), running[lane].as_value()))
            with m.If(counts[2]):
                m.d.sync += [
                    running[lane].s1.eq(base.s1 + value),
                    running[lane].s2.eq(base.s2 + product),
                ]
            with m.Elif(loading[lane]):
                m.d.sync += running[lane].eq(base)
        return m
