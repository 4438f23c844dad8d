"""Parquet tables through pyarrow, which is optional."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from golden_model.data.lines import COMPRESSED, DAMAGE, damaged, open_bytes
from golden_model.data.readers import Cells, Table

MAX_BYTES = 1 << 30
"""Bytes of a compressed Parquet file's content, which is read as a whole."""

_BATCH = 1024


def open_parquet(path: Path) -> Table:
    """Opens a Parquet file, plain or compressed as a whole.

    Where the Hugging Face package ``datasets`` wrote it, the names that it keeps for classes are read too.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: pyarrow is not installed, or the file is damaged, cut or no Parquet.
    """
    with open_bytes(path):
        pass  # what is no file is no question of packages
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ValueError(
            f"{path}: Parquet needs the package pyarrow: pip install 'elbert-fpga[parquet]'"
        ) from error

    @contextmanager
    def reading(place: str = "") -> Iterator[None]:
        try:
            yield
        except (pyarrow.ArrowException, OSError, ValueError, *DAMAGE) as error:
            raise damaged(path, error, place) from error

    with open_bytes(path) as raw:
        if path.suffix.lower() in COMPRESSED:
            with reading():
                content = raw.read(MAX_BYTES + 1)
            if len(content) > MAX_BYTES:
                raise ValueError(f"{path} holds more than {MAX_BYTES:,} bytes, compressed: decompress it")
            source: Any = pyarrow.BufferReader(content)
        else:
            source = str(path)
    with reading():
        file = parquet.ParquetFile(source, page_checksum_verification=True)  # where there are any
        schema = file.schema_arrow

    def records(columns: Sequence[int]) -> Iterator[tuple[int, str, Cells]]:
        names = [schema.names[i] for i in columns]
        number = 0
        batches = file.iter_batches(_BATCH, columns=names)
        while True:
            with reading(f" behind row {number}"):
                batch = next(batches, None)
                if batch is None:
                    return
                found = {
                    i: batch.column(batch.schema.names.index(schema.names[i])).to_pylist() for i in columns
                }
            for at in range(batch.num_rows):
                number += 1
                yield number, f"row {number}", {i: values[at] for i, values in found.items()}

    return Table(str(path), list(schema.names), records, _class_names(schema.metadata or {}))


def _class_names(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """Per column the class names of the features that ``datasets`` keeps beside the schema."""
    try:
        features: Any = json.loads(metadata[b"huggingface"])["info"]["features"]
        return {
            column: [str(name) for name in feature["names"]]
            for column, feature in features.items()
            if feature["_type"] == "ClassLabel" and isinstance(feature["names"], list)
        }
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}  # not written by datasets
