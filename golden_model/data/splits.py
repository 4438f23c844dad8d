"""Which rows go where: the table of a split in a folder, and dev rows cut from train."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from golden_model.data.lines import COMPRESSED
from golden_model.data.readers import SUFFIXES, TEXT_SUFFIX

if TYPE_CHECKING:
    from golden_model.data.tables import TextDataset

SPLIT_NAMES = {"train": ("train",), "dev": ("dev", "validation", "valid"), "test": ("test",)}
"""Per split the names, less suffix, that its file may have."""


def find_split(source: Path, split: str, labelled: bool = True) -> Path:
    """The table file of a split in a folder; ``source`` itself when it is a file.

    Args:
        source: A folder or a file.
        split: Of :data:`SPLIT_NAMES`; not used for a file.
        labelled: Whether plain text will not do.

    Raises:
        FileNotFoundError: there is none, naming what was looked for.
        ValueError: the split is not known, or there are several.
    """
    if source.is_file():
        return source
    if split not in SPLIT_NAMES:
        raise ValueError(f"split {split!r} is not one of {sorted(SPLIT_NAMES)}")
    if not source.is_dir():
        raise FileNotFoundError(f"{source} is neither a file nor a folder")
    suffixes = SUFFIXES if labelled else (*SUFFIXES, TEXT_SUFFIX)
    names = [
        stem + suffix + compressed
        for stem in SPLIT_NAMES[split]
        for suffix in suffixes
        for compressed in ("", *COMPRESSED)
    ]
    found = [name for name in names if (source / name).is_file()]
    if not found:
        raise FileNotFoundError(
            f"{source} holds no {split} split: none of {', '.join(SPLIT_NAMES[split])} with "
            f"{', '.join(suffixes)}, plain or with {' or '.join(COMPRESSED)}"
        )
    if len(found) > 1:
        raise ValueError(f"{source} holds several tables of the {split} split: {', '.join(found)}; name one")
    return source / found[0]


def cut_dev(data: TextDataset, share: float) -> tuple[TextDataset, TextDataset]:
    """Cuts a dev split of about ``share`` of the rows from a training set: (rest, dev), rows in their order.

    Rows that have a text in common, letter case and white space aside, form a group; so does whatever hangs
    together through further rows. A group goes to dev when the first 64 bits of the SHA-256 of its first text
    by alphabet, as a fraction of 1, are below ``share``. So no text is on both sides, and neither the order
    of rows nor a random generator decides.

    Raises:
        ValueError: when ``share`` is not between 0 and 1, or either side would be empty.
    """
    if not 0 < share < 1:
        raise ValueError(f"share {share} is not between 0 and 1")
    firsts = _first_texts(data)
    chosen = [int(hashlib.sha256(first.encode()).hexdigest()[:16], 16) < share * 2**64 for first in firsts]
    if all(chosen) or not any(chosen):
        raise ValueError(f"{data.source}: {len(data)} rows leave one side of a cut by {share} empty")
    rest, dev = (data.select(i for i, held in enumerate(chosen) if held == side) for side in (False, True))
    return rest, dev


def _first_texts(data: TextDataset) -> list[str]:
    """Per row the first text by alphabet of all that hang together with it."""
    parent: dict[str, str] = {}

    def first(text: str) -> str:
        while parent[text] != text:
            parent[text] = text = parent[parent[text]]
        return text

    texts = [_plain(text) for text in data.texts]
    pairs = texts if data.pairs is None else [_plain(text) for text in data.pairs]
    for text, pair in zip(texts, pairs, strict=True):
        a, b = sorted((first(parent.setdefault(text, text)), first(parent.setdefault(pair, pair))))
        parent[b] = a
    return [first(text) for text in texts]


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
