"""The channel parameter: the memory image's view of it and the hardware's are the same bits."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.lib import data

from golden_model.numerics import CHANNEL_PARAMETER_BYTES
from hw.channel import CHANNEL, CHANNEL_BITS, CHANNEL_WORD_BITS, NORM_CHANNEL, channel_dtype


@pytest.mark.parametrize(
    ("layout", "fields"),
    [
        (CHANNEL, {"offset": -(1 << 27) + 5, "multiplier": 0xFFFE, "shift": 63}),
        (CHANNEL, {"offset": (1 << 27) - 1, "multiplier": 1 << 15, "shift": 1}),
        (NORM_CHANNEL, {"offset": -1, "multiplier": -32768, "shift": 42}),
        (NORM_CHANNEL, {"offset": 1 << 30, "multiplier": 32767, "shift": 0}),
    ],
)
def test_a_word_in_memory_is_the_hardwares(layout: data.StructLayout, fields: dict[str, int]) -> None:
    channel = np.zeros(1, channel_dtype(layout))
    for name, value in fields.items():
        channel[name] = value
    word = int.from_bytes(channel.tobytes(), "little")
    assert len(channel.tobytes()) == CHANNEL_PARAMETER_BYTES
    assert word == layout.const(fields).as_bits()
    assert word >> CHANNEL_BITS == 0
    assert CHANNEL_WORD_BITS == 64


def test_both_layouts_place_their_fields_alike() -> None:
    assert {name: (f.offset, f.width) for name, f in CHANNEL} == {
        name: (f.offset, f.width) for name, f in NORM_CHANNEL
    }


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (data.StructLayout({"a": 4, "b": 8}), "field b begins at bit 4, not on a byte"),
        (data.StructLayout({"a": 32, "b": 32, "c": 8}), "itemsize"),
    ],
)
def test_a_layout_that_numpy_cannot_hold_is_refused(layout: data.StructLayout, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        channel_dtype(layout)
