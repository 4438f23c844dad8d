"""Lines of text files, plain or compressed: what is damaged or no text is refused by file, line and byte."""

from __future__ import annotations

import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from golden_model.documents import first_line, quote

COMPRESSED = (".xz", ".gz")
"""Suffixes behind a file's own that say it is compressed."""

MAX_LINE = 1 << 24
"""Characters a line, or a field of a CSV over several lines, may have."""

DAMAGE = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)
"""What the decompressors raise where a file is cut or not of their format."""

_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16's, which it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8",
}
_NO_FILES = ("idna", "punycode", "unicode-escape", "raw-unicode-escape")
"""Codecs of domain names and of Python's source, not of files."""
_CHUNK = 1 << 16


def read_lines(path: Path | str, encoding: str = "utf-8") -> list[str]:
    """All lines of a text file without their ends, empty ones too: line ``n`` is at ``n - 1``.

    Only ``\\n``, ``\\r\\n`` and ``\\r`` end a line; U+2028, U+0085, form feeds and their like are text. The
    file may be compressed (``.gz``, ``.xz``) and begin with a byte order mark.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: naming the file and the line or byte: an encoding that is not known, bytes that are not of
            it, UTF-16 or UTF-32 (by its byte order mark) read as something else, a NUL character, a line
            above :data:`MAX_LINE`, or a compressed file that is cut or damaged.
    """
    return [line for _, line in numbered_lines(path, encoding)]


def numbered_lines(
    path: Path | str, encoding: str = "utf-8", ends: bool = False
) -> Iterator[tuple[int, str]]:
    """Lines with their numbers from 1, ``ends`` with their ends; raises like :func:`read_lines`."""
    path = Path(path)
    number = 0
    with open_text(path, encoding) as file:
        while True:
            try:
                line = file.readline(MAX_LINE + 1)
            except DAMAGE as error:
                raise damaged(path, error, f" behind line {number}") from error
            if not line:
                return
            number += 1
            if len(line) > MAX_LINE:
                raise ValueError(f"{path}: line {number} is longer than {MAX_LINE:,} characters")
            if "\0" in line:
                raise ValueError(
                    f"{path}: line {number} holds a NUL character: binary data, or another encoding than "
                    f"{encoding}"
                )
            yield number, line if ends else line.rstrip("\r\n")


@contextmanager
def open_text(path: Path, encoding: str) -> Iterator[IO[str]]:
    """The decompressed text, line ends as they are; see :func:`read_lines` for what its reading raises."""
    codec = _codec(encoding)
    with open_bytes(path) as raw:
        try:
            _check_mark(path, cast(io.BufferedReader, raw).peek(4), encoding)
            # utf-8-sig is UTF-8 that drops a byte order mark
            with io.TextIOWrapper(raw, "utf-8-sig" if codec == "utf-8" else codec, newline="") as text:
                yield text
        except DAMAGE as error:
            raise damaged(path, error) from error
        except UnicodeError as error:
            raise _undecodable(path, encoding, error) from error


def open_bytes(path: Path) -> IO[bytes]:
    """The file's content, decompressed by its suffix.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is a folder, not a file" if path.is_dir() else f"{path} is no file")
    if path.suffix.lower() == ".xz":
        return cast(IO[bytes], lzma.open(path, "rb"))
    if path.suffix.lower() == ".gz":
        return cast(IO[bytes], gzip.open(path, "rb"))
    return path.open("rb")


def damaged(path: Path, error: Exception, place: str = "") -> ValueError:
    """The error for a file that its decompressor, or its format's library, refuses."""
    return ValueError(f"{path} is damaged{place}: {first_line(error)}")


def _codec(encoding: str) -> str:
    """The encoding's own name; raises ValueError where it is none of text."""
    try:
        name = codecs.lookup(encoding).name
        io.TextIOWrapper(io.BytesIO(), name).read()  # refuses codecs of bytes, such as hex
        if name in _NO_FILES:
            raise LookupError(name)
    except (LookupError, ValueError) as error:
        raise ValueError(f"encoding {quote(encoding)} is not known") from error
    return name


def _check_mark(path: Path, head: bytes, encoding: str) -> None:
    found = next((name for mark, name in _MARKS.items() if head.startswith(mark)), None)
    if found is not None and not codecs.lookup(encoding).name.startswith(found):
        raise ValueError(
            f"{path} is {found}, its byte order mark says, not {encoding}: give its encoding as {found}"
        )


def _undecodable(path: Path, encoding: str, error: UnicodeError) -> ValueError:
    """The error that names line and byte, found by reading again: a text stream says neither."""
    decoder = codecs.getincrementaldecoder(encoding)()
    ends = io.IncrementalNewlineDecoder(None, translate=True)
    line, before = 1, 0
    with open_bytes(path) as file:
        while True:
            try:
                chunk = file.read(_CHUNK)
            except DAMAGE as damage:
                return damaged(path, damage, f" behind line {line}")
            state = decoder.getstate()
            try:
                line += cast(str, ends.decode(decoder.decode(chunk, final=not chunk))).count("\n")
            except UnicodeDecodeError as wrong:
                kept = len(wrong.object) - len(chunk)  # bytes of an unfinished character before the chunk
                decoder.setstate(state)
                good = decoder.decode(chunk[: max(wrong.start - kept, 0)])
                line += cast(str, ends.decode(good, final=True)).count("\n")
                byte, place = wrong.object[wrong.start], before - kept + wrong.start
                return ValueError(
                    f"{path}: line {line} is not {encoding}: {wrong.reason}, {byte:#04x} at byte {place}"
                )
            except UnicodeError:
                break  # UTF-16 without a byte order mark is wrong in no one place
            if not chunk:
                break
            before += len(chunk)
    return ValueError(f"{path} is not {encoding}: {first_line(error)}")
