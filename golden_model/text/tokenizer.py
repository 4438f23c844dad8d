"""Text to token ids: the checkpoint's own Hugging Face tokenizer, then an optional pruned vocabulary.

Pruning never changes how text is split. The full tokenizer splits, then every piece that was kept gets its
compact id and every other piece the compact id of the unknown token, so that an embedding of fewer rows
serves the same splitting.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Tokenizer

from golden_model.documents import first_line, quote, read_json
from golden_model.files import write_text
from golden_model.text.parse import failures_of_tokenizers, parse_tokenizer
from golden_model.text.sentencepiece import read_sentencepiece
from golden_model.text.settings import ADDED_FILE, SETTINGS_FILE, Settings
from golden_model.text.wordpiece import VOCABULARY_FILE, read_wordpiece

TOKENIZER_FILE = "tokenizer.json"
KEPT_FILE = "kept_vocabulary.json"
PIECES_FILE = "spiece.model"
FILES = (TOKENIZER_FILE, KEPT_FILE, SETTINGS_FILE, PIECES_FILE, VOCABULARY_FILE, ADDED_FILE)
"""Everything that a folder's tokenizer is read from."""

_SPECIAL = {
    "pad": ("[PAD]", "<pad>"),
    "unk": ("[UNK]", "<unk>"),
    "cls": ("[CLS]",),
    "sep": ("[SEP]",),
    "mask": ("[MASK]",),
}


class Sentences(list[tuple[list[int], list[int]]]):
    """Ids and token types of texts, in their order.

    Members:
        max_length: Tokens that a longer text was cut to.
        cut: Which texts were longer, from 0.
    """

    def __init__(self, encoded: Iterable[tuple[list[int], list[int]]], max_length: int, cut: Sequence[int]):
        """A list with what was lost on the way."""
        super().__init__(encoded)
        self.max_length, self.cut = max_length, tuple(cut)

    @property
    def note(self) -> str | None:
        """What was cut in a line for people; None where nothing was."""
        return cut_note(len(self.cut), len(self), self.max_length)


def cut_note(cut: int, count: int, max_length: int) -> str | None:
    """How many of ``count`` sentences were cut, in a line for people; None where none was."""
    if not cut:
        return None
    verb = "was" if cut == 1 else "were"
    return f"{cut} of {count} sentences {verb} cut to {max_length} tokens"


class ElbertTokenizer:
    """Splits text with the full vocabulary and speaks in compact ids.

    Members:
        full: The Hugging Face tokenizer, truncation and padding under this class's control.
        kept: Original id per compact id; None when the vocabulary is whole.
        size: Compact ids in use, 0 .. size - 1.
        pad_id, unk_id, cls_id, sep_id, mask_id: Compact ids of the special pieces.
    """

    def __init__(self, full: Tokenizer, kept: Sequence[int] | None = None) -> None:
        """Raises ValueError when a special piece is missing or was not kept, an id repeats, or a sentence
        does not become ``[CLS] … [SEP]``.
        """
        self.full = full
        self.full.no_padding()
        self.full.no_truncation()
        # ids may have gaps, so their number is not what an embedding needs
        full_size = 1 + max(full.get_vocab(with_added_tokens=True).values(), default=-1)
        self.kept = None if kept is None else list(kept)
        self._compact: dict[int, int] | None = None
        if self.kept is not None:
            self._compact = {original: compact for compact, original in enumerate(self.kept)}
            if len(self._compact) != len(self.kept):
                raise ValueError(f"the kept vocabulary repeats an id: {_first_repeat(self.kept)}")
            beyond = [i for i in self.kept if not 0 <= i < full_size]
            if beyond:
                raise ValueError(f"kept id {beyond[0]} is not in 0..{full_size - 1}")
        self.size = full_size if self.kept is None else len(self.kept)
        self._special = {role: self._find_special(role) for role in _SPECIAL}
        self.pad_id, self.unk_id = self._special["pad"], self._special["unk"]
        self.cls_id, self.sep_id = self._special["cls"], self._special["sep"]
        self.mask_id = self._special["mask"]
        with failures_of_tokenizers("the tokenizer does not split text"):
            ends = [self.to_compact(i) for i in full.encode("").ids]
        if ends != [self.cls_id, self.sep_id]:
            raise ValueError("its post_processor does not put [CLS] before a sentence and [SEP] behind it")

    def _find_special(self, role: str) -> int:
        for piece in _SPECIAL[role]:
            original = self.full.token_to_id(piece)
            if original is None:
                continue
            if self._compact is None:
                return original
            if original not in self._compact:
                raise ValueError(f"the kept vocabulary lacks the special piece {piece}")
            return self._compact[original]
        raise ValueError(f"the tokenizer has no piece {' or '.join(_SPECIAL[role])}")

    @classmethod
    def from_folder(cls, folder: Path | str) -> ElbertTokenizer:
        """Opens ``tokenizer.json`` (or, failing that, ``spiece.model`` or ``vocab.txt``) and the pruning.

        ``tokenizer_config.json`` counts with the latter two and must agree with the first.

        Raises:
            OSError: the folder holds none of them, or a file cannot be read.
            ValueError: a file is damaged, a setting is not taken, or the kept vocabulary does not fit.
        """
        folder = Path(folder)
        if (folder / TOKENIZER_FILE).is_file():
            path = folder / TOKENIZER_FILE
            try:
                text = path.read_text(encoding="utf-8")
            except UnicodeDecodeError as error:
                raise ValueError(f"{path} is not a tokenizer: {first_line(error)}") from error
            full = parse_tokenizer(text, path)
            _check_agreement(full, folder)
        elif (folder / PIECES_FILE).is_file():
            path = folder / PIECES_FILE
            full = read_sentencepiece(path)
        elif (folder / VOCABULARY_FILE).is_file():
            path = folder / VOCABULARY_FILE
            full = read_wordpiece(path)
        else:
            raise FileNotFoundError(
                f"{folder} holds neither {TOKENIZER_FILE} nor {PIECES_FILE} nor {VOCABULARY_FILE}"
            )
        kept = _read_kept(folder / KEPT_FILE) if (folder / KEPT_FILE).is_file() else None
        try:
            return cls(full, kept)
        except ValueError as error:
            raise ValueError(f"{path if kept is None else folder / KEPT_FILE}: {error}") from error

    def save(self, folder: Path | str) -> None:
        """Writes ``tokenizer.json`` and, for a pruned vocabulary, ``kept_vocabulary.json``."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.full.no_truncation()
        write_text(folder / TOKENIZER_FILE, self.full.to_str())
        if self.kept is not None:
            write_text(folder / KEPT_FILE, json.dumps(self.kept, separators=(",", ":")) + "\n")

    def pruned(self, kept: Sequence[int]) -> ElbertTokenizer:
        """The same tokenizer speaking in the compact ids of ``kept`` (original ids)."""
        return ElbertTokenizer(Tokenizer.from_str(self.full.to_str()), kept)

    def to_compact(self, original: int) -> int:
        """Compact id of an original id; the unknown piece's for one that was not kept."""
        return original if self._compact is None else self._compact.get(original, self.unk_id)

    def to_original(self, compact: int) -> int:
        """Original id of a compact id; raises ValueError beyond 0..size-1."""
        if not 0 <= compact < self.size:
            raise ValueError(f"compact id {compact} is not in 0..{self.size - 1}")
        return compact if self.kept is None else self.kept[compact]

    def encode(self, text: str, max_length: int, pair: str | None = None) -> tuple[list[int], list[int]]:
        """Compact ids and token types of one sentence or pair.

        The layout is the tokenizer's own: ``[CLS] text [SEP]`` or ``[CLS] text [SEP] pair [SEP]``.
        Longer text is cut to ``max_length`` tokens, special ones included; of a pair the longer part is
        cut first.

        Raises:
            ValueError: when ``max_length`` has no room for the special pieces.
        """
        return self.encode_many([text], max_length, None if pair is None else [pair])[0]

    def encode_many(
        self, texts: Sequence[str], max_length: int, pairs: Sequence[str] | None = None
    ) -> Sentences:
        """:meth:`encode` of many sentences at once; the result says which of them were cut.

        Raises:
            ValueError: as :meth:`encode`, or a text is none that UTF-8 can say, by its number from 1.
        """
        least = 2 if pairs is None else 3
        if max_length < least:
            raise ValueError(f"max_length {max_length} is below {least}, the number of special pieces")
        for part in (texts, pairs or ()):
            _check_text(part)
        if pairs is not None and self.full.num_special_tokens_to_add(True) != least:
            raise ValueError(
                "the tokenizer's post_processor does not make a pair [CLS] text [SEP] pair [SEP]"
            )
        self.full.enable_truncation(max_length, strategy="longest_first")
        inputs = list(texts) if pairs is None else list(zip(texts, pairs, strict=True))
        with failures_of_tokenizers("the tokenizer does not split the text"):
            encoded = self.full.encode_batch(inputs)
        return Sentences(
            (([self.to_compact(i) for i in e.ids], list(e.type_ids)) for e in encoded),
            max_length,
            [i for i, e in enumerate(encoded) if e.overflowing],
        )

    def check_fits(self, vocab_size: int, place: object) -> None:
        """Raises ValueError, naming ``place``, when an embedding of so many rows has not one for every id."""
        if self.size > vocab_size:
            raise ValueError(f"{place}: the tokenizer holds {self.size} pieces, the embedding {vocab_size}")

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The pieces of compact ids, as the vocabulary spells them (``##ing``, ``▁the``)."""
        return [self.full.id_to_token(self.to_original(i)) or "" for i in ids]

    def decode(self, ids: Iterable[int]) -> str:
        """Readable text of compact ids, special pieces left out."""
        return self.full.decode([self.to_original(i) for i in ids], skip_special_tokens=True)


def select_vocabulary(
    tokenizer: ElbertTokenizer, task_texts: Iterable[str], other_texts: Iterable[str], size: int
) -> list[int]:
    """Original ids worth keeping, in compact order.

    First the special pieces ([PAD] [UNK] [CLS] [SEP] [MASK]), then the pieces of the task's own training
    text, then those of other text of its kind, each by falling frequency; room that is left goes to the
    remaining pieces in the order of their original ids (WordPiece lists single characters and frequent words
    first). Ties go to the lower id.

    Args:
        tokenizer: One with the whole vocabulary.
        task_texts: The task's training sentences.
        other_texts: Text of the same kind, read once.
        size: Pieces to keep, special ones included.

    Raises:
        ValueError: when the tokenizer is pruned already, or ``size`` is not in 5..its size.
    """
    if tokenizer.kept is not None:
        raise ValueError(f"the tokenizer is pruned to {tokenizer.size} pieces already")
    special = [tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id]
    if not len(special) <= size <= tokenizer.size:
        raise ValueError(f"size {size} is not in {len(special)}..{tokenizer.size}")
    own, other = _count(tokenizer.full, task_texts), _count(tokenizer.full, other_texts)
    order = sorted(range(tokenizer.size), key=lambda i: (i not in own, -own[i], i not in other, -other[i], i))
    taken = set(special)
    return special + [i for i in order if i not in taken][: size - len(special)]


def _read_kept(path: Path) -> list[int]:
    found = read_json(path)
    if not isinstance(found, list):
        raise ValueError(f"{path} holds a {type(found).__name__}, expected a list of ids")
    for i, value in enumerate(found):
        if type(value) is not int:  # True is no id
            raise ValueError(f"{path}: entry {i} is {quote(value)}, expected an id")
    return found


def _check_agreement(full: Tokenizer, folder: Path) -> None:
    """Refuses settings beside ``tokenizer.json`` that say otherwise than it does.

    Versions of transformers differ in which of the two they follow.
    """
    settings = Settings(folder)
    state = {} if full.normalizer is None else json.loads(full.normalizer.__getstate__())
    steps = {step["type"]: step for step in state.get("normalizers", [state]) if "type" in step}
    if bert := steps.get("BertNormalizer"):
        lower, strips = bert["lowercase"], bert["strip_accents"]
        does = {
            "do_lower_case": lower,
            "strip_accents": lower if strips is None else strips,
            "tokenize_chinese_chars": bert["handle_chinese_chars"],
        }
    else:
        does = {"do_lower_case": "Lowercase" in steps, "keep_accents": "StripAccents" not in steps}
    for key, value in does.items():
        said = settings.flag(key, None)
        if said is not None and said != value:
            raise ValueError(
                f"{settings.path}: {key} is {str(said).lower()}, but {TOKENIZER_FILE} does as if it were "
                f"{str(value).lower()}: remove the key if {TOKENIZER_FILE} is right, else write that anew"
            )


def _check_text(texts: Sequence[str]) -> None:
    for i, text in enumerate(texts):
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ValueError(
                f"sentence {i + 1}: character {error.start + 1} is {text[error.start]!r}, half of a pair: "
                f"the text was not decoded as what it is"
            ) from error


def _count(full: Tokenizer, texts: Iterable[str]) -> Counter[int]:
    full.no_truncation()
    counts: Counter[int] = Counter()
    block: list[str] = []
    for text in texts:
        block.append(text)
        if len(block) == 4096:
            _count_block(full, block, counts)
            block = []
    _count_block(full, block, counts)
    return counts


def _count_block(full: Tokenizer, block: list[str], counts: Counter[int]) -> None:
    for encoded in full.encode_batch(block, add_special_tokens=False):
        counts.update(encoded.ids)


def _first_repeat(ids: Sequence[int]) -> int:
    seen: set[int] = set()
    for i in ids:
        if i in seen:
            return i
        seen.add(i)
    raise AssertionError("no id repeats")
