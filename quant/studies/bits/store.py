"""Points kept one by one, so that an interrupted or killed study goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from golden_model.documents import read_object
from golden_model.files import write_json
from quant.schemes import Scheme

FORM = 1
"""Of a point: one more whenever it would be measured otherwise, so that nothing older is taken for it."""
VERSIONED = ("elbert-fpga", "torch")
"""Packages whose versions a point is measured with."""


class Store:
    """A folder with a file per measured point, named by all that decides it. Failures are not kept: they are
    tried again."""

    def __init__(self, folder: Path, digest: str, say: Callable[[str], None] = lambda note: None) -> None:
        """The folder is made with the first file.

        Args:
            folder: Where points are kept.
            digest: Of the study's subject.
            say: Told of files that cannot be used.
        """
        self.folder, self.digest, self.say = folder, digest, say

    def key(self, scheme: Scheme) -> str:
        """SHA-256 over form, versions, subject and scheme."""
        versions = [metadata.version(name) for name in VERSIONED]
        parts = [FORM, versions, self.digest, asdict(scheme)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def path(self, scheme: Scheme) -> Path:
        """Where a scheme's point is, once it is measured."""
        return self.folder / f"{self.key(scheme)[:32]}.json"

    def get(self, scheme: Scheme) -> dict[str, Any] | None:
        """The kept point; None where there is none that can be used."""
        path = self.path(scheme)
        if not path.is_file():
            return None
        try:
            kept = read_object(path)
        except ValueError as error:
            self.say(f"measured anew: {error}")
            return None
        point = kept.get("point")
        if kept.get("key") != self.key(scheme) or not isinstance(point, dict):
            self.say(f"measured anew: {path} is of another point")
            return None
        return point

    def put(self, scheme: Scheme, point: dict[str, Any]) -> None:
        """Keeps a measured point, whole or not at all."""
        if point["error"] is None:
            described = {"key": self.key(scheme), "scheme": scheme.as_dict(), "point": point}
            write_json(self.path(scheme), described)
