"""Bus-facing blocks in Verilog: AXI reader, AXI4-Lite registers, embedding unit."""

from __future__ import annotations

import numpy as np
import pytest

from golden_model.config import PRESETS, ElbertConfig
from hw.bus.axi_reader import AxiReader
from hw.bus.registers.hardware import Registers
from sim.benches.embedding_device import EmbeddingWithReader
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
    assert len(result.tests) == 9
    assert result.metrics["beats"] > 1000
    if outstanding > 1:
        assert result.metrics["streaming"] == 1.0


def embedding_config(**changes: int) -> ElbertConfig:
    return ElbertConfig.model_validate(PRESETS["nano"].model_dump() | changes)


@pytest.mark.parametrize(
    ("name", "config", "rows", "data_width"),
    [
        pytest.param("nano", PRESETS["nano"], 4, 32, marks=pytest.mark.slow),
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
        pytest.param(
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
            marks=pytest.mark.slow,
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


@pytest.mark.parametrize(
    ("preset", "rows", "cols", "axi_bits"),
    [("nano", 4, 4, 32), pytest.param("large", 32, 32, 256, marks=pytest.mark.slow)],
)
def test_registers(preset: str, rows: int, cols: int, axi_bits: int) -> None:
    config = PRESETS[preset]
    result = run_component(
        Registers(config, rows, cols, axi_bits),
        f"registers_{preset}",
        "sim.benches.registers_bench",
        test_args={"config": config.model_dump(), "rows": rows, "cols": cols, "axi_bits": axi_bits},
    )
    assert len(result.tests) == 15
    assert result.metrics["accesses"] > 500
