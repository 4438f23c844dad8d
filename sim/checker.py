"""Compares a traced run with the golden model, integer for integer, and names the first mismatch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from golden_model.integer.model import SentenceResult
from hw.arith.widths import ceil_div
from hw.engine.trace import BLOCK_BITS, HEAD_SHIFT, LANE_BITS, POSITION_BITS, TraceTag
from hw.params import Machine
from sim.agents.trace import Trace


@dataclass(frozen=True)
class Mismatch:
    """Where golden and hardware part for the first time.

    ``iteration`` is 0 for the embedding. ``index`` is the element's index in the golden tensor;
    ``got`` is None for an element the hardware never wrote, ``cycle`` is None for values read from
    registers.
    """

    sentence: int
    iteration: int
    tensor: str
    index: tuple[int, ...]
    expected: int
    got: int | None
    cycle: int | None

    def __str__(self) -> str:
        got = "nothing" if self.got is None else self.got
        when = "" if self.cycle is None else f" in cycle {self.cycle}"
        return (
            f"sentence {self.sentence}, iteration {self.iteration}: {self.tensor}{list(self.index)} "
            f"is {got}, golden {self.expected}{when}"
        )

    def as_json(self) -> dict[str, Any]:
        """For result files."""
        return asdict(self)


@dataclass(frozen=True)
class Comparison:
    """Result of one sentence: the names compared, elements compared, elements unequal, the first of them."""

    checkpoints: tuple[str, ...]
    elements: int
    mismatches: int
    first: Mismatch | None


@dataclass(frozen=True)
class Records:
    """Records of one sentence, in the order of time."""

    tag: np.ndarray
    block: np.ndarray
    position: np.ndarray
    cycle: np.ndarray
    lanes: np.ndarray

    @classmethod
    def of(cls, traces: Mapping[str, Trace], sentence: int, rows: int) -> Records:
        """Merges the trace ports' records of one sentence."""
        parts = [trace.select(sentence=sentence) for trace in traces.values()]
        cycle = np.concatenate([part.cycle for part in parts]).astype(np.int64)
        order = np.argsort(cycle, kind="stable")
        index = np.concatenate([part.index for part in parts])[order]
        return cls(
            tag=np.concatenate([part.tag for part in parts])[order],
            block=(index >> POSITION_BITS).astype(np.int64) & ((1 << BLOCK_BITS) - 1),
            position=index.astype(np.int64) & ((1 << POSITION_BITS) - 1),
            cycle=cycle[order],
            lanes=np.concatenate([part.lanes(LANE_BITS, rows) for part in parts])[order],
        )

    def where(self, mask: np.ndarray) -> Records:
        """The records of a mask."""
        return Records(*(getattr(self, f)[mask] for f in ("tag", "block", "position", "cycle", "lanes")))


# Index of every element of a record: [records, lanes, dimensions], and which of them exist.
_Indexer = Callable[[Records], tuple[np.ndarray, np.ndarray]]


class Checker:
    """Holds the geometry; `compare` does one sentence."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def compare(
        self,
        sentence: int,
        golden: SentenceResult,
        traces: Mapping[str, Trace],
        registers: Mapping[str, Any],
    ) -> Comparison:
        """All named tensors of one sentence, then the registers.

        Args:
            sentence: its number in the traces.
            golden: with all taps.
            traces: one per trace port.
            registers: what `sim.driver.Driver.results` returned.
        """
        records = Records.of(traces, sentence, self.machine.rows)
        length = len(golden.taps["embedding.sum"])
        names: list[str] = []
        elements, wrong = 0, 0
        found: list[Mismatch] = []

        def check(iteration: int, name: str, part: Records, indexer: _Indexer) -> None:
            nonlocal elements, wrong
            expected = golden.taps[name].numpy()
            names.append(name)
            elements += expected.size
            bad, first = _compare(sentence, iteration, name, expected, part, indexer)
            wrong += bad
            if first:
                found.append(first)

        self._embedding(records, length, check)
        # An iteration ends with its last logit.
        last_label = self.machine.model.num_labels - 1
        ends = records.cycle[(records.tag == TraceTag.LOGITS.value) & (records.position == last_label)]
        iteration_of = np.searchsorted(ends, records.cycle, side="left") + 1
        for iteration in range(1, golden.exit_iteration + 1):
            self._iteration(iteration, records.where(iteration_of == iteration), length, check)
        if len(ends) > golden.exit_iteration:
            wrong += 1
            found.append(
                Mismatch(sentence, len(ends), "exit.iteration", (), golden.exit_iteration, len(ends), None)
            )

        for name, iteration, expected, got in register_values(golden, registers):
            names.append(name)
            elements += len(expected)
            for i, (e, g) in enumerate(zip(expected, got, strict=True)):
                if e != g:
                    wrong += 1
                    found.append(Mismatch(sentence, iteration, name, (i,), e, g, None))
        in_time = sorted(found, key=lambda f: (f.cycle is None, f.cycle or 0))
        return Comparison(tuple(names), elements, wrong, in_time[0] if in_time else None)

    # -- which records are which elements -------------------------------------------------------------

    def _tokens(self, records: Records) -> np.ndarray:
        return records.block[:, None] * self.machine.rows + np.arange(self.machine.rows)

    def _by_feature(self, length: int) -> _Indexer:
        """[token, feature], tokens on the lanes."""

        def index(records: Records) -> tuple[np.ndarray, np.ndarray]:
            tokens = self._tokens(records)
            features = np.broadcast_to(records.position[:, None], tokens.shape)
            return np.stack([tokens, features], -1), tokens < length

        return index

    def _by_head(self, length: int) -> _Indexer:
        """[head, token, key], tokens on the lanes."""

        def index(records: Records) -> tuple[np.ndarray, np.ndarray]:
            tokens = self._tokens(records)
            head = np.broadcast_to(records.position[:, None] >> HEAD_SHIFT, tokens.shape)
            key = np.broadcast_to(records.position[:, None] & ((1 << HEAD_SHIFT) - 1), tokens.shape)
            return np.stack([head, tokens, key], -1), tokens < length

        return index

    def _value(self, length: int) -> _Indexer:
        """[token, feature], features on the lanes; the position is the value memory's address."""
        m = self.machine

        def index(records: Records) -> tuple[np.ndarray, np.ndarray]:
            tile, token = np.divmod(records.position, m.model.max_position_embeddings)
            group = records.block % m.groups
            features = (tile * m.columns + group * m.rows)[:, None] + np.arange(m.rows)
            tokens = np.broadcast_to(token[:, None], features.shape)
            return np.stack([tokens, features], -1), tokens < length

        return index

    def _first_lane(self, records: Records) -> tuple[np.ndarray, np.ndarray]:
        """[position], lane 0 of block 0: the [CLS] token."""
        lanes = np.broadcast_to(np.arange(self.machine.rows), records.lanes.shape)
        position = np.broadcast_to(records.position[:, None], records.lanes.shape)
        return position[..., None], (lanes == 0) & (records.block[:, None] == 0)

    def _embedding(self, records: Records, length: int, check: Callable[..., None]) -> None:
        rows = self.machine.rows

        def one_token(part: Records) -> tuple[np.ndarray, np.ndarray]:
            # Features of token 0 in order, then of token 1, …; one lane each.
            token = np.arange(len(part.tag)) // self.machine.model.embedding_size
            lanes = np.broadcast_to(np.arange(rows), part.lanes.shape)
            index = np.stack([np.broadcast_to(token[:, None], lanes.shape),
                              np.broadcast_to(part.position[:, None], lanes.shape)], -1)  # fmt: skip
            return index, lanes == (token % rows)[:, None]

        tag = records.tag
        check(0, "embedding.sum", records.where(tag == TraceTag.EMBEDDING_SUM.value), one_token)
        by_feature = self._by_feature(length)
        check(0, "embedding.normalized", records.where(tag == TraceTag.NORM_OPERAND.value), by_feature)
        check(0, "embedding.hidden", records.where(tag == TraceTag.HIDDEN.value), by_feature)

    def _iteration(self, iteration: int, records: Records, length: int, check: Callable[..., None]) -> None:
        m = self.machine
        by_feature, by_head = self._by_feature(length), self._by_head(length)
        blocks = ceil_div(length, m.rows)
        per_tensor = blocks * m.model.hidden_size

        def tagged(tag: TraceTag) -> Records:
            return records.where(records.tag == tag.value)

        def halves(part: Records, count: int) -> tuple[Records, Records]:
            first = np.arange(len(part.tag)) < count
            return part.where(first), part.where(~first)

        attention_residual, ffn_residual = halves(tagged(TraceTag.RESIDUAL), per_tensor)
        attention_hidden, hidden = halves(tagged(TraceTag.NORM_HIDDEN), per_tensor)
        activation, pooled = halves(tagged(TraceTag.TABLE), blocks * m.model.intermediate_size)
        logits = tagged(TraceTag.LOGITS)
        prefix = f"iteration.{iteration}."
        for name, part, indexer in (
            ("attention.query", tagged(TraceTag.QUERY), by_feature),
            ("attention.key", tagged(TraceTag.KEY), by_feature),
            ("attention.value", tagged(TraceTag.VALUE), self._value(length)),
            ("attention.scores", tagged(TraceTag.SCORES), by_head),
            ("attention.exponentials", tagged(TraceTag.EXPONENTIALS), by_head),
            ("attention.context", tagged(TraceTag.CONTEXT), by_feature),
            ("attention.residual", attention_residual, by_feature),
            ("attention.hidden", attention_hidden, by_feature),
            ("ffn.activation", activation, by_feature),
            ("ffn.residual", ffn_residual, by_feature),
            ("hidden", hidden, by_feature),
            ("pooler.output", pooled, self._first_lane),
            ("logits", logits.where(logits.position < m.model.num_labels), self._first_lane),
        ):
            check(iteration, prefix + name, part, indexer)


def register_values(
    golden: SentenceResult, registers: Mapping[str, Any]
) -> list[tuple[str, int, list[int], list[int]]]:
    """(name, iteration, expected, got) of everything the exit unit decided."""
    last = golden.exit_iteration
    values = [("exit.iteration", last, [last], [registers["exit_iteration"]])]
    seen = len(registers["labels"])
    for i in range(min(last, seen)):
        prefix = f"iteration.{i + 1}.exit"
        label = int(golden.taps[f"{prefix}.label"])
        probability = int(golden.probabilities[i][label])
        values += [
            (f"{prefix}.label", i + 1, [label], [registers["labels"][i]]),
            (f"{prefix}.confidence", i + 1, [probability], [registers["confidences"][i]]),
            (f"{prefix}.entropy", i + 1, [int(golden.entropy[i])], [registers["entropies"][i]]),
            # The hardware left here exactly if it ran no further.
            (f"{prefix}.decision", i + 1, [int(golden.taps[f"{prefix}.decision"])], [int(i + 1 == seen)]),
        ]
    values += [
        ("exit.label", last, [golden.label], [registers["label"]]),
        ("exit.logits", last, golden.logits[-1].tolist(), registers["logits"]),
        ("exit.probabilities", last, golden.probabilities[-1].tolist(), registers["probabilities"]),
        ("exit.entropy", last, [int(golden.entropy[-1])], [registers["entropy"]]),
    ]
    return values


def _compare(
    sentence: int, iteration: int, name: str, expected: np.ndarray, part: Records, indexer: _Indexer
) -> tuple[int, Mismatch | None]:
    """(elements unequal or missing, the first of them in time)."""
    index, exists = indexer(part)
    written = np.zeros(expected.shape, bool)
    flat = index[exists]
    inside = (flat < np.array(expected.shape)).all(-1)
    got = part.lanes[exists]
    cycle = np.broadcast_to(part.cycle[:, None], part.lanes.shape)[exists]
    if not inside.all():
        stray = int(np.argmin(inside))
        return 1, Mismatch(
            sentence, iteration, name, tuple(map(int, flat[stray])), 0, int(got[stray]), int(cycle[stray])
        )
    where = tuple(flat.T)
    written[where] = True
    wanted = expected[where]
    bad = np.flatnonzero(wanted != got)
    missing = int(written.size - written.sum())
    first = None
    if len(bad):
        b = bad[0]
        first = Mismatch(
            sentence, iteration, name, tuple(map(int, flat[b])), int(wanted[b]), int(got[b]), int(cycle[b])
        )
    elif missing:
        place = np.unravel_index(int(np.argmin(written)), written.shape)
        # Later than everything that was written: an error that made it disappear comes first.
        first = Mismatch(sentence, iteration, name, tuple(map(int, place)), int(expected[place]), None, None)
    return len(bad) + missing, first
