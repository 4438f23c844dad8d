"""The embedding's cycles: token ids, two rows a token, LayerNorm behind them."""

from __future__ import annotations

from hw.cycles.latencies import Latencies
from hw.cycles.reads import Reads
from hw.params import Machine
from hw.units.embedding import TOKEN_BYTES

SETTLE = 3
"""Cycles that the control waits after the unit's end before it asks LayerNorm."""
SUM = 1
"""Cycles from a feature's addition to the unit's output."""


def embedding(reads: Reads, machine: Machine, latencies: Latencies, length: int, cycle: int) -> int:
    """The embedding of ``length`` tokens from the unit's start in ``cycle``.

    Rows are taken to lie within 4 KB pages, as most do: which ids a sentence has is not asked.

    Returns:
        The cycle in which the control sees that the last LayerNorm has ended.
    """
    beat_bytes = machine.axi_bits // 8
    features = machine.model.embedding_size
    per_beat = beat_bytes // TOKEN_BYTES
    beats = -(-length // per_beat)
    # a beat is buffered, then its tokens are stored one a cycle
    taken = reads.read(cycle + 1, 0, beats * beat_bytes, cycle + 2, per_beat + 1)
    begin = taken + length - (beats - 1) * per_beat

    half = beat_bytes // 2  # features of a beat of positions
    asks, word = begin + 3, begin + 1
    free = accepts = idle = 0
    for token in range(length):
        # The word row is stored as it comes; the position row's beats each keep the adder busy.
        stored = reads.read(asks, 0, features, word)
        added = reads.read(asks + 1, 0, 2 * features, stored + 2, half) + half
        asks += 4
        word = added + 1
        if (token + 1) % machine.rows == 0 or token + 1 == length:
            request = added + SUM + 1
            start = max(request + 1, accepts)
            passing = max(start + latencies.norm_first_read - 1, free)
            accepts = passing + 1
            free = passing + features * latencies.norm_each + latencies.norm_write + 1
            idle = free + 2  # known a cycle late
    return max(added + SUM + 2 + SETTLE, idle)
