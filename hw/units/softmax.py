"""Row softmax over score columns: running maximum, exponentials, sums and one division per row."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from golden_model.integer.ops.softmax import exp_table
from golden_model.numerics import (
    EXP_BITS,
    EXP_INDEX_BITS,
    EXP_SUM_BITS,
    MULTIPLIER_BITS,
    SCORE_BITS,
    SHIFT_BITS,
)
from hw.arith.check import check_int
from hw.arith.fan_out import register_each
from hw.arith.integer_divider import IntegerDivider
from hw.memory.attributes import DONT_CARE_ON_COLLISION

MAX_KEYS = 512
"""EXP_SUM_BITS holds the sum of this many exponentials."""


class Softmax(wiring.Component):
    """Softmax of P rows at a time, two row blocks ("parities") in flight.

    First pass: score columns (one key, P rows) are stored and the rows' maxima follow. Second pass: e =
    EXP[min(max - score, 255)] for one key per cycle into the exponential buffer, with the rows' sums S. Then
    one division per row gives the row's requantisation of the context. Golden: ``exponentials`` and
    ``row_scale`` of ``golden_model.integer.ops.softmax``. Lanes without a token may hold anything.

    Parameters
    ----------
    lanes : int
        P, 1..64.
    max_keys : int
        Most keys of a row, 1..512.

    Members
    -------
    score_valid : In(1)
        A score column. Never refused.
    score_parity : In(1)
        Row block the column belongs to.
    score_key : In(range(max_keys))
    score_first : In(1)
        First column of the row block: restarts the maxima and clears this parity's ``done`` and
        ``exponentials_done``. Any key may come first, and keys in any order.
    scores : In(ArrayLayout(signed(12), P))
    start : In(1)
        Starts the second pass of a row block all of whose columns have been given (the last one in the cycle
        before, at the latest). Ignored while ``busy``. Columns of the other parity may come meanwhile.
    start_parity : In(1)
    start_keys : In(range(max_keys + 1))
        Keys of the row block, 0..start_keys - 1 have been given; at least 1.
    context_multiplier : In(16)
        Requantisation of the context without the division by S, sampled at ``start``.
    context_shift : In(6)
        Likewise.
    busy : Out(1)
        A second pass is under way; the division of the one before may still run meanwhile.
    exponentials_done : Out(2)
        Per parity: all exponentials can be read.
    done : Out(2)
        Per parity: exponentials and row scales are complete. Both levels last until the parity's next
        ``score_first``; data stay until the parity's next second pass.
    exp_parity, exp_key, exp_enable : In(1), In(range(max_keys)), In(1)
        Read port of the exponential buffer.
    exponentials : Out(ArrayLayout(unsigned(8), P))
        One cycle after ``exp_enable``; holds its value while ``exp_enable`` is low.
    row_multiplier : Out(ArrayLayout(ArrayLayout(unsigned(16), P), 2))
        [parity][lane]: floor((context_multiplier << (b - 1)) / S), b = bit_length(S). Changes when ``done``
        of that parity is set, not before.
    row_shift : Out(ArrayLayout(ArrayLayout(unsigned(6), P), 2))
        context_shift + b - 1.

    ``busy`` rises the cycle after ``start`` and lasts ``start_keys + PASS_OVERHEAD`` cycles (longer while
    the division of the pass before is still running: passes of few keys are ``DIVIDE_CYCLES + 1`` cycles
    apart); ``done`` follows ``DIVIDE_CYCLES`` after ``busy``. Throughput: one key per cycle.
    """

    _STAGES = 5
    _NORMALIZE_STEPS = (16, 8, 4, 2, 1)
    PASS_OVERHEAD = _STAGES + 1
    DIVIDE_CYCLES = len(_NORMALIZE_STEPS) + MULTIPLIER_BITS + 2

    def __init__(self, lanes: int, max_keys: int):
        self._lanes = check_int("lanes", lanes, 1, 64)
        self._max_keys = check_int("max_keys", max_keys, 1, MAX_KEYS)
        super().__init__(
            {
                "score_valid": In(1),
                "score_parity": In(1),
                "score_key": In(range(max_keys)),
                "score_first": In(1),
                "scores": In(data.ArrayLayout(signed(SCORE_BITS), lanes)),
                "start": In(1),
                "start_parity": In(1),
                "start_keys": In(range(max_keys + 1)),
                "context_multiplier": In(MULTIPLIER_BITS),
                "context_shift": In(SHIFT_BITS),
                "busy": Out(1),
                "exponentials_done": Out(2),
                "done": Out(2),
                "exp_parity": In(1),
                "exp_key": In(range(max_keys)),
                "exp_enable": In(1),
                "exponentials": Out(data.ArrayLayout(EXP_BITS, lanes)),
                "row_multiplier": Out(data.ArrayLayout(data.ArrayLayout(MULTIPLIER_BITS, lanes), 2)),
                "row_shift": Out(data.ArrayLayout(data.ArrayLayout(SHIFT_BITS, lanes), 2)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        lanes = self._lanes
        key_bits = len(self.score_key)
        score_row = data.ArrayLayout(signed(SCORE_BITS), lanes)
        exp_row = data.ArrayLayout(EXP_BITS, lanes)
        m.submodules.scores = score_memory = memory.Memory(
            shape=score_row, depth=2 << key_bits, init=[], attrs=DONT_CARE_ON_COLLISION
        )
        m.submodules.exponentials = exp_memory = memory.Memory(
            shape=exp_row, depth=2 << key_bits, init=[], attrs=DONT_CARE_ON_COLLISION
        )

        maxima = self._first_pass(m, score_memory)

        # Second pass. Its context, sampled at start.
        parity = Signal(reset_less=True)
        keys_left = Signal(range(self._max_keys + 1), reset_less=True)
        key = Signal(key_bits, reset_less=True)
        multiplier, shift = Signal.like(self.context_multiplier), Signal.like(self.context_shift)
        reading, waiting = Signal(), Signal()
        divider_ready = Signal()
        with m.If(self.start & ~self.busy):
            m.d.sync += [
                self.busy.eq(1),
                reading.eq(1),
                parity.eq(self.start_parity),
                keys_left.eq(self.start_keys),
                key.eq(0),
                multiplier.eq(self.context_multiplier),
                shift.eq(self.context_shift),
            ]
        with m.If(reading):
            m.d.sync += [key.eq(key + 1), keys_left.eq(keys_left - 1)]
            # <= so that a start with 0 keys, which is illegal, ends too.
            with m.If(keys_left <= 1):
                m.d.sync += reading.eq(0)

        # One stage per line: memory, memory output register, index, table, table output register.
        valid, first, last, stage_key = reading, key == 0, keys_left <= 1, key
        for stage in range(self._STAGES):
            flags = Signal(3, name=f"flags_{stage}")
            later_key = Signal(key_bits, name=f"key_{stage}", reset_less=True)
            m.d.sync += [flags.eq(Cat(valid, valid & first, valid & last)), later_key.eq(stage_key)]
            valid, first, last, stage_key = flags[0], flags[1], flags[2], later_key

        score_read = score_memory.read_port()
        m.d.comb += score_read.addr.eq(Cat(key, parity))
        exp_write = exp_memory.write_port()
        m.d.comb += [
            exp_write.en.eq(valid),
            exp_write.addr.eq(Cat(stage_key, parity)),
        ]
        sums = []
        for lane in range(lanes):
            if lane % 2 == 0:
                # Two lanes share a table: block memories have two ports.
                table = memory.Memory(shape=EXP_BITS, depth=1 << EXP_INDEX_BITS, init=exp_table())
                m.submodules[f"exp_{lane}"] = table
            look_up = table.read_port()
            score = Signal(signed(SCORE_BITS), name=f"score_{lane}", reset_less=True)
            index = Signal(EXP_INDEX_BITS, name=f"index_{lane}", reset_less=True)
            exponential = Signal(EXP_BITS, name=f"exponential_{lane}", reset_less=True)
            total = Signal(EXP_SUM_BITS, name=f"sum_{lane}", reset_less=True)
            distance = Signal(SCORE_BITS + 1, name=f"distance_{lane}")
            m.d.comb += [
                # Never negative but for a lane without a token.
                distance.eq(Mux(parity, maxima[1][lane], maxima[0][lane]) - score),
                look_up.addr.eq(index),
                exp_write.data[lane].eq(exponential),
            ]
            m.d.sync += [
                score.eq(score_read.data[lane]),
                index.eq(Mux(distance[EXP_INDEX_BITS:].any(), ~0, distance)),
                exponential.eq(look_up.data),
            ]
            with m.If(valid):
                m.d.sync += total.eq(Mux(first, 0, total) + exponential)
            sums.append(total)

        with m.If(last):
            m.d.sync += waiting.eq(1)
        hand_over = Signal()
        m.d.comb += hand_over.eq(waiting & divider_ready)
        with m.If(hand_over):
            m.d.sync += [waiting.eq(0), self.busy.eq(0)]

        divided, divided_parity = self._divide(m, hand_over, divider_ready, sums, parity, multiplier, shift)
        for p in range(2):
            with m.If(last & (parity == p)):
                m.d.sync += self.exponentials_done[p].eq(1)
            with m.If(divided & (divided_parity == p)):
                m.d.sync += self.done[p].eq(1)
            with m.If(self.score_valid & self.score_first & (self.score_parity == p)):
                m.d.sync += [self.exponentials_done[p].eq(0), self.done[p].eq(0)]

        exp_read = exp_memory.read_port()
        m.d.comb += [
            exp_read.en.eq(self.exp_enable),
            exp_read.addr.eq(Cat(self.exp_key, self.exp_parity)),
            self.exponentials.eq(exp_read.data),
        ]
        return m

    def _first_pass(self, m: Module, score_memory: memory.Memory) -> list[list[Signal]]:
        """Stores the columns; returns the running maxima [parity][lane], two cycles behind the columns."""
        valid, parity, first = Signal(), Signal(reset_less=True), Signal(reset_less=True)
        key = Signal.like(self.score_key, reset_less=True)
        column = Signal(self.scores.shape(), reset_less=True)
        m.d.sync += [
            valid.eq(self.score_valid),
            parity.eq(self.score_parity),
            first.eq(self.score_first),
            key.eq(self.score_key),
            column.eq(self.scores),
        ]
        write = score_memory.write_port()
        m.d.comb += [write.en.eq(valid), write.addr.eq(Cat(key, parity)), write.data.eq(column)]
        maxima: list[list[Signal]] = []
        for p in range(2):
            maxima.append([])
            for lane in range(self._lanes):
                maximum = Signal(signed(SCORE_BITS), name=f"maximum_{p}_{lane}", reset_less=True)
                above = column[lane] > maximum
                with m.If(valid & (parity == p) & (first | above)):
                    m.d.sync += maximum.eq(column[lane])
                maxima[p].append(maximum)
        return maxima

    def _divide(
        self,
        m: Module,
        load: Signal,
        ready: Signal,
        sums: list[Signal],
        pass_parity: Signal,
        pass_multiplier: Signal,
        pass_shift: Signal,
    ) -> tuple[Signal, Signal]:
        """Takes a pass's sums at ``load``; writes the row scales, all lanes in step.

        S is shifted left by k to 2^16 <= S < 2^17, with b - 1 = 16 - k; then
        (m << (b - 1)) / S = (m << 16) / (S << k).
        """
        parity = Signal(reset_less=True, name="divide_parity")
        multiplier = Signal(MULTIPLIER_BITS, reset_less=True, name="divide_multiplier")
        shift = Signal(SHIFT_BITS, reset_less=True, name="divide_shift")
        steps = len(self._NORMALIZE_STEPS)
        step = Signal(range(steps + 1))
        normalizing, begin, dividing, finished = Signal(), Signal(), Signal(), Signal()
        m.d.comb += ready.eq(~normalizing & ~begin & ~dividing)
        begins = normalizing & (step == steps - 1)
        m.d.sync += begin.eq(begins)
        starts = register_each(m, begins, self._lanes, "start", reset=True)
        with m.If(load):
            m.d.sync += [
                parity.eq(pass_parity),
                multiplier.eq(pass_multiplier),
                shift.eq(pass_shift),
                step.eq(0),
                normalizing.eq(1),
            ]
        with m.Elif(normalizing):
            m.d.sync += step.eq(step + 1)
            with m.If(step == steps - 1):
                m.d.sync += normalizing.eq(0)
        with m.If(begin):
            m.d.sync += dividing.eq(1)
        with m.Elif(finished):
            m.d.sync += dividing.eq(0)

        for lane, total in enumerate(sums):
            norm = Signal(EXP_SUM_BITS, name=f"norm_{lane}", reset_less=True)
            shifted_by = Signal(steps, name=f"shifted_by_{lane}", reset_less=True)
            with m.If(load):
                m.d.sync += norm.eq(total)
            with m.Elif(normalizing), m.Switch(step):
                for i, amount in enumerate(self._NORMALIZE_STEPS):
                    small = ~norm[EXP_SUM_BITS - amount :].any()
                    with m.Case(i):
                        m.d.sync += shifted_by[steps - 1 - i].eq(small)
                        with m.If(small):
                            m.d.sync += norm.eq(norm << amount)
            divider = IntegerDivider(MULTIPLIER_BITS + EXP_SUM_BITS - 1, EXP_SUM_BITS, MULTIPLIER_BITS)
            m.submodules[f"divider_{lane}"] = divider
            m.d.comb += [
                divider.start.eq(starts[lane]),
                divider.dividend.eq(multiplier << (EXP_SUM_BITS - 1)),
                divider.divisor.eq(norm),
            ]
            for p in range(2):
                row_multiplier = Signal(MULTIPLIER_BITS, name=f"row_multiplier_{p}_{lane}", reset_less=True)
                row_shift = Signal(SHIFT_BITS, name=f"row_shift_{p}_{lane}", reset_less=True)
                with m.If(finished & (parity == p)):
                    m.d.sync += [
                        row_multiplier.eq(divider.quotient),
                        row_shift.eq(shift + (EXP_SUM_BITS - 1) - shifted_by),
                    ]
                m.d.comb += [
                    self.row_multiplier[p][lane].eq(row_multiplier),
                    self.row_shift[p][lane].eq(row_shift),
                ]
            if lane == 0:
                m.d.comb += finished.eq(divider.done)
        return finished, parity
