"""ALBERT's ``spiece.model`` as a Hugging Face tokenizer, without the sentencepiece package.

The file is a protocol buffer. Only two of its fields matter here: the pieces with their scores (field 1) and
the normaliser's precompiled character map (field 3, inner field 2).
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

SPECIAL = ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
"""ALBERT's special pieces."""

NUMBER_COMMA_PENALTY = 100.0
"""Taken off the score of pieces such as ``9,``: ALBERT's own tokenizer never joins digit and comma."""

_METASPACE = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}


def read_sentencepiece(path: Path | str) -> Tokenizer:
    """The tokenizer of an ALBERT ``spiece.model`` (lower case, accents stripped).

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is not such a file, or lacks a special piece.
    """
    path = Path(path)
    data = path.read_bytes()
    vocabulary: list[tuple[str, float]] = []
    charsmap = b""
    try:
        for number, value in _fields(data):
            if number == 1:
                fields = dict(_fields(value))
                score = struct.unpack("<f", fields[2])[0] if 2 in fields else 0.0
                piece = fields[1].decode("utf-8")
                vocabulary.append((piece, score - NUMBER_COMMA_PENALTY * _number_comma(piece)))
            elif number == 3:
                charsmap = dict(_fields(value)).get(2, b"")
    except (IndexError, KeyError, struct.error, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a sentencepiece model") from error
    index = {piece: i for i, (piece, _) in enumerate(vocabulary)}
    for piece in SPECIAL:
        if piece not in index:
            raise ValueError(f"{path} lacks the piece {piece}")
    return Tokenizer.from_str(json.dumps(_document(vocabulary, index, charsmap)))


def _document(vocabulary: list[tuple[str, float]], index: dict[str, int], charsmap: bytes) -> dict[str, Any]:
    """``tokenizer.json`` as Hugging Face writes it for ALBERT."""
    normalizers: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": "``"}, "content": '"'},
        {"type": "Replace", "pattern": {"String": "''"}, "content": '"'},
        {"type": "NFKD"},
        {"type": "StripAccents"},
        {"type": "Lowercase"},
    ]
    if charsmap:
        encoded = base64.b64encode(charsmap).decode("ascii")
        normalizers.append({"type": "Precompiled", "precompiled_charsmap": encoded})

    def part(piece: str, sequence: bool, type_id: int) -> dict[str, Any]:
        return {"Sequence" if sequence else "SpecialToken": {"id": piece, "type_id": type_id}}

    single = [part("[CLS]", False, 0), part("A", True, 0), part("[SEP]", False, 0)]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": index[piece],
                "content": piece,
                "single_word": False,
                "lstrip": piece == "[MASK]",
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for piece in SPECIAL
        ],
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, _METASPACE]},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": [*single, part("B", True, 1), part("[SEP]", False, 1)],
            "special_tokens": {
                piece: {"id": piece, "ids": [index[piece]], "tokens": [piece]} for piece in ("[CLS]", "[SEP]")
            },
        },
        "decoder": _METASPACE,
        "model": {"type": "Unigram", "unk_id": index["<unk>"], "vocab": vocabulary, "byte_fallback": False},
    }


def _number_comma(piece: str) -> bool:
    return len(piece) >= 2 and piece[-1] == "," and piece[-2].isdigit()


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A variable-length integer (seven bits a byte, lowest first) and the place behind it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Field numbers and values of a message: bytes, or an integer for a varint."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value: Any
            value, at = _varint(data, at)
        else:
            if kind not in (1, 2, 5):
                raise IndexError(f"wire type {kind}")
            size = {1: 8, 5: 4}.get(kind, 0)
            if kind == 2:
                size, at = _varint(data, at)
            if at + size > len(data):
                raise IndexError("a field reaches beyond the end")
            value, at = data[at : at + size], at + size
        yield key >> 3, value
