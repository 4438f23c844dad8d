"""A registered sum that restarts without a multiplexer of its own."""

from __future__ import annotations

from amaranth.hdl import Const, Instance, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.arith.check import check_int, check_technology

_ADD_OR_TAKE = 0xA6AA
"""A CCU2C's table with D high: A + B for C low, A for C high. Its lowest four bits, A, are the carry's."""


class Accumulator(wiring.Component):
    """total = addend (``first``) or total + addend, when ``enable`` says so.

    Parameters
    ----------
    addend_width, width : int
        Bits of the signed addend and of the signed total, 2..64, the total's not below the addend's.
    technology : str
        ``ecp5``: carry cells (CCU2C) whose look-up tables drop the total where a sum starts, for which Yosys
        would take a LUT4 a bit more. Otherwise inferred.

    Members
    -------
    enable, first : In(1)
        Of the addend in the same cycle.
    addend : In(signed(addend_width))
    total : Out(signed(width))
        One cycle later; overflow wraps.
    """

    def __init__(self, addend_width: int, width: int, technology: str = "generic"):
        check_int("width", width, 2, 64)
        check_int("addend_width", addend_width, 2, width)
        self._technology = check_technology(technology)
        super().__init__(
            {
                "enable": In(1),
                "first": In(1),
                "addend": In(signed(addend_width)),
                "total": Out(signed(width)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        total = Signal.like(self.total, reset_less=True)
        following = Signal.like(self.total)
        if self._technology == "ecp5":
            self._carry_cells(m, total, following)
        else:
            m.d.comb += following.eq(Mux(self.first, 0, total) + self.addend)
        with m.If(self.enable):
            m.d.sync += total.eq(following)
        m.d.comb += self.total.eq(total)
        return m

    def _carry_cells(self, m: Module, total: Signal, following: Signal) -> None:
        """``following`` from a chain of CCU2C, two bits each."""
        width = len(total)
        addend = Signal(signed(width + width % 2))
        m.d.comb += addend.eq(self.addend)
        carry = Const(0, 1)
        for i in range(0, width, 2):
            carry_out = Signal(name=f"carry_{i}")
            spare = Signal(name="spare")
            high = i + 1 < width
            m.submodules[f"bits_{i}"] = Instance(
                "CCU2C",
                p_INIT0=Const(_ADD_OR_TAKE, 16),
                p_INIT1=Const(_ADD_OR_TAKE, 16),
                p_INJECT1_0="NO",
                p_INJECT1_1="NO",
                i_CIN=carry,
                i_A0=addend[i],
                i_B0=total[i],
                i_C0=self.first,
                i_D0=1,
                i_A1=addend[i + 1],
                i_B1=total[i + 1] if high else 0,
                i_C1=self.first,
                i_D1=1,
                o_S0=following[i],
                o_S1=following[i + 1] if high else spare,
                o_COUT=carry_out,
            )
            carry = carry_out
