"""Sequential restoring division of unsigned integers, floored, with remainder."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.arith.check import check_int


class IntegerDivider(wiring.Component):
    """quotient = floor(dividend / divisor), one quotient bit per cycle.

    The quotient must fit ``quotient_width`` bits, that is dividend >> quotient_width < divisor; otherwise,
    and for a divisor of zero, quotient and remainder are meaningless, but the unit still finishes.

    Parameters
    ----------
    dividend_width, divisor_width : int
        Bits of the unsigned operands, 1..64.
    quotient_width : int or None
        Bits of the quotient and number of steps, at most ``dividend_width`` (the default, for which every
        quotient fits).

    Members
    -------
    start : In(1)
        Takes the operands. A start while ``busy`` abandons the running division for the new one.
    dividend : In(dividend_width)
        Sampled with ``start``.
    divisor : In(divisor_width)
        Sampled with ``start``.
    busy : Out(1)
        High from the cycle after ``start`` until ``done``, exclusive.
    done : Out(1)
        One cycle, ``latency`` cycles after ``start``.
    quotient : Out(quotient_width)
        Valid from ``done`` until the next ``start``.
    remainder : Out(divisor_width)
        Likewise.

    Latency ``quotient_width + 1`` cycles from ``start`` to ``done``; one division at a time; a ``start`` in
    the cycle of ``done`` is taken.
    """

    def __init__(self, dividend_width: int, divisor_width: int, quotient_width: int | None = None):
        check_int("dividend_width", dividend_width, 1, 64)
        check_int("divisor_width", divisor_width, 1, 64)
        if quotient_width is None:
            quotient_width = dividend_width
        check_int("quotient_width", quotient_width, 1, dividend_width)
        self._divisor_width = divisor_width
        self._quotient_width = quotient_width
        super().__init__(
            {
                "start": In(1),
                "dividend": In(dividend_width),
                "divisor": In(divisor_width),
                "busy": Out(1),
                "done": Out(1),
                "quotient": Out(quotient_width),
                "remainder": Out(divisor_width),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from ``start`` to ``done``."""
        return self._quotient_width + 1

    def elaborate(self, platform):
        m = Module()
        steps = self._quotient_width
        divisor = Signal(self._divisor_width, reset_less=True)
        rest = Signal(self._divisor_width, reset_less=True)
        # Dividend bits leave at the top while quotient bits enter at the bottom.
        work = Signal(steps, reset_less=True)
        left = Signal(range(steps + 1))

        shifted = Signal(self._divisor_width + 1)
        difference = Signal(self._divisor_width + 2)
        m.d.comb += [
            shifted.eq(Cat(work[-1], rest)),
            difference.eq(shifted - divisor),
            self.busy.eq(left != 0),
            self.quotient.eq(work),
            self.remainder.eq(rest),
        ]
        fits = ~difference[-1]
        with m.If(self.start):
            m.d.sync += [
                divisor.eq(self.divisor),
                rest.eq(self.dividend[steps:]),
                work.eq(self.dividend[:steps]),
                left.eq(steps),
            ]
        with m.Elif(self.busy):
            m.d.sync += [
                rest.eq(Mux(fits, difference, shifted)),
                work.eq(Cat(fits, work[: steps - 1])),
                left.eq(left - 1),
            ]
        m.d.sync += self.done.eq((left == 1) & ~self.start)
        return m
