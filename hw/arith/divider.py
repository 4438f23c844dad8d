"""Restoring divider for fractions: one bit of the quotient per cycle."""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.arith.check import check_int


class FractionDivider(wiring.Component):
    """part / whole in 2^-fraction_bits, rounded half up, for 0 <= part <= whole and whole > 0.

    Golden function: ``golden_model.integer.ops.exit_math.divide_probability`` (16 fraction bits).

    Parameters
    ----------
    width : int
        Bits of ``part`` and ``whole``, 1..48.
    fraction_bits : int
        Bits of the quotient below one, 1..48.

    Members
    -------
    start : In(1)
        Pulse: ``part`` and ``whole`` are taken. During a division it drops that one and begins anew.
    part, whole : In(width)
    done : Out(1)
        Pulse.
    quotient : Out(fraction_bits + 1)
        0 to 2**fraction_bits; valid from ``done`` until the next ``start``.

    Latency: :attr:`latency` cycles from ``start`` to ``done``, whatever the operands. A new ``start`` may
    come with ``done``.
    """

    def __init__(self, width: int, fraction_bits: int) -> None:
        """Raises TypeError or ValueError when a parameter is no integer in 1..48."""
        self.width = check_int("width", width, 1, 48)
        self.fraction_bits = check_int("fraction_bits", fraction_bits, 1, 48)
        super().__init__(
            {
                "start": In(1),
                "part": In(width),
                "whole": In(width),
                "done": Out(1),
                "quotient": Out(fraction_bits + 1),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from ``start`` to ``done``: load, fraction_bits + 2 bits, increment, output."""
        return self.fraction_bits + 4

    def elaborate(self, platform: object) -> Module:
        """The bits come most significant first; the one below the last rounds."""
        m = Module()
        steps = self.fraction_bits + 2
        # part <= whole keeps the remainder below twice the divisor
        remainder = Signal(self.width + 1, reset_less=True)
        divisor = Signal(self.width, reset_less=True)
        bits = Signal(steps, reset_less=True)
        remaining = Signal(range(steps + 1))
        rounding = Signal()

        difference = Signal(self.width + 2)
        m.d.comb += difference.eq(remainder - divisor)
        fits = ~difference[-1]

        m.d.sync += [self.done.eq(0), rounding.eq(0)]
        with m.If(rounding):
            m.d.sync += [self.quotient.eq(bits[1:] + bits[0]), self.done.eq(1)]
        with m.Elif(remaining != 0):
            m.d.sync += [
                bits.eq((bits << 1) | fits),
                remaining.eq(remaining - 1),
                rounding.eq(remaining == 1),
            ]
            with m.If(fits):
                m.d.sync += remainder.eq(difference << 1)
            with m.Else():
                m.d.sync += remainder.eq(remainder << 1)
        with m.If(self.start):
            m.d.sync += [
                self.done.eq(0),
                rounding.eq(0),
                remainder.eq(self.part),
                divisor.eq(self.whole),
                remaining.eq(steps),
            ]
        return m
