"""The embedding unit on an AXI bus of its own: the device of its bench."""

from __future__ import annotations

from typing import Any

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import connect, flipped

from golden_model.config import ElbertConfig
from hw.bus.axi_reader import AxiReader
from hw.units.embedding import EmbeddingUnit


class EmbeddingWithReader(wiring.Component):
    """The embedding unit on an AXI bus of its own, as the accelerator connects it."""

    def __init__(self, config: ElbertConfig, rows: int, data_width: int) -> None:
        self.unit = EmbeddingUnit(config, rows, data_width)
        self.reader = AxiReader(data_width)
        members = {
            name: self.unit.signature.members[name]
            for name in self.unit.signature.members
            if name not in ("command", "data")
        }
        for name in ("m_axi", "error", "clear", "idle"):
            members[name] = self.reader.signature.members[name]
        super().__init__(members)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.unit, m.submodules.reader = unit, reader = self.unit, self.reader
        connect(m, unit.command, reader.command)
        connect(m, reader.data, unit.data)
        connect(m, reader.m_axi, flipped(self.m_axi))
        m.d.comb += [
            reader.abort.eq(self.abort),
            reader.clear.eq(self.clear),
            self.error.eq(reader.error),
            self.idle.eq(reader.idle),
            unit.abort.eq(self.abort),
            unit.start.eq(self.start),
            unit.length.eq(self.length),
            unit.tokens_base.eq(self.tokens_base),
            unit.word_base.eq(self.word_base),
            unit.position_base.eq(self.position_base),
            self.out.payload.eq(unit.out.payload),
            self.out.valid.eq(unit.out.valid),
            unit.out.ready.eq(self.out.ready),
            self.busy.eq(unit.busy),
            self.done.eq(unit.done),
            self.token_error.eq(unit.token_error),
        ]
        return m
