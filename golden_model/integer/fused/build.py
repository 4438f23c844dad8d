"""Compiles the kernels once per machine and compiler, and keeps the library between runs."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from golden_model.cache import cache_dir

SOURCE = Path(__file__).with_name("kernels.cpp")
_log = logging.getLogger(__name__)
FLAGS = ("-O3", "-march=native", "-std=c++17", "-fPIC", "-shared")


class NoCompilerError(RuntimeError):
    """The kernels cannot be made or loaded here; the message says why."""


@dataclass(frozen=True)
class Library:
    """The compiled kernels.

    Members:
        functions: The loaded library.
        compiler: Its first line of ``--version``.
        seconds: Spent compiling in this process; 0 where the library was found.
    """

    functions: ctypes.CDLL
    compiler: str
    seconds: float


@cache
def load() -> Library:
    """The kernels, compiled if this machine has none of them yet.

    Raises:
        NoCompilerError: there is no C++ compiler (``$CXX``, else g++ or clang++), it refuses the kernels, or
            what it made cannot be loaded.
    """
    command = _compiler()
    compiler = _run([*command, "--version"]).splitlines()[0]
    path = _path(command, compiler)
    started = time.perf_counter()
    made = not path.exists()
    if made:
        _log.warning("compiling the golden model's kernels for this processor, once")
        _compile(command, path)
    try:
        return Library(ctypes.CDLL(str(path)), compiler, time.perf_counter() - started if made else 0.0)
    except OSError as error:
        raise NoCompilerError(f"{path} cannot be loaded: {error}") from error


def _compiler() -> list[str]:
    given = os.environ.get("CXX", "").strip()
    for candidate in [given] if given else ["g++", "clang++"]:
        command = shlex.split(candidate)
        if shutil.which(command[0]):
            return command
    raise NoCompilerError(f"CXX={given} is not found" if given else "neither g++ nor clang++ is found")


def _path(command: list[str], compiler: str) -> Path:
    """One file for all that the library depends on: source, compiler, flags and processor."""
    digest = hashlib.sha256()
    for part in (SOURCE.read_text(), compiler, *command, *FLAGS, platform.machine(), _processor()):
        digest.update(part.encode() + b"\0")
    return cache_dir() / "golden" / f"kernels-{digest.hexdigest()[:16]}.so"


def _processor() -> str:
    """The instruction sets that ``-march=native`` would see, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _compile(command: list[str], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        _run([*command, *FLAGS, str(SOURCE), "-o", str(made)])
        made.replace(path)  # whole or not at all, whoever else is at it


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except OSError as error:
        raise NoCompilerError(f"{command[0]}: {error}") from error
    except subprocess.CalledProcessError as error:
        first = next(
            (line for line in error.stderr.splitlines() if "error" in line), error.stderr.strip()[:200]
        )
        raise NoCompilerError(f"{command[0]} ended with {error.returncode}: {first}") from error
    return done.stdout
