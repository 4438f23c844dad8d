"""Geometries on which blocks of the engine are tested."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from golden_model.config import PRESETS, ElbertConfig
from hw.params import Machine

GEOMETRIES = {
    "nano": PRESETS["nano"],
    # four chunks along K, three heads, a longest sentence of no whole block
    "odd": ElbertConfig(
        vocab_size=50,
        embedding_size=24,
        hidden_size=48,
        num_attention_heads=3,
        intermediate_size=112,
        num_hidden_layers=3,
        max_position_embeddings=21,
        num_labels=5,
    ),
    "long": ElbertConfig(
        vocab_size=50,
        embedding_size=16,
        hidden_size=32,
        num_attention_heads=2,
        intermediate_size=64,
        num_hidden_layers=1,
        max_position_embeddings=512,
        num_labels=8,
    ),
}


@pytest.fixture
def make_machine() -> Callable[[str, int, int], Machine]:
    """A machine by the name of its geometry and its array."""

    def make(geometry: str, rows: int, columns: int) -> Machine:
        return Machine(model=GEOMETRIES[geometry], rows=rows, columns=columns)

    return make
