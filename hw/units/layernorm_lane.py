"""One lane of LayerNorm's normalising pass."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden_model.numerics import (
    GAMMA_BITS,
    HIDDEN_MAX,
    NORM_BITS,
    NORM_FRACTION_BITS,
    OFFSET_BITS,
    OPERAND_MAX,
    RESIDUAL_BITS,
    RSQRT_BITS,
    SHIFT_BITS,
)
from hw.arith.addition import adder_tree, tree_levels
from hw.arith.check import check_technology
from hw.arith.constant import constant_products, signed_digits
from hw.arith.delay import delay
from hw.arith.multiplier import Multiplier
from hw.arith.rounding import RoundShift, saturate
from hw.units.layernorm_rows import row_layout

OUTPUT_BITS = 16
"""Holds ±HIDDEN_MAX."""


class NormalizeLane(wiring.Component):
    """result = saturate(round_half_up((n·gamma + beta) / 2^shift)), n from y, S1, e and R.

    Golden: ``golden_model.integer.ops.layernorm.normalize`` and ``layernorm``.

    Parameters
    ----------
    sizes : tuple of int
        Legal numbers of features N.
    technology : str
        Form of the two multipliers.

    Members
    -------
    size_select : In(range(len(sizes)))
        Index of N; with ``y``.
    y : In(signed(18))
    s1 : In(signed)
        The row's S1; with ``y``.
    exponent, root : In(5), In(16)
        The row's e and R; ``exponent_at`` and ``root_at`` cycles after ``y``.
    gamma, beta, shift : In(signed(16)), In(signed(32)), In(6)
        The feature's parameters; ``gamma_at``, ``beta_at`` and ``shift_at`` cycles after ``y``.
    to_operand : In(1)
        Saturate to ±127 instead of ±32639; ``latency`` - 1 cycles after ``y``.
    result : Out(signed(16))
        ``latency`` cycles after ``y``.

    One value per cycle.
    """

    def __init__(self, sizes: tuple[int, ...], technology: str = "generic"):
        self._sizes = tuple(sizes)
        self._technology = check_technology(technology)
        row = row_layout(max(sizes))
        super().__init__(
            {
                "size_select": In(range(len(sizes))),
                "y": In(signed(RESIDUAL_BITS)),
                "s1": In(row["s1"].shape),
                "exponent": In(row["exponent"].shape),
                "root": In(RSQRT_BITS),
                "gamma": In(signed(GAMMA_BITS)),
                "beta": In(signed(OFFSET_BITS)),
                "shift": In(SHIFT_BITS),
                "to_operand": In(1),
                "result": Out(signed(OUTPUT_BITS)),
            }
        )

    @property
    def exponent_at(self) -> int:
        """Cycles from ``y`` to its ``exponent``: the addends of d = N·y - S1, their sum."""
        return 1 + tree_levels(max(len(signed_digits(n)) for n in self._sizes) + 1)

    @property
    def root_at(self) -> int:
        """Cycles from ``y`` to its ``root``: t = saturate18(round_half_up(d·2^11 / 2^e))."""
        return self.exponent_at + RoundShift.LATENCY

    @property
    def gamma_at(self) -> int:
        """Cycles from ``y`` to its ``gamma``: n = round_half_up(t·R / 2^16)."""
        return self.root_at + Multiplier.LATENCY + 1

    @property
    def beta_at(self) -> int:
        """Cycles from ``y`` to its ``beta``: n·gamma."""
        return self.gamma_at + Multiplier.LATENCY

    @property
    def shift_at(self) -> int:
        """Cycles from ``y`` to its ``shift``: n·gamma + beta."""
        return self.beta_at + 1

    @property
    def latency(self) -> int:
        """Cycles from ``y`` to ``result``."""
        return self.shift_at + RoundShift.LATENCY + 1

    def elaborate(self, platform):
        m = Module()
        features = max(self._sizes)
        deviation_shape = signed((2 * features << (RESIDUAL_BITS - 1)).bit_length() + 1)
        # A negative addend is a carry chain of its own.
        addends = [
            delay(m, addend, 1, f"addend_{i}")
            for i, addend in enumerate([*constant_products(self.y, self._sizes, self.size_select), -self.s1])
        ]
        deviation = adder_tree(m, addends, deviation_shape, "deviation")

        fraction = Const(0, NORM_FRACTION_BITS)
        m.submodules.scale = scale = RoundShift(
            deviation_shape.width + NORM_FRACTION_BITS, len(self.exponent), NORM_BITS
        )
        m.d.comb += [scale.value.eq(Cat(fraction, deviation)), scale.shift.eq(self.exponent)]

        m.submodules.by_root = by_root = Multiplier(NORM_BITS, RSQRT_BITS + 1, self._technology)
        normal = Signal(signed(NORM_BITS), reset_less=True)
        m.d.comb += [by_root.a.eq(scale.result), by_root.b.eq(self.root)]
        m.d.sync += normal.eq((by_root.product >> RSQRT_BITS) + by_root.product[RSQRT_BITS - 1])

        m.submodules.by_gamma = by_gamma = Multiplier(NORM_BITS, GAMMA_BITS, self._technology)
        total = Signal(signed(NORM_BITS + GAMMA_BITS + 1), reset_less=True)
        m.d.comb += [by_gamma.a.eq(normal), by_gamma.b.eq(self.gamma)]
        m.d.sync += total.eq(by_gamma.product + self.beta)

        m.submodules.unscale = unscale = RoundShift(len(total), SHIFT_BITS, RESIDUAL_BITS)
        m.d.comb += [unscale.value.eq(total), unscale.shift.eq(self.shift)]
        result = Signal(signed(OUTPUT_BITS), reset_less=True)
        m.d.sync += result.eq(
            Mux(
                self.to_operand,
                saturate(unscale.result, -OPERAND_MAX, OPERAND_MAX),
                saturate(unscale.result, -HIDDEN_MAX, HIDDEN_MAX),
            )
        )
        m.d.comb += self.result.eq(result)
        return m
