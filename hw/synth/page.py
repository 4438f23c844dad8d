"""A synthesis report as one HTML page with its style and drawing inside, which fetches nothing."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hw.synth.floorplan import OTHER, colour, draw

LABELS = {"lut4": "LUT4", "ff": "flip-flops", "dsp": "multipliers", "block_ram": "block RAM"}


def render_page(title: str, data: dict[str, Any]) -> str:
    """The page of a report's JSON form as HTML text; the floorplan is read from the file named there.

    Raises:
        OSError: the floorplan cannot be read.
    """
    plan = json.loads(Path(data["files"]["floorplan"]).read_text(encoding="utf-8"))
    environment = Environment(
        loader=PackageLoader(__package__ or "", "web"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("page.html.j2").render(
        title=title,
        data=data,
        labels=LABELS,
        style=Markup(files(__package__).joinpath("web", "style.css").read_text(encoding="utf-8")),
        floorplan=Markup(draw(plan)),
        legend=[*((name, colour(i)) for i, name in enumerate(plan["blocks"])), ("harness", OTHER)],
    )
