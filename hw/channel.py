"""The channel parameter: what rescales one output channel, or one feature of LayerNorm, as it lies in memory.

A word of CHANNEL_PARAMETER_BYTES, little-endian: the first field lowest, zeros above the last. The hardware
reads it by the layouts here, the memory image is written by :func:`channel_dtype` of the same ones.
"""

from __future__ import annotations

import numpy as np
from amaranth.hdl import Shape, ShapeLike, signed, unsigned
from amaranth.lib import data

from golden_model.numerics import (
    CHANNEL_PARAMETER_BYTES,
    GAMMA_BITS,
    MULTIPLIER_BITS,
    OFFSET_BITS,
    SHIFT_BITS,
)
from hw.arith.widths import ceil_div


def _layout(multiplier: ShapeLike) -> data.StructLayout:
    return data.StructLayout(
        {"offset": signed(OFFSET_BITS), "multiplier": multiplier, "shift": unsigned(SHIFT_BITS)}
    )


CHANNEL = _layout(unsigned(MULTIPLIER_BITS))
"""Of a matmul's output channel, without the padding."""
NORM_CHANNEL = _layout(signed(GAMMA_BITS))
"""Of a LayerNorm's feature: beta is the offset, gamma, which is signed, the multiplier."""
CHANNEL_BITS = CHANNEL.size
CHANNEL_WORD_BITS = 8 * CHANNEL_PARAMETER_BYTES
"""With the padding."""


def channel_dtype(layout: data.StructLayout) -> np.dtype:
    """The numpy type of a whole word, with the layout's fields.

    Raises:
        ValueError: a field does not begin on a byte, or the word has no room for all of them.
    """
    names, formats, offsets = [], [], []
    for name, field in layout:
        shape = Shape.cast(field.shape)
        if field.offset % 8:
            raise ValueError(f"field {name} begins at bit {field.offset}, not on a byte")
        names.append(name)
        formats.append(f"<{'i' if shape.signed else 'u'}{ceil_div(shape.width, 8)}")
        offsets.append(field.offset // 8)
    return np.dtype(
        {"names": names, "formats": formats, "offsets": offsets, "itemsize": CHANNEL_PARAMETER_BYTES}
    )
