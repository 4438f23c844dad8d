"""From tiles to array steps: one a cycle, and a reason for every cycle without."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.engine.tile import ArrayState, step_layout, tile_layout
from hw.engine.tile_job import job_layout
from hw.params import Machine


class Stepper(wiring.Component):
    """Counts k through one tile after the other, each as soon as what it waits for is there.

    A tile is held in registers from its first step to its last, and the next one waits beside it. Whether a
    step is the first or the last is known a cycle before it, and so is whether the drain buffer is free, so
    that the decision "a step in this cycle" is two levels of logic.

    Members
    -------
    job : In(stream of job_layout)
        At most one every second cycle.
    busy : Out(1)
    step, tile, state, descriptor, tile_available, tile_release : as in `hw.engine.sequencer.Sequencer`
    attention_loaded, softmax_done, quiet, layernorm_busy : likewise
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        job = job_layout(machine)
        super().__init__(
            {
                "job": In(stream.Signature(job)),
                "busy": Out(1),
                "descriptor": Out(job["descriptor"].shape),
                "step": Out(step_layout(machine)),
                "tile": Out(tile_layout(machine)),
                "state": Out(ArrayState, init=ArrayState.FILL),
                "tile_available": In(1),
                "tile_release": Out(1),
                "attention_loaded": In(1),
                "softmax_done": In(2),
                "quiet": In(1),
                "layernorm_busy": In(1),
            }
        )

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        job = job_layout(self.machine)
        coming = Signal(job, reset_less=True)
        coming_valid = Signal()
        now = Signal(job, reset_less=True)
        valid = Signal()
        active = Signal()
        """The tile that is held may step."""
        fire = Signal()
        load = Signal()
        first = Signal()
        closing = Signal()
        opening = Signal()
        """The step to come is its tile's first, its last, the first that reads a weight tile."""
        drained = Signal(init=1)
        """The drain buffer is free."""

        m.d.comb += [
            self.job.ready.eq(~coming_valid),
            self.busy.eq(coming_valid | valid),
            fire.eq(active & (self.tile_available | ~opening) & (drained | ~closing)),
            load.eq(coming_valid & (~valid | (fire & closing))),
            self.tile_release.eq(fire & closing & now.last_use),
        ]
        with m.If(~coming_valid):
            m.d.sync += [coming.eq(self.job.payload), coming_valid.eq(self.job.valid)]
        with m.Elif(load):
            m.d.sync += coming_valid.eq(0)
        with m.If(load):
            m.d.sync += now.eq(coming)

        self._waits(m, coming, now, load, fire & closing, valid, active)
        self._count(m, coming, now, load, fire, first, closing, opening)
        self._drain(m, coming, now, load, fire & closing, drained)

        m.d.sync += self.descriptor.eq(now.descriptor)
        with m.If(fire):
            m.d.sync += self.state.eq(ArrayState.ACTIVE)
        with m.Elif(~valid):
            m.d.sync += self.state.eq(ArrayState.FILL)
        with m.Elif(~active & now.softmax):
            m.d.sync += self.state.eq(ArrayState.SOFTMAX)
        with m.Elif(~active & self.layernorm_busy):
            m.d.sync += self.state.eq(ArrayState.LAYERNORM)
        with m.Elif((~active & self.quiet) | (active & opening & ~self.tile_available)):
            m.d.sync += self.state.eq(ArrayState.WEIGHTS)
        with m.Else():
            m.d.sync += self.state.eq(ArrayState.DRAIN)
        return m

    def _waits(self, m, coming, now, load, closed, valid, active) -> None:  # type: ignore[no-untyped-def]
        """When a tile may begin to step."""
        parity_done = Signal(2)
        done = Signal(2)
        parameters_there = Signal()
        settled = Signal()
        m.d.comb += done.eq(parity_done | self.softmax_done)
        m.d.sync += parity_done.eq(done)
        with m.If(self.attention_loaded):
            m.d.sync += parameters_there.eq(1)
        with m.If(load):
            m.d.sync += [
                valid.eq(1),
                active.eq(~(coming.quiet | (coming.softmax & ~done.bit_select(coming.tile.parity, 1)))),
                settled.eq(0),
            ]
            with m.If(coming.claims):
                m.d.sync += parity_done.bit_select(coming.tile.parity, 1).eq(0)
        with m.Elif(closed):
            m.d.sync += [valid.eq(0), active.eq(0)]
        with m.Elif(valid & ~active):
            # The tile before closed with this one's load: `quiet` knows of it from the second cycle on.
            m.d.sync += settled.eq(1)
            with m.If(now.softmax):
                m.d.sync += active.eq(done.bit_select(now.tile.parity, 1))
            with m.Elif(self.quiet & settled & (parameters_there | ~now.parameters)):
                m.d.sync += active.eq(1)
                with m.If(now.parameters):
                    m.d.sync += parameters_there.eq(0)

    def _count(self, m, coming, now, load, fire, first, closing, opening) -> None:  # type: ignore[no-untyped-def]
        """The loop over k: addresses of the step to come, and the step itself."""
        left = Signal.like(coming.last_step, reset_less=True)
        address = Signal.like(coming.address, reset_less=True)
        column_address = Signal.like(coming.column_address, reset_less=True)
        index = Signal.like(self.step.index, reset_less=True)
        with m.If(load):
            m.d.sync += [
                left.eq(coming.last_step),
                address.eq(coming.address),
                column_address.eq(coming.column_address),
                index.eq(0),
                first.eq(1),
                closing.eq(coming.last_step == 0),
                opening.eq(coming.weights),
            ]
        with m.Elif(fire):
            m.d.sync += [
                left.eq(left - 1),
                address.eq(address + 1),
                column_address.eq(column_address + 1),
                index.eq(index + 1),
                first.eq(0),
                closing.eq(left == 1),
                opening.eq(0),
            ]
        m.d.sync += [
            self.step.valid.eq(fire),
            self.step.first.eq(first),
            self.step.last.eq(closing),
            self.step.row.eq(now.row),
            self.step.column.eq(now.column),
            self.step.address.eq(address),
            self.step.group.eq(now.tile.group),
            self.step.bank.eq(now.bank),
            self.step.index.eq(index),
            self.step.key_address.eq(column_address),
            self.step.value_address.eq(column_address),
            self.step.parity.eq(now.tile.parity),
            self.step.trace.eq(now.trace),
            self.step.head.eq(now.tile.head),
            self.step.block.eq(now.tile.block),
            self.tile.eq(now.tile),
        ]

    def _drain(self, m, coming, now, load, closed, drained) -> None:  # type: ignore[no-untyped-def]
        """A tile closes only when the drain buffer will be empty: `left` counts its columns."""
        left = Signal.like(coming.drain, reset_less=True)
        one_column = Signal()
        with m.If(load):
            m.d.sync += one_column.eq(coming.drain == 0)
        with m.If(closed):
            m.d.sync += [left.eq(now.drain), drained.eq(one_column)]
        with m.Elif(~drained):
            m.d.sync += [left.eq(left - 1), drained.eq(left == 1)]
