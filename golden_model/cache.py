"""Folders of what can be made again at any time: simulations, compiled tools."""

from __future__ import annotations

import functools
import logging
import os
import stat
import tempfile
from pathlib import Path

_log = logging.getLogger(__name__)


def cache_dir(name: str = "elbert", variable: str = "ELBERT_CACHE") -> Path:
    """A folder that can be written: ``$variable``, else ``name`` in ``$XDG_CACHE_HOME`` or ``~/.cache``.

    Where that one cannot be written (a home folder that is read-only, or none at all), it is a folder of the
    user's own among the temporary files; one line on stderr says so, once.

    Raises:
        OSError: ``$variable`` names a folder that cannot be written, or no folder can.
    """
    given = os.environ.get(variable)
    if given:
        path = Path(given).absolute()
        if refusal := _refusal(path):
            raise OSError(f"{variable}={given}: {refusal}")
        return path
    home = os.environ.get("XDG_CACHE_HOME", "")
    try:
        # As its specification says, an empty or relative one does not count.
        path = (Path(home) if os.path.isabs(home) else Path.home() / ".cache") / name
        refusal = _refusal(path)
    except RuntimeError as error:  # a user without a home folder
        path, refusal = Path("~/.cache") / name, str(error)
    if not refusal:
        return path
    own = Path(tempfile.gettempdir()) / f"{name}-{os.getuid()}"
    if found := _refusal(own, private=True):
        raise OSError(
            f"no folder to keep builds in: {path}: {refusal}; {own}: {found}; set {variable} to one"
        )
    _say(f"{path} cannot be written ({refusal}): {own} is used; {variable} names another folder")
    return own


@functools.cache
def _say(line: str) -> None:
    _log.warning("%s", line)


def _refusal(path: Path, private: bool = False) -> str:
    """Why nothing can be written into the folder, which is made if missing; empty: nothing hinders.

    Programs in it will be run: a ``private`` folder, which anybody could make, must be this user's own.
    """
    try:
        path.mkdir(mode=0o700 if private else 0o777, parents=True, exist_ok=True)
        found = path.lstat()
        alone = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
        if private and not alone:
            return "it is not this user's alone"
        with tempfile.TemporaryFile(dir=path):
            return ""
    except OSError as error:
        return os.strerror(error.errno) if error.errno else str(error)
