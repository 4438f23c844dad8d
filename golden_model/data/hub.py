"""Tables of the Hugging Face hub through the package ``datasets``, which is optional."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from golden_model.data.readers import Cells, Table
from golden_model.documents import first_line

PREFIX = "hub:"
"""What a source on the hub begins with."""

_SPLITS = {"dev": "validation"}


def open_hub(source: str, split: str) -> Table:
    """Opens a split of ``hub:NAME``, ``hub:NAME/CONFIGURATION`` or ``hub:OWNER/NAME/CONFIGURATION``.

    Raises:
        ValueError: the package is not installed, or it says why it cannot give the data.
    """
    name = source.removeprefix(PREFIX)
    try:
        import datasets
    except ImportError as error:
        raise ValueError(
            f"{source} needs the package 'datasets' (and the network); a local folder needs neither"
        ) from error
    whole, _, revision = name.partition("@")
    base, _, configuration = whole.rpartition("/")
    wanted = _SPLITS.get(split, split)
    where = f"{source}:{wanted}"
    try:
        table = datasets.load_dataset(
            base or configuration, configuration if base else None, split=wanted, revision=revision or None
        )
    except Exception as error:  # its own kinds, those of the network, and those of every format it reads
        raise ValueError(f"{where} cannot be had: {first_line(error)}") from error
    names = list(table.column_names)
    classes = {
        column: list(feature.names)
        for column, feature in table.features.items()
        if isinstance(feature, datasets.ClassLabel) and feature.names
    }

    def records(columns: Sequence[int]) -> Iterator[tuple[int, str, Cells]]:
        chosen = table.select_columns([names[i] for i in columns])
        for number, row in enumerate(chosen, start=1):
            yield number, f"row {number}", {i: row[names[i]] for i in columns}

    return Table(where, names, records, classes)
