"""One process at a time where two would spoil each other's files."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

LOCK_FILE = ".lock"
"""In the folder that is held; gone when it is free. One that a killed process left holds nobody up."""

LONGEST_COMMAND = 80
"""Characters of the holder's command line in a message."""


class FolderInUse(OSError):
    """Another process writes into the folder; the message names both."""


@contextlib.contextmanager
def held(folder: Path | str) -> Iterator[None]:
    """Within it no other process (or thread) that asks can hold ``folder``; blocks of one thread may nest.

    The system drops the hold of a process that dies. The folder is made as needed, and what was made for
    nothing is taken away again.

    Raises:
        FolderInUse: somebody holds it.
        OSError: the folder cannot be written.
    """
    place = Path(folder).resolve()
    made = [place, *place.parents]
    made = made[: next(i for i, path in enumerate(made) if path.exists())]
    place.mkdir(parents=True, exist_ok=True)
    path = place / LOCK_FILE
    lock = FileLock(path, is_singleton=True)  # so that a second block of this thread finds the first's
    try:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(lock.acquire(blocking=False))
            except Timeout:
                raise FolderInUse(f"{folder} is in use by {_holder(path)}") from None
            if lock.lock_counter == 1:
                path.write_text(json.dumps(_self()), encoding="utf-8")
                # Before the release: one that waits for this file sees that it is gone, and asks anew.
                stack.callback(path.unlink, missing_ok=True)
            yield
    finally:
        for empty in made:
            with contextlib.suppress(OSError):
                empty.rmdir()


@contextlib.contextmanager
def waited_for(path: Path) -> Iterator[None]:
    """Holds the lock file ``path``, once nobody else does; the file stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path):
        yield


def _self() -> dict[str, str]:
    program = Path(sys.argv[0])
    name = program.parent.name if program.name == "__main__.py" else program.name  # python -m NAME
    command = shlex.join([name, *sys.argv[1:]])
    return {"host": platform.node(), "process": str(os.getpid()), "command": command}


def _holder(path: Path) -> str:
    """The holder in words, from the lock file; it may be about to write that or to leave."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        command, host = str(found["command"]), found["host"]
        if len(command) > LONGEST_COMMAND:
            command = command[: LONGEST_COMMAND - 1] + "…"
        where = "" if host == platform.node() else f" on {host}"
        return f"process {found['process']}{where} ({command})"
    except (OSError, ValueError, TypeError, KeyError):
        return "another process"
