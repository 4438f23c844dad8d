"""Registered multipliers in the forms the target technologies pack into their DSP cells."""

from __future__ import annotations

from amaranth.hdl import Cat, ClockSignal, Instance, Module, Mux, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden_model.numerics import BIASED_ACCUMULATOR_BITS, MULTIPLIER_BITS
from hw.arith.check import check_int, check_technology

DSP_WIDTH = 18
"""Bits of a signed DSP operand, the smaller of the two of the technologies' cells."""


class Multiplier(wiring.Component):
    """product = a · b, signed, with registers at the inputs and at the product.

    Parameters
    ----------
    a_width, b_width : int
        Bits of the operands, 2..18.
    technology : str
        ``generic``: ``a * b`` between registers. ``ecp5``: a MULT18X18D with its input and output registers.
        ``xilinx``: as generic, with the attribute ``use_dsp``.
    a_signed : bool
        b is signed; a may do without a sign.

    Members
    -------
    a : In(signed(a_width)), or In(a_width) if it is unsigned
    b : In(signed(b_width))
    product : Out(signed(a_width + b_width))

    Latency ``LATENCY`` = 2 cycles in every technology; one product per cycle.
    """

    LATENCY = 2

    def __init__(self, a_width: int, b_width: int, technology: str = "generic", *, a_signed: bool = True):
        check_int("a_width", a_width, 2, DSP_WIDTH)
        check_int("b_width", b_width, 2, DSP_WIDTH)
        self._technology = check_technology(technology)
        self._a_signed = bool(a_signed)
        super().__init__(
            {
                "a": In(signed(a_width) if a_signed else unsigned(a_width)),
                "b": In(signed(b_width)),
                "product": Out(signed(a_width + b_width)),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from the operands to the product."""
        return self.LATENCY

    def elaborate(self, platform):
        m = Module()
        if self._technology == "ecp5":
            self._elaborate_ecp5(m)
            return m
        attributes = {"use_dsp": "yes"} if self._technology == "xilinx" else {}
        a = Signal.like(self.a, reset_less=True)
        b = Signal.like(self.b, reset_less=True)
        product = Signal.like(self.product, reset_less=True, attrs=attributes)
        m.d.sync += [a.eq(self.a), b.eq(self.b), product.eq(a * b)]
        m.d.comb += self.product.eq(product)
        return m

    def _elaborate_ecp5(self, m: Module) -> None:
        """A MULT18X18D; its operand and product pins are single bits.

        The operands are its uppermost bits, the constant zeros below cost no wire: a sign in every bit above
        them would (ten more of a 9-bit operand's, at each of the array's cells).
        """
        a, b = Signal(DSP_WIDTH), Signal(DSP_WIDTH)
        product = Signal(2 * DSP_WIDTH)
        a_below, b_below = DSP_WIDTH - len(self.a), DSP_WIDTH - len(self.b)
        m.d.comb += [
            a[a_below:].eq(self.a),
            b[b_below:].eq(self.b),
            self.product.eq(product[a_below + b_below :]),
        ]
        arguments: dict[str, object] = {}
        for register in ("INPUTA", "INPUTB", "OUTPUT"):
            arguments[f"p_REG_{register}_CLK"] = "CLK0"
            arguments[f"p_REG_{register}_CE"] = "CE0"
            arguments[f"p_REG_{register}_RST"] = "RST0"
        for name, value in (("A", a), ("B", b)):
            for i in range(DSP_WIDTH):
                arguments[f"i_{name}{i}"] = value[i]
        for i in range(2 * DSP_WIDTH):
            arguments[f"o_P{i}"] = product[i]
        m.submodules.dsp = Instance(
            "MULT18X18D",
            i_CLK0=ClockSignal("sync"),
            i_CE0=1,
            i_RST0=0,
            i_SIGNEDA=int(self._a_signed),
            i_SIGNEDB=1,
            i_SOURCEA=0,
            i_SOURCEB=0,
            **arguments,
        )


class WideMultiplier(wiring.Component):
    """product = a · b for a 29-bit signed and a 16-bit unsigned operand, from two narrower products.

    a = high·2^17 + low with low unsigned (17 bits) and high signed (12 bits): one DSP each, or the high one
    from adders, which halves the DSP cells per requantiser.

    Parameters
    ----------
    technology : str
        As in :class:`Multiplier`.
    high_in_logic : bool
        Build the high partial product from adders.

    Members
    -------
    a : In(signed(29))
    b : In(16)
    product : Out(signed(45))

    Latency ``latency``: 3 cycles, 4 with ``high_in_logic``. One product per cycle.
    """

    A_WIDTH = BIASED_ACCUMULATOR_BITS
    B_WIDTH = MULTIPLIER_BITS
    LOW_WIDTH = DSP_WIDTH - 1

    def __init__(self, technology: str = "generic", high_in_logic: bool = False):
        self._technology = check_technology(technology)
        self._high_in_logic = bool(high_in_logic)
        super().__init__(
            {
                "a": In(signed(self.A_WIDTH)),
                "b": In(self.B_WIDTH),
                "product": Out(signed(self.A_WIDTH + self.B_WIDTH)),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from the operands to the product."""
        return Multiplier.LATENCY + (2 if self._high_in_logic else 1)

    def elaborate(self, platform):
        m = Module()
        split, high_width = self.LOW_WIDTH, self.A_WIDTH - self.LOW_WIDTH
        m.submodules.low = low = Multiplier(split + 1, self.B_WIDTH + 1, self._technology)
        m.d.comb += [low.a.eq(self.a[:split]), low.b.eq(self.b)]
        product = Signal.like(self.product, reset_less=True)
        m.d.comb += self.product.eq(product)
        low_bits = Signal(split + self.B_WIDTH)

        if self._high_in_logic:
            addends = self._high_by_adders(m, self.a[split:].as_signed())
            low_delayed = Signal.like(low_bits, reset_less=True)
            m.d.sync += low_delayed.eq(low.product)
            m.d.comb += low_bits.eq(low_delayed)
        else:
            m.submodules.high = high = Multiplier(high_width, self.B_WIDTH + 1, self._technology)
            m.d.comb += [high.a.eq(self.a[split:].as_signed()), high.b.eq(self.b)]
            m.d.comb += low_bits.eq(low.product)
            addends = [high.product]
        # The low product's bits below the split need no adder.
        top = Signal(signed(len(product) - split))
        m.d.comb += top.eq(sum(addends) + low_bits[split:])
        m.d.sync += product.eq(Cat(low_bits[:split], top))
        return m

    def _high_by_adders(self, m: Module, high):
        """Two addends of high · b, three cycles after the inputs: pairs of rows, then triples of pairs."""
        width = len(high)
        a, b = Signal(signed(width), reset_less=True), Signal(self.B_WIDTH, reset_less=True)
        m.d.sync += [a.eq(high), b.eq(self.b)]
        pairs = []
        for i in range(0, width, 2):
            even, odd = Mux(a[i], b, 0), Mux(a[i + 1], b, 0) << 1
            pair = Signal(signed(self.B_WIDTH + 3), reset_less=True, name=f"pair_{i}")
            # The topmost row is the sign's.
            m.d.sync += pair.eq(even - odd if i + 2 == width else even + odd)
            pairs.append(pair << i)
        half = len(pairs) // 2
        addends = []
        for i, group in enumerate((pairs[:half], pairs[half:])):
            addend = Signal(signed(width + self.B_WIDTH), reset_less=True, name=f"addend_{i}")
            m.d.sync += addend.eq(sum(group))
            addends.append(addend)
        return addends
