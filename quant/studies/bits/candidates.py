"""Schemes by name, as a list, or as the product of members' values."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from golden_model.documents import quote, read_json
from quant.schemes import PRESETS, Scheme

ALL = "presets"
"""Stands for every preset in a list of names."""
BASE = "base"
"""Beside the members of a product: the preset whose members it changes."""
MOST = 10_000
"""Schemes of a grid: more are a mistake."""


@dataclass(frozen=True)
class Candidate:
    """A scheme to be measured, and what it is called."""

    name: str
    scheme: Scheme

    @classmethod
    def of(cls, scheme: Scheme) -> Candidate:
        """Called as the preset it is, or by what it differs in."""
        return cls(name_of(scheme), scheme)


def name_of(scheme: Scheme) -> str:
    """The preset's name; else weight and activation bits, and what else is not the default."""
    for name, preset in PRESETS.items():
        if preset == scheme:
            return name
    default, own = asdict(Scheme()), asdict(scheme)
    weights = "ternary" if scheme.ternary else f"w{scheme.weight_bits}"
    parts = [f"{weights}a{scheme.activation_bits}"]
    for member, value in own.items():
        if member in ("weight_bits", "activation_bits", "ternary") or value == default[member]:
            continue
        parts.append(f"{member}={_short(value)}")
    return " ".join(parts)


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(f"{name}:{_short(inner)}" for name, inner in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Grid:
    """What a grid asks for.

    Members:
        candidates: Every scheme once, in the order given.
        left_out: Of a product: combinations that are no scheme, as ``scheme`` and ``error``.
    """

    candidates: list[Candidate]
    left_out: list[dict[str, Any]]


def read_grid(text: str) -> Grid:
    """The schemes of a list of preset names with commas between, or of a file.

    A file holds a list of preset names and of objects with members of a scheme, or one object: the product of
    all lists in it, over the preset that ``base`` names.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds something else, a member or value is not known, no combination of a product is a
            scheme, or there are more than MOST.
    """
    if not text.endswith(".json"):
        names = [part.strip() for part in text.split(",")]
        for name in names:
            if name not in PRESETS and name != ALL:
                raise ValueError(
                    f"grid {quote(text)}: {quote(name)} is neither a file .json nor one of "
                    f"{', '.join((ALL, *PRESETS))}"
                )
        wanted = [each for name in names for each in (PRESETS if name == ALL else (name,))]
        return Grid(_once(PRESETS[name] for name in wanted), [])
    found = read_json(Path(text))
    if isinstance(found, dict):
        return _product(found, text)
    if not isinstance(found, list) or not found:
        raise ValueError(f"{text} holds {quote(found)}, expected a list of schemes or an object of lists")
    schemes = []
    for number, item in enumerate(found):
        try:
            schemes.append(_scheme(item))
        except ValueError as error:
            raise ValueError(f"{text}[{number}]: {error}") from error
    return Grid(_once(schemes), [])


def _scheme(item: Any) -> Scheme:
    if isinstance(item, str):
        if item not in PRESETS:
            raise ValueError(f"{quote(item)} is not one of {', '.join(PRESETS)}")
        return PRESETS[item]
    if not isinstance(item, Mapping):
        raise ValueError(f"{quote(item)} is neither a preset's name nor an object of members")
    return Scheme.from_dict(item)


def _product(values: Mapping[str, Any], source: str) -> Grid:
    own = dict(values)
    try:
        base = _scheme(own.pop(BASE, "w8a8")).as_dict()
    except ValueError as error:
        raise ValueError(f"{source}: {BASE}: {error}") from error
    lists = {name: value if isinstance(value, list) else [value] for name, value in own.items()}
    count = 1
    for name, choices in lists.items():
        if not choices:
            raise ValueError(f"{source}: {name} is an empty list: nothing to choose from")
        count *= len(choices)
    if count > MOST:
        raise ValueError(f"{source} asks for {count} schemes, more than {MOST}")
    schemes, left_out = [], []
    for chosen in itertools.product(*lists.values()):
        members = base | dict(zip(lists, chosen, strict=True))
        try:
            schemes.append(Scheme.from_dict(members))
        except ValueError as error:
            left_out.append({"scheme": members, "error": str(error)})
    if not schemes:
        raise ValueError(f"{source}: no combination is a scheme; the first: {left_out[0]['error']}")
    return Grid(_once(schemes), left_out)


def _once(schemes: Iterable[Scheme]) -> list[Candidate]:
    return [Candidate.of(scheme) for scheme in dict.fromkeys(schemes)]
