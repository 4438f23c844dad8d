"""Reads the files that trace_monitor.v writes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

MAGIC = 0x52544C45
"""The four bytes "ELTR", little-endian."""

_VERSION = 2
_HEADER_WORDS = 4
_RECORD_HEADER_WORDS = 4


def unpack_lanes(words: np.ndarray, width: int, count: int, *, signed: bool = True) -> np.ndarray:
    """Splits rows of little-endian 32-bit words into ``count`` lanes of ``width`` bits, lane 0 lowest.

    Args:
        words: uint32 [n, words].
        width: bits of a lane, 1 to 63.
        count: lanes; ``count * width`` bits must be there.

    Returns:
        int64 [n, count].

    Raises:
        ValueError: a lane is wider than 63 bits, or the rows are too short.
    """
    if not 1 <= width <= 63:
        raise ValueError(f"lane width {width} is not in 1..63")
    rows, row_words = words.shape
    if count * width > row_words * 32:
        raise ValueError(f"{count} lanes of {width} bits do not fit a row of {row_words * 32} bits")
    if width in (8, 16, 32):
        kind = np.dtype(f"<{'i' if signed else 'u'}{width // 8}")
        return np.ascontiguousarray(words, "<u4").view(kind)[:, :count].astype(np.int64)
    # Two zero words more, so that every lane can be cut out of the 64 or 96 bits from its first word on.
    padded = np.zeros((row_words + 2, rows), np.uint64)
    padded[:row_words] = words.T
    lanes = np.empty((rows, count), np.int64)
    unused = np.uint64(64 - width)
    for lane in range(count):
        word, offset = divmod(lane * width, 32)
        value = (padded[word] | padded[word + 1] << np.uint64(32)) >> np.uint64(offset)
        if offset + width > 64:
            value |= padded[word + 2] << np.uint64(64 - offset)
        value <<= unused  # the lane's sign bit to the top, and back with the wanted extension
        lanes[:, lane] = value.view(np.int64) >> np.int64(unused) if signed else value >> unused
    return lanes


@dataclasses.dataclass(frozen=True)
class Trace:
    """The records of a trace, in the order of time.

    Attributes:
        tag: uint8 [n], which tensor.
        index: uint32 [n], address within it.
        sentence: uint32 [n], the number at the monitor's sentence port.
        cycle: uint64 [n], clock of the record since the simulation began.
        words: uint32 [n, ceil(data_bits / 32)], the data.
        data_bits: width of the trace's data.
    """

    tag: np.ndarray
    index: np.ndarray
    sentence: np.ndarray
    cycle: np.ndarray
    words: np.ndarray
    data_bits: int

    def __len__(self) -> int:
        return len(self.tag)

    def select(self, *, tag: int | None = None, sentence: int | None = None) -> Trace:
        """The records of one tag, one sentence, or both."""
        mask = np.ones(len(self), bool)
        if tag is not None:
            mask &= self.tag == tag
        if sentence is not None:
            mask &= self.sentence == sentence
        return Trace(
            self.tag[mask],
            self.index[mask],
            self.sentence[mask],
            self.cycle[mask],
            self.words[mask],
            self.data_bits,
        )

    def lanes(self, width: int, count: int | None = None, *, signed: bool = True) -> np.ndarray:
        """The data as int64 [n, count] lanes of ``width`` bits; ``count`` defaults to all that fit."""
        return unpack_lanes(self.words, width, count or self.data_bits // width, signed=signed)


def read_trace(path: Path | str) -> Trace:
    """Reads a trace file. A record cut short at the end (a run that was stopped) is left out.

    Raises:
        ValueError: the file is no trace of this format.
    """
    data = np.fromfile(path, dtype="<u4")
    if len(data) < _HEADER_WORDS or data[0] != MAGIC:
        raise ValueError(f"{path} is no trace file: it does not start with 'ELTR'")
    version, data_bits, index_bits = (int(v) for v in data[1:_HEADER_WORDS])
    if version != _VERSION:
        raise ValueError(f"{path} has format version {version}, this reader knows {_VERSION}")
    if not 1 <= index_bits < 32:
        raise ValueError(f"{path} says that an index has {index_bits} bits, which is outside 1..31")
    record_words = _RECORD_HEADER_WORDS + (data_bits + 31) // 32
    body = data[_HEADER_WORDS:]
    records = body[: len(body) // record_words * record_words].reshape(-1, record_words)
    return Trace(
        tag=(records[:, 0] >> index_bits).astype(np.uint8),
        index=records[:, 0] & ((1 << index_bits) - 1),
        sentence=records[:, 1].copy(),
        cycle=records[:, 2].astype(np.uint64) | records[:, 3].astype(np.uint64) << np.uint64(32),
        words=records[:, _RECORD_HEADER_WORDS:].copy(),
        data_bits=data_bits,
    )
