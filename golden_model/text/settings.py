"""``tokenizer_config.json`` beside a vocabulary: settings that change how text is split are honoured or
refused by name; the others (names of classes, side of the padding, chat templates) change nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from golden_model.documents import quote, read_object

SETTINGS_FILE = "tokenizer_config.json"
ADDED_FILE = "added_tokens.json"

REWRITE = (
    "where the model was made, write tokenizer.json: AutoTokenizer.from_pretrained(FOLDER)"
    ".save_pretrained(FOLDER), and keep only that"
)
"""The way out of a setting that is not taken."""


class Settings:
    """The settings of a folder; every getter names file, key and value where it refuses."""

    def __init__(self, folder: Path) -> None:
        """Reads what is there; raises ValueError for what is not an object of JSON."""
        self.path = folder / SETTINGS_FILE
        self.values: Mapping[str, Any] = read_object(self.path) if self.path.is_file() else {}
        self.only("truncation_side", ("right",))

    def flag(self, key: str, default: bool | None) -> bool | None:
        """True or false; ``default`` where the key is not there, or null."""
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise ValueError(f"{self.path}: {key} is {quote(value)}, expected true or false")
        return value

    def only(self, key: str, allowed: tuple[Any, ...]) -> None:
        """Refuses a key that is there with another value than ``allowed`` (null counts as not there)."""
        value = self.values.get(key)
        if value is not None and value not in allowed:
            raise ValueError(
                f"{self.path}: {key} is {quote(value)}, only {' or '.join(map(repr, allowed))} is taken; "
                f"{REWRITE}"
            )

    def tokenizer_class(self, allowed: Iterable[str], file: str) -> None:
        """Refuses a class of tokenizers that reads ``file`` otherwise, or not at all."""
        value = self.values.get("tokenizer_class")
        names = tuple(name + fast for name in allowed for fast in ("", "Fast"))
        if value is not None and value not in names:
            raise ValueError(
                f"{self.path}: tokenizer_class is {quote(value)}, {file} is read as by {names[0]}; {REWRITE}"
            )

    def special_pieces(self, pieces: Mapping[str, str]) -> None:
        """Refuses special pieces (``cls_token`` and the like) that are not written as ``pieces``."""
        for key, piece in pieces.items():
            value = self.values.get(key)
            text = value.get("content") if isinstance(value, dict) else value
            if text is not None and text != piece:
                raise ValueError(f"{self.path}: {key} is {quote(text)}, only {piece!r} is taken; {REWRITE}")

    def no_added_pieces(self, vocabulary: Mapping[str, int]) -> None:
        """Refuses pieces added to the vocabulary, here or in ``added_tokens.json``."""
        path = self.path.parent / ADDED_FILE
        added = dict(read_object(path)) if path.is_file() else {}
        decoder = self.values.get("added_tokens_decoder") or {}
        if not isinstance(decoder, dict):
            raise ValueError(f"{self.path}: added_tokens_decoder is {quote(decoder)}, expected an object")
        for entry in decoder.values():
            if isinstance(entry, dict):
                added.setdefault(str(entry.get("content")), None)
        beyond = [piece for piece in added if piece not in vocabulary]
        if beyond:
            raise ValueError(
                f"{self.path.parent}: the piece {quote(beyond[0])} was added to the vocabulary; {REWRITE}"
            )
