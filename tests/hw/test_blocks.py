"""The arithmetic blocks' arguments, latencies and the parts that no bench of sim/ drives alone."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from amaranth.hdl import Module, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from golden_model.integer.ops.fixed import round_shift
from golden_model.integer.ops.fixed import saturate_signed as golden_saturate_signed
from golden_model.integer.ops.layernorm import reciprocal_sqrt
from golden_model.numerics import RSQRT_BITS, RSQRT_MANTISSA_BITS
from hw.arith.addition import adder_tree, tree_levels
from hw.arith.constant import constant_products, signed_digits
from hw.arith.integer_divider import IntegerDivider
from hw.arith.multiplier import Multiplier, WideMultiplier
from hw.arith.requantizer import Requantizer
from hw.arith.rounding import RoundShift, saturate, saturate_signed
from hw.units.activation_table import ActivationTable
from hw.units.layernorm import LayerNorm
from hw.units.layernorm_rows import ROOT_REST_BITS
from hw.units.softmax import Softmax


def simulate(component: Any, process: Any) -> None:
    """Runs the testbench ``process(ctx)`` on a clocked component."""
    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(process)
    simulator.run()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Multiplier(19, 8), r"a_width 19 is outside 2\.\.18"),
        (lambda: Multiplier(8, 1), r"b_width 1 is outside 2\.\.18"),
        (lambda: Multiplier(8, 8, "intel"), "technology 'intel' is not one of generic, ecp5, xilinx"),
        (lambda: WideMultiplier("vhdl"), "technology 'vhdl'"),
        (lambda: Requantizer("vhdl"), "technology 'vhdl'"),
        (lambda: RoundShift(65, 6, 18), r"in_width 65 is outside 2\.\.64"),
        (lambda: RoundShift(45, 7, 18), r"shift_width 7 is outside 1\.\.6"),
        (lambda: RoundShift(16, 6, 18), r"out_width 18 is outside 2\.\.16"),
        (lambda: saturate(Signal(signed(8)), 5, 4), "low 5 is above high 4"),
        (lambda: IntegerDivider(0, 8), r"dividend_width 0 is outside 1\.\.64"),
        (lambda: IntegerDivider(8, 8, 9), r"quotient_width 9 is outside 1\.\.8"),
        (lambda: ActivationTable(0), r"lanes 0 is outside 1\.\.64"),
        (lambda: Softmax(65, 16), r"lanes 65 is outside 1\.\.64"),
        (lambda: Softmax(4, 513), r"max_keys 513 is outside 1\.\.512"),
        (lambda: LayerNorm(4, (), 4), "sizes is empty"),
        (lambda: LayerNorm(4, (32, 1025), 4), r"sizes\[1\] 1025 is outside 2\.\.1024"),
        (lambda: LayerNorm(4, (32,), 0), r"max_blocks 0 is outside 1\.\.512"),
        (lambda: LayerNorm(4, (32,), 4, 3), "normalize_lanes 3 does not divide lanes 4"),
        (lambda: LayerNorm(4, (32,), 4, 8), r"normalize_lanes 8 is outside 1\.\.4"),
        (lambda: signed_digits(0), "constant 0 is below 1"),
    ],
)
def test_a_bad_value_is_named(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Multiplier(8.0, 8), r"a_width must be an int, not 8\.0"),  # type: ignore[arg-type]
        (lambda: Softmax("4", 16), "lanes must be an int, not '4'"),  # type: ignore[arg-type]
        (lambda: Softmax(True, 16), "lanes must be an int, not True"),
        (lambda: saturate_signed(Signal(8), 4), "value must be signed"),
    ],
)
def test_a_bad_type_is_named(build: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        build()


def test_latencies() -> None:
    """What the engine aligns to; the benches of sim/ measure the same properties."""
    assert Multiplier.LATENCY == 2
    assert {Multiplier(18, 18, t).latency for t in ("generic", "ecp5", "xilinx")} == {2}
    assert (WideMultiplier().latency, WideMultiplier(high_in_logic=True).latency) == (3, 4)
    assert (Requantizer().latency, Requantizer(high_in_logic=True).latency) == (8, 9)
    assert ActivationTable(1).latency == 1
    assert IntegerDivider(32, 17, 16).latency == 17
    full, half, one = (LayerNorm(4, (384,), 4, lanes) for lanes in (4, 2, 1))
    assert [b.cycles_per_feature for b in (full, half, one)] == [1, 2, 4]
    assert full.read_to_write_latency == half.read_to_write_latency - 1 == one.read_to_write_latency - 3 == 19
    # 384 = 512 - 128 and S1: three addends. 59 = 64 - 4 - 1 and S1: four. 16 and S1: two.
    assert LayerNorm(4, (59,), 4).read_to_write_latency == 19
    assert LayerNorm(4, (16,), 4).read_to_write_latency == 18


@pytest.mark.parametrize(
    ("in_width", "shift_width", "out_width"), [(6, 3, 4), (6, 4, 6), (5, 1, 2), (7, 2, 3)]
)
def test_round_shift_is_exhaustively_the_golden_one(in_width: int, shift_width: int, out_width: int) -> None:
    block = RoundShift(in_width, shift_width, out_width)
    half = 1 << (in_width - 1)
    cases = list(itertools.product(range(-half, half), range(1 << shift_width)))
    table = torch.tensor(cases)
    expected = golden_saturate_signed(round_shift(table[:, 0], table[:, 1]), out_width).tolist()
    got = []

    async def process(ctx: Any) -> None:
        for i in range(len(cases) + block.latency):
            if i < len(cases):
                ctx.set(block.value, cases[i][0])
                ctx.set(block.shift, cases[i][1])
            if i >= block.latency:
                got.append(ctx.get(block.result))
            await ctx.tick()

    simulate(block, process)
    assert got == expected


class Clamps(wiring.Component):
    """The combinational clamps on one value."""

    def __init__(self) -> None:
        super().__init__(
            {
                "value": In(signed(7)),
                "narrow": Out(signed(4)),
                "same": Out(signed(9)),
                "symmetric": Out(signed(7)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.d.sync += Signal().eq(0)
        m.d.comb += [
            self.narrow.eq(saturate_signed(self.value, 4)),
            self.same.eq(saturate_signed(self.value, 9)),
            self.symmetric.eq(saturate(self.value, -11, 11)),
        ]
        return m


def test_clamps_are_exhaustively_the_golden_ones() -> None:
    block = Clamps()

    async def process(ctx: Any) -> None:
        for value in range(-64, 64):
            ctx.set(block.value, value)
            await ctx.delay(1e-9)
            assert ctx.get(block.narrow) == max(-8, min(7, value))
            assert ctx.get(block.same) == value
            assert ctx.get(block.symmetric) == max(-11, min(11, value))

    simulate(block, process)


@pytest.mark.parametrize(
    ("dividend", "divisor", "quotient"), [(5, 4, None), (5, 3, 3), (1, 1, None), (4, 5, 2)]
)
def test_integer_divider_is_exhaustively_divmod(dividend: int, divisor: int, quotient: int | None) -> None:
    block = IntegerDivider(dividend, divisor, quotient)
    steps = quotient or dividend
    cases = [
        (a, b)
        for a, b in itertools.product(range(1 << dividend), range(1 << divisor))
        if a >> steps < b  # the quotient fits
    ]
    assert len(cases) >= (1 << dividend)

    async def process(ctx: Any) -> None:
        for a, b in cases:  # a start in the cycle of done: back to back
            ctx.set(block.start, 1)
            ctx.set(block.dividend, a)
            ctx.set(block.divisor, b)
            await ctx.tick()
            ctx.set(block.start, 0)
            for _ in range(block.latency - 1):
                assert ctx.get(block.busy)
                assert not ctx.get(block.done)
                await ctx.tick()
            assert ctx.get(block.done)
            assert not ctx.get(block.busy)
            assert (ctx.get(block.quotient), ctx.get(block.remainder)) == divmod(a, b), (a, b)

    simulate(block, process)


def test_integer_divider_ends_when_dividing_by_zero() -> None:
    block = IntegerDivider(8, 4)

    async def process(ctx: Any) -> None:
        ctx.set(block.start, 1)
        ctx.set(block.dividend, 200)
        await ctx.tick()
        ctx.set(block.start, 0)
        for _ in range(block.latency - 1):
            await ctx.tick()
        assert ctx.get(block.done)

    simulate(block, process)


def test_signed_digits() -> None:
    for constant in range(1, 2049):
        digits = signed_digits(constant)
        assert sum(sign << shift for sign, shift in digits) == constant
        shifts = [shift for _, shift in digits]
        assert all(b - a >= 2 for a, b in itertools.pairwise(shifts)), digits
    assert len(signed_digits(384)) == len(signed_digits(768)) == 2


class Scaled(wiring.Component):
    """value · constants[select] through a tree."""

    CONSTANTS = (1, 59, 384, 1000)

    def __init__(self) -> None:
        super().__init__({"value": In(signed(6)), "select": In(unsigned(2)), "product": Out(signed(18))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        addends = constant_products(self.value, self.CONSTANTS, self.select)
        self.latency = tree_levels(len(addends))
        m.d.comb += self.product.eq(adder_tree(m, addends, signed(18), "tree"))
        return m


def test_constant_products() -> None:
    block = Scaled()

    async def process(ctx: Any) -> None:
        for select, constant in enumerate(block.CONSTANTS):
            for value in range(-32, 32):
                ctx.set(block.value, value)
                ctx.set(block.select, select)
                await ctx.tick().repeat(block.latency)
                assert ctx.get(block.product) == value * constant

    simulate(block, process)


def test_root_recurrence_fits_its_registers_for_every_mantissa() -> None:
    """The row finisher's digit recurrence on all mantissas: the golden root, within ROOT_REST_BITS."""
    mantissa = torch.arange(1 << (RSQRT_MANTISSA_BITS - 2), 1 << RSQRT_MANTISSA_BITS)
    rest = torch.full_like(mantissa, 1 << RSQRT_MANTISSA_BITS)
    trial, root = mantissa.clone(), torch.zeros_like(mantissa)
    for _ in range(RSQRT_BITS):
        bit = rest >= trial
        rest = torch.where(bit, rest - trial, rest) << 2
        trial = 2 * trial + torch.where(bit, 3 * mantissa, -mantissa)
        root = 2 * root + bit
        assert int(rest.max()) < 1 << ROOT_REST_BITS
        assert int(trial.max()) < 1 << ROOT_REST_BITS
    # a variance in 2^14..2^16 - 1 is its own mantissa, with e = 7
    golden, exponent = reciprocal_sqrt(mantissa)
    assert bool((exponent == 7).all())
    assert torch.equal(root, golden)
