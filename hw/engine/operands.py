"""From a step's addresses to the array's operands."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden_model.numerics import EXP_BITS, OPERAND_BITS, RESIDUAL_BITS
from hw.arith.delay import delay
from hw.arith.fan_out import register_each
from hw.arith.widths import bits_for_index
from hw.engine.array import COLUMN_BITS, ROW_BITS
from hw.engine.tile import ColumnSource, RowSource, step_layout
from hw.memory.banks import GROUPED_READ_LATENCY, READ_LATENCY
from hw.memory.hidden import HIDDEN_WORD
from hw.params import Machine

WORDS_AT = 1 + GROUPED_READ_LATENCY
"""Cycles from a step to its words: a register of the address, the memory."""
OPERAND_STAGES = WORDS_AT + 2
"""Cycles from a step to the array: the words, the group of lanes, the source."""


class Operands(wiring.Component):
    """Reads every memory at a step's addresses and picks P row and Q column operands.

    Members
    -------
    step : In(step_layout)
    *_address : Out
        Registered; of the hidden memory not, since its port has other readers and a register of its own.
    *_words : In
        ``WORDS_AT`` cycles after the step.
    exponentials_enable, exponentials_key, exponentials_parity, exponentials : the softmax, whose memory has
        no register behind
    rows, columns : Out
        ``OPERAND_STAGES`` cycles after the step.
    valid, first, last : Out(1)
        Likewise.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        p, q, groups = machine.rows, machine.columns, machine.groups

        def words(bits: int) -> data.ArrayLayout:
            return data.ArrayLayout(data.ArrayLayout(unsigned(bits), p), groups)

        super().__init__(
            {
                "step": In(step_layout(machine)),
                "hidden_address": Out(bits_for_index(machine.hidden_words)),
                "hidden_words": In(words(RESIDUAL_BITS)),
                "activation_address": Out(bits_for_index(machine.activation_words)),
                "activation_words": In(words(OPERAND_BITS)),
                "key_address": Out(bits_for_index(machine.key_words)),
                "key_words": In(words(OPERAND_BITS)),
                "value_address": Out(bits_for_index(machine.value_words)),
                "value_words": In(words(OPERAND_BITS)),
                "weights_address": Out(bits_for_index(2 * machine.bank_words)),
                "weights": In(data.ArrayLayout(signed(OPERAND_BITS), q)),
                "exponentials_enable": Out(1),
                "exponentials_key": Out(range(machine.model.max_position_embeddings)),
                "exponentials_parity": Out(1),
                "exponentials": In(data.ArrayLayout(EXP_BITS, p)),
                "rows": Out(data.ArrayLayout(signed(ROW_BITS), p)),
                "columns": Out(data.ArrayLayout(signed(COLUMN_BITS), q)),
                "valid": Out(1),
                "first": Out(1),
                "last": Out(1),
            }
        )

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        machine, step = self._machine, self.step
        weights_address = Signal.like(self.weights_address, reset_less=True)
        m.d.comb += [
            self.hidden_address.eq(step.address),
            self.weights_address.eq(
                delay(m, weights_address, GROUPED_READ_LATENCY - READ_LATENCY, "weights_address")
            ),
        ]
        m.d.sync += [
            self.activation_address.eq(step.address),
            self.key_address.eq(step.key_address),
            self.value_address.eq(step.value_address),
            weights_address.eq(Mux(step.bank, machine.bank_words, 0) + step.index),
            self.exponentials_enable.eq(step.valid & (step.row == RowSource.EXPONENTIALS)),
            self.exponentials_key.eq(step.index),
            self.exponentials_parity.eq(step.parity),
        ]
        for name in ("valid", "first", "last"):
            m.d.comb += getattr(self, name).eq(delay(m, getattr(step, name), OPERAND_STAGES, name))
        # What picks a lane's operand has a register beside it: a lane's words come from all over the device.
        lanes, columns = machine.rows, machine.columns
        group = register_each(m, delay(m, step.group, WORDS_AT - 1, "group"), lanes, "group_of")
        row_source = register_each(
            m, delay(m, step.row, OPERAND_STAGES - 2, "row_source"), lanes, "row_source_of"
        )
        column_source = register_each(
            m, delay(m, step.column, WORDS_AT - 1, "column_source"), columns, "column_source_of"
        )
        exponentials = delay(m, self.exponentials, WORDS_AT - 2, "exponentials")
        for lane in range(lanes):
            self._row(m, lane, group[lane], row_source[lane], exponentials)
        for column in range(columns):
            self._column(m, column, column_source[column])
        return m

    def _row(self, m: Module, lane: int, group: Value, source: Value, exponentials) -> None:  # type: ignore[no-untyped-def]
        """The lane of each source's group, then the source's."""
        p, groups = self._machine.rows, self._machine.groups
        candidates = {
            RowSource.HIDDEN: [HIDDEN_WORD(self.hidden_words[g][lane]).hi for g in range(groups)],
            RowSource.ACTIVATION: [self.activation_words[g][lane].as_signed() for g in range(groups)],
            RowSource.WEIGHTS: [self.weights[g * p + lane] for g in range(groups)],
            RowSource.EXPONENTIALS: [exponentials[lane]] * groups,
        }
        row = Signal(signed(ROW_BITS), name=f"row_{lane}", reset_less=True)
        m.d.comb += self.rows[lane].eq(row)
        picked = {
            choice: Signal(signed(ROW_BITS), name=f"{choice.name.lower()}_{lane}", reset_less=True)
            for choice in candidates
        }
        with m.Switch(group):
            for g in range(groups):
                with m.Case(g):
                    m.d.sync += [picked[choice].eq(of_groups[g]) for choice, of_groups in candidates.items()]
        with m.Switch(source):
            for choice, value in picked.items():
                with m.Case(choice):
                    m.d.sync += row.eq(value)

    def _column(self, m: Module, column: int, source: Value) -> None:
        """A word's column of the source."""
        group, lane = divmod(column, self._machine.rows)
        picked = Signal(signed(COLUMN_BITS), name=f"picked_{column}", reset_less=True)
        with m.Switch(source):
            for choice, value in (
                (ColumnSource.WEIGHTS, self.weights[column]),
                (ColumnSource.HIDDEN, HIDDEN_WORD(self.hidden_words[group][lane]).hi),
                (ColumnSource.KEY, self.key_words[group][lane].as_signed()),
                (ColumnSource.VALUE, self.value_words[group][lane].as_signed()),
            ):
                with m.Case(choice):
                    m.d.sync += picked.eq(value)
        m.d.comb += self.columns[column].eq(
            delay(m, picked, OPERAND_STAGES - WORDS_AT - 1, f"column_{column}")
        )
