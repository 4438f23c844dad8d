"""The descriptor table as a ROM, and the walk along it that sequencer and fetcher share."""

from __future__ import annotations

from amaranth.hdl import Elaboratable, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.engine.program import Program, build_program, descriptor_layout, descriptor_table
from hw.params import Machine


class DescriptorTable(Elaboratable):
    """``descriptor`` is row ``index`` of the program, in the same cycle."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.program: Program = build_program(machine)
        self.layout = descriptor_layout(machine)
        self.index = Signal(range(len(self.program.descriptors)))
        self.descriptor = Signal(self.layout)

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        with m.Switch(self.index):
            for i, row in enumerate(descriptor_table(self.program, self.machine)):
                with m.Case(i):
                    m.d.comb += self.descriptor.eq(self.layout.const(row))
        return m


class DescriptorWalk(wiring.Component):
    """The descriptors ``first``..``last`` as a stream, each out of a register.

    Members
    -------
    start : In(1)
        Begins; ignored while a walk runs.
    first, last : In
        Taken with ``start``, first <= last.
    descriptor : Out(stream of descriptor_layout)

    Latency: 1 cycle from ``start`` to the first descriptor, and from one to the next.
    """

    def __init__(self, machine: Machine) -> None:
        self.table = DescriptorTable(machine)
        self.program = self.table.program
        index = self.table.index.shape()
        super().__init__(
            {
                "start": In(1),
                "first": In(index),
                "last": In(index),
                "descriptor": Out(stream.Signature(self.table.layout)),
            }
        )

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        m.submodules.table = table = self.table
        walking = Signal()
        taken = Signal()
        index = Signal.like(self.first)
        last = Signal.like(self.last)
        m.d.comb += [
            self.descriptor.valid.eq(walking),
            taken.eq(walking & self.descriptor.ready),
            table.index.eq(Mux(walking, index + 1, self.first)),
        ]
        with m.If(~walking):
            m.d.sync += [walking.eq(self.start), last.eq(self.last)]
        with m.Elif(taken):
            m.d.sync += walking.eq(index != last)
        with m.If(~walking | taken):
            m.d.sync += [index.eq(table.index), self.descriptor.payload.eq(table.descriptor)]
        return m
