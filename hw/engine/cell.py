"""One cell of the array: a multiplier, its sum, and a place in the drain buffer."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden_model.numerics import ACCUMULATOR_BITS
from hw.arith.accumulator import Accumulator
from hw.arith.multiplier import Multiplier


class Cell(wiring.Component):
    """Adds one product a cycle; the finished sum moves to the drain buffer, a chain of cells.

    Parameters
    ----------
    row_bits, column_bits : int
        Bits of the signed operands, 2..18.
    technology : str
        ``generic``, ``ecp5`` or ``xilinx``.

    Members
    -------
    row : In(signed(row_bits)), column : In(signed(column_bits))
    accumulate, first : In(1)
        ``control_at`` cycles after the operands: their product counts; it starts a sum.
    load : In(1)
        ``control_at`` + 1 cycles after the last operands of a tile: the sum moves to the drain buffer.
    move : In(1)
        With ``load``, and alone to take the neighbour's value, one column on.
    neighbour : In(signed(28))
    drained : Out(signed(28))
        ``latency`` cycles after the last operands the sum; ``MOVE_LATENCY`` cycles after ``move`` the next
        column's.

    Control is registered in the cell: what drives it needs to reach one flip-flop a cell, not 28.
    """

    PRODUCTS = 1
    """A cycle."""
    MOVE_LATENCY = 2

    def __init__(self, row_bits: int, column_bits: int, technology: str = "generic") -> None:
        self._multiplier = Multiplier(row_bits, column_bits, technology=technology)
        self._sum = Accumulator(row_bits + column_bits, ACCUMULATOR_BITS, technology)
        super().__init__(
            {
                "row": In(signed(row_bits)),
                "column": In(signed(column_bits)),
                "accumulate": In(1),
                "first": In(1),
                "load": In(1),
                "move": In(1),
                "neighbour": In(signed(ACCUMULATOR_BITS)),
                "drained": Out(signed(ACCUMULATOR_BITS)),
            }
        )

    @property
    def control_at(self) -> int:
        """Cycles from the operands to their ``accumulate`` and ``first``."""
        return self._multiplier.latency  # and one in the cell, as the product has one behind the multiplier

    @property
    def latency(self) -> int:
        """Cycles from a tile's last operands to their sum in ``drained``: product, register, sum, drain."""
        return self.control_at + 3

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        m.submodules.multiplier = multiplier = self._multiplier
        m.submodules.sum = total = self._sum
        # A multiplier's column is far from the fabric's carry chains: the way has a cycle of its own.
        product = Signal.like(multiplier.product, reset_less=True)
        control = {
            name: Signal(name=name, reset_less=True, attrs={"keep": 1})
            for name in ("accumulate", "first", "load", "move")
        }
        drained = Signal.like(self.drained, reset_less=True)
        m.d.sync += [
            product.eq(multiplier.product),
            *(register.eq(getattr(self, name)) for name, register in control.items()),
        ]
        m.d.comb += [
            multiplier.a.eq(self.row),
            multiplier.b.eq(self.column),
            total.enable.eq(control["accumulate"]),
            total.first.eq(control["first"]),
            total.addend.eq(product),
            self.drained.eq(drained),
        ]
        with m.If(control["move"]):
            m.d.sync += drained.eq(Mux(control["load"], total.total, self.neighbour))
        return m
