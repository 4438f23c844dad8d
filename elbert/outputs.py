"""Where results go: paths that cannot be written are named before work begins."""

from __future__ import annotations

import os
from pathlib import Path


def check_files(**files: Path | None) -> None:
    """Raises ValueError where a file to write, named after its option, is a folder."""
    for option, path in files.items():
        if path is not None and path.is_dir():
            raise ValueError(f"--{option} {path} is a folder; name a file in it")


def check_folder(option: str, folder: Path) -> None:
    """Raises ValueError where a folder to write into, or one above it, is a file."""
    for place in (folder, *folder.parents):
        if place.exists():
            if not place.is_dir():
                raise ValueError(f"--{option} {folder}: {place} is a file, not a folder")
            return


def file_in(output: str, name: str) -> Path:
    """``output``; where that is a folder, or ends as one (``runs/page/``), the file ``name`` in it."""
    path = Path(output)
    ends_as_folder = output.endswith(("/", os.sep))
    return path / name if ends_as_folder or path.is_dir() else path
