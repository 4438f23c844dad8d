"""Exit policies by name, with the thresholds that ELBERT uses unless told otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from golden_model.exits import ExitPolicy

POLICY = "bias_1"
DELTA, WINDOW, MARGIN, RANGE, PATIENCE = 0.1, 3, 0.1, 1.0, 3
"""Defaults of policy and thresholds."""


def make_policy(
    mode: str,
    *,
    delta: float = DELTA,
    window: int = WINDOW,
    margin: float = MARGIN,
    value_range: float = RANGE,
    patience: int = PATIENCE,
) -> ExitPolicy:
    """The policy of that name.

    Raises:
        ValueError: naming the value and the bound it breaks.
    """
    from pydantic import ValidationError

    from golden_model.errors import describe
    from golden_model.exits import ExitPolicy  # brings PyTorch, which --help does not wait for

    values: dict[str, Any] = {
        "mode": mode,
        "delta": delta,
        "window": window,
        "margin": margin,
        "range": value_range,
        "patience": patience,
    }
    try:
        return ExitPolicy.model_validate(values)
    except ValidationError as error:
        raise ValueError(describe(error)) from None
