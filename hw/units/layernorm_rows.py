"""LayerNorm's row finisher: from a row's sums to its reciprocal standard deviation."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden_model.numerics import RESIDUAL_BITS, RSQRT_BITS, RSQRT_MANTISSA_BITS
from hw.arith.addition import adder_tree, tree_levels
from hw.arith.check import check_int
from hw.arith.constant import constant_products
from hw.arith.delay import delay
from hw.units.layernorm_statistics import MAX_FEATURES, sum_layout


def variance_bits(features: int) -> int:
    """Bits that hold V = N·S2 - S1² for N <= ``features``, rounded up to an even number."""
    bits = (features * features << (2 * RESIDUAL_BITS - 2)).bit_length()
    return bits + bits % 2


def row_layout(features: int) -> data.StructLayout:
    """{s1, exponent: e, root: R} of one row."""
    return data.StructLayout(
        {
            "s1": sum_layout(features)["s1"].shape,
            "exponent": range(variance_bits(features) // 2),
            "root": RSQRT_BITS,
        }
    )


class RowFinisher(wiring.Component):
    """(e, R) of P rows, one after the other, without a DSP cell.

    Golden: ``golden_model.integer.ops.layernorm.statistics`` (V) and ``reciprocal_sqrt``. Two stages work on
    neighbouring rows: V, with S1² as a radix-4 product of one digit per cycle; then normalisation to the
    mantissa and the root, one bit per cycle.

    Parameters
    ----------
    lanes : int
        P, 1..64.
    sizes : tuple of int
        Legal numbers of features N, each 2..1024.

    Members
    -------
    start : In(1)
        Starts with row 0. Ignored while ``busy``.
    size_select : In(range(len(sizes)))
        Must hold from ``start`` to ``done``.
    sums_request, sums_grant, sums : Out(1), In(1), In(ArrayLayout(sum_layout, P))
        To :class:`hw.units.layernorm_statistics.Statistics`; requested once per row.
    busy : Out(1)
        From the cycle after ``start`` to ``done``, inclusive.
    done : Out(1)
        One cycle: ``rows`` is complete.
    rows : Out(ArrayLayout(row_layout, P))
        Holds until the next ``start``.

    ``CYCLES_PER_ROW`` cycles per row, and about as many once to fill the stages (more where grants wait).
    """

    ROOT_STEPS = RSQRT_BITS
    NORMALIZE_STEPS = (32, 16, 8, 4, 2)
    CYCLES_PER_ROW = 1 + len(NORMALIZE_STEPS) + 1 + ROOT_STEPS

    def __init__(self, lanes: int, sizes: tuple[int, ...]):
        self._lanes = check_int("lanes", lanes, 1, 64)
        if not sizes:
            raise ValueError("sizes is empty; at least one number of features is needed")
        for i, size in enumerate(sizes):
            check_int(f"sizes[{i}]", size, 2, MAX_FEATURES)
        self._sizes = tuple(sizes)
        self._features = max(sizes)
        super().__init__(
            {
                "start": In(1),
                "size_select": In(range(len(sizes))),
                "sums_request": Out(1),
                "sums_grant": In(1),
                "sums": In(data.ArrayLayout(sum_layout(self._features), lanes)),
                "busy": Out(1),
                "done": Out(1),
                "rows": Out(data.ArrayLayout(row_layout(self._features), lanes)),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from ``start`` to ``done`` where every request is granted at once."""
        s1_bits = len(Signal(sum_layout(self._features)["s1"].shape))
        # request, two to fetch, magnitude, triple, a cycle per radix-4 digit, subtract, clamp, offer
        variance = 8 + (s1_bits + s1_bits % 2) // 2
        # take, normalise, load, a cycle per bit, write
        root = 3 + len(self.NORMALIZE_STEPS) + self.ROOT_STEPS
        return variance + (self._lanes - 1) * max(variance, root) + root

    def elaborate(self, platform):
        m = Module()
        width = variance_bits(self._features)
        s1_shape = sum_layout(self._features)["s1"].shape
        row = row_layout(self._features)

        # What the variance stage hands to the root stage.
        offered, taken = Signal(), Signal()
        variance = Signal(width, reset_less=True)
        s1 = Signal(s1_shape, reset_less=True)
        self._variance_stage(m, offered, taken, variance, s1)

        root_s1 = Signal(s1_shape, reset_less=True)
        result, written, last_step = Signal(row), Signal(), Signal()
        m.d.comb += result.s1.eq(root_s1)
        self._root_stage(m, offered, taken, variance, result, written, last_step)
        with m.If(taken):
            m.d.sync += root_s1.eq(s1)

        lane = Signal(range(self._lanes))
        rows = Signal(self.rows.shape(), reset_less=True)
        m.d.comb += self.rows.eq(rows)
        for i in range(self._lanes):
            # A row is wide and lies where its lane does: its enable is a register of its own.
            writes = Signal(name=f"writes_{i}")
            m.d.sync += writes.eq(last_step & (lane == i))
            with m.If(writes):
                m.d.sync += rows[i].eq(result)
        last = written & (lane == self._lanes - 1)
        m.d.sync += self.done.eq(last)
        with m.If(self.start & ~self.busy):
            m.d.sync += self.busy.eq(1)
        with m.Elif(self.done):
            m.d.sync += self.busy.eq(0)
        with m.If(written):
            m.d.sync += lane.eq(Mux(last, 0, lane + 1))
        return m

    def _variance_stage(self, m: Module, offered, taken, variance, s1) -> None:
        """V = max(N·S2 - S1², 1), row after row; ``offered`` until ``taken``."""
        layout = sum_layout(self._features)
        width = len(variance)
        lane = Signal(range(self._lanes), name="variance_lane")
        s2 = Signal(layout["s2"].shape, reset_less=True)
        size = len(s1) + len(s1) % 2
        magnitude = Signal(size, reset_less=True)
        triple = Signal(size + 2, reset_less=True)
        digits = Signal(size, reset_less=True)
        square = Signal(width, reset_less=True)
        difference = Signal(signed(width + 1), reset_less=True)
        left = Signal(range(size // 2 + 1))

        # N·S2 settles in its tree while the square is made.
        addends = [
            delay(m, addend, 1, f"addend_{i}")
            for i, addend in enumerate(constant_products(s2, self._sizes, self.size_select))
        ]
        assert 1 + tree_levels(len(addends)) <= size // 2
        scaled = adder_tree(m, addends, signed(width + 1), "scaled")

        # digits' top two bits times the magnitude
        multiple = Signal(size + 2)
        with m.Switch(digits[-2:]):
            for digit, choice in enumerate((Const(0), magnitude, magnitude << 1, triple)):
                with m.Case(digit):
                    m.d.comb += multiple.eq(choice)

        sums = [self.sums[i] for i in range(self._lanes)]
        chosen = Signal(layout)
        with m.Switch(lane):
            for i in range(self._lanes):
                with m.Case(i):
                    m.d.comb += chosen.eq(sums[i])

        with m.FSM(name="variance"):
            with m.State("IDLE"), m.If(self.start & ~self.busy):
                m.d.sync += lane.eq(0)
                m.next = "REQUEST"
            with m.State("REQUEST"):
                m.d.comb += self.sums_request.eq(1)
                with m.If(self.sums_grant):
                    m.next = "READ"
            with m.State("READ"):
                m.next = "FETCH"
            with m.State("FETCH"):
                m.d.sync += [s1.eq(chosen.s1), s2.eq(chosen.s2)]
                m.next = "MAGNITUDE"
            with m.State("MAGNITUDE"):
                m.d.sync += magnitude.eq(Mux(s1 < 0, -s1, s1))
                m.next = "TRIPLE"
            with m.State("TRIPLE"):
                m.d.sync += [
                    triple.eq(magnitude + (magnitude << 1)),
                    digits.eq(magnitude),
                    square.eq(0),
                    left.eq(size // 2),
                ]
                m.next = "SQUARE"
            with m.State("SQUARE"):
                m.d.sync += [square.eq((square << 2) + multiple), digits.eq(digits << 2), left.eq(left - 1)]
                with m.If(left == 1):
                    m.next = "SUBTRACT"
            with m.State("SUBTRACT"):
                m.d.sync += difference.eq(scaled - square)
                m.next = "CLAMP"
            with m.State("CLAMP"):
                # Below 1 only for equal values (0) and for rows without a token. Bit 0 alone asks for all.
                negative = difference[-1]
                m.d.sync += [
                    variance.eq(Mux(negative, 0, difference)),
                    variance[0].eq(negative | difference[0] | ~difference.any()),
                ]
                m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += offered.eq(1)
                with m.If(taken):
                    m.d.sync += lane.eq(lane + 1)
                    m.next = "REQUEST"
                    with m.If(lane == self._lanes - 1):
                        m.next = "IDLE"

    def _root_stage(self, m: Module, offered, taken, variance, result, written, last_step) -> None:
        """Takes V; e and R are in ``result`` while ``written``, the cycle after ``last_step``.

        R is found bit by bit, the largest with R²·M <= 2^46. Before bit k, R = r·2^(k+1); with the rest w =
        2^(46-2k) - 4·r²·M the bit is set if w >= t = (4r + 1)·M, and then w loses t. Then w grows to 4w and t
        to 2t + 3M (bit set) or 2t - M (not set).
        """
        width = len(variance)
        mantissa_bits = RSQRT_MANTISSA_BITS
        shifted = Signal(width, reset_less=True)
        amounts = self.NORMALIZE_STEPS
        moved = Signal(len(amounts), reset_less=True)
        step = Signal(range(max(len(amounts), self.ROOT_STEPS)))
        mantissa = Signal(mantissa_bits, reset_less=True)
        triple = Signal(mantissa_bits + 2, reset_less=True)
        rest = Signal(ROOT_REST_BITS, reset_less=True)
        trial = Signal(ROOT_REST_BITS, reset_less=True)
        root = Signal(RSQRT_BITS, reset_less=True)

        difference = Signal(signed(ROOT_REST_BITS + 1))
        m.d.comb += [
            difference.eq(rest - trial),
            # The top pair of bits holds V's highest bit: e = width/2 - 1 - (bits moved)/2.
            result.exponent.eq(width // 2 - 1 - moved),
            result.root.eq(root),
        ]
        bit = ~difference[-1]
        with m.FSM(name="root"):
            with m.State("IDLE"):
                m.d.comb += taken.eq(offered)
                with m.If(offered):
                    m.d.sync += [shifted.eq(variance), step.eq(0)]
                    m.next = "NORMALIZE"
            with m.State("NORMALIZE"):
                with m.Switch(step):
                    for i, amount in enumerate(amounts):
                        with m.Case(i):
                            if amount < width:
                                small = ~shifted[width - amount :].any()
                                m.d.sync += moved[len(amounts) - 1 - i].eq(small)
                                with m.If(small):
                                    m.d.sync += shifted.eq(shifted << amount)
                            else:
                                m.d.sync += moved[len(amounts) - 1 - i].eq(0)
                m.d.sync += step.eq(step + 1)
                with m.If(step == len(amounts) - 1):
                    m.next = "LOAD"
            with m.State("LOAD"):
                top = shifted[width - mantissa_bits :]
                m.d.sync += [
                    mantissa.eq(top),
                    triple.eq(top + (top << 1)),
                    rest.eq(1 << mantissa_bits),
                    trial.eq(top),
                    step.eq(0),
                ]
                m.next = "ROOT"
            with m.State("ROOT"):
                m.d.sync += [
                    rest.eq(Mux(bit, difference, rest) << 2),
                    trial.eq(Mux(bit, (trial << 1) + triple, (trial << 1) - mantissa)),
                    root.eq(Cat(bit, root[:-1])),
                    step.eq(step + 1),
                ]
                with m.If(step == self.ROOT_STEPS - 1):
                    m.d.comb += last_step.eq(1)
                    m.next = "WRITE"
            with m.State("WRITE"):
                m.d.comb += written.eq(1)
                m.next = "IDLE"


ROOT_REST_BITS = 34
"""Bits of the root's rest w and trial t: both stay below 2^34 for every mantissa (a test tries all)."""
