"""Pages: one HTML file with its data, style and script inside, which fetches nothing."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from quant import style

SHARED = "quant.report"
"""Whose ``web`` holds what all pages have: the frame, its style, and the script's first part."""

WEB = "web"


def _read(package: str, name: str) -> str:
    return files(package).joinpath(WEB, name).read_text(encoding="utf-8")


def render(package: str, scripts: Sequence[str], data: dict[str, Any], **context: Any) -> str:
    """A page as HTML text. Whatever ``data`` holds is text, never markup.

    Args:
        package: Whose ``web`` holds ``page.html.j2``, ``style.css`` and the scripts.
        scripts: Parts of the page's script, in the order they are joined after ``chart.js``.
        data: JSON-able: what template and script see. The script's shared part reads ``model.iterations``
            and ``model.classes``.
        context: More for the template alone.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, WEB), PackageLoader(SHARED, WEB)]),
        autoescape=True,
        undefined=StrictUndefined,
    )
    # tojson escapes <, >, & and ', so that no text can end the script element it stands in
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    script = [_read(SHARED, "chart.js"), *(_read(package, name) for name in scripts)]
    return environment.get_template("page.html.j2").render(
        data=data,
        style=Markup(_read(SHARED, "base.css") + _read(package, "style.css")),
        script=Markup("\n".join(script)),
        colours=style,
        **context,
    )
