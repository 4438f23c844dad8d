"""Results as tables for people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from elbert.terminal import console, readable


def _is_figure(value: object) -> bool:
    """A formatted number: ``1,234``, ``98.7 %``, ``3.1x``, ``2/12``."""
    return isinstance(value, str) and bool(re.fullmatch(r"[-+]?[\d,./]+ ?(%|x|dB|[kM]?Hz|ms?)?", value))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints rows as a table on stdout: numbers to the right, text to the left, None as a dash."""
    from rich.table import Table
    from rich.text import Text

    body = [list(row) for row in rows]
    table = Table(title=Text(readable(title)), title_justify="left")
    for index, column in enumerate(columns):
        numeric = bool(body) and all(
            isinstance(row[index], int | float) or row[index] is None or _is_figure(row[index])
            for row in body
        )
        # The first column gives way in a narrow terminal, figures never.
        table.add_column(
            Text(readable(column)),
            justify="right" if numeric else "left",
            no_wrap=index > 0,
            overflow="ellipsis",
        )
    for row in body:
        table.add_row(*(Text("-" if value is None else readable(str(value))) for value in row))
    console().print(table)
