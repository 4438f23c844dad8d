"""Exit policies by name, with the thresholds that ELBERT uses unless told otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from golden_model.exits import ExitPolicy
    from quant.guarantees.certificate import Certificate

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


def certificate_file(name: str | Path) -> Path | None:
    """The certificate a policy's name is the path of: it ends in ``.json``, or is a ``Path``; else None."""
    return Path(name) if isinstance(name, Path) or name.endswith(".json") else None


def read_certificate(name: str | Path, model: Path, backend: str) -> Certificate | None:
    """The certificate that a policy's name asks for; None: it is a mode's name.

    Args:
        name: ``certified``: the certificate beside the checkpoint; or the path of one.
        model: Model folder.
        backend: ``float``, ``golden`` or ``rtl``: whose checkpoint it has to be of.

    Raises:
        ValueError: a certificate is broken or of another checkpoint.
        OSError: there is no certificate, or no checkpoint.
    """
    file = certificate_file(name)
    if file is None and name != CERTIFIED:
        return None
    from quant.guarantees.certificate import require_certificate

    return require_certificate(file, model, form_of(backend))


def choose_policy(name: str, model: Path, backend: str, **thresholds: Any) -> ExitPolicy:
    """The policy of that name, or of a certificate, which then has to be that of the checkpoint.

    Args:
        name: As :func:`make_policy`, or as :func:`read_certificate`.
        model: Model folder.
        backend: ``float``, ``golden`` or ``rtl``: whose checkpoint.
        thresholds: Of :func:`make_policy`; a certificate has its own.

    Raises:
        ValueError, OSError: as these two.
    """
    from elbert.hints import hint

    certificate = read_certificate(name, model, backend)
    if certificate is None:
        return make_policy(name, **thresholds)
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
    from quant.guarantees.certificate import Found, find_certificate, read_for

    file = certificate_file(name)
    if file is not None:
        found = Found(read_for(file, model, form_of(backend)))
    else:
        found = find_certificate(model, form_of(backend))
    if found.note is not None:
        hint(found.note)
    return found.line(policy)
