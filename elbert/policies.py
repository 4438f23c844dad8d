"""Exit policies by name, with the thresholds that ELBERT uses unless told otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from golden_model.exits import ExitPolicy

POLICY = "bias_1"
DELTA, WINDOW, MARGIN, RANGE, PATIENCE = 0.1, 3, 0.1, 1.0, 3
"""Defaults of policy and thresholds."""

CERTIFIED = "certified"
"""In place of a policy's name: the thresholds of the checkpoint's certificate (docs/guarantees.md)."""


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


def choose_policy(name: str, model: Path, backend: str, **thresholds: Any) -> ExitPolicy:
    """The policy of that name, or of a certificate, which then has to be that of the checkpoint.

    Args:
        name: As :func:`make_policy`; ``certified``: the certificate beside the checkpoint; or the path of
            one, which ends in ``.json``.
        model: Model folder.
        backend: ``float``, ``golden`` or ``rtl``: whose checkpoint.
        thresholds: Of :func:`make_policy`; a certificate has its own.

    Raises:
        ValueError: as :func:`make_policy`; a certificate is broken or of another checkpoint.
        OSError: there is no certificate, or no checkpoint.
    """
    if name != CERTIFIED and not name.endswith(".json"):
        return make_policy(name, **thresholds)
    from elbert.hints import hint
    from quant.guarantees.certificate import certified_policy

    certificate = certified_policy(name, model, form_of(backend))
    if not certificate.certifies(certificate.real_policy):
        hint(certificate.line)
    return certificate.real_policy


def form_of(backend: str) -> str:
    """Whose checkpoint a backend computes with: simulated hardware with the golden model's."""
    return "golden" if backend == "rtl" else backend


def promise_of(policy: ExitPolicy, name: str, model: Path, backend: str) -> str | None:
    """What a certificate promises of a policy, in one line; None: nothing.

    A certificate beside the checkpoint that is broken or another's is named on stderr and promises nothing.
    """
    from elbert.hints import hint
    from quant.guarantees.certificate import Found, certified_policy, find_certificate

    if name.endswith(".json"):
        found = Found(certified_policy(name, model, form_of(backend)))
    else:
        found = find_certificate(model, form_of(backend))
    if found.note is not None:
        hint(found.note)
    return found.line(policy)
