"""Files that came in from elsewhere: read, or refused in one line that names the file."""

from __future__ import annotations

import json
import reprlib
from pathlib import Path
from typing import Any

_POINTER = b"version https://git-lfs"

_quoting = reprlib.Repr()
_quoting.maxstring = _quoting.maxother = 100


def quote(value: Any) -> str:
    """A value as messages show it: on one line, long ones with their middle left out."""
    return _quoting.repr(value)


def first_line(error: BaseException) -> str:
    """What an error of another package says, cut to the first line and 200 characters."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0] if len(lines[0]) <= 200 else lines[0][:199] + "…"


def check_folder(folder: Path | str) -> Path:
    """The folder; raises FileNotFoundError where there is none and NotADirectoryError for a file."""
    folder = Path(folder)
    if not folder.exists():
        raise FileNotFoundError(f"there is no folder {folder}")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file, expected the folder of a checkpoint")
    return folder


def refuse_pointer(path: Path, data: bytes) -> None:
    """Raises ValueError for the first bytes of a Git LFS pointer: it stands for a file not fetched."""
    if data.startswith(_POINTER):
        raise ValueError(f"{path} is a Git LFS pointer, not the weights: fetch them with 'git lfs pull'")


def read_json(path: Path | str) -> Any:
    """The JSON of a file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not JSON in UTF-8, by file and place.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError(f"{path} is not JSON that can be read: it is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {first_line(error)}") from error


def read_object(path: Path | str) -> dict[str, Any]:
    """:func:`read_json` of a file that holds an object; ValueError too where it holds anything else."""
    found = read_json(path)
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds a {type(found).__name__}, expected an object")
    return found
