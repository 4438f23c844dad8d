"""Executes the descriptor table: loop nests that ask for tiles, and one that steps the array through them."""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.engine.attention_tiles import AttentionTiles
from hw.engine.descriptors import DescriptorWalk
from hw.engine.stepper import Stepper
from hw.engine.tile import ArrayState, step_layout, tile_layout
from hw.engine.token_blocks import Extent
from hw.engine.weight_tiles import WeightTiles
from hw.interfaces import LENGTH_BITS
from hw.params import Machine


class Sequencer(wiring.Component):
    """Descriptors to tiles to steps, each part a stream ahead of the next.

        walk ─► weight tiles ───┬─► stepper ─► step, tile
             └► attention tiles ┘

    Members
    -------
    start : In(1)
        Begins descriptors ``first``..``last``; taken when ``idle``.
    length : In
        Tokens of the sentence, 1 to the maximum, three cycles before ``start`` and until ``idle``.
    idle : Out(1)
    step : Out(step_layout)
        Registered; at most one per cycle.
    tile : Out(tile_layout)
        Valid with ``step.last``.
    state : Out(ArrayState)
        What this cycle was: ACTIVE with ``step.valid``.
    descriptor : Out
        Row of the program that ``state`` belongs to.
    tile_available, tile_release : the weight bank whose turn it is
        The release comes a cycle before the last step that reads the bank.
    attention_loaded : In(1)
        Pulse: the attention's channel parameters arrived.
    softmax_done : In(2)
        Pulse per parity: that row block is ready for its context.
    quiet, layernorm_busy : In(1)
        Nothing is on its way to a memory; LayerNorm still works. ``quiet`` has to fall no later than a cycle
        after the step that closes a tile.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.walk = DescriptorWalk(machine)
        index = self.walk.first.shape()
        super().__init__(
            {
                "start": In(1),
                "first": In(index),
                "last": In(index),
                "length": In(LENGTH_BITS),
                "idle": Out(1),
                "step": Out(step_layout(machine)),
                "tile": Out(tile_layout(machine)),
                "state": Out(ArrayState),
                "descriptor": Out(index),
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
        machine = self.machine
        m.submodules.extent = extent = Extent(machine)
        m.submodules.walk = walk = self.walk
        m.submodules.weights = weights = WeightTiles(machine)
        m.submodules.attention = attention = AttentionTiles(machine)
        m.submodules.stepper = stepper = Stepper(machine)

        descriptor = walk.descriptor
        m.d.comb += [
            walk.start.eq(self.start),
            walk.first.eq(self.first),
            walk.last.eq(self.last),
            weights.begin.eq(self.start),
            extent.length.eq(self.length),
            self.idle.eq(~(descriptor.valid | stepper.busy)),
        ]
        for nest in (weights, attention):
            m.d.comb += [nest.descriptor.payload.eq(descriptor.payload), nest.extent.eq(extent.extent)]
        with m.If(descriptor.payload.has_tiles):
            self._serve(m, descriptor, weights, stepper)
        with m.Elif(descriptor.payload.attention):
            self._serve(m, descriptor, attention, stepper)
        with m.Else():  # it only fetches
            m.d.comb += descriptor.ready.eq(1)

        for name in ("tile_available", "attention_loaded", "softmax_done", "quiet", "layernorm_busy"):
            m.d.comb += getattr(stepper, name).eq(getattr(self, name))
        for name in ("step", "tile", "state", "descriptor", "tile_release"):
            m.d.comb += getattr(self, name).eq(getattr(stepper, name))
        return m

    def _serve(self, m: Module, descriptor, nest: WeightTiles | AttentionTiles, stepper: Stepper) -> None:  # type: ignore[no-untyped-def]
        """The descriptor goes to this nest, and its tiles to the stepper."""
        m.d.comb += [
            nest.descriptor.valid.eq(descriptor.valid),
            descriptor.ready.eq(nest.descriptor.ready),
            stepper.job.payload.eq(nest.job.payload),
            stepper.job.valid.eq(nest.job.valid),
            nest.job.ready.eq(stepper.job.ready),
        ]
