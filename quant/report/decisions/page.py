"""The page: one HTML file with its data, style and script inside, which fetches nothing."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from golden_model.files import write_text
from quant import style

SCRIPTS = ("chart.js", "sentences.js", "aggregates.js", "attention.js", "projection.js", "main.js")
"""Parts of the page's script, in the order they are joined."""


def policy_line(policy: dict[str, Any]) -> str:
    """A policy as a line of text, with the thresholds its mode uses only."""
    parts = [policy["mode"]]
    if policy["mode"] == "patience":
        parts.append(f"patience {policy['patience']}")
    elif policy["mode"] != "none":
        parts.append(f"delta {policy['delta']:g}")
    if policy["mode"].startswith("bias"):
        parts += [f"window {policy['window']}", f"margin {policy['margin']:g}"]
    if policy["mode"] == "bias_3":
        parts.append(f"range {policy['range']:g}")
    return ", ".join(parts)


def render_page(data: dict[str, Any]) -> str:
    """The page of ``figures.decisions`` as HTML text. Whatever the sentences hold is text, never markup."""
    web = files(__package__).joinpath("web")
    environment = Environment(
        loader=PackageLoader(__package__ or "", "web"),
        autoescape=True,
        undefined=StrictUndefined,
    )
    # tojson escapes <, >, & and ', so that no text can end the script element it stands in
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return environment.get_template("page.html.j2").render(
        data=data,
        policy=policy_line(data["policy"]),
        source="/".join(Path(data["data"]["source"]).parts[-2:]),
        style=Markup(web.joinpath("style.css").read_text(encoding="utf-8")),
        script=Markup("\n".join(web.joinpath(name).read_text(encoding="utf-8") for name in SCRIPTS)),
        colours=style,
    )


def write_page(data: dict[str, Any], path: Path | str) -> None:
    """Writes the page, whole or not at all."""
    write_text(path, render_page(data))
