"""Attacks kept one by one, so that an interrupted study goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from golden_model.errors import describe
from golden_model.files import write_json
from quant.studies.slowdown.search import Attack, Search

FORM = 1
"""Of the search: one more whenever it would find something else, so that nothing older is taken for it."""


class _Kept(BaseModel):
    """A file: what it is of, and the attack."""

    model_config = ConfigDict(extra="forbid")

    key: str
    attack: Attack


class Store:
    """A folder of attacks, a file each, named by all that decides what is found."""

    def __init__(self, folder: Path, search: Search, say: Callable[[str], None] = lambda note: None) -> None:
        """The folder is made with the first file; ``say`` is told of files that cannot be used."""
        self.folder, self.search, self.say = folder, search, say

    def attack(self, text: str, pair: str | None) -> Attack:
        """The attack on a sentence, from the folder if it is there, else found and kept."""
        key = self.key(text, pair)
        path = self.folder / f"{key[:32]}.json"
        kept = self._read(path, key)
        if kept is None:
            kept = self.search.attack(text, pair)
            write_json(path, _Kept(key=key, attack=kept).model_dump())
        return kept

    def key(self, text: str, pair: str | None) -> str:
        """SHA-256 over checkpoint, policies, options and sentence."""
        policies = {name: policy.model_dump() for name, policy in self.search.policies.items()}
        parts = [FORM, self.search.backend.sha256, policies, self.search.options.as_dict(), text, pair]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _read(self, path: Path, key: str) -> Attack | None:
        if not path.is_file():
            return None
        try:
            kept = _Kept.model_validate_json(path.read_bytes())
        except ValidationError as error:
            self.say(f"made anew: {path} is no kept attack: {describe(error)}")
            return None
        if kept.key != key:
            self.say(f"made anew: {path} is of another attack")
            return None
        return kept.attack
