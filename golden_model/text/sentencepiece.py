"""ALBERT's ``spiece.model`` as a Hugging Face tokenizer, without the sentencepiece package.

The file is a protocol buffer. What matters here: the pieces with their scores (field 1); of the trainer
(field 2) the kind of model (inner field 3) and byte_fallback (35); of the normaliser (field 3) the
precompiled character map (2) and remove_extra_whitespaces (4).
"""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from golden_model.documents import first_line, quote
from golden_model.text.parse import parse_tokenizer
from golden_model.text.settings import Settings

SPECIAL = {
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
"""ALBERT's special pieces, by Hugging Face's names."""

NUMBER_COMMA_PENALTY = 100.0
"""Taken off the score of pieces such as ``9,``: ALBERT's own tokenizer never joins digit and comma."""

CLASSES = ("AlbertTokenizer",)
"""Tokenizers that read the file as this module does."""

UNIGRAM = 1
"""``trainer_spec.model_type`` of the kind that is read."""


@dataclass(frozen=True)
class _Model:
    """What a ``spiece.model`` holds.

    vocabulary: pieces and scores. charsmap: the normaliser's. kind: ``model_type``. byte_fallback: unknown
    characters become bytes. collapses: the model itself takes superfluous spaces away.
    """

    vocabulary: list[tuple[str, float]]
    charsmap: bytes = b""
    kind: int = UNIGRAM
    byte_fallback: bool = False
    collapses: bool = True


def read_sentencepiece(path: Path | str) -> Tokenizer:
    """The tokenizer of an ALBERT ``spiece.model``.

    ``do_lower_case``, ``keep_accents`` and ``add_prefix_space`` of ``tokenizer_config.json`` count; by
    default text is lower case and its accents are stripped.

    Raises:
        OSError: there is no such file.
        ValueError: it is not such a file, lacks a special piece, or a setting is not taken.
    """
    path = Path(path)
    settings = Settings(path.parent)
    settings.tokenizer_class(CLASSES, path.name)
    settings.special_pieces(SPECIAL)
    settings.only("sp_model_kwargs", ({},))
    model = _parse(path)
    if model.kind != UNIGRAM:
        raise ValueError(f"{path}: model_type is {model.kind}, only {UNIGRAM} (unigram) is read")
    if model.byte_fallback:
        raise ValueError(f"{path}: byte_fallback is set, which ALBERT's tokenizer has not")
    if not settings.flag("remove_space", True) and not model.collapses:
        raise ValueError(
            f"{settings.path}: remove_space is false, and {path.name} keeps spaces too; here any white "
            f"space only parts words, so it must be true"
        )
    index = {piece: i for i, (piece, _) in enumerate(model.vocabulary)}
    for piece in SPECIAL.values():
        if piece not in index:
            raise ValueError(f"{path} lacks the piece {piece}")
    settings.no_added_pieces(index)
    document = _document(
        model,
        index,
        lower=bool(settings.flag("do_lower_case", True)),
        accents=bool(settings.flag("keep_accents", False)),
        prefix=bool(settings.flag("add_prefix_space", True)),
    )
    return parse_tokenizer(json.dumps(document), path)


def _parse(path: Path) -> _Model:
    vocabulary: list[tuple[str, float]] = []
    found: dict[str, Any] = {}
    try:
        for number, value in _fields(path.read_bytes()):
            if number == 1:
                fields = dict(_fields(value))
                score = struct.unpack("<f", fields[2])[0] if 2 in fields else 0.0
                piece = fields[1].decode("utf-8")
                if not math.isfinite(score):
                    raise ValueError(f"the score of {quote(piece)} is {score}")
                vocabulary.append((piece, score - NUMBER_COMMA_PENALTY * _number_comma(piece)))
            elif number == 2:
                trainer = dict(_fields(value))
                found |= {"kind": int(trainer.get(3, UNIGRAM)), "byte_fallback": bool(trainer.get(35, 0))}
            elif number == 3:
                normalizer = dict(_fields(value))
                found |= {"charsmap": bytes(normalizer.get(2, b"")), "collapses": bool(normalizer.get(4, 1))}
    except (IndexError, KeyError, struct.error, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} is not a sentencepiece model: {first_line(error)}") from error
    return _Model(vocabulary, **found)


def _document(
    model: _Model, index: dict[str, int], *, lower: bool, accents: bool, prefix: bool
) -> dict[str, Any]:
    """``tokenizer.json`` as Hugging Face writes it for ALBERT."""
    normalizers: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": "``"}, "content": '"'},
        {"type": "Replace", "pattern": {"String": "''"}, "content": '"'},
    ]
    if not accents:
        normalizers += [{"type": "NFKD"}, {"type": "StripAccents"}]
    if lower:
        normalizers.append({"type": "Lowercase"})
    if model.charsmap:
        encoded = base64.b64encode(model.charsmap).decode("ascii")
        normalizers.append({"type": "Precompiled", "precompiled_charsmap": encoded})
    metaspace = {
        "type": "Metaspace",
        "replacement": "\u2581",
        "prepend_scheme": "always" if prefix else "never",
        "split": True,
    }

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
            for piece in SPECIAL.values()
        ],
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": [*single, part("B", True, 1), part("[SEP]", False, 1)],
            "special_tokens": {
                piece: {"id": piece, "ids": [index[piece]], "tokens": [piece]} for piece in ("[CLS]", "[SEP]")
            },
        },
        "decoder": metaspace,
        "model": {
            "type": "Unigram",
            "unk_id": index["<unk>"],
            "vocab": model.vocabulary,
            "byte_fallback": False,
        },
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
