"""Files written whole or not at all, and the hashes that name them."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_DESCRIPTOR = re.compile(r"/(?:dev/fd|proc/(?P<process>self|thread-self|\d+)/fd)/(?P<number>\d+)")
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
"""How libraries written in Rust (safetensors, tokenizers) report what the system refused."""


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

    So a file is there whole or not at all. Folders are made as needed. A symbolic link stays, its target is
    replaced. What is no file and cannot be replaced (a pipe, a device, a descriptor as in /dev/stdout and
    bash's ``>(...)``) is written into at the block's end.

    Raises:
        OSError: naming ``path``: it is a folder, its folder cannot be made or written, the disk is full.
    """
    path = Path(path)
    try:
        target = _follow(path)
        beside = Path(tempfile.gettempdir()) / path.name  # of what cannot be replaced
        through = True
        if isinstance(target, Path):
            if target.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
            through = target.exists() and not target.is_file()
            beside = beside if through else target
        temporary = _new_file(beside)
    except OSError as error:
        raise _named(error, path) from error
    try:
        yield temporary
        if through:
            _write_through(temporary, target)
        else:
            assert isinstance(target, Path)
            if target.exists():
                shutil.copymode(target, temporary)
            os.replace(temporary, target)
    except Exception as error:
        refused = _refusal(error, path, temporary)
        if refused is None:
            raise
        raise refused from error
    finally:
        temporary.unlink(missing_ok=True)


def _follow(path: Path) -> Path | int:
    """Where a path leads: a file (to be), or the number of one of this process's own descriptors."""
    for _ in range(40):  # as many links as Linux follows
        if match := _DESCRIPTOR.fullmatch(os.path.abspath(path)):
            own = match["process"] in (None, "self", "thread-self", str(os.getpid()))
            return int(match["number"]) if own else path
        if not path.is_symlink():
            return path
        path = path.parent / path.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


def _new_file(target: Path) -> Path:
    """An empty file beside the target, whose folder is made, with the rights of any new file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    path = target.with_name(f".{target.name[:40]}.{secrets.token_hex(4)}.part")
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return path


def _write_through(source: Path, target: Path | int) -> None:
    if isinstance(target, int):
        sys.stdout.flush()  # what was printed before comes before
        sys.stderr.flush()
        target = os.dup(
            target
        )  # shares the position: opened anew, a file would be overwritten from its start
    with source.open("rb") as reader, open(target, "wb") as writer:
        shutil.copyfileobj(reader, writer)


def _named(error: OSError, path: Path) -> OSError:
    """The error with ``path`` in its message, as the user wrote it, and not the name of a temporary file."""
    number = error.errno
    if number is None:  # numpy's, for one
        return OSError(f"{path}: {error}")
    if number == errno.EEXIST:  # a file in the place of a folder
        number = errno.ENOTDIR
    return OSError(number, os.strerror(number), str(path))


def _refusal(error: Exception, path: Path, temporary: Path) -> OSError | None:
    """The OSError to raise for a failed write; None for a failure that is none, or has a name already."""
    if isinstance(error, BrokenPipeError):
        return None  # nobody reads any more: what that means is for the caller to say
    if isinstance(error, OSError):
        known = error.filename is not None and os.fspath(error.filename) != str(temporary)
        return None if known else _named(error, path)
    if match := _OS_ERROR.search(str(error)):
        return _named(OSError(int(match[1]), ""), path)
    return None


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
