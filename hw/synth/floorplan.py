"""Where the parts of a placed design lie on the die, as data and as an SVG drawing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import Any

from hw.synth.netlist import OWN, block_of
from hw.synth.timing import Path

_SITE = re.compile(r"X(\d+)/Y(\d+)/")
_COUNTED = ("TRELLIS_COMB", "TRELLIS_FF", "MULT18X18D", "DP16KD")
TILE = 8
"""Edge of a tile in the drawing, in pixels."""

COLOURS = (
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee8866", "#44bb99",
    "#99ddff", "#77aadd", "#bbcc33", "#ffaabb", "#aaaa00", "#994455", "#997700", "#6699cc",
)  # fmt: skip
"""Tol's qualitative colours, told apart by colour-blind readers too; then they repeat."""

OTHER = "#bbbbbb"
"""The harness."""


def floorplan(
    placed: dict[str, Any],
    grid: tuple[int, int],
    scopes: set[str],
    depth: int,
    paths: Sequence[Path] = (),
) -> dict[str, Any]:
    """Tiles of a placed design, from the JSON that nextpnr writes.

    Args:
        placed: as nextpnr's ``--write`` has it.
        grid: columns and rows of the die.
        scopes: paths of the design's modules.
        depth: levels of blocks told apart.

        paths: whose tiles are wanted too.

    Returns:
        ``{"width", "height", "blocks": [names], "tiles": [[x, y, index of the block with the most cells in
        it, cells]], "routes": [[[x, y], ...] of each path]}``; index -1 is the harness.
    """
    tiles: dict[tuple[int, int], Counter[str]] = {}
    places: dict[str, tuple[int, int]] = {}
    for name, cell in placed["modules"]["top"]["cells"].items():
        match = _SITE.match(cell["attributes"].get("NEXTPNR_BEL", ""))
        if not match or cell["type"] not in _COUNTED:
            continue
        place = (int(match.group(1)), int(match.group(2)))
        inside = name.removeprefix("design.")
        block = "" if inside == name else block_of(inside, scopes) or OWN
        tiles.setdefault(place, Counter())[".".join(block.split(".")[:depth])] += 1
        places[name] = place
    totals = sum(tiles.values(), Counter[str]())
    blocks = [name for name, _ in totals.most_common() if name]
    index = {name: number for number, name in enumerate(blocks)} | {"": -1}
    return {
        "width": grid[0],
        "height": grid[1],
        "blocks": blocks,
        "tiles": [
            [x, y, index[found.most_common(1)[0][0]], found.total()]
            for (x, y), found in sorted(tiles.items(), key=lambda item: item[0][::-1])
        ],
        "routes": [_corners(path, places) for path in paths],
    }


def _corners(path: Path, places: dict[str, tuple[int, int]]) -> list[tuple[int, int]]:
    """Tiles that a path visits, in order."""
    found: list[tuple[int, int]] = []
    for _, _, pin in path.steps:
        place = places.get(pin.rpartition(".")[0])
        if place and (not found or found[-1] != place):
            found.append(place)
    return found


def colour(index: int) -> str:
    """Fill of the block of that index."""
    return OTHER if index < 0 else COLOURS[index % len(COLOURS)]


def draw(plan: dict[str, Any]) -> str:
    """The floorplan as SVG: a square a tile, in its block's colour, and a line for each route."""
    width, height = TILE * plan["width"], TILE * plan["height"]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        "<title>Floorplan</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff" stroke="#888888"/>',
    ]
    for block in range(-1, len(plan["blocks"])):
        name = plan["blocks"][block] if block >= 0 else "harness"
        squares = _squares([(x, y) for x, y, owner, _ in plan["tiles"] if owner == block])
        if squares:
            parts.append(f'<path fill="{colour(block)}" d="{squares}"><title>{escape(name)}</title></path>')
    for route in plan["routes"]:
        points = " ".join(f"{TILE * x + TILE // 2},{TILE * y + TILE // 2}" for x, y in route)
        parts.append(f'<polyline points="{points}" fill="none" stroke="#000000" stroke-width="2"/>')
    return "\n".join([*parts, "</svg>"])


def _squares(tiles: Sequence[tuple[int, int]]) -> str:
    """One SVG path of these tiles; neighbours in a row are one rectangle."""
    commands, ordered, at = [], sorted(tiles, key=lambda tile: tile[::-1]), 0
    while at < len(ordered):
        x, y = ordered[at]
        run = 1
        while at + run < len(ordered) and ordered[at + run] == (x + run, y):
            run += 1
        commands.append(f"M{TILE * x} {TILE * y}h{TILE * run}v{TILE}h-{TILE * run}z")
        at += run
    return "".join(commands)
