"""The two ways in which a command fails, and how a failure is put into one line.

What the user gave is refused with ``ValueError`` (pydantic's too) or ``OSError``: exit code 2. What the
command promises and did not find is ``PromiseBroken``: exit code 1.
"""

from __future__ import annotations

from golden_model.documents import quote


class PromiseBroken(Exception):
    """A command ran and what it promises does not hold; the message says what. Exit code 1."""


def describe(failure: Exception) -> str:
    """A failure in one line, pydantic's several as one each, without the address of its documentation."""
    errors = getattr(failure, "errors", None)
    if callable(errors):
        parts = []
        for error in errors(include_url=False):
            place = ".".join(str(part) for part in error["loc"])
            reason = str(error.get("ctx", {}).get("error") or error["msg"])
            if place and error["type"] != "value_error":
                reason = f"{place} {quote(error['input'])}: {reason[:1].lower()}{reason[1:]}"
            parts.append(reason)
        return "; ".join(parts)
    return str(failure) or type(failure).__name__
