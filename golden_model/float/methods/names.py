"""Names of the methods, and of the folders they lie in."""

from __future__ import annotations

METHODS = ("elbert", "pabee", "albert", "deebert", "fastbert")
"""In the order in which they are trained: a two-stage method needs the finished full-depth ALBERT."""

TWO_STAGES = ("deebert", "fastbert")
"""Train exits of their own behind a frozen, finished ALBERT."""

AFTER_ALBERT = (*TWO_STAGES, "elbert")
"""May start from a finished ALBERT; ELBERT then goes on training all of it."""

OWN_HEADS = ("deebert", "fastbert", "pabee")
"""Add parameters."""

CUTS = (1, 2, 3, 4, 6)
"""Iterations of the plain ALBERTs that are compared beside the one of full depth."""


def check_method(method: str, iterations: int | None, depth: int) -> int:
    """Iterations that ``method`` runs on a backbone of ``depth``: ``iterations``, by default all.

    Raises:
        ValueError: for an unknown method, and for fewer or more iterations than the method allows.
    """
    if method not in METHODS:
        raise ValueError(f"method {method!r} is not one of {', '.join(METHODS)}")
    count = depth if iterations is None else iterations
    if not 1 <= count <= depth:
        raise ValueError(f"iterations {count} is not in 1..{depth}")
    if method != "albert" and count != depth:
        raise ValueError(f"iterations {count} of {method}: only albert is cut, the others run all {depth}")
    if method in OWN_HEADS and depth < 2:
        raise ValueError(f"{method} wants an exit before the last: {depth} iterations are below 2")
    return count


def run_name(method: str, iterations: int) -> str:
    """Folder of a method's run among others: ``albert-4``, ``deebert``."""
    return f"{method}-{iterations}" if method == "albert" else method


def training_order(after_albert: bool) -> tuple[str, ...]:
    """:data:`METHODS`, with ELBERT last where it starts from the finished ALBERT too."""
    return (*METHODS[1:], METHODS[0]) if after_albert else METHODS


def compared_runs(depth: int, after_albert: bool = False) -> list[tuple[str, int]]:
    """Method and iterations of every run a comparison wants, in :func:`training_order`, then the cuts."""
    whole = [(method, depth) for method in training_order(after_albert)]
    return whole + [("albert", cut) for cut in CUTS if cut < depth]
