"""Holds any component on a chip with four pins, so that nothing of it is optimised away."""

from __future__ import annotations

from amaranth import Cat, ClockDomain, Const, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.arith.widths import ceil_div

FANIN = 4
"""Bits that one level of the output tree joins: what a LUT4 takes."""


def port_bits(component: wiring.Component) -> tuple[Value, Value]:
    """All input bits and all output bits of ``component``, in the order of its signature; no constants, such
    as the ``ready`` of a stream that always is."""
    bits: dict[wiring.Flow, list[Value]] = {In: [], Out: []}
    for _, member, value in component.signature.flatten(component):
        if not isinstance(value := Value.cast(value), Const):
            bits[member.flow].append(value)
    return Cat(*bits[In]), Cat(*bits[Out])


class Harness(wiring.Component):
    """Feeds a component's inputs from a shift register and folds its outputs into one bit.

    Every path of the component starts and ends in a flip-flop, its own or the harness's, so the clock that
    timing analysis finds is the component's: no path to a pin hides in it or rules it.

    Parameters
    ----------
    component : wiring.Component
        In the domain ``sync``. Becomes the submodule ``design``.

    Members
    -------
    clk : In(1)
    rst : In(1)
        Resets the component, two cycles later.
    scan_in : In(1)
        Shifted through one register per input bit.
    scan_out : Out(1)
        Parity of the registered output bits, a tree of registers with FANIN inputs each.

    Latency and throughput mean nothing here: the harness exists for area and timing, not to be run.
    """

    def __init__(self, component: wiring.Component):
        super().__init__({"clk": In(1), "rst": In(1), "scan_in": In(1), "scan_out": Out(1)})
        self._component = component
        self._inputs, self._outputs = port_bits(component)
        if not len(self._outputs):
            raise ValueError(f"{type(component).__name__} has no output: nothing of it would be kept")

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = sync = ClockDomain()
        m.submodules.design = self._component
        reset = Signal(2, reset_less=True)
        m.d.sync += reset.eq(Cat(self.rst, reset[0]))
        m.d.comb += [sync.clk.eq(self.clk), sync.rst.eq(reset[1])]

        chain = Signal(len(self._inputs), reset_less=True)
        m.d.sync += chain.eq(Cat(self.scan_in, chain[:-1]))
        m.d.comb += self._inputs.eq(chain)

        level = Signal(len(self._outputs), reset_less=True, name="captured")
        m.d.sync += level.eq(self._outputs)
        while len(level) > 1:
            folded = Signal(ceil_div(len(level), FANIN), reset_less=True, name="folded")
            m.d.sync += folded.eq(Cat(level[i : i + FANIN].xor() for i in range(0, len(level), FANIN)))
            level = folded
        m.d.comb += self.scan_out.eq(level)
        return m
