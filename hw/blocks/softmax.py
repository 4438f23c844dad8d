"""Row softmax over score columns: running maximum, exponentials, sums and one division per row."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from golden_model.numerics import (
    EXP_BITS,
    EXP_INDEX_BITS,
    EXP_SUM_BITS,
    MULTIPLIER_BITS,
    SCORE_BITS,
    SHIFT_BITS,
)
from golden_model.ops.softmax import exp_table
from hw.blocks._check import check_int
from hw.blocks.integer_divider import IntegerDivider

MAX_KEYS = 512
"""EXP_SUM_BITS holds the sum of this many exponentials."""


class Softmax(wiring.Component):
    """Softmax of P rows at a time, two row blocks ("parities") in flight.

    First pass: score columns (one key, P rows) are stored and the rows' maxima follow. Second pass: e =
    EXP[min(max - score, 255)] for one key per cycle into the exponential buffer, with the rows' sums S. Then
    one division per row gives the row's requantisation of the context. Golden:
    ``golden_model.ops.softmax.exponentials`` and ``row_scale``. Lanes without a token may hold anything.

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
        Per parity: exponentials and row scales are complete.
    exp_parity, exp_key, exp_enable : In(1), In(range(max_keys)), In(1)
        Read port of the exponential buffer.
    exponentials : Out(ArrayLayout(unsigned(8), P))
        One cycle after ``exp_enable``; holds its value while ``exp_enable`` is low.
    row_multiplier : Out(ArrayLayout(ArrayLayout(unsigned(16), P), 2))
        [parity][lane]: floor((context_multiplier << (b - 1)) / S), b = bit_length(S). Changes when ``done``
        of that parity is set, not before.
    row_shift : Out(ArrayLayout(ArrayLayout(unsigned(6), P), 2))
        context_shift + b - 1.

    ``busy`` rises with the cycle after ``start`` and lasts ``start_keys + PASS_OVERHEAD`` cycles (longer when
    the division of the pass before is still running); ``done`` follows ``DIVIDE_CYCLES`` later. Throughput:
    one key per cycle.
    """

    PASS_OVERHEAD = 5
    DIVIDE_CYCLES = 24

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
        raise NotImplementedError("behaviour follows")
