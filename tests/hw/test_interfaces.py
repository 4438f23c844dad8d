"""The policies' codes, and that the settings hold every policy of the golden model."""

from __future__ import annotations

from golden_model import exits
from golden_model.numerics import ENTROPY_BITS, ONE
from hw import interfaces
from hw.bus.registers.model import EXIT_MODES, REGISTERS


def test_the_policies_codes_are_those_that_software_knows() -> None:
    """Another code would need another version of the register map."""
    codes = {"NONE": 0, "ENTROPY": 1, "ENTROPY_RAW": 2, "PATIENCE": 3, "BIAS_1": 4, "BIAS_2": 5, "BIAS_3": 6}
    assert codes == EXIT_MODES
    assert codes == {mode.name.upper(): mode.value for mode in exits.ExitMode}
    assert codes == {member.name: member.value for member in interfaces.ExitMode}
    assert interfaces.ExitMode.as_shape().width == 3


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
    wide = {"length", "iterations", "mode", "window"}
    """Checked at the start, so that what is cut off is 0."""
    for name, field in interfaces.Command:
        register = REGISTERS["POLICY" if name == "mode" else name.upper()].fields[0]
        assert register.width == (32 if name in wide else field.width), name
    for name, register in (("label", "LABEL"), ("exit_iteration", "EXIT_ITERATION"), ("entropy", "ENTROPY")):
        assert REGISTERS[register].fields[0].width == interfaces.Result[name].width
    assert REGISTERS["PROBABILITY"].fields[0].width == interfaces.PROBABILITY_BITS
    for name, field in (("confidence", "confidence"), ("label", "label")):
        assert REGISTERS["CONFIDENCE"].field(field).width == interfaces.Record[name].width
    assert REGISTERS["ENTROPY_AT"].fields[0].width == interfaces.Record["entropy"].width
    assert all(REGISTERS[name].fields[0].width == interfaces.COUNTER_BITS for name in interfaces.COUNTERS)
    assert interfaces.WINDOW_BITS == 5
    assert interfaces.PATIENCE_BITS == interfaces.ITERATION_BITS == 6
    assert interfaces.LABEL_BITS == 3
