"""Trace ports: the simulation's view of every named tensor as it is written, absent from a real design."""

from __future__ import annotations

from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from golden_model.config import ElbertConfig
from golden_model.numerics import RESIDUAL_BITS
from hw.arith.widths import bits_for_index
from hw.engine.program import Post
from hw.enumeration import hardware_enum
from hw.params import ARRAY_COLUMNS


def _largest(name: str) -> int:
    """The geometry's bound of that name."""
    return next(int(bound.le) for bound in ElbertConfig.model_fields[name].metadata if hasattr(bound, "le"))


# Wide enough for every legal machine, whatever its geometry.
HEAD_SHIFT = bits_for_index(_largest("max_position_embeddings"))
"""Scores and exponentials: position = head << HEAD_SHIFT | key."""
BLOCK_BITS = bits_for_index(_largest("max_position_embeddings"))
"""A token block of an array of one row holds one token."""
POSITION_BITS = max(
    bits_for_index(max(_largest("hidden_size"), _largest("intermediate_size"))),
    HEAD_SHIFT + bits_for_index(_largest("num_attention_heads")),
    bits_for_index(_largest("hidden_size") // min(ARRAY_COLUMNS) * _largest("max_position_embeddings")),
)
"""A feature, a head and a key, or an address of the value memory."""
TAG_BITS = 32 - BLOCK_BITS - POSITION_BITS
"""Tag, block and position fill one 32-bit word of the trace's file."""
LANE_BITS = RESIDUAL_BITS


_OTHERS = ("NORM_OPERAND", "NORM_HIDDEN", "EXPONENTIALS", "EMBEDDING_SUM")
TraceTag = hardware_enum(
    "TraceTag",
    {post.name: post.value for post in Post} | {name: len(Post) + i for i, name in enumerate(_OTHERS)},
    TAG_BITS,
    "What a record carries: a column of the vector path, or one of what other units write.",
)


class TracePort(wiring.Signature):
    """One record per cycle: P lanes of 18 bits, sign-extended.

    ``index`` is block << POSITION_BITS | position. position is the feature; head << HEAD_SHIFT | key for
    scores and exponentials; the value memory's address for VALUE, whose lanes are features; feature of
    one lane for EMBEDDING_SUM, whose other lanes are 0.
    """

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(
            {
                "valid": Out(1),
                "tag": Out(TAG_BITS),
                "index": Out(BLOCK_BITS + POSITION_BITS),
                "data": Out(lanes * LANE_BITS),
            }
        )
