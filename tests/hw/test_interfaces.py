"""The policies' codes, and that the settings hold every policy of the golden model."""

from __future__ import annotations

from golden_model import exits
from golden_model.numerics import ENTROPY_BITS, ONE
from hw import interfaces
from hw.bus.registers.description import EXIT_MODES


def test_the_policies_codes_are_those_that_software_knows() -> None:
    """Another code would need another version of the register map."""
    codes = {"NONE": 0, "ENTROPY": 1, "ENTROPY_RAW": 2, "PATIENCE": 3, "BIAS_1": 4, "BIAS_2": 5, "BIAS_3": 6}
    assert codes == EXIT_MODES
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
    assert interfaces.WINDOW_BITS == 5
    assert interfaces.PATIENCE_BITS == interfaces.ITERATION_BITS == 6
    assert interfaces.LABEL_BITS == 3
