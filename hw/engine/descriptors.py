"""The descriptor table as a combinational ROM."""

from __future__ import annotations

from amaranth.hdl import Elaboratable, Module, Signal

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
