"""``tokenizer.json`` through the tokenizers package, whose failures are made into one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tokenizers import Tokenizer

from golden_model.documents import first_line


@contextmanager
def failures_of_tokenizers(what: object) -> Iterator[None]:
    """Turns what the package raises (plain ``Exception``, and panics of its Rust) into a ValueError."""
    try:
        yield
    except (OSError, ValueError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        if not (isinstance(error, Exception) or type(error).__name__ == "PanicException"):
            raise
        raise ValueError(f"{what}: {first_line(error)}") from error


def parse_tokenizer(text: str, path: Path) -> Tokenizer:
    """The tokenizer of a ``tokenizer.json``'s text; raises ValueError naming ``path``."""
    with failures_of_tokenizers(f"{path} is not a tokenizer"):
        return Tokenizer.from_str(text)
