"""The trace's fields hold what the largest legal machines put into them."""

from __future__ import annotations

import pytest

from golden_model.config import ElbertConfig
from hw.engine.trace import BLOCK_BITS, HEAD_SHIFT, POSITION_BITS, TAG_BITS, TraceTag
from hw.params import Machine

GEOMETRY = {
    "vocab_size": 64,
    "embedding_size": 16,
    "hidden_size": 1024,
    "num_attention_heads": 64,
    "intermediate_size": 4096,
    "num_hidden_layers": 1,
    "max_position_embeddings": 512,
}


@pytest.mark.parametrize(("rows", "columns"), [(1, 4), (4, 4), (1, 8), (16, 16)])
def test_fields_hold_the_largest_machine(rows: int, columns: int) -> None:
    machine = Machine(model=ElbertConfig.model_validate(GEOMETRY), rows=rows, columns=columns)
    model = machine.model
    assert machine.token_blocks <= 1 << BLOCK_BITS
    assert model.max_position_embeddings <= 1 << HEAD_SHIFT
    assert model.num_attention_heads << HEAD_SHIFT <= 1 << POSITION_BITS
    assert max(model.intermediate_size, machine.value_words) <= 1 << POSITION_BITS


@pytest.mark.parametrize("field", ["hidden_size", "intermediate_size", "max_position_embeddings"])
def test_that_is_the_largest(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        ElbertConfig.model_validate(GEOMETRY | {field: GEOMETRY[field] + 1})


def test_a_record_begins_with_one_word() -> None:
    assert TAG_BITS + BLOCK_BITS + POSITION_BITS == 32
    assert len(TraceTag) <= 1 << TAG_BITS
