"""The output-stationary array and its drain buffer."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden_model.numerics import ACCUMULATOR_BITS
from hw.arith.delay import delay
from hw.arith.fan_out import fan_out, fan_out_levels
from hw.engine.cell import Cell

ROW_BITS = 9
"""Row operands carry int8 and the softmax's uint8."""
COLUMN_BITS = 8
OPERAND_FAN_OUT = 4
"""Cells that one register of an operand reaches."""
CONTROL_FAN_OUT = 8
"""Cells that one register of a control bit reaches."""


class Array(wiring.Component):
    """P x Q multiply-accumulate cells; a finished tile drains column by column behind the next one.

    Each cycle takes P row operands and Q column operands and adds P·Q products. With ``last`` the
    tile's sums move to the drain buffer, whose column 0 is at ``column`` `latency` cycles later; ``shift``
    moves on to the next column. Operands and control reach the cells through trees of registers. The golden
    rule is the exact integer matrix product.

    Parameters
    ----------
    rows, columns : int
        P, Q.
    technology : str
        ``generic``, ``ecp5`` or ``xilinx``.
    cell : type
        The cell: `hw.engine.cell.Cell`, or a class with its ports and properties.

    Members
    -------
    valid, first, last : In(1)
        These operands are part of a tile; they open it; they close it.
    row_operands : In(ArrayLayout(signed(9), P))
    column_operands : In(ArrayLayout(signed(8), Q))
    loaded : Out(1)
        Pulse: the drain buffer holds a new tile.
    shift : In(1)
        ``column`` moves on `shift_latency` cycles later.
    column : Out(ArrayLayout(signed(28), P))

    Throughput: one operand pair vector a cycle. Latency from ``last`` to ``loaded``: `latency`. Tiles whose
    ``last`` are Q or more cycles apart drain a column a cycle; none waits.
    """

    def __init__(self, rows: int, columns: int, technology: str = "generic", cell: type[Cell] = Cell) -> None:
        self.rows, self.columns = rows, columns
        self._cells = [[cell(ROW_BITS, COLUMN_BITS, technology) for _ in range(columns)] for _ in range(rows)]
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
    def operand_levels(self) -> int:
        """Registers between an operand and the cells."""
        return fan_out_levels(max(self.rows, self.columns), OPERAND_FAN_OUT)

    @property
    def _control_levels(self) -> int:
        # One at the least: who counts columns out needs to know a tile two cycles before its sums.
        return max(1, fan_out_levels(self.rows * self.columns, CONTROL_FAN_OUT))

    @property
    def latency(self) -> int:
        """Cycles from ``last`` to ``loaded``: the operands' tree, the cell."""
        return self.operand_levels + self._cells[0][0].latency

    @property
    def shift_latency(self) -> int:
        """Cycles from ``shift`` to the next column: the control's tree, the cell."""
        return self._control_levels + self._cells[0][0].MOVE_LATENCY

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        cells = self._cells
        rows, columns = range(self.rows), range(self.columns)

        row_copies = [
            fan_out(m, self.row_operands[p], self.columns, limit=OPERAND_FAN_OUT,
                    cycles=self.operand_levels, name=f"row_{p}")
            for p in rows
        ]  # fmt: skip
        column_copies = [
            fan_out(m, self.column_operands[q], self.rows, limit=OPERAND_FAN_OUT,
                    cycles=self.operand_levels, name=f"column_{q}")
            for q in columns
        ]  # fmt: skip

        # Control, a copy for each neighbourhood of cells, column by column.
        control_at = self.operand_levels + cells[0][0].control_at
        tree_at = control_at - self._control_levels

        def copies(name: str, value) -> list:  # type: ignore[no-untyped-def]
            return fan_out(m, value, self.rows * self.columns, limit=CONTROL_FAN_OUT,
                           cycles=self._control_levels, name=name)  # fmt: skip

        valid, last = delay(m, self.valid, tree_at, "valid"), delay(m, self.last, tree_at, "last")
        finished = Signal(reset_less=True)
        m.d.sync += finished.eq(valid & last)
        m.d.comb += self.loaded.eq(delay(m, finished, self.shift_latency, "finished"))
        accumulate = copies("accumulate", valid)
        first = copies("first", delay(m, self.first, tree_at, "first"))
        load = copies("load", finished)
        move = copies("move", finished | self.shift)
        for q in columns:
            for p in rows:
                m.submodules[f"cell_{p}_{q}"] = cell = cells[p][q]
                i = q * self.rows + p
                m.d.comb += [
                    cell.row.eq(row_copies[p][q]),
                    cell.column.eq(column_copies[q][p]),
                    cell.accumulate.eq(accumulate[i]),
                    cell.first.eq(first[i]),
                    cell.load.eq(load[i]),
                    cell.move.eq(move[i]),
                ]
                if q + 1 < self.columns:
                    m.d.comb += cell.neighbour.eq(cells[p][q + 1].drained)
        m.d.comb += [self.column[p].eq(cells[p][0].drained) for p in rows]
        return m
