"""The accelerator: AXI4-Lite registers, AXI4 reads, engine. Token ids in, class out."""

from __future__ import annotations

from amaranth.hdl import ClockDomain, ClockSignal, DomainRenamer, Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.bus.axi import Axi4Lite, Axi4Read
from hw.bus.axi_reader import AxiReader
from hw.bus.registers.hardware import Registers
from hw.engine.engine import TRACES, Engine
from hw.engine.trace import TracePort
from hw.interfaces import ErrorCode
from hw.params import Machine


class Accelerator(wiring.Component):
    """Top level.

    A bus error or an abort resets the whole engine and lets outstanding reads drain; the machine
    then takes the next command.

    Parameters
    ----------
    machine : Machine

    Members
    -------
    s_axil : In(Axi4Lite())
    m_axi : Out(Axi4Read(8 * columns))
    irq : Out(1)
    trace_vector, trace_norm, trace_exponentials, trace_embedding : Out(TracePort)
        With ``machine.trace`` only.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        ports: dict[str, object] = {
            "s_axil": In(Axi4Lite()),
            "m_axi": Out(Axi4Read(machine.axi_bits)),
            "irq": Out(1),
        }
        if machine.trace:
            ports |= {name: Out(TracePort(machine.rows)) for name in TRACES}
        super().__init__(ports)

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        machine = self.machine
        m.submodules.registers = registers = Registers(
            machine.model, machine.rows, machine.columns, machine.axi_bits
        )
        m.submodules.reader = reader = AxiReader(machine.axi_bits)
        engine = Engine(machine)
        # The engine's reset is one register, which the machine's sets too: to hundreds of flip-flops from one
        # place, with no gate between. The engine's domain is therefore one without a reset.
        engine_reset = Signal(init=1)
        m.domains.engine = ClockDomain(local=True, reset_less=True)
        m.d.comb += ClockSignal("engine").eq(ClockSignal("sync"))
        m.submodules.engine = DomainRenamer("engine")(ResetInserter(engine_reset)(engine))

        connect(m, flipped(self.s_axil), registers.s_axil)
        connect(m, flipped(self.m_axi), reader.m_axi)
        connect(m, engine.command, reader.command)
        connect(m, reader.data, engine.data)
        for name in TRACES if machine.trace else ():
            connect(m, flipped(getattr(self, name)), getattr(engine, name))

        command, result = registers.command, registers.result
        m.d.comb += [
            self.irq.eq(registers.irq),
            engine.settings.eq(command.settings),
            result.result.eq(engine.result),
            result.counters.eq(engine.counters),
            result.record_valid.eq(engine.record_valid),
            result.record.eq(engine.record),
        ]
        failed = Signal()
        # Both a cycle late. Nothing starts before both have passed: a start takes longer than that.
        drained = Signal()
        m.d.sync += [engine_reset.eq(0), drained.eq(reader.idle)]
        with m.FSM(name="accelerator"):
            with m.State("IDLE"):
                m.d.comb += result.idle.eq(1)
                with m.If(command.start):
                    m.d.comb += engine.start.eq(1)
                    m.next = "RUN"
            with m.State("RUN"):
                m.d.sync += failed.eq(0)
                with m.If(command.abort):
                    m.d.comb += reader.abort.eq(1)
                    m.d.sync += engine_reset.eq(1)
                    m.next = "DRAIN"
                with m.Elif(reader.error):
                    m.d.sync += [engine_reset.eq(1), failed.eq(1)]
                    m.next = "DRAIN"
                with m.Elif(engine.done):
                    m.d.comb += [result.done.eq(1), result.error.eq(engine.error)]
                    m.next = "IDLE"
            with m.State("DRAIN"):
                m.d.sync += engine_reset.eq(1)
                with m.If(command.abort):
                    # The watchdog ends a sentence whose bus error never drains.
                    m.d.sync += failed.eq(0)
                with m.Elif(drained):
                    m.d.comb += reader.clear.eq(1)
                    with m.If(failed):
                        m.d.comb += [result.done.eq(1), result.error.eq(ErrorCode.BUS)]
                    m.next = "IDLE"
        return m
