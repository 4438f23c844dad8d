"""Exit unit and its divider: arguments, latency, the selector's codes, and the divider's exactness."""

from __future__ import annotations

import re

import pytest
import torch
from amaranth.sim import Simulator

from golden_model import exits
from golden_model.integer.ops import exit_math
from golden_model.numerics import ENTROPY_BITS, ONE
from hw import interfaces
from hw.arith.divider import FractionDivider
from hw.emit import to_verilog
from hw.units.exit_unit import ExitUnit


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (1, ValueError, "num_labels 1 is outside 2..8"),
        (9, ValueError, "num_labels 9 is outside 2..8"),
        (2.0, TypeError, "num_labels"),
        (True, TypeError, "num_labels"),
    ],
)
def test_exit_unit_refuses_bad_arguments(value, error, message) -> None:
    with pytest.raises(error, match=message):
        ExitUnit(value)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 16), ValueError, "width 0"),
        ((49, 16), ValueError, "width 49"),
        ((20, 0), ValueError, "fraction_bits 0"),
        ((20, "16"), TypeError, "fraction_bits"),
    ],
)
def test_divider_refuses_bad_arguments(arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        FractionDivider(*arguments)


def test_mode_codes_are_the_golden_models() -> None:
    hardware = {member.name.lower(): member.value for member in interfaces.ExitMode}
    assert hardware == {member.name: int(member) for member in exits.ExitMode}


def test_the_registers_hold_every_policy() -> None:
    """The widths of settings against the bounds the golden policy checks."""
    bounds = exits.FixedExitPolicy(
        mode=max(exits.ExitMode),
        window=exits.MAX_WINDOW,
        patience=exits.MAX_PATIENCE,
        delta=(1 << ENTROPY_BITS) - 1,
        margin=ONE // 2,
        range=ONE,
    )
    for name in ("window", "patience", "delta", "margin", "range"):
        width = interfaces.Command[name].width
        assert getattr(bounds, name) < 1 << width, name
    assert interfaces.WINDOW_BITS == 5
    assert interfaces.PATIENCE_BITS == interfaces.ITERATION_BITS == 6
    assert interfaces.LABEL_BITS == 3


@pytest.mark.parametrize("num_labels", [2, 3, 4, 5, 6, 7, 8])
def test_exit_unit_elaborates_for_every_number_of_classes(num_labels: int) -> None:
    unit = ExitUnit(num_labels)
    assert unit.latency == 32 * num_labels + 33  # the docstring's formula
    text = to_verilog(unit, "exit_unit")
    assert re.findall(r"= (\S+ \* \S+);", text) == ["a * b"]  # one multiplier


@pytest.mark.parametrize(("width", "fraction_bits"), [(20, 16), (5, 3), (1, 1)])
def test_divider_equals_its_golden_function(width: int, fraction_bits: int) -> None:
    dut = FractionDivider(width, fraction_bits)
    generator = torch.Generator().manual_seed(width)
    top = (1 << width) - 1
    wholes = torch.randint(1, top + 1, (60,), generator=generator).tolist()
    pairs = [(int(torch.randint(0, whole + 1, (1,), generator=generator)), whole) for whole in wholes]
    pairs += [(0, top), (top, top), (1, 1), (0, 1), (top - 1 or 1, top), (1, top)]

    async def bench(ctx) -> None:
        for number, (part, whole) in enumerate(pairs):
            if number % 3 == 1:  # a division that is dropped for the next one
                ctx.set(dut.part, 1)
                ctx.set(dut.whole, 1)
                ctx.set(dut.start, 1)
                await ctx.tick().repeat(1 + number % (dut.latency + 1))
            ctx.set(dut.part, part)
            ctx.set(dut.whole, whole)
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            for _ in range(dut.latency - 1):
                assert not ctx.get(dut.done)
                await ctx.tick()
            assert ctx.get(dut.done)
            expected = (2 * part * (1 << fraction_bits) + whole) // (2 * whole)
            assert ctx.get(dut.quotient) == expected
            if fraction_bits == exit_math.PROBABILITY_FRACTION_BITS:
                golden = exit_math.divide_probability(torch.tensor(part), torch.tensor(whole))
                assert expected == int(golden)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
