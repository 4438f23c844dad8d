"""The exit unit's arithmetic: logits in, probabilities and entropy out, by a table of steps."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth import Array, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, enum, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden_model.config import MAX_LABELS
from golden_model.integer.ops.exit_math import (
    EXIT_SUM_BITS,
    EXP_FINE_BITS,
    EXP_ZERO_FROM,
    LOG_FRACTION_BITS,
    LOG_INDEX_BITS,
    LOG_REST_BITS,
    ROM_BITS,
    ROM_COARSE,
    ROM_FINE,
    ROM_LOG,
    ROM_WORDS,
    exit_rom,
    log_exponent_table,
    normalisation_factor,
)
from golden_model.numerics import (
    ENTROPY_BITS,
    LOGIT_BITS,
    LOGIT_FRACTION_BITS,
    ONE,
    PROBABILITY_BITS,
    PROBABILITY_FRACTION_BITS,
)
from hw.arith.check import check_int
from hw.arith.divider import FractionDivider
from hw.arith.multiplier import Multiplier
from hw.interfaces import LABEL_BITS

WEIGHTED_BITS = 28
"""Width of sum p·d in 2^-26 nat. It is the entropy less ln S, at most 0.98 nat for eight classes; rounding
of the probabilities adds less than 0.002."""


class Lookup(enum.Enum, shape=3):  # type: ignore[call-arg]
    """Whose entry the table memory is asked for; the word is there two steps later."""

    NONE = 0
    COARSE = 1
    FINE = 2
    LOG = 3
    LOG_ABOVE = 4


class Operand(enum.Enum, shape=3):  # type: ignore[call-arg]
    """What the multiplier is given; the product is there three steps later."""

    KEEP = 0
    A_WORD = 1
    B_WORD = 2
    DISTANCE_AND_QUOTIENT = 3
    SLOPE_AND_REST = 4
    ENTROPY_AND_FACTOR = 5


class Result(enum.Enum, shape=4):  # type: ignore[call-arg]
    """Which register takes the step's result."""

    NONE = 0
    LARGEST = 1
    DISTANCE = 2
    EXPONENTIAL = 3
    TOTAL = 4
    PROBABILITY = 5
    WEIGHTED = 6
    EXPONENT = 7
    LOW = 8
    ADD_LOW = 9
    SLOPE = 10
    ADD_SLOPE = 11
    ADD_WEIGHTED = 12
    NORMALISED = 13
    ENTROPY = 14


@dataclass(frozen=True)
class Step:
    """A cycle's work.

    Attributes:
        turn_logits, turn_exponentials: the queue turns by one; the class at work is always first.
        divide: the division of the first exponential by their sum begins.
        waits: until the division is done; it is repeated.
        loop: for the next class, back to the step so many before this one.
    """

    lookup: Lookup = Lookup.NONE
    operand: Operand = Operand.KEEP
    result: Result = Result.NONE
    turn_logits: bool = False
    turn_exponentials: bool = False
    divide: bool = False
    waits: bool = False
    loop: int | None = None


MULTIPLY = Step()
STEPS = (
    # for each class: the largest logit
    Step(result=Result.LARGEST, turn_logits=True, loop=0),
    # for each class: e = coarse · fine, and their sum
    Step(result=Result.DISTANCE, turn_logits=True),
    Step(lookup=Lookup.COARSE),
    Step(lookup=Lookup.FINE),
    Step(operand=Operand.A_WORD),
    Step(operand=Operand.B_WORD),
    MULTIPLY,
    MULTIPLY,
    Step(result=Result.EXPONENTIAL),
    Step(result=Result.TOTAL, turn_exponentials=True, loop=8),
    # for each class: p = e / S, and the sum of p · d
    Step(result=Result.DISTANCE, turn_logits=True, turn_exponentials=True, divide=True),
    Step(operand=Operand.DISTANCE_AND_QUOTIENT, result=Result.PROBABILITY, waits=True),
    MULTIPLY,
    MULTIPLY,
    Step(result=Result.WEIGHTED, loop=4),
    # ln S, from the table by linear interpolation; raw and normalised entropy
    Step(result=Result.EXPONENT),
    Step(lookup=Lookup.LOG),
    Step(lookup=Lookup.LOG_ABOVE),
    Step(result=Result.LOW),
    Step(operand=Operand.SLOPE_AND_REST),
    Step(result=Result.ADD_LOW),  # this and the next while it multiplies
    Step(result=Result.ADD_WEIGHTED),
    Step(result=Result.SLOPE),
    Step(result=Result.ADD_SLOPE),
    Step(operand=Operand.ENTROPY_AND_FACTOR),
    MULTIPLY,
    MULTIPLY,
    Step(result=Result.NORMALISED),
    Step(result=Result.ENTROPY),
)
"""The microprogram."""

_ROW = data.StructLayout(
    {
        "lookup": Lookup,
        "operand": Operand,
        "result": Result,
        "turn_logits": 1,
        "turn_exponentials": 1,
        "divide": 1,
        "waits": 1,
        "loop": 1,
        "last": 1,
    }
)


def _rows() -> list[dict[str, object]]:
    """The microprogram as constants of ``_ROW``."""
    return [
        {
            "lookup": step.lookup,
            "operand": step.operand,
            "result": step.result,
            "turn_logits": int(step.turn_logits),
            "turn_exponentials": int(step.turn_exponentials),
            "divide": int(step.divide),
            "waits": int(step.waits),
            "loop": int(step.loop is not None),
            "last": int(i == len(STEPS) - 1),
        }
        for i, step in enumerate(STEPS)
    ]


class ExitArithmetic(wiring.Component):
    """Fixed-point softmax and entropy of up to eight logits.

    Golden function: ``golden_model.integer.confidence.integer_confidence``, equal bit for bit.

    One 18 x 18 bit multiplier, one divider and one 1024-word table memory serve ``STEPS`` in turn: the unit
    runs once per iteration, and its cycles are few against a layer's.

    Parameters
    ----------
    num_labels : int
        C, 2..8. Logits from C on are ignored, probabilities from C on are 0.
    technology : str
        Form of the multiplier.

    Members
    -------
    clear : In(1)
        Drops what runs. With ``start``, before it.
    start : In(1)
        Pulse: ``logits`` are taken. Ignored between a ``start`` and its ``done``.
    logits : In(ArrayLayout(signed(18), 8))
        2^-10 nat.
    busy : Out(1)
    done : Out(1)
        Pulse. The outputs below hold from ``done`` to the next ``start``.
    label : Out(3)
        Most probable class, ties to the lowest.
    probabilities : Out(ArrayLayout(17, 8))
        2^-16.
    entropy : Out(18)
        Normalised, 2^-16, at most 65536.
    entropy_raw : Out(18)
        2^-16 nat.
    confidence : Out(17)
        Probability of ``label``, 2^-16.
    lead : Out(17)
        ``confidence`` less the second largest probability, 2^-16.

    Latency: :attr:`latency` cycles from ``start`` to ``done``, whatever the values; 34 C + 15. ``start`` may
    come again with ``done``.
    """

    def __init__(self, num_labels: int, technology: str = "generic") -> None:
        """Raises TypeError or ValueError: ``num_labels`` is no integer in 2..8, the technology unknown."""
        self.num_labels = check_int("num_labels", num_labels, 2, MAX_LABELS)
        self._multiplier = Multiplier(ENTROPY_BITS, PROBABILITY_BITS + 1, technology, a_signed=False)
        self._divider = FractionDivider(EXIT_SUM_BITS, PROBABILITY_FRACTION_BITS)
        super().__init__(
            {
                "clear": In(1),
                "start": In(1),
                "logits": In(data.ArrayLayout(signed(LOGIT_BITS), MAX_LABELS)),
                "busy": Out(1),
                "done": Out(1),
                "label": Out(LABEL_BITS),
                "probabilities": Out(data.ArrayLayout(unsigned(PROBABILITY_BITS), MAX_LABELS)),
                "entropy": Out(ENTROPY_BITS),
                "entropy_raw": Out(ENTROPY_BITS),
                "confidence": Out(PROBABILITY_BITS),
                "lead": Out(PROBABILITY_BITS),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from ``start`` to ``done``: the steps, those of a loop once per class, and the division."""
        cycles = [self._divider.latency if step.waits else 1 for step in STEPS]
        for i, step in enumerate(STEPS):
            if step.loop is not None:
                loop = slice(i - step.loop, i + 1)
                cycles[loop] = [self.num_labels * count for count in cycles[loop]]
        return 1 + sum(cycles)

    def elaborate(self, platform: object) -> Module:
        """The step at work is in a register, and with it all that it selects.

        Both steps that may follow are looked up by that register alone; which of them does, and whether
        one does at all, is known later in a cycle.
        """
        m = Module()
        m.submodules.divider = self._divider
        row = Signal(_ROW)
        index = Signal(range(len(STEPS)))
        turn = Signal(range(MAX_LABELS))
        """The class at work."""
        last_class = Signal()
        begin = Signal()
        wait = Signal()
        m.d.comb += [
            last_class.eq(turn == self.num_labels - 1),
            begin.eq(self.start & (self.clear | ~self.busy)),
            wait.eq(row.waits & ~self._divider.done),
        ]
        rows = [_ROW.const(constants) for constants in _rows()]
        around, onward = Signal(_ROW), Signal(_ROW)
        around_index = Signal.like(index)
        again = row.loop & ~last_class
        with m.Switch(index):
            for i, step in enumerate(STEPS):
                with m.Case(i):
                    back = i - (step.loop or 0)
                    m.d.comb += [around.eq(rows[back]), around_index.eq(back)]
                    m.d.comb += onward.eq(rows[(i + 1) % len(STEPS)])
        with m.If(~self.busy | self.clear):
            m.d.sync += [row.eq(rows[0]), index.eq(0)]
        with m.Elif(~wait):
            m.d.sync += [row.eq(Mux(again, around, onward)), index.eq(Mux(again, around_index, index + 1))]
        m.d.sync += self.done.eq(self.busy & row.last & ~self.clear)
        with m.If(begin):
            m.d.sync += [self.busy.eq(1), turn.eq(0)]
        with m.Elif(row.last | self.clear):
            m.d.sync += self.busy.eq(0)
        with m.If(self.busy & row.loop):
            m.d.sync += turn.eq(Mux(last_class, 0, turn + 1))
        with m.If(begin):
            m.d.sync += turn.eq(0)
        self._datapath(m, row, turn, begin)
        return m

    def _datapath(self, m: Module, row: data.View, turn: Signal, begin: Signal) -> None:
        """What each step does."""
        divider = self._divider
        classes = range(self.num_labels)
        logits = [Signal(signed(LOGIT_BITS), name=f"logit_{c}", reset_less=True) for c in classes]
        exponentials = [Signal(PROBABILITY_BITS, name=f"exponential_{c}", reset_less=True) for c in classes]
        best = Signal(signed(LOGIT_BITS), reset_less=True)
        distance = Signal(LOGIT_BITS, reset_less=True)
        exponential = Signal(PROBABILITY_BITS, reset_less=True)
        total = Signal(EXIT_SUM_BITS, reset_less=True)
        runner_up = Signal(PROBABILITY_BITS, reset_less=True)
        weighted = Signal(WEIGHTED_BITS, reset_less=True)
        fraction = Signal(LOG_FRACTION_BITS, reset_less=True)
        low = Signal(ROM_BITS, reset_less=True)
        slope = Signal(ROM_BITS, reset_less=True)
        weighted_nat = Signal(WEIGHTED_BITS - LOGIT_FRACTION_BITS + 1, reset_less=True)
        normalised = Signal(ENTROPY_BITS + 2, reset_less=True)

        m.submodules.rom = rom = Memory(shape=ROM_BITS, depth=ROM_WORDS, init=exit_rom())
        table = rom.read_port()
        # a block RAM answers late in its cycle: what was asked for arrives here two cycles later
        word = Signal(ROM_BITS, reset_less=True)
        m.d.sync += word.eq(table.data)
        log_index = fraction[LOG_REST_BITS:]
        with m.Switch(row.lookup):
            with m.Case(Lookup.COARSE):
                coarse = distance[EXP_FINE_BITS : EXP_FINE_BITS + LOG_INDEX_BITS]
                m.d.comb += table.addr.eq(ROM_COARSE + coarse)
            with m.Case(Lookup.FINE):
                m.d.comb += table.addr.eq(ROM_FINE + distance[:EXP_FINE_BITS])
            with m.Case(Lookup.LOG):
                m.d.comb += table.addr.eq(ROM_LOG + log_index)
            with m.Case(Lookup.LOG_ABOVE):
                m.d.comb += table.addr.eq(ROM_LOG + 1 + log_index)

        a = Signal(ENTROPY_BITS, reset_less=True)
        b = Signal(PROBABILITY_BITS, reset_less=True)
        product = Signal(ENTROPY_BITS + PROBABILITY_BITS)
        m.submodules.multiplier = multiplier = self._multiplier
        m.d.comb += [multiplier.a.eq(a), multiplier.b.eq(b), product.eq(multiplier.product)]
        with m.Switch(row.operand):
            with m.Case(Operand.A_WORD):
                m.d.sync += a.eq(word)
            with m.Case(Operand.B_WORD):
                m.d.sync += b.eq(word)
            with m.Case(Operand.DISTANCE_AND_QUOTIENT):
                m.d.sync += [a.eq(distance), b.eq(divider.quotient)]
            with m.Case(Operand.SLOPE_AND_REST):
                m.d.sync += [a.eq(word - low), b.eq(fraction[:LOG_REST_BITS])]
            with m.Case(Operand.ENTROPY_AND_FACTOR):
                m.d.sync += [a.eq(self.entropy_raw), b.eq(normalisation_factor(self.num_labels))]

        def product_rounded(shift: int) -> object:
            return (product + (1 << (shift - 1))) >> shift

        m.d.comb += [
            divider.part.eq(exponentials[0]),
            divider.whole.eq(total),
            divider.start.eq(self.busy & row.divide),
        ]
        with m.If(begin):
            m.d.sync += [logits[c].eq(self.logits[c]) for c in classes]
        with m.Elif(row.turn_logits):
            m.d.sync += [now.eq(then) for now, then in zip(logits, logits[1:] + logits[:1], strict=True)]
        with m.If(row.turn_exponentials):
            turned = [*exponentials[1:], exponential]
            m.d.sync += [now.eq(then) for now, then in zip(exponentials, turned, strict=True)]

        probabilities = Array(self.probabilities[c] for c in classes)
        with m.If(self.busy), m.Switch(row.result):
            with m.Case(Result.LARGEST):
                with m.If((turn == 0) | (logits[0] > best)):
                    m.d.sync += [best.eq(logits[0]), self.label.eq(turn)]
                m.d.sync += [total.eq(0), weighted.eq(0), runner_up.eq(0)]
            with m.Case(Result.DISTANCE):
                m.d.sync += distance.eq(best - logits[0])
            with m.Case(Result.EXPONENTIAL):
                rounded = product_rounded(PROBABILITY_FRACTION_BITS)
                m.d.sync += exponential.eq(Mux(distance < EXP_ZERO_FROM, rounded, 0))
            with m.Case(Result.TOTAL):
                m.d.sync += total.eq(total + exponential)
            with m.Case(Result.PROBABILITY), m.If(divider.done):
                m.d.sync += probabilities[turn].eq(divider.quotient)
                with m.If(turn == self.label):
                    m.d.sync += self.confidence.eq(divider.quotient)
                with m.Elif(divider.quotient > runner_up):
                    m.d.sync += runner_up.eq(divider.quotient)
            with m.Case(Result.WEIGHTED):
                m.d.sync += weighted.eq(weighted + product)
            with m.Case(Result.EXPONENT):
                # the leading one of S is at bit 16 + k; what lies below it, shifted up to 19 bits
                for k, logarithm in enumerate(log_exponent_table()):
                    with m.If(total >= (ONE << k)):  # a larger k, later in this list, wins
                        m.d.sync += [fraction.eq(total << (3 - k)), self.entropy_raw.eq(logarithm)]
                m.d.sync += self.lead.eq(self.confidence - runner_up)
            with m.Case(Result.LOW):
                m.d.sync += low.eq(word)
            with m.Case(Result.ADD_LOW):
                rounded = (weighted + (1 << (LOGIT_FRACTION_BITS - 1))) >> LOGIT_FRACTION_BITS
                m.d.sync += [self.entropy_raw.eq(self.entropy_raw + low), weighted_nat.eq(rounded)]
            with m.Case(Result.SLOPE):
                m.d.sync += slope.eq(product_rounded(LOG_REST_BITS))
            with m.Case(Result.ADD_SLOPE):
                m.d.sync += self.entropy_raw.eq(self.entropy_raw + slope)
            with m.Case(Result.ADD_WEIGHTED):
                m.d.sync += self.entropy_raw.eq(self.entropy_raw + weighted_nat)
            with m.Case(Result.NORMALISED):
                m.d.sync += normalised.eq(product_rounded(PROBABILITY_FRACTION_BITS))
            with m.Case(Result.ENTROPY):
                m.d.sync += self.entropy.eq(Mux(normalised > ONE, ONE, normalised))
