"""The exit unit's decision: may this sentence leave? History, streaks, window, policy."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden_model.exits import MAX_WINDOW, STREAK_LIMIT
from golden_model.numerics import ENTROPY_BITS, PROBABILITY_BITS
from hw.arith.widths import bits_for_index
from hw.interfaces import LABEL_BITS, MARGIN_BITS, PATIENCE_BITS, WINDOW_BITS, ExitMode

POLICY = data.StructLayout(
    {
        "mode": ExitMode,
        "delta": ENTROPY_BITS,
        "window": WINDOW_BITS,
        "margin": MARGIN_BITS,
        "range": MARGIN_BITS,
        "patience": PATIENCE_BITS,
    }
)
"""Which policy, and its thresholds; units as in `hw.units.exit_unit.ExitUnit`."""

SCAN = MAX_WINDOW + 1
"""Cycles of the walk around the history: an entry a cycle, one to compare the last."""


class ExitDecision(wiring.Component):
    """Takes an iteration's numbers into the sentence's history and decides.

    Golden function: ``golden_model.exits.ExitState.step``, equal bit for bit.

    Members
    -------
    clear : In(1)
        Start of a sentence: forgets the history and drops what runs.
    start : In(1)
        Pulse. The next six hold still from ``start`` to ``done``.
    label, confidence, lead, entropy, entropy_raw : In
        Of the iteration, as `hw.units.exit_arithmetic.ExitArithmetic` has them.
    policy : In(POLICY)
        A mode that is no ExitMode acts as NONE; a window from 17 on never fires.
    last_iteration : In(1)
        Answer in any case; taken at ``done``.
    busy : Out(1)
    done : Out(1)
        Pulse.
    exit : Out(1)
        The sentence leaves. Holds from ``done`` to the next.

    Latency: :attr:`latency` cycles from ``start`` to ``done``, whatever the values: 20. ``start`` may come
    again with ``done``.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "clear": In(1),
                "start": In(1),
                "label": In(LABEL_BITS),
                "confidence": In(PROBABILITY_BITS),
                "lead": In(PROBABILITY_BITS),
                "entropy": In(ENTROPY_BITS),
                "entropy_raw": In(ENTROPY_BITS),
                "policy": In(POLICY),
                "last_iteration": In(1),
                "busy": Out(1),
                "done": Out(1),
                "exit": Out(1),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from ``start`` to ``done``: into the history, the walk, its span, the decision."""
        return 1 + SCAN + 1 + 1

    def elaborate(self, platform: object) -> Module:
        """Remember, walk around the history, decide."""
        m = Module()
        streaks = {name: Signal(range(STREAK_LIMIT + 1), name=name) for name in ("agree", "margin", "rising")}
        beyond = Signal(MAX_WINDOW, reset_less=True)
        span = Signal(PROBABILITY_BITS, reset_less=True)
        confident = Signal()
        seen = Signal()
        remember = Signal()
        scan = Signal()
        scanned = Signal()
        m.d.sync += self.done.eq(0)
        with m.FSM(name="decision"):
            with m.State("IDLE"), m.If(self.start & ~self.clear):
                m.d.comb += remember.eq(1)
                m.next = "SCAN"
            with m.State("SCAN"):
                m.d.comb += [self.busy.eq(1), scan.eq(1)]
                with m.If(self.clear):
                    m.next = "IDLE"
                with m.Elif(scanned):
                    m.next = "SPAN"
            with m.State("SPAN"):
                raw = self.policy.mode == ExitMode.ENTROPY_RAW
                m.d.comb += self.busy.eq(1)
                m.d.sync += confident.eq(Mux(raw, self.entropy_raw, self.entropy) < self.policy.delta)
                m.next = "DECIDE"
                with m.If(self.clear):
                    m.next = "IDLE"
            with m.State("DECIDE"):
                settled = self._settled(m, streaks, beyond, span, confident)
                m.d.comb += self.busy.eq(1)
                m.d.sync += [self.exit.eq(settled | self.last_iteration), self.done.eq(~self.clear)]
                m.next = "IDLE"
        self._remember(m, remember, seen, streaks, beyond)
        self._scan(m, remember, scan, scanned, span)
        with m.If(self.clear):
            m.d.sync += [seen.eq(0), *(streak.eq(0) for streak in streaks.values())]
        return m

    def _remember(
        self, m: Module, remember: Signal, seen: Signal, streaks: dict[str, Signal], beyond: Signal
    ) -> None:
        """Streaks go on or begin anew."""
        past_label = Signal(LABEL_BITS, reset_less=True)
        past_top = Signal(PROBABILITY_BITS, reset_less=True)
        same = seen & (self.label == past_label)
        is_beyond = self.lead > (self.policy.margin << 1)

        def extended(streak: Signal, goes_on: Value) -> Value:
            return Mux(goes_on, Mux(streak == STREAK_LIMIT, STREAK_LIMIT, streak + 1), 1)

        with m.If(remember):
            m.d.sync += [
                seen.eq(1),
                past_label.eq(self.label),
                past_top.eq(self.confidence),
                streaks["agree"].eq(extended(streaks["agree"], same)),
                streaks["margin"].eq(Mux(is_beyond, extended(streaks["margin"], same), 0)),
                streaks["rising"].eq(extended(streaks["rising"], same & (self.confidence >= past_top))),
                beyond.eq(Cat(is_beyond, beyond[:-1])),
            ]

    def _scan(self, m: Module, remember: Signal, scan: Signal, scanned: Signal, span: Signal) -> None:
        """The spread of the top probabilities within the window."""
        m.submodules.history = history = Memory(shape=PROBABILITY_BITS, depth=MAX_WINDOW, init=[])
        write, read = history.write_port(), history.read_port(domain="comb")
        newest = Signal(range(MAX_WINDOW), reset_less=True)
        age = Signal(range(MAX_WINDOW + 1), reset_less=True)
        past = Signal(PROBABILITY_BITS, reset_less=True)
        past_counts = Signal()
        highest = Signal(PROBABILITY_BITS, reset_less=True)
        lowest = Signal(PROBABILITY_BITS, reset_less=True)
        m.d.comb += [
            write.addr.eq(newest),
            write.data.eq(self.confidence),
            write.en.eq(remember),
            read.addr.eq(newest),
            scanned.eq(age == MAX_WINDOW),
        ]
        m.d.sync += span.eq(highest - lowest)
        with m.If(remember):
            m.d.sync += [
                age.eq(0),
                past_counts.eq(0),
                highest.eq(self.confidence),
                lowest.eq(self.confidence),
            ]
        with m.Elif(scan):
            # ``newest`` walks back once around the history and ends one further. Entries older than the
            # sentence are read too; then no streak is as long as the window.
            m.d.sync += [
                past.eq(read.data),
                past_counts.eq(age < self.policy.window),
                age.eq(age + 1),
                newest.eq(newest - 1),
            ]
            with m.If(past_counts & (past > highest)):
                m.d.sync += highest.eq(past)
            with m.If(past_counts & (past < lowest)):
                m.d.sync += lowest.eq(past)
            with m.If(scanned):
                m.d.sync += newest.eq(newest + 1)

    def _settled(
        self, m: Module, streaks: dict[str, Signal], beyond: Signal, span: Signal, confident: Signal
    ) -> Signal:
        """What the policy says."""
        policy = self.policy
        settled = Signal()
        with m.Switch(policy.mode):
            with m.Case(ExitMode.ENTROPY, ExitMode.ENTROPY_RAW):
                m.d.comb += settled.eq(confident)
            with m.Case(ExitMode.PATIENCE):
                m.d.comb += settled.eq(streaks["agree"] > policy.patience)
            with m.Case(ExitMode.BIAS_1):
                m.d.comb += settled.eq(confident | (streaks["margin"] >= policy.window))
            with m.Case(ExitMode.BIAS_2):
                oldest_beyond = beyond.bit_select((policy.window - 1)[: bits_for_index(MAX_WINDOW)], 1)
                m.d.comb += settled.eq(confident | ((streaks["rising"] >= policy.window) & oldest_beyond))
            with m.Case(ExitMode.BIAS_3):
                steady = (streaks["margin"] >= policy.window) & (span <= policy.range)
                m.d.comb += settled.eq(confident | steady)
        return settled
