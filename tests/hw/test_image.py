"""The memory image takes checkpoints of the machine's geometry and of the hardware's contract alone."""

from __future__ import annotations

import pytest

from golden_model.config import PRESETS, ElbertConfig
from golden_model.integer.contract import Contract
from golden_model.integer.synthetic import random_checkpoint
from hw.image import build_image
from hw.params import Machine

NANO = PRESETS["nano"]
MACHINE = Machine(model=NANO, rows=4, columns=4)
SENTENCE = ([1, 2, 3], [0, 0, 0])


def test_another_contract_is_refused_by_field_and_values() -> None:
    build_image(random_checkpoint(NANO, 1), MACHINE, [SENTENCE])
    for contract, message in (
        (Contract(value_bits=4), "checkpoint contract: value_bits is 4, the hardware's is 8"),
        (Contract(norm_fraction_bits=9), "norm_fraction_bits is 9, the hardware's is 11"),
        (Contract(ffn_index_bits=11), "ffn_index_bits is 11, the hardware's is 10"),
    ):
        with pytest.raises(ValueError, match=message):
            build_image(random_checkpoint(NANO, 1, contract), MACHINE, [SENTENCE])


def test_another_geometry_is_refused() -> None:
    other = ElbertConfig.model_validate(NANO.model_dump() | {"num_hidden_layers": 3})
    with pytest.raises(ValueError, match="is not the machine's"):
        build_image(random_checkpoint(other, 1), MACHINE, [SENTENCE])
