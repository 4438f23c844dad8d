"""Names of a model's classes: where a folder keeps them, and what counts as a name.

``config.json`` (``id2label``) of a float checkpoint, the metadata of an integer one, ``labels.json`` beside
either, and ``labels.json`` of the folder that holds them may each name the classes. Those that do must agree;
names that say no more than the class's number (``LABEL_0``, ``0``) count as none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from golden_model.documents import quote, read_json, read_object
from golden_model.files import write_json

LABELS_FILE = "labels.json"
"""A list of names, the first of class 0."""

FORMS = ("float", "integer")
"""Folders of the two checkpoints in a model folder."""

MAX_NAME = 80
"""Most characters of a name: it is a column of tables and a line of charts."""


def check_names(value: Any, place: object, count: int | None = None) -> list[str] | None:
    """Names of classes as JSON gives them; None where they only repeat the classes' numbers.

    Args:
        value: A list, or an object with the classes' numbers as keys (Hugging Face's ``id2label``).
        place: Where the value stands; messages begin with it.
        count: Classes of the model; None where that is not known.

    Raises:
        ValueError: neither form, another number of names, or a name that is missing, repeated, empty, not
            text, not printable on one line, or longer than MAX_NAME.
    """
    names = _in_order(value, place) if isinstance(value, dict) else value
    if not isinstance(names, list):
        raise ValueError(f"{place} is {quote(value)}, expected a list of names")
    if not names:
        raise ValueError(f"{place} names no class")
    if count is not None and len(names) != count:
        raise ValueError(f"{place} names {len(names)} classes, the model has {count}")
    for i, name in enumerate(names):
        if not isinstance(name, str):
            raise ValueError(f"{place}: the name of class {i} is {quote(name)}, expected text")
        if not name.strip():
            raise ValueError(f"{place}: the name of class {i} is empty")
        if len(name) > MAX_NAME:
            raise ValueError(
                f"{place}: the name of class {i} has {len(name)} characters, above {MAX_NAME}: {quote(name)}"
            )
        if not name.isprintable():
            raise ValueError(f"{place}: the name of class {i} is {quote(name)}, not one line of text")
        if name in names[:i]:
            raise ValueError(f"{place}: classes {names.index(name)} and {i} are both named {quote(name)}")
    return None if _only_numbers(names) else list(names)


def read_label_names(folder: Path | str, count: int | None = None) -> list[str] | None:
    """Names of the classes of a checkpoint or model folder; None where nothing names them.

    Args:
        folder: A checkpoint, or a folder that holds ``float/`` or ``integer/``.
        count: Classes of the model; None: as many as the folder's own files say, where they do.

    Raises:
        OSError: a file cannot be read.
        ValueError: as :func:`check_names`, or two files name the classes differently.
    """
    folder = Path(folder)
    found: list[tuple[str, list[str]]] = []
    for place, value, classes in _sources(folder):
        names = check_names(value, place, count if count is not None else classes)
        if names is not None:
            found.append((place, names))
    for place, names in found[1:]:
        if names != found[0][1]:
            raise ValueError(
                f"{found[0][0]} names the classes {quote(found[0][1])}, {place} {quote(names)}: "
                f"correct one of them, or remove {LABELS_FILE}"
            )
    return found[0][1] if found else None


def write_label_names(folder: Path | str, names: Sequence[str]) -> None:
    """Writes ``labels.json`` whole or not at all; raises ValueError as :func:`check_names`."""
    path = Path(folder) / LABELS_FILE
    check_names(list(names), path)
    write_json(path, list(names))


def _sources(folder: Path) -> Iterator[tuple[str, Any, int | None]]:
    """Place, names and number of classes of everything that may name the classes."""
    inside = [folder / form for form in FORMS if (folder / form).is_dir()]
    # the folder's own path may be "."; a model folder is no part of the folder it lies in
    outer = [] if inside else [Path(os.path.abspath(folder)).parent]
    for each in (folder, *inside):
        if (each / "config.json").is_file():
            names = read_object(each / "config.json").get("id2label")
            if names is not None:
                yield f"{each / 'config.json'}: id2label", names, None
        if (each / "integer.json").is_file():
            document = read_object(each / "integer.json")
            metadata, config = document.get("metadata"), document.get("config")
            if isinstance(metadata, dict) and metadata.get("label_names") is not None:
                classes = config.get("num_labels") if isinstance(config, dict) else None
                yield f"{each / 'integer.json'}: label_names", metadata["label_names"], classes
    for path in (each / LABELS_FILE for each in (folder, *inside, *outer)):
        if path.is_file():
            yield str(path), read_json(path), None


def _in_order(value: dict[str, Any], place: object) -> list[Any]:
    """The values of an object whose keys are 0, 1, … in any order."""
    by_number: dict[int, Any] = {}
    for key, name in value.items():
        number = str(key)
        if not (number.isascii() and number.isdigit() and len(number) <= 6):
            raise ValueError(f"{place}: {quote(key)} is not the number of a class")
        if int(number) in by_number:
            raise ValueError(f"{place} names class {int(number)} twice")
        by_number[int(number)] = name
    missing = [i for i in range(len(by_number)) if i not in by_number]
    if missing:
        raise ValueError(f"{place} names {len(by_number)} classes, but not class {missing[0]}")
    return [by_number[i] for i in range(len(by_number))]


def _only_numbers(names: Sequence[str]) -> bool:
    return all(name in (str(i), f"LABEL_{i}") for i, name in enumerate(names))
