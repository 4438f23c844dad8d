"""LayerNorm over the features of a token block: statistics, row finisher, normalising pass."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from golden_model.numerics import GAMMA_BITS, OFFSET_BITS, RESIDUAL_BITS, SHIFT_BITS
from hw.blocks._check import check_int, check_technology

MAX_FEATURES = 1024
OUTPUT_BITS = 16


class LayerNorm(wiring.Component):
    """LayerNorm of P rows (tokens) at a time, in place in a memory of the engine.

    Golden: ``golden_model.ops.layernorm.layernorm``. Three parts run side by side: exact sums S1, S2 of the
    columns that pass (any number of blocks, in bursts); the finisher, which turns a block's sums into its
    rows' reciprocal square roots; the normalising pass over the block's features. The finisher of the next
    block overlaps the pass of the one before. Rows without a token may hold anything.

    Parameters
    ----------
    lanes : int
        P, 1..64.
    sizes : tuple of int
        Legal numbers of features N, each 2..1024.
    max_blocks : int
        Token blocks, 1..512.
    normalize_lanes : int or None
        Rows normalised per cycle, a divisor of P; P by default.
    technology : str
        Form of the multipliers: ``generic``, ``ecp5`` or ``xilinx``. One per lane for the squares, two per
        normalising lane.

    Members, statistics
    -------------------
    stat_valid : In(1)
        A column (one feature, P rows). Never refused.
    stat_lanes : In(P)
        Rows that the column counts for; the sums of others stay.
    stat_first : In(1)
        The sums of the rows in ``stat_lanes`` start with this column.
    stat_block : In(range(max_blocks))
    stat_block_start : In(1)
        First column of a burst (columns of one block): fetches the block's sums. Two cycles without a column
        must lie between two bursts of the SAME block; none between bursts of different blocks, provided that
        a block's next burst starts at least three cycles after its last column.
    stat_block_end : In(1)
        Last column of a burst: stores the sums.
    stat_values : In(ArrayLayout(signed(18), P))

    Members, requests
    -----------------
    start : In(1)
        Taken while ``ready``: normalise a block whose last column (``stat_block_end``) has been given in an
        earlier cycle. Its sums are read at once: new ones may be given ``sums_held`` cycles after.
    start_block : In(range(max_blocks))
    size_select : In(range(len(sizes)))
        Index into ``sizes``.
    to_operand : In(1)
        Saturate to ±127 instead of ±32639.
    ready : Out(1)
    busy : Out(1)
        A request is being worked on.
    done : Out(1)
        One cycle, the cycle after a block's last write.
    done_block : Out(range(max_blocks))
        Valid with ``done``.

    Members, normalising pass
    -------------------------
    pause : In(1)
        No read is issued in a cycle in which this is high (combinational to ``read_enable``); reads already
        issued are completed and written.
    read_enable : Out(1)
    read_block : Out(range(max_blocks))
    read_feature : Out(range(max(sizes)))
    parameter_feature : Out(range(max(sizes)))
        Equal to ``read_feature``, to address the channel parameters in the same cycle.
    read_values : In(ArrayLayout(signed(18), P))
        One cycle after ``read_enable``.
    gamma : In(signed(16))
        Likewise, as ``beta`` and ``shift``: the channel parameter's fields.
    beta : In(signed(32))
    shift : In(6)
    write_enable : Out(1)
    write_block : Out(range(max_blocks))
    write_feature : Out(range(max(sizes)))
    write_values : Out(ArrayLayout(signed(16), P))
    """

    def __init__(
        self,
        lanes: int,
        sizes: tuple[int, ...],
        max_blocks: int,
        normalize_lanes: int | None = None,
        technology: str = "generic",
    ):
        self._lanes = check_int("lanes", lanes, 1, 64)
        if not sizes:
            raise ValueError("sizes is empty; at least one number of features is needed")
        for i, size in enumerate(sizes):
            check_int(f"sizes[{i}]", size, 2, MAX_FEATURES)
        self._sizes = tuple(sizes)
        self._max_blocks = check_int("max_blocks", max_blocks, 1, 512)
        self._normalize_lanes = check_int(
            "normalize_lanes", lanes if normalize_lanes is None else normalize_lanes, 1, lanes
        )
        if lanes % self._normalize_lanes:
            raise ValueError(f"normalize_lanes {normalize_lanes} does not divide lanes {lanes}")
        self._technology = check_technology(technology)
        block, feature = range(max_blocks), range(max(sizes))
        super().__init__(
            {
                "stat_valid": In(1),
                "stat_lanes": In(lanes),
                "stat_first": In(1),
                "stat_block": In(block),
                "stat_block_start": In(1),
                "stat_block_end": In(1),
                "stat_values": In(data.ArrayLayout(signed(RESIDUAL_BITS), lanes)),
                "start": In(1),
                "start_block": In(block),
                "size_select": In(range(len(sizes))),
                "to_operand": In(1),
                "ready": Out(1),
                "busy": Out(1),
                "done": Out(1),
                "done_block": Out(block),
                "pause": In(1),
                "read_enable": Out(1),
                "read_block": Out(block),
                "read_feature": Out(feature),
                "parameter_feature": Out(feature),
                "read_values": In(data.ArrayLayout(signed(RESIDUAL_BITS), lanes)),
                "gamma": In(signed(GAMMA_BITS)),
                "beta": In(signed(OFFSET_BITS)),
                "shift": In(SHIFT_BITS),
                "write_enable": Out(1),
                "write_block": Out(block),
                "write_feature": Out(feature),
                "write_values": Out(data.ArrayLayout(signed(OUTPUT_BITS), lanes)),
            }
        )

    def elaborate(self, platform):
        raise NotImplementedError("behaviour follows")
