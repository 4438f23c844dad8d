"""LayerNorm over the features of a token block: statistics, row finisher, normalising pass."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden_model.numerics import GAMMA_BITS, OFFSET_BITS, RESIDUAL_BITS, SHIFT_BITS
from hw.arith.check import check_int, check_technology
from hw.arith.delay import delay
from hw.arith.fan_out import register_each
from hw.unelaborated import unelaborated
from hw.units.layernorm_lane import OUTPUT_BITS, NormalizeLane
from hw.units.layernorm_rows import RowFinisher
from hw.units.layernorm_statistics import MAX_FEATURES, Statistics


class LayerNorm(wiring.Component):
    """LayerNorm of P rows (tokens) at a time, in place in a memory of the engine.

    Golden: ``golden_model.integer.ops.layernorm.layernorm``. Three parts run side by side: exact sums S1, S2
    of the columns that pass (any number of blocks, in bursts); the finisher, which turns a block's sums into
    its rows' reciprocal square roots; the normalising pass over the block's features. The finisher of the
    next block overlaps the pass of the one before. Rows without a token may hold anything.

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
    read_latency : int
        Cycles from ``read_enable`` to ``read_values``, 1..16.

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
        First column of a burst (columns of one block): fetches the block's sums. A block's next burst starts
        at least four cycles after the last column of the one before; bursts of different blocks may follow
        each other without a gap, and a burst may have gaps.
    stat_block_end : In(1)
        Last column of a burst: stores the sums.
    stat_values : In(ArrayLayout(signed(18), P))

    Members, requests
    -----------------
    start : In(1)
        Taken while ``ready``: normalise a block whose last column (``stat_block_end``) has been given, in
        this cycle or before. The block's next columns may come after its ``done``.
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
        ``read_latency`` cycles after ``read_enable``.
    gamma : In(signed(16))
        Likewise, as ``beta`` and ``shift``: the channel parameter's fields.
    beta : In(signed(32))
    shift : In(6)
    write_enable : Out(1)
    write_block : Out(range(max_blocks))
    write_feature : Out(range(max(sizes)))
    write_values : Out(ArrayLayout(signed(16), P))

    A request alone takes about ``(P + 1)·RowFinisher.CYCLES_PER_ROW`` cycles to its first read, then
    ``cycles_per_feature`` per feature and ``read_to_write_latency``. In a queue of requests the finisher
    works under the pass before: a block takes the longer of the two.
    """

    def __init__(
        self,
        lanes: int,
        sizes: tuple[int, ...],
        max_blocks: int,
        normalize_lanes: int | None = None,
        technology: str = "generic",
        read_latency: int = 1,
    ):
        self._read_latency = check_int("read_latency", read_latency, 1, 16)
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
        self._lane = NormalizeLane(self._sizes, technology)
        block, feature = range(max_blocks), range(max(sizes))
        self._request = data.StructLayout({"block": block, "size": range(len(sizes)), "to_operand": 1})
        self._parameters = data.StructLayout(
            {"gamma": signed(GAMMA_BITS), "beta": signed(OFFSET_BITS), "shift": SHIFT_BITS}
        )
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

    @property
    def read_to_write_latency(self) -> int:
        """Cycles from ``read_enable`` to the ``write_enable`` of the same feature."""
        return self._read_latency + 1 + self._lane.latency + self.cycles_per_feature - 1

    @property
    def first_read_latency(self) -> int:
        """Cycles from a ``start`` to its first ``read_enable``, if no pass is under way then."""
        return Statistics.LATENCY + unelaborated(RowFinisher(self._lanes, self._sizes)).latency + 2

    @property
    def cycles_per_feature(self) -> int:
        """Cycles from one read to the next."""
        return self._lanes // self._normalize_lanes

    def elaborate(self, platform):
        m = Module()
        m.submodules.statistics = statistics = Statistics(
            self._lanes, max(self._sizes), self._max_blocks, self._technology
        )
        m.d.comb += [
            statistics.valid.eq(self.stat_valid),
            statistics.lanes.eq(self.stat_lanes),
            statistics.first.eq(self.stat_first),
            statistics.block.eq(self.stat_block),
            statistics.block_start.eq(self.stat_block_start),
            statistics.block_end.eq(self.stat_block_end),
            statistics.values.eq(self.stat_values),
        ]

        # The request in the finisher. Its start waits until the block's last column is in the memory.
        m.submodules.finisher = finisher = RowFinisher(self._lanes, self._sizes)
        request = Signal(self._request, reset_less=True)
        held = Signal()
        settling = Signal(Statistics.LATENCY)
        finished = Signal()
        hand_over, passing = Signal(), Signal()
        accept = self.start & ~held
        with m.If(accept):
            m.d.sync += [
                held.eq(1),
                request.block.eq(self.start_block),
                request.size.eq(self.size_select),
                request.to_operand.eq(self.to_operand),
            ]
        with m.Elif(hand_over):
            m.d.sync += held.eq(0)
        m.d.sync += settling.eq(Cat(accept, settling))
        with m.If(finisher.done):
            m.d.sync += finished.eq(1)
        with m.Elif(hand_over):
            m.d.sync += finished.eq(0)
        m.d.comb += [
            self.ready.eq(~held),
            self.busy.eq(held | passing),
            finisher.start.eq(settling[-1]),
            finisher.size_select.eq(request.size),
            finisher.sums_grant.eq(statistics.sums_grant),
            finisher.sums.eq(statistics.sums),
            statistics.sums_request.eq(finisher.sums_request),
            statistics.sums_block.eq(request.block),
            hand_over.eq(finished & ~passing),
        ]
        self._normalizing_pass(m, hand_over, passing, request, finisher.rows)
        return m

    def _normalizing_pass(self, m: Module, begin: Signal, passing: Signal, request, rows) -> None:
        """One pass over a block's features from ``begin`` to the last write, ``passing`` meanwhile.

        Passes do not overlap, so that a row's scale is constant in the pipeline.
        """
        lanes, steps = self._normalize_lanes, self.cycles_per_feature
        current = Signal(self._request, reset_less=True)
        scales = Signal(rows.shape(), reset_less=True)
        with m.If(begin):
            m.d.sync += current.eq(request)
        # A cycle later, long before the first value arrives and while the finisher still holds them.
        for row, load in enumerate(register_each(m, begin, len(scales), "load_scale")):
            with m.If(load):
                m.d.sync += scales[row].eq(rows[row])
        last_feature = Signal.like(self.read_feature)
        with m.Switch(current.size):
            for i, size in enumerate(self._sizes):
                with m.Case(i):
                    m.d.comb += last_feature.eq(size - 1)

        # Reads: a feature per `steps` cycles.
        reading = Signal()
        slot = Signal(range(steps))
        m.d.comb += [
            self.read_enable.eq(reading & ~self.pause & (slot == 0)),
            self.read_block.eq(current.block),
            self.parameter_feature.eq(self.read_feature),
        ]
        with m.If(slot != 0):
            m.d.sync += slot.eq(slot - 1)
        with m.If(begin):
            m.d.sync += [reading.eq(1), self.read_feature.eq(0)]
        with m.Elif(self.read_enable):
            m.d.sync += [slot.eq(steps - 1), self.read_feature.eq(self.read_feature + 1)]
            with m.If(self.read_feature == last_feature):
                m.d.sync += reading.eq(0)

        # The word, shifted down by `lanes` rows per step, and its parameters.
        arriving = Signal()
        word = Signal(self.read_values.shape(), reset_less=True)
        parameters = Signal(self._parameters, reset_less=True)
        step = Signal(range(steps), reset_less=True)
        next_step = Signal(range(steps))
        m.d.comb += next_step.eq(Mux(arriving, 0, step + 1))
        asked = self.read_enable
        for i in range(self._read_latency - 1):
            later = Signal(name=f"asked_{i}")
            m.d.sync += later.eq(asked)
            asked = later
        m.d.sync += [arriving.eq(asked), step.eq(next_step)]
        with m.If(arriving):
            m.d.sync += [
                word.eq(self.read_values),
                parameters.gamma.eq(self.gamma),
                parameters.beta.eq(self.beta),
                parameters.shift.eq(self.shift),
            ]
        with m.Else():
            m.d.sync += word.as_value().eq(word.as_value() >> (lanes * RESIDUAL_BITS))

        lane_units = [self._lane, *(NormalizeLane(self._sizes, self._technology) for _ in range(lanes - 1))]
        lane = self._lane
        gamma = delay(m, parameters.gamma, lane.gamma_at, "gamma")
        beta = delay(m, parameters.beta, lane.beta_at, "beta")
        shift = delay(m, parameters.shift, lane.shift_at, "shift")
        # step_at[t]: of the rows that entered the lanes t cycles ago
        step_at = {-1: next_step, 0: step}
        for t in range(1, lane.root_at):
            step_at[t] = delay(m, step_at[t - 1], 1, f"step_{t}")
        for i, unit in enumerate(lane_units):
            m.submodules[f"lane_{i}"] = unit
            m.d.comb += [
                unit.size_select.eq(current.size),
                unit.y.eq(word[i]),
                unit.gamma.eq(gamma),
                unit.beta.eq(beta),
                unit.shift.eq(shift),
                unit.to_operand.eq(current.to_operand),
            ]
            for name, at in (("s1", 0), ("exponent", lane.exponent_at), ("root", lane.root_at)):
                choices = [scales[k * lanes + i][name] for k in range(steps)]
                chosen = choices[0]
                if steps > 1:
                    chosen = Signal.like(chosen, name=f"{name}_{i}", reset_less=True)
                    m.d.sync += chosen.eq(Array(choices)[step_at[at - 1]])
                m.d.comb += getattr(unit, name).eq(chosen)

        # Results: earlier steps wait for the word's last.
        word_valid, finishing = Signal(), Signal()
        m.d.sync += word_valid.eq(arriving)
        complete = word_valid
        for i in range(lane.latency + steps - 1):
            later = Signal(name=f"valid_{i}")
            m.d.sync += later.eq(complete)
            complete = later
        results = Cat(unit.result for unit in lane_units)
        if steps > 1:
            waiting = Signal((steps - 1) * len(results), reset_less=True)
            m.d.sync += waiting.eq(Cat(waiting, results)[len(results) :])
            results = Cat(waiting, results)
        m.d.comb += [
            self.write_enable.eq(complete),
            self.write_block.eq(current.block),
            self.write_values.eq(results),
            finishing.eq(complete & (self.write_feature == last_feature)),
            self.done_block.eq(current.block),
        ]
        with m.If(begin):
            m.d.sync += [passing.eq(1), self.write_feature.eq(0)]
        with m.Elif(complete):
            m.d.sync += self.write_feature.eq(self.write_feature + 1)
            with m.If(finishing):
                m.d.sync += passing.eq(0)
        m.d.sync += self.done.eq(finishing)
