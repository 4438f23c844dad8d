"""The exit unit: an iteration's logits in; probabilities, entropy and "may this sentence leave?" out."""

from __future__ import annotations

from amaranth import Module, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden_model.config import MAX_LABELS
from golden_model.numerics import ENTROPY_BITS, LOGIT_BITS, PROBABILITY_BITS
from hw.interfaces import LABEL_BITS, MARGIN_BITS, PATIENCE_BITS, WINDOW_BITS, ExitMode
from hw.units.exit_arithmetic import ExitArithmetic
from hw.units.exit_decision import ExitDecision


class ExitUnit(wiring.Component):
    """Arithmetic, then decision, one iteration at a time.

    Golden functions: ``golden_model.integer.confidence.integer_confidence`` for the numbers,
    ``golden_model.exits.ExitState`` for the decision; equal to them bit for bit.

    Parameters
    ----------
    num_labels : int
        C, 2..8. Logits from C on are ignored, probabilities from C on are 0.
    technology : str
        Form of the multiplier.

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

    Latency: :attr:`latency` cycles from ``start`` to ``done``, whatever the values and the mode; 34 C + 35,
    so 103 for two classes. ``start`` may come again with ``done``.
    """

    def __init__(self, num_labels: int, technology: str = "generic") -> None:
        """Raises TypeError or ValueError: ``num_labels`` is no integer in 2..8, the technology unknown."""
        self.arithmetic = ExitArithmetic(num_labels, technology)
        self.decision = ExitDecision()
        self.num_labels = self.arithmetic.num_labels
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
        return self.arithmetic.latency + self.decision.latency

    def elaborate(self, platform: object) -> Module:
        """The decision begins with the arithmetic's ``done``."""
        m = Module()
        m.submodules.arithmetic = arithmetic = self.arithmetic
        m.submodules.decision = decision = self.decision
        busy = Signal()
        begin = Signal()
        last = Signal()
        m.d.comb += [
            busy.eq(arithmetic.busy | arithmetic.done | decision.busy),
            begin.eq(self.start & (self.clear | ~busy)),
            arithmetic.clear.eq(self.clear),
            arithmetic.start.eq(begin),
            arithmetic.logits.eq(self.logits),
            decision.clear.eq(self.clear),
            decision.start.eq(arithmetic.done),
            decision.last_iteration.eq(last),
            decision.policy.mode.eq(self.mode),
            decision.policy.delta.eq(self.delta),
            decision.policy.window.eq(self.window),
            decision.policy.margin.eq(self.margin),
            decision.policy.range.eq(self.range_),
            decision.policy.patience.eq(self.patience),
            self.done.eq(decision.done),
            self.exit.eq(decision.exit),
            self.probabilities.eq(arithmetic.probabilities),
        ]
        for name in ("label", "confidence", "entropy", "entropy_raw"):
            m.d.comb += [
                getattr(decision, name).eq(getattr(arithmetic, name)),
                getattr(self, name).eq(getattr(arithmetic, name)),
            ]
        m.d.comb += decision.lead.eq(arithmetic.lead)
        with m.If(begin):
            m.d.sync += last.eq(self.last_iteration)
        return m
