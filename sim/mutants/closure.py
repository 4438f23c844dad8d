"""What a run's outcome depends on: the source files that its modules import, theirs, and so on."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path

_OURS = ("golden_model", "hw", "sim")


@functools.cache
def _file_of(module: str) -> Path | None:
    """The module's file; None for one that is not ours, or is no module but a name in one."""
    if module.split(".")[0] not in _OURS:
        return None
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec and spec.origin else None


@functools.cache
def _imports(module: str) -> tuple[str, ...]:
    path = _file_of(module)
    if path is None:
        return ()
    found = {module.rpartition(".")[0]}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return tuple(sorted(name for name in found if name and _file_of(name)))


def sources_of(modules: Iterable[str]) -> dict[str, Path]:
    """Module to file, of all that these modules import, directly or not."""
    waiting, seen = list(modules), {}  # type: tuple[list[str], dict[str, Path]]
    while waiting:
        module = waiting.pop()
        path = _file_of(module)
        if module not in seen and path is not None:
            seen[module] = path
            waiting += _imports(module)
    return seen


def fingerprint(modules: Iterable[str]) -> str:
    """SHA-256 in hex of all these sources, and of the Verilog and C++ beside them."""
    files = set(sources_of(modules).values())
    for folder in {path.parent for path in files if path.parts[-2] in ("agents", "benches", "sim")}:
        files |= {*folder.glob("*.v"), *folder.glob("*.cpp")}
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
