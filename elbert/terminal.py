"""Where people read: consoles that show text as it was typed, on any terminal."""

from __future__ import annotations

import codecs
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

FILE_WIDTH = 132
"""Columns of what does not go to a terminal."""

_PLAIN = {"…": "...", "×": "x", "·": ".", "±": "+-", "≤": "<=", "≥": ">=", "→": "->", "–": "-", "—": "-"}
_HANDLER = "elbert-plain"


def _plain(error: UnicodeError) -> tuple[str, int]:
    """What is shown for characters that a terminal's encoding lacks."""
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(character, "?") for character in lacking), error.end


codecs.register_error(_HANDLER, _plain)


def degrade() -> None:
    """From here on stdout and stderr replace what their encoding lacks instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_HANDLER)


def readable(text: str) -> str:
    """``text`` as stdout's encoding can show it, so that a table knows its width."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, _HANDLER).decode(encoding)


def console(stderr: bool = False) -> Console:
    """A console that takes no text for markup, emoji or something to colour."""
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:  # rich would end the process with exit code 1
            raise BrokenPipeError

    made = Plain(stderr=stderr, markup=False, emoji=False, highlight=False)
    if not made.is_terminal:
        made.width = FILE_WIDTH  # files and pipes have no width of their own
    return made


def shorten(text: str, longest: int) -> str:
    """``text`` in one line of at most ``longest`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"
