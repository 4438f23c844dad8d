"""BERT's ``vocab.txt`` as a Hugging Face tokenizer, with the settings beside it."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.implementations import BertWordPieceTokenizer

from golden_model.documents import first_line
from golden_model.text.settings import Settings

VOCABULARY_FILE = "vocab.txt"

SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
"""BERT's special pieces, by Hugging Face's names."""

CLASSES = ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer")
"""Tokenizers that split alike."""


def read_wordpiece(path: Path | str) -> Tokenizer:
    """The tokenizer of a ``vocab.txt``: one piece a line, ids from 0.

    ``do_lower_case``, ``strip_accents`` and ``tokenize_chinese_chars`` of ``tokenizer_config.json`` count.

    Raises:
        OSError: there is no such file.
        ValueError: it is not one, lacks a special piece, or a setting is not taken.
    """
    path = Path(path)
    settings = Settings(path.parent)
    settings.tokenizer_class(CLASSES, VOCABULARY_FILE)
    settings.special_pieces(SPECIAL)
    settings.only("do_basic_tokenize", (True,))
    settings.only("never_split", ([],))
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a vocabulary: {first_line(error)}") from error
    lines = text.removesuffix("\n").split("\n")  # not splitlines: other separators are pieces
    vocabulary = {piece: i for i, piece in enumerate(lines)}  # of a repeated piece the last counts
    for piece in SPECIAL.values():
        if piece not in vocabulary:
            raise ValueError(f"{path} lacks the piece {piece}")
    settings.no_added_pieces(vocabulary)
    made = BertWordPieceTokenizer(
        vocabulary,
        clean_text=True,
        lowercase=bool(settings.flag("do_lower_case", True)),
        strip_accents=settings.flag("strip_accents", None),
        handle_chinese_chars=bool(settings.flag("tokenize_chinese_chars", True)),
    )
    return made._tokenizer
