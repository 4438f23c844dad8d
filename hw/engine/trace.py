"""Trace ports: the simulation's view of every named tensor as it is written, absent from a real design."""

from __future__ import annotations

from amaranth.lib import enum, wiring
from amaranth.lib.wiring import Out

from hw.engine.program import Post

BLOCK_BITS = 8
POSITION_BITS = 16
HEAD_SHIFT = 9
"""Scores and exponentials: position = head << 9 | key."""
LANE_BITS = 18


class TraceTag(enum.Enum, shape=8):  # type: ignore[call-arg]
    """What a record carries; the first nine are `hw.engine.program.Post`."""

    QUERY = 0
    KEY = 1
    VALUE = 2
    SCORES = 3
    CONTEXT = 4
    RESIDUAL = 5
    TABLE = 6
    HIDDEN = 7
    LOGITS = 8
    NORM_OPERAND = 9
    NORM_HIDDEN = 10
    EXPONENTIALS = 11
    EMBEDDING_SUM = 12


assert all(TraceTag.__members__[name].value == post.value for name, post in Post.__members__.items())


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
                "tag": Out(8),
                "index": Out(BLOCK_BITS + POSITION_BITS),
                "data": Out(lanes * LANE_BITS),
            }
        )
