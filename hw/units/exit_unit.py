"""The exit unit: an iteration's logits in; probabilities, entropy and "may this sentence leave?" out."""

from __future__ import annotations

from amaranth import Array, Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, enum, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden_model.config import MAX_LABELS
from golden_model.exits import MAX_WINDOW, STREAK_LIMIT
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
from hw.arith.widths import bits_for_index
from hw.interfaces import LABEL_BITS, MARGIN_BITS, PATIENCE_BITS, WINDOW_BITS, ExitMode

WEIGHTED_BITS = 28
"""Width of sum p·d in 2^-26 nat. It is the entropy less ln S, at most 0.98 nat for eight classes; rounding
of the probabilities adds less than 0.002."""


class _State(enum.Enum, shape=5):  # type: ignore[call-arg]
    """What the unit does in a cycle, in the order of the work."""

    IDLE = 0
    # once per class: the largest logit
    FIND = 1
    # per class: e = coarse * fine, and their sum
    DISTANCE = 2
    COARSE = 3
    FINE = 4
    EXP_COARSE = 5
    EXP_FINE = 6
    EXP_MULTIPLY = 7
    EXP_ROUND = 8
    EXP_SUM = 9
    # per class: p = e / S, and the sum of p·d
    DIVIDE = 10
    DIVIDING = 11
    WEIGH_MULTIPLY = 12
    WEIGH_SUM = 13
    # once: ln S, raw and normalised entropy
    LOG_NORMALISE = 14
    LOG_LOW = 15
    LOG_HIGH = 16
    LOG_FETCHED = 17
    LOG_OPERANDS = 18
    LOG_MULTIPLY = 19
    LOG_ROUND = 20
    LOG_ADD = 21
    RAW = 22
    NORM_OPERANDS = 23
    NORM_MULTIPLY = 24
    NORM_ROUND = 25
    # once: history and decision
    REMEMBER = 26
    SCAN = 27
    SPAN = 28
    DECIDE = 29


_PER_CLASS = (
    _State.FIND,
    _State.DISTANCE,
    _State.COARSE,
    _State.FINE,
    _State.EXP_COARSE,
    _State.EXP_FINE,
    _State.EXP_MULTIPLY,
    _State.EXP_ROUND,
    _State.EXP_SUM,
    _State.DIVIDE,
    _State.WEIGH_MULTIPLY,
    _State.WEIGH_SUM,
)


class ExitUnit(wiring.Component):
    """Fixed-point softmax, entropy, confidence window and exit decision, one iteration at a time.

    Golden functions: ``golden_model.integer.confidence.integer_confidence`` for the numbers,
    ``golden_model.exits.ExitState`` for the decision; equal to them bit for bit.

    One 18 x 17 bit multiplier, one divider and one 1024-word table memory serve all steps in turn: the unit
    runs once per iteration, and its cycles are few against a layer's.

    Parameters
    ----------
    num_labels : int
        C, 2..8. Logits from C on are ignored, probabilities from C on are 0.

    Members
    -------
    clear : In(1)
        Start of a sentence: forgets the history and drops what runs. With ``start``, before it.
    start : In(1)
        Pulse: ``logits`` and ``last_iteration`` are taken. Ignored between a ``start`` and its ``done``.
    logits : In(ArrayLayout(signed(18), 8))
        2^-10 nat.
    mode : In(ExitMode)
        This and the next five hold still from ``start`` to ``done``. A code that is no ExitMode acts as NONE.
    delta : In(18)
        2^-16 of ln C, or of a nat in mode ENTROPY_RAW; 0 disables stage 1.
    window : In(5)
        N, 1..16. 0 is the registers' to refuse; from 17 on a window never fires.
    margin, range_ : In(17)
        m and r, 2^-16.
    patience : In(6)
        At most 31 is meaningful with 32 iterations.
    last_iteration : In(1)
        Answer in any case.
    done : Out(1)
        Pulse. The outputs below hold from ``done`` to the next ``start``.
    exit : Out(1)
        The sentence leaves.
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

    Latency: :attr:`latency` cycles from ``start`` to ``done``, whatever the values and the mode; 32 C + 33,
    so 97 for two classes. ``start`` may come again with ``done``.
    """

    def __init__(self, num_labels: int) -> None:
        """Raises TypeError or ValueError when ``num_labels`` is no integer in 2..8."""
        self.num_labels = check_int("num_labels", num_labels, 2, MAX_LABELS)
        self._divider = FractionDivider(EXIT_SUM_BITS, PROBABILITY_FRACTION_BITS)
        super().__init__(
            {
                "clear": In(1),
                "start": In(1),
                "logits": In(data.ArrayLayout(signed(LOGIT_BITS), MAX_LABELS)),
                "mode": In(ExitMode),
                "delta": In(ENTROPY_BITS),
                "window": In(WINDOW_BITS),
                "margin": In(MARGIN_BITS),
                "range_": In(MARGIN_BITS),
                "patience": In(PATIENCE_BITS),
                "last_iteration": In(1),
                "done": Out(1),
                "exit": Out(1),
                "label": Out(LABEL_BITS),
                "probabilities": Out(data.ArrayLayout(unsigned(PROBABILITY_BITS), MAX_LABELS)),
                "entropy": Out(ENTROPY_BITS),
                "entropy_raw": Out(ENTROPY_BITS),
                "confidence": Out(PROBABILITY_BITS),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from ``start`` to ``done``."""
        scan = MAX_WINDOW + 1
        once = len(set(_State) - set(_PER_CLASS) - {_State.IDLE, _State.DIVIDING, _State.SCAN})
        per_class = len(_PER_CLASS) + self._divider.latency
        return self.num_labels * per_class + once + scan + 1

    def elaborate(self, platform: object) -> Module:
        """A state machine over shared arithmetic; see ``_State`` for the order of the work."""
        m = Module()
        last_class = self.num_labels - 1

        m.submodules.divider = divider = self._divider
        m.submodules.rom = rom = Memory(shape=ROM_BITS, depth=ROM_WORDS, init=exit_rom())
        m.submodules.history = history = Memory(shape=PROBABILITY_BITS, depth=MAX_WINDOW, init=[])
        table = rom.read_port()
        history_write = history.write_port()
        history_read = history.read_port(domain="comb")

        state = Signal(_State)
        index = Signal(range(MAX_LABELS))
        last = Signal()

        # the iteration's numbers
        # both queues turn by one per class, so that the class at work is always first
        logits = [
            Signal(signed(LOGIT_BITS), name=f"logit_{c}", reset_less=True) for c in range(self.num_labels)
        ]
        exponentials = [
            Signal(PROBABILITY_BITS, name=f"exponential_{c}", reset_less=True) for c in range(self.num_labels)
        ]
        probabilities = Array(self.probabilities[c] for c in range(self.num_labels))
        best = Signal(signed(LOGIT_BITS), reset_less=True)
        distance = Signal(LOGIT_BITS, reset_less=True)
        exponential = Signal(PROBABILITY_BITS, reset_less=True)
        total = Signal(EXIT_SUM_BITS, reset_less=True)
        runner_up = Signal(PROBABILITY_BITS, reset_less=True)
        lead = Signal(PROBABILITY_BITS, reset_less=True)
        weighted = Signal(WEIGHTED_BITS, reset_less=True)
        fraction = Signal(LOG_FRACTION_BITS, reset_less=True)
        low = Signal(ROM_BITS, reset_less=True)
        step = Signal(ROM_BITS, reset_less=True)
        weighted_nat = Signal(WEIGHTED_BITS - LOGIT_FRACTION_BITS + 1, reset_less=True)

        # the one multiplier
        a = Signal(ENTROPY_BITS, reset_less=True)
        b = Signal(PROBABILITY_BITS, reset_less=True)
        product = Signal(ENTROPY_BITS + PROBABILITY_BITS, reset_less=True)
        m.d.sync += product.eq(a * b)

        # a block RAM answers late in its cycle: what was asked for arrives here two cycles later
        word = Signal(ROM_BITS, reset_less=True)
        m.d.sync += word.eq(table.data)

        def product_rounded(shift: int) -> object:
            return (product + (1 << (shift - 1))) >> shift

        # the sentence's memory
        seen = Signal()
        agree = Signal(range(STREAK_LIMIT + 1))
        margin_streak = Signal(range(STREAK_LIMIT + 1))
        rising = Signal(range(STREAK_LIMIT + 1))
        past_label = Signal(LABEL_BITS, reset_less=True)
        past_top = Signal(PROBABILITY_BITS, reset_less=True)
        beyond = Signal(MAX_WINDOW, reset_less=True)
        newest = Signal(range(MAX_WINDOW), reset_less=True)

        # the scan over the window
        age = Signal(range(MAX_WINDOW + 1), reset_less=True)
        past = Signal(PROBABILITY_BITS, reset_less=True)
        past_counts = Signal()
        highest = Signal(PROBABILITY_BITS, reset_less=True)
        lowest = Signal(PROBABILITY_BITS, reset_less=True)
        span = Signal(PROBABILITY_BITS, reset_less=True)
        confident = Signal()

        at_last_class = index == last_class
        turn_logits = [now.eq(then) for now, then in zip(logits, logits[1:] + logits[:1], strict=True)]
        turn_exponentials = [
            now.eq(then) for now, then in zip(exponentials, [*exponentials[1:], exponential], strict=True)
        ]
        next_class = index.eq(Mux(at_last_class, 0, index + 1))
        log_index = fraction[LOG_REST_BITS:]
        coarse_index = distance[EXP_FINE_BITS : EXP_FINE_BITS + LOG_INDEX_BITS]

        m.d.comb += [
            divider.part.eq(exponentials[0]),
            divider.whole.eq(total),
            divider.start.eq(state == _State.DIVIDE),
            history_write.addr.eq(newest),
            history_write.data.eq(self.confidence),
            history_write.en.eq(state == _State.REMEMBER),
            history_read.addr.eq(newest),
        ]

        m.d.sync += self.done.eq(0)
        with m.Switch(state):
            with m.Case(_State.FIND):
                with m.If((index == 0) | (logits[0] > best)):
                    m.d.sync += [best.eq(logits[0]), self.label.eq(index)]
                m.d.sync += [*turn_logits, next_class, total.eq(0), weighted.eq(0), runner_up.eq(0)]
                with m.If(at_last_class):
                    m.d.sync += state.eq(_State.DISTANCE)

            with m.Case(_State.DISTANCE):
                m.d.sync += [distance.eq(best - logits[0]), *turn_logits, state.eq(_State.COARSE)]
            with m.Case(_State.COARSE):
                m.d.comb += table.addr.eq(ROM_COARSE + coarse_index)
                m.d.sync += state.eq(_State.FINE)
            with m.Case(_State.FINE):
                m.d.comb += table.addr.eq(ROM_FINE + distance[:EXP_FINE_BITS])
                m.d.sync += state.eq(_State.EXP_COARSE)
            with m.Case(_State.EXP_COARSE):
                m.d.sync += [a.eq(word), state.eq(_State.EXP_FINE)]
            with m.Case(_State.EXP_FINE):
                m.d.sync += [b.eq(word), state.eq(_State.EXP_MULTIPLY)]
            with m.Case(_State.EXP_MULTIPLY):
                m.d.sync += state.eq(_State.EXP_ROUND)
            with m.Case(_State.EXP_ROUND):
                m.d.sync += [
                    exponential.eq(
                        Mux(distance < EXP_ZERO_FROM, product_rounded(PROBABILITY_FRACTION_BITS), 0)
                    ),
                    state.eq(_State.EXP_SUM),
                ]
            with m.Case(_State.EXP_SUM):
                m.d.sync += [
                    *turn_exponentials,
                    total.eq(total + exponential),
                    next_class,
                    state.eq(Mux(at_last_class, _State.DIVIDE, _State.DISTANCE)),
                ]

            with m.Case(_State.DIVIDE):
                m.d.sync += [
                    distance.eq(best - logits[0]),
                    *turn_logits,
                    *turn_exponentials,
                    state.eq(_State.DIVIDING),
                ]
            with m.Case(_State.DIVIDING):
                m.d.sync += [a.eq(distance), b.eq(divider.quotient)]
                with m.If(divider.done):
                    m.d.sync += [
                        probabilities[index].eq(divider.quotient),
                        state.eq(_State.WEIGH_MULTIPLY),
                    ]
                    with m.If(index == self.label):
                        m.d.sync += self.confidence.eq(divider.quotient)
                    with m.Elif(divider.quotient > runner_up):
                        m.d.sync += runner_up.eq(divider.quotient)
            with m.Case(_State.WEIGH_MULTIPLY):
                m.d.sync += state.eq(_State.WEIGH_SUM)
            with m.Case(_State.WEIGH_SUM):
                m.d.sync += [
                    weighted.eq(weighted + product),
                    next_class,
                    state.eq(Mux(at_last_class, _State.LOG_NORMALISE, _State.DIVIDE)),
                ]

            with m.Case(_State.LOG_NORMALISE):
                # the leading one of S is at bit 16 + k; what lies below it, shifted up to 19 bits
                for k, logarithm in enumerate(log_exponent_table()):
                    with m.If(total >= (ONE << k)):  # a larger k, later in this list, wins
                        m.d.sync += [fraction.eq(total << (3 - k)), self.entropy_raw.eq(logarithm)]
                m.d.sync += [lead.eq(self.confidence - runner_up), state.eq(_State.LOG_LOW)]
            with m.Case(_State.LOG_LOW):
                m.d.comb += table.addr.eq(ROM_LOG + log_index)
                m.d.sync += state.eq(_State.LOG_HIGH)
            with m.Case(_State.LOG_HIGH):
                m.d.comb += table.addr.eq(ROM_LOG + 1 + log_index)
                m.d.sync += state.eq(_State.LOG_FETCHED)
            with m.Case(_State.LOG_FETCHED):
                m.d.sync += [low.eq(word), state.eq(_State.LOG_OPERANDS)]
            with m.Case(_State.LOG_OPERANDS):
                m.d.sync += [
                    a.eq(word - low),
                    b.eq(fraction[:LOG_REST_BITS]),
                    state.eq(_State.LOG_MULTIPLY),
                ]
            with m.Case(_State.LOG_MULTIPLY):
                m.d.sync += [
                    self.entropy_raw.eq(self.entropy_raw + low),
                    weighted_nat.eq((weighted + (1 << (LOGIT_FRACTION_BITS - 1))) >> LOGIT_FRACTION_BITS),
                    state.eq(_State.LOG_ROUND),
                ]
            with m.Case(_State.LOG_ROUND):
                m.d.sync += [step.eq(product_rounded(LOG_REST_BITS)), state.eq(_State.LOG_ADD)]
            with m.Case(_State.LOG_ADD):
                m.d.sync += [self.entropy_raw.eq(self.entropy_raw + step), state.eq(_State.RAW)]
            with m.Case(_State.RAW):
                m.d.sync += [
                    self.entropy_raw.eq(self.entropy_raw + weighted_nat),
                    state.eq(_State.NORM_OPERANDS),
                ]
            with m.Case(_State.NORM_OPERANDS):
                m.d.sync += [
                    a.eq(self.entropy_raw),
                    b.eq(normalisation_factor(self.num_labels)),
                    state.eq(_State.NORM_MULTIPLY),
                ]
            with m.Case(_State.NORM_MULTIPLY):
                m.d.sync += state.eq(_State.NORM_ROUND)
            with m.Case(_State.NORM_ROUND):
                normalised = Signal(ENTROPY_BITS + 2)
                m.d.comb += normalised.eq(product_rounded(PROBABILITY_FRACTION_BITS))
                m.d.sync += [
                    self.entropy.eq(Mux(normalised > ONE, ONE, normalised)),
                    state.eq(_State.REMEMBER),
                ]

            with m.Case(_State.REMEMBER):
                same = seen & (self.label == past_label)
                is_beyond = lead > (self.margin << 1)

                def extended(streak: Signal, goes_on: object) -> object:
                    return Mux(goes_on, Mux(streak == STREAK_LIMIT, STREAK_LIMIT, streak + 1), 1)

                m.d.sync += [
                    seen.eq(1),
                    past_label.eq(self.label),
                    past_top.eq(self.confidence),
                    agree.eq(extended(agree, same)),
                    margin_streak.eq(Mux(is_beyond, extended(margin_streak, same), 0)),
                    rising.eq(extended(rising, same & (self.confidence >= past_top))),
                    beyond.eq(Cat(is_beyond, beyond[:-1])),
                    age.eq(0),
                    highest.eq(self.confidence),
                    lowest.eq(self.confidence),
                    state.eq(_State.SCAN),
                ]
            with m.Case(_State.SCAN):
                # ``newest`` walks back once around the history and ends one further. Entries older than the
                # sentence are read too; then no streak is as long as the window.
                m.d.sync += [
                    past.eq(history_read.data),
                    past_counts.eq(age < self.window),
                    age.eq(age + 1),
                    newest.eq(newest - 1),
                ]
                with m.If(past_counts & (past > highest)):
                    m.d.sync += highest.eq(past)
                with m.If(past_counts & (past < lowest)):
                    m.d.sync += lowest.eq(past)
                with m.If(age == MAX_WINDOW):
                    m.d.sync += [past_counts.eq(0), newest.eq(newest + 1), state.eq(_State.SPAN)]
            with m.Case(_State.SPAN):
                uncertainty = Mux(self.mode == ExitMode.ENTROPY_RAW, self.entropy_raw, self.entropy)
                m.d.sync += [
                    span.eq(highest - lowest),
                    confident.eq(uncertainty < self.delta),
                    state.eq(_State.DECIDE),
                ]
            with m.Case(_State.DECIDE):
                settled = Signal()
                with m.Switch(self.mode):
                    with m.Case(ExitMode.ENTROPY, ExitMode.ENTROPY_RAW):
                        m.d.comb += settled.eq(confident)
                    with m.Case(ExitMode.PATIENCE):
                        m.d.comb += settled.eq(agree > self.patience)
                    with m.Case(ExitMode.BIAS_1):
                        m.d.comb += settled.eq(confident | (margin_streak >= self.window))
                    with m.Case(ExitMode.BIAS_2):
                        oldest_beyond = beyond.bit_select((self.window - 1)[: bits_for_index(MAX_WINDOW)], 1)
                        m.d.comb += settled.eq(confident | ((rising >= self.window) & oldest_beyond))
                    with m.Case(ExitMode.BIAS_3):
                        steady = (margin_streak >= self.window) & (span <= self.range_)
                        m.d.comb += settled.eq(confident | steady)
                m.d.sync += [self.exit.eq(settled | last), self.done.eq(1), state.eq(_State.IDLE)]

        with m.If(self.clear):
            m.d.sync += [
                seen.eq(0),
                past_counts.eq(0),
                agree.eq(0),
                margin_streak.eq(0),
                rising.eq(0),
                self.done.eq(0),
                state.eq(_State.IDLE),
            ]
        with m.If(self.start & (self.clear | (state == _State.IDLE))):
            m.d.sync += [
                *(logits[c].eq(self.logits[c]) for c in range(self.num_labels)),
                last.eq(self.last_iteration),
                index.eq(0),
                state.eq(_State.FIND),
            ]
        return m
