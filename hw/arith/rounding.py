"""Saturation and the rounding barrel shift."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.arith.check import check_int
from hw.arith.fan_out import register_each

SHIFTED_TOGETHER = 16
"""Bits of the barrel shifter's second step that one register of the shift reaches."""


def saturate(value: Value, low: int, high: int) -> Value:
    """Combinational clamp of a signed ``value`` to the constants ``low..high``.

    Golden: ``golden_model.integer.ops.fixed.saturate``. Clamps compose: clamping a value that was already
    clamped to a wider range gives the same as clamping the original.

    Raises:
        ValueError: ``low`` is above ``high``.
    """
    if low > high:
        raise ValueError(f"low {low} is above high {high}")
    return Mux(value < low, low, Mux(value > high, high, value))


def saturate_signed(value: Value, bits: int) -> Value:
    """Combinational clamp of a signed ``value`` to two's complement of ``bits`` bits, shape signed(bits).

    Golden: ``golden_model.integer.ops.fixed.saturate_signed``.

    Raises:
        TypeError: ``value`` is unsigned.
    """
    check_int("bits", bits, 2, 64)
    value = Value.cast(value)
    if not value.shape().signed:
        raise TypeError(f"value must be signed, not {value.shape()!r}")
    if len(value) <= bits:
        return value
    sign, head = value[-1], value[bits - 1 : -1]
    overflow = Mux(sign, ~head.all(), head.any())
    return Mux(overflow, Cat((~sign).replicate(bits - 1), sign), value[:bits]).as_signed()


class RoundShift(wiring.Component):
    """result = saturate_signed(round_half_up(value / 2^shift), out_width).

    Golden: ``golden_model.integer.ops.fixed.round_shift`` then ``saturate_signed``. Rounding half up is the
    shifted value plus the last bit shifted out, so one fraction bit is kept and added at the end; the clamp
    comes before that addition, which needs ``out_width`` bits only.

    Parameters
    ----------
    in_width : int
        Bits of the signed value, 2..64.
    shift_width : int
        Bits of the shift, 1..6.
    out_width : int
        Bits of the signed result, 2..in_width.

    Members
    -------
    value : In(signed(in_width))
    shift : In(shift_width)
        Every value is legal, also a shift past the value's width.
    result : Out(signed(out_width))

    Latency ``LATENCY`` cycles: two of shift, clamp, increment. One value per cycle.
    """

    LATENCY = 4

    def __init__(self, in_width: int, shift_width: int, out_width: int):
        check_int("in_width", in_width, 2, 64)
        check_int("shift_width", shift_width, 1, 6)
        check_int("out_width", out_width, 2, in_width)
        self._in_width = in_width
        self._shift_width = shift_width
        self._out_width = out_width
        super().__init__(
            {
                "value": In(signed(in_width)),
                "shift": In(shift_width),
                "result": Out(signed(out_width)),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from ``value`` to ``result``."""
        return self.LATENCY

    def elaborate(self, platform):
        m = Module()
        high, low = self._shift_width - self._shift_width // 2, self._shift_width // 2
        width, out = self._in_width + 1, self._out_width

        # The coarse shift first, then the fine one; bit 0 is the fraction bit.
        coarse = Signal(signed(width), reset_less=True)
        fine = Signal(signed(width), reset_less=True)
        padded = Cat(0, self.value).as_signed()
        with m.Switch(self.shift[low:]):
            for step in range(1 << high):
                with m.Case(step):
                    m.d.sync += coarse.eq(padded >> min(step << low, width - 1))
        parts = range(0, width, SHIFTED_TOGETHER)
        for at, fine_shift in zip(
            parts, register_each(m, self.shift[:low], len(parts), "fine_shift"), strict=True
        ):
            bits = slice(at, min(at + SHIFTED_TOGETHER, width))
            with m.Switch(fine_shift):
                for step in range(1 << low):
                    with m.Case(step):
                        m.d.sync += fine[bits].eq((coarse >> min(step, width - 1))[bits])

        # With the fraction dropped wherever the increment would leave the range.
        whole, half = Signal(signed(out), reset_less=True), Signal(reset_less=True)
        sign, head, body = fine[-1], fine[out:-1], fine[1:out]
        overflow = Mux(sign, ~head.all(), head.any()) if width - 1 > out else 0
        m.d.sync += [
            whole.eq(Mux(overflow, Cat((~sign).replicate(out - 1), sign), fine[1 : out + 1])),
            half.eq(fine[0] & ~overflow & ~(~sign & body.all())),
        ]
        result = Signal(signed(out), reset_less=True)
        m.d.sync += result.eq(whole + half)
        m.d.comb += self.result.eq(result)
        return m
