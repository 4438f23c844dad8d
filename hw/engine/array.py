"""The output-stationary array and its drain buffer."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden_model.numerics import ACCUMULATOR_BITS
from hw.arith.multiplier import Multiplier

ROW_BITS = 9
"""Row operands carry int8 and the softmax's uint8."""
COLUMN_BITS = 8


class Array(wiring.Component):
    """P x Q multiply-accumulate cells; a finished tile drains column by column behind the next one.

    Each cycle takes P row operands and Q column operands and adds P·Q products. With ``last`` the
    tile's sums move to the drain buffer, whose column 0 is at ``column`` one cycle later; ``shift``
    moves on to the next column. The golden rule is the exact integer matrix product.

    Members
    -------
    valid, first, last : In(1)
        These operands are part of a tile; they open it; they close it.
    row_operands : In(ArrayLayout(signed(9), P))
    column_operands : In(ArrayLayout(signed(8), Q))
    loaded : Out(1)
        Pulse: the drain buffer holds a new tile.
    shift : In(1)
    column : Out(ArrayLayout(signed(28), P))

    Throughput: one operand pair vector a cycle. Latency from ``last`` to ``loaded``: `latency`.
    """

    def __init__(self, rows: int, columns: int, technology: str = "generic") -> None:
        self.rows, self.columns, self.technology = rows, columns, technology
        super().__init__(
            {
                "valid": In(1),
                "first": In(1),
                "last": In(1),
                "row_operands": In(data.ArrayLayout(signed(ROW_BITS), rows)),
                "column_operands": In(data.ArrayLayout(signed(COLUMN_BITS), columns)),
                "loaded": Out(1),
                "shift": In(1),
                "column": Out(data.ArrayLayout(signed(ACCUMULATOR_BITS), rows)),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from ``last`` to ``loaded``: multiplier, accumulator, drain buffer."""
        return Multiplier.LATENCY + 2

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        delay = Multiplier.LATENCY

        def delayed(signal: Signal, name: str, *, kept: bool) -> Signal:
            # One copy per column in the last stage: one flip-flop driving every cell of the array
            # is the critical path of a flat design.
            for stage in range(delay - (1 if kept else 0)):
                register = Signal(name=f"{name}_{stage}")
                m.d.sync += register.eq(signal)
                signal = register
            return signal

        valid, first, last = (
            delayed(s, n, kept=True)
            for s, n in ((self.valid, "valid"), (self.first, "first"), (self.last, "last"))
        )
        finished_valid = Signal()
        m.d.sync += finished_valid.eq(valid & last)
        loaded = Signal()
        accumulated = Signal()
        m.d.sync += [accumulated.eq(finished_valid), loaded.eq(accumulated)]
        m.d.comb += self.loaded.eq(loaded)

        keep = {"keep": 1}
        drain = [
            [
                Signal(signed(ACCUMULATOR_BITS), name=f"drain_{p}_{q}", reset_less=True)
                for p in range(self.rows)
            ]
            for q in range(self.columns)
        ]
        for q in range(self.columns):
            column_valid = Signal(name=f"column_valid_{q}", attrs=keep)
            column_first = Signal(name=f"column_first_{q}", attrs=keep)
            column_load = Signal(name=f"column_load_{q}", attrs=keep)
            m.d.sync += [
                column_valid.eq(valid),
                column_first.eq(first),
                column_load.eq(finished_valid),
            ]
            for p in range(self.rows):
                m.submodules[f"cell_{p}_{q}"] = multiplier = Multiplier(
                    ROW_BITS, COLUMN_BITS, technology=self.technology
                )
                accumulator = Signal(signed(ACCUMULATOR_BITS), name=f"accumulator_{p}_{q}", reset_less=True)
                m.d.comb += [
                    multiplier.a.eq(self.row_operands[p]),
                    multiplier.b.eq(self.column_operands[q]),
                ]
                with m.If(column_valid):
                    with m.If(column_first):
                        m.d.sync += accumulator.eq(multiplier.product)
                    with m.Else():
                        m.d.sync += accumulator.eq(accumulator + multiplier.product)
                with m.If(column_load):
                    m.d.sync += drain[q][p].eq(accumulator)
                if q + 1 < self.columns:
                    with m.Elif(self.shift):
                        m.d.sync += drain[q][p].eq(drain[q + 1][p])
        m.d.comb += [self.column[p].eq(drain[0][p]) for p in range(self.rows)]
        return m
