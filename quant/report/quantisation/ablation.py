"""The result of an ablation of activation scales, as ``elbert study bits`` writes it: read and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from golden_model.documents import quote, read_object
from golden_model.errors import describe

KEY = "ablation"


class AblationRow(BaseModel):
    """One scheme of the ablation.

    Raises:
        pydantic.ValidationError: (a ``ValueError``) naming the value and the bound it breaks.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    scope: str = Field(min_length=1, max_length=80)
    """Which activations have these bits: all, the feed-forward network's, LayerNorm's inputs."""
    bits: int = Field(ge=2, le=16)
    scales: Literal["per_iteration", "shared"]
    """One set of activation scales per iteration, or one for all."""
    accuracy: float = Field(ge=0.0, le=1.0)
    sqnr_db: float = Field(allow_inf_nan=False)
    agreement: float = Field(ge=0.0, le=1.0)
    """Share of sentences with the float model's answer."""


def read_ablation(path: Path | str) -> list[dict[str, Any]]:
    """The rows of a study's result.

    Returns:
        JSON-able, by scope as they come, then from most bits to fewest, scales per iteration first.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no JSON object, or has no list ``ablation`` with rows; a row is none, or of the
            scheme of one before it. The message names file, row and value.
    """
    found = read_object(path)
    rows = found.get(KEY)
    if rows is None:
        raise ValueError(f"{path} holds no {KEY}: it is no result of elbert study bits --ablation")
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{path}: {KEY} is {quote(rows)}, expected a list of rows")
    read: dict[tuple[str, int, str], AblationRow] = {}
    for number, values in enumerate(rows):
        if not isinstance(values, dict):
            raise ValueError(f"{path}: {KEY}[{number}] is {quote(values)}, expected an object")
        try:
            row = AblationRow.model_validate(values)
        except ValidationError as error:
            raise ValueError(f"{path}: {KEY}[{number}]: {describe(error)}") from None
        scheme = (row.scope, row.bits, row.scales)
        if scheme in read:
            raise ValueError(
                f"{path}: {KEY}[{number}] repeats scope {quote(row.scope)}, {row.bits} bits, {row.scales}"
            )
        read[scheme] = row
    scopes = list(dict.fromkeys(row.scope for row in read.values()))
    ordered = sorted(read.values(), key=lambda row: (scopes.index(row.scope), -row.bits, row.scales))
    return [row.model_dump() for row in ordered]
