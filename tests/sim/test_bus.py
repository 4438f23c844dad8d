"""Bus-facing blocks in Verilog: AXI reader, AXI4-Lite registers, embedding unit."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import connect, flipped

from golden_model.config import PRESETS, ElbertConfig
from hw.bus.axi_reader import AxiReader
from hw.bus.registers.hardware import Registers
from hw.units.embedding import EmbeddingUnit
from sim.run import run_component


@pytest.mark.parametrize(
    ("data_width", "max_burst", "outstanding"), [(32, 64, 4), (128, 64, 4), (256, 16, 3), (1024, 64, 1)]
)
def test_axi_reader(data_width: int, max_burst: int, outstanding: int) -> None:
    reader = AxiReader(data_width, max_burst=max_burst, outstanding=outstanding)
    result = run_component(
        reader,
        f"axi_reader_{data_width}",
        "sim.benches.axi_reader_bench",
        test_args={"data_width": data_width, "max_burst": max_burst, "outstanding": outstanding},
        seed=data_width,
    )
    assert len(result.tests) == 8
    assert result.metrics["beats"] > 1000
    if outstanding > 1:
        assert result.metrics["streaming"] == 1.0


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

    def elaborate(self, platform) -> Module:
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


def embedding_config(**changes: int) -> ElbertConfig:
    return ElbertConfig.model_validate(PRESETS["nano"].model_dump() | changes)


@pytest.mark.parametrize(
    ("name", "config", "rows", "data_width"),
    [
        ("nano", PRESETS["nano"], 4, 32),
        ("one_beat", PRESETS["nano"], 8, 128),
        (
            "odd",
            embedding_config(
                vocab_size=101,
                embedding_size=176,
                hidden_size=192,
                max_position_embeddings=13,
                type_vocab_size=3,
            ),
            4,
            128,
        ),
        (
            "smallest",
            embedding_config(
                vocab_size=65536,
                embedding_size=8,
                hidden_size=8,
                max_position_embeddings=2,
                type_vocab_size=1,
            ),
            1,
            64,
        ),
        ("wide", embedding_config(embedding_size=384, hidden_size=384, max_position_embeddings=9), 8, 256),
    ],
)
def test_embedding(name: str, config: ElbertConfig, rows: int, data_width: int) -> None:
    rng = np.random.default_rng(5)
    word = rng.integers(-127, 128, (config.vocab_size, config.embedding_size), np.int8)
    shape = (config.type_vocab_size, config.max_position_embeddings, config.embedding_size)
    position_type = rng.integers(-32768, 32768, shape, np.int16)
    word[0], word[1] = 127, -128
    position_type[:, 0], position_type[:, 1] = 32767, -32768
    result = run_component(
        EmbeddingWithReader(config, rows, data_width),
        f"embedding_{name}",
        "sim.benches.embedding_bench",
        test_args={
            "data_width": data_width,
            "max_burst": 64,
            "outstanding": 4,
            "rows": rows,
            "word": word,
            "position_type": position_type,
        },
    )
    assert len(result.tests) == 5
    assert result.metrics["features"] >= 4 * config.embedding_size


@pytest.mark.parametrize(("preset", "rows", "cols", "axi_bits"), [("nano", 4, 4, 32), ("large", 32, 32, 256)])
def test_registers(preset: str, rows: int, cols: int, axi_bits: int) -> None:
    config = PRESETS[preset]
    result = run_component(
        Registers(config, rows, cols, axi_bits),
        f"registers_{preset}",
        "sim.benches.registers_bench",
        test_args={"config": config.model_dump(), "rows": rows, "cols": cols, "axi_bits": axi_bits},
    )
    assert len(result.tests) == 14
    assert result.metrics["accesses"] > 500
