"""Rows kept one by one, so that an interrupted study goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from golden_model.documents import read_object
from golden_model.files import write_json

FORM = 1
"""One more whenever a row would be measured otherwise, so that nothing older is taken for it."""


class Store:
    """A folder with a file per row, named by the row, valid for all that decides what is in it."""

    def __init__(
        self, folder: Path, facts: Mapping[str, Any], say: Callable[[str], None] = lambda note: None
    ) -> None:
        """The folder is made with the first file.

        Args:
            folder: Where rows are kept.
            facts: What decides every row: checkpoints, data, options.
            say: Told of files that are not taken.
        """
        self.folder, self.facts, self.say = folder, dict(facts), say

    def row(
        self, name: str, versions: Mapping[str, str | None], make: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """The row of that name, from the folder if it is there, else made and, unless it failed, kept."""
        key = hashlib.sha256(
            json.dumps([FORM, name, dict(versions), self.facts], sort_keys=True).encode()
        ).hexdigest()
        path = self.folder / f"{name}.json"
        kept = self._read(path, key)
        if kept is not None:
            return kept
        row = make()
        if row.get("error") is None:
            write_json(path, {"key": key, "row": row})
        return row

    def _read(self, path: Path, key: str) -> dict[str, Any] | None:
        if not path.is_file():
            return None
        try:
            kept = read_object(path)
        except ValueError as error:
            self.say(f"measured anew: {error}")
            return None
        row = kept.get("row")
        if kept.get("key") != key or not isinstance(row, dict):
            self.say(f"measured anew: {path} is of other data, options or versions")
            return None
        return row
