"""Activation scales per iteration against shared ones: of all operands, and of parts of them alone.

ALBERT applies one layer again and again, so one set of activation scales could serve all iterations. What
that costs is measured at falling widths. All else is kept: weights of 8 bits, ranges by least square error,
no bias correction, which would give every iteration offsets of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from golden_model.integer.contract import HIDDEN_OPERANDS, OPERANDS
from quant.schemes import Scheme
from quant.studies.bits.candidates import Candidate

BITS = (8, 6, 4)
SCOPES: dict[str, tuple[str, ...]] = {
    "all operands": tuple(OPERANDS),
    "feed-forward": ("attention.hidden", "ffn.activation"),
    "residual stream": HIDDEN_OPERANDS,
}
"""Name to the operands that are narrowed; the others keep 8 bits. The feed-forward network reads two. The
residual stream, LayerNorms' inputs and outputs, keeps 16 bits itself: narrowed is what is read out of it."""
SCALES = {"per_iteration": "iteration", "shared": "shared"}
"""As a row says it, and as a scheme does."""
OBSERVER = "mse"


def ablation_cases() -> list[tuple[dict[str, Any], Candidate]]:
    """(scope, bits and scales of a row, its scheme), all of them. At 8 bits the scopes are one scheme."""
    return [
        ({"scope": scope, "bits": bits, "scales": said}, Candidate.of(_scheme(operands, bits, sharing)))
        for scope, operands in SCOPES.items()
        for bits in BITS
        for said, sharing in SCALES.items()
    ]


def _scheme(operands: tuple[str, ...], bits: int, sharing: str) -> Scheme:
    if len(operands) == len(OPERANDS):
        return Scheme(observer=OBSERVER, scales=sharing, activation_bits=bits)
    narrowed = () if bits == 8 else tuple((name, bits) for name in operands)
    return Scheme(observer=OBSERVER, scales=sharing, operand_bits=narrowed)


def ablation_rows(points: Mapping[Scheme, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the measured cases: scope, bits, scales, accuracy, sqnr_db, agreement; none of a failed one."""
    rows = []
    for facts, candidate in ablation_cases():
        point = points[candidate.scheme]
        if point["error"] is None:
            rows.append(
                {
                    **facts,
                    "accuracy": point["accuracy"],
                    "sqnr_db": point["sqnr"],
                    "agreement": point["agreement"],
                }
            )
    return rows
