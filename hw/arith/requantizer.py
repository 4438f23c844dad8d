"""One lane of requantisation, the one rescaling rule of the contract."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden_model.numerics import (
    ACCUMULATOR_BITS,
    BIASED_ACCUMULATOR_BITS,
    MULTIPLIER_BITS,
    OFFSET_BITS,
    RESIDUAL_BITS,
    SHIFT_BITS,
)
from hw.arith.check import check_technology
from hw.arith.delay import delay
from hw.arith.multiplier import WideMultiplier
from hw.arith.rounding import RoundShift


class Requantizer(wiring.Component):
    """value = saturate18(round_half_up((accumulator + offset) · multiplier / 2^shift)).

    Golden: ``golden_model.integer.ops.fixed.requantize`` with the bounds of 18 bits. The narrower ones of the
    contract (±127, 10 bit, 12 bit, ±32639) are clamps of this value, see :func:`hw.arith.rounding.saturate`.

    Parameters
    ----------
    technology : str
        Form of the multipliers: ``generic``, ``ecp5`` or ``xilinx``.
    high_in_logic : bool
        One DSP per lane instead of two, the rest of the product from adders.

    Members
    -------
    accumulator : In(signed(28))
    offset : In(signed(32))
        accumulator + offset must fit 29 bits (|offset| < 2^27).
    multiplier : In(16)
    shift : In(6)
    value : Out(signed(18))

    All inputs belong to the same cycle. Latency ``latency`` (8 cycles, 9 with ``high_in_logic``), one value
    per cycle; nothing inside is reset and there is no valid bit: who needs one delays it by ``latency``.
    """

    def __init__(self, technology: str = "generic", high_in_logic: bool = False):
        self._wide = WideMultiplier(check_technology(technology), high_in_logic)
        self._round = RoundShift(len(self._wide.product), SHIFT_BITS, RESIDUAL_BITS)
        super().__init__(
            {
                "accumulator": In(signed(ACCUMULATOR_BITS)),
                "offset": In(signed(OFFSET_BITS)),
                "multiplier": In(MULTIPLIER_BITS),
                "shift": In(SHIFT_BITS),
                "value": Out(signed(RESIDUAL_BITS)),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from the inputs to ``value``."""
        return 1 + self._wide.latency + self._round.latency

    def elaborate(self, platform):
        m = Module()
        m.submodules.wide = wide = self._wide
        m.submodules.round = rounding = self._round
        total = Signal(signed(BIASED_ACCUMULATOR_BITS), reset_less=True)
        m.d.sync += total.eq(self.accumulator + self.offset)
        m.d.comb += [
            wide.a.eq(total),
            wide.b.eq(delay(m, self.multiplier, 1, "multiplier")),
            rounding.value.eq(wide.product),
            rounding.shift.eq(delay(m, self.shift, 1 + wide.latency, "shift")),
            self.value.eq(rounding.result),
        ]
        return m
