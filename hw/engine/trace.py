"""Trace ports: the simulation's view of every named tensor as it is written, absent from a real design."""

from __future__ import annotations

from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from golden_model.numerics import RESIDUAL_BITS
from hw.engine.program import Post
from hw.enumeration import hardware_enum

TAG_BITS = 8
BLOCK_BITS = 8
POSITION_BITS = 16
HEAD_SHIFT = 9
"""Scores and exponentials: position = head << 9 | key."""
LANE_BITS = RESIDUAL_BITS


_OTHERS = ("NORM_OPERAND", "NORM_HIDDEN", "EXPONENTIALS", "EMBEDDING_SUM")
TraceTag = hardware_enum(
    "TraceTag",
    {post.name: post.value for post in Post} | {name: len(Post) + i for i, name in enumerate(_OTHERS)},
    TAG_BITS,
    "What a record carries: a column of the vector path, or one of what other units write.",
)


class TracePort(wiring.Signature):
    """One record per cycle: P lanes of 18 bits, sign-extended, at ``index`` = block << 16 | position.

    position is the feature; head << 9 | key for scores and exponentials; the value memory's
    address for VALUE, whose lanes are features; feature of one lane for EMBEDDING_SUM, whose
    other lanes are 0.
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
