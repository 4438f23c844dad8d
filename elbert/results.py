"""A command's result: saved first, then shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from golden_model.files import write_json


def deliver(data: Any, json_file: Path | None, show: Callable[[], None] | None = None) -> None:
    """Writes ``data`` to ``json_file``, where one is named, and only then shows it.

    Whatever a terminal does to the display, the result is there.
    """
    if json_file is not None:
        write_json(json_file, data)
    if show is not None:
        show()
