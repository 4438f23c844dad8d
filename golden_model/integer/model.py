"""The golden model: ELBERT's forward pass on integers, bit for bit what the accelerator computes.

The checkpoint's contract gives the widths; the accelerator runs the default one alone.

Tokens of a batch are packed, [sum of lengths, features], so that padding does not exist outside attention;
there, sentences are laid side by side and keys beyond a sentence's end are given exponentials of exactly 0.
A sentence's result therefore does not depend on the batch. Sentences that exit leave the batch at once.

Answer first (docs/answer-first.md): the answer reads the [CLS] row alone, and that row needs of the others
their keys and values only. So an iteration computes keys and values of all tokens, the [CLS] row, its answer
and exit; the other rows are computed for the sentences that stay. No integer differs from computing all rows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property

import torch
from torch import Tensor

from golden_model.config import ElbertConfig
from golden_model.exits import Confidence, ExitPolicy, ExitState, FixedExitPolicy, earliest_exit
from golden_model.integer.checkpoint import MATMULS, IntegerCheckpoint
from golden_model.integer.confidence import integer_confidence
from golden_model.integer.contract import Contract
from golden_model.integer.ops.fixed import requantize, saturate_signed
from golden_model.integer.ops.hidden import add_residual, hidden_operand
from golden_model.integer.ops.layernorm import layernorm
from golden_model.integer.ops.matmul import batched_matmul, matmul
from golden_model.integer.ops.softmax import exponentials, row_scale
from golden_model.integer.ops.table import lookup
from golden_model.numerics import (
    EMBEDDING_SHIFT,
    HIDDEN_MAX,
    LOGIT_BITS,
    RESIDUAL_BITS,
    SCORE_BITS,
)

Sentence = tuple[Sequence[int], Sequence[int]]
"""Token ids and token types of one sentence, special tokens included."""

DEFAULT_BATCH_TOKENS = 768
"""Tokens per batch: enough for the matmuls, few enough for the processor's cache."""


def signed_range(bits: int) -> tuple[int, int]:
    """Lowest and highest two's-complement value of ``bits`` bits."""
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


@dataclass(frozen=True)
class Trace:
    """Which named tensors to keep: shell patterns such as ``iteration.3.*`` (names: docs/numerics.md)."""

    patterns: tuple[str, ...] = ("*",)

    def wants(self, name: str) -> bool:
        """Whether a tensor of this name is kept."""
        return any(fnmatchcase(name, pattern) for pattern in self.patterns)


@dataclass(frozen=True)
class SentenceResult:
    """What the golden model says of one sentence; I iterations were run, C classes.

    ``exit_iteration`` counts from 1 and equals I. Probabilities and entropies are in 2^-16, logits in 2^-10;
    all int64 on the CPU. ``entropy`` is normalised by ln C, ``entropy_raw`` is in nat. ``taps`` holds the
    traced tensors, int64 on the CPU; which rows exist in iteration I: docs/numerics.md.
    """

    label: int
    exit_iteration: int
    logits: Tensor
    """[I, C]"""
    probabilities: Tensor
    """[I, C]"""
    entropy: Tensor
    """[I]"""
    entropy_raw: Tensor
    """[I]"""
    taps: dict[str, Tensor] = field(default_factory=dict)


class Layout:
    """Where the rows of a batch's sentences lie: packed, and on the padded grid that attention uses.

    A batch has one of all its tokens; ``cls`` and ``rest`` are those of a choice of them.
    """

    def __init__(self, lengths: Tensor) -> None:
        """``lengths``: rows of every sentence, int64 [B], each >= 0."""
        device = lengths.device
        self.lengths = lengths
        self.batch = lengths.shape[0]
        self.longest = int(lengths.max())
        position = torch.arange(self.longest, device=device)
        self.real = position < lengths.unsqueeze(1)
        """bool [B, longest]"""
        self.slots = self.real.flatten().nonzero().squeeze(1)
        """Grid slot of every packed row."""

    @cached_property
    def first(self) -> Tensor:
        """Packed row of every sentence's first token."""
        return self.lengths.cumsum(0) - self.lengths

    @cached_property
    def others(self) -> Tensor:
        """All other packed rows."""
        return (self.slots % self.longest).nonzero().squeeze(1)

    @cached_property
    def cls(self) -> Layout:
        """Of ``first`` alone."""
        return Layout(torch.ones_like(self.lengths))

    @cached_property
    def rest(self) -> Layout:
        """Of ``others`` alone."""
        return Layout(self.lengths - 1)

    def pad(self, packed: Tensor) -> Tensor:
        """[rows, F] to [B, longest, F], zeros in the unused slots."""
        grid = packed.new_zeros((self.batch * self.longest, packed.shape[1]))
        grid[self.slots] = packed
        return grid.view(self.batch, self.longest, packed.shape[1])

    def pack(self, grid: Tensor) -> Tensor:
        """[B, longest, F] to [rows, F]."""
        return grid.flatten(0, 1)[self.slots]

    def join(self, first: Tensor, others: Tensor) -> Tensor:
        """First rows [B, F] and all other rows to [rows, F]."""
        packed = first.new_empty((self.slots.shape[0], first.shape[1]))
        packed[self.first] = first
        packed[self.others] = others
        return packed


class GoldenModel:
    """Runs an integer checkpoint. Deterministic, exact, no floating-point tensor anywhere.

    Args:
        checkpoint: A validated integer checkpoint.
        device: Where to compute; results are the same everywhere.
    """

    def __init__(self, checkpoint: IntegerCheckpoint, device: torch.device | str = "cpu") -> None:
        """Puts the parameters on ``device``, weights as int8, everything else as int64."""
        self.checkpoint = checkpoint
        self.config: ElbertConfig = checkpoint.config
        self.contract: Contract = checkpoint.contract
        self.device = torch.device(device)
        weights = {f"{name}.weight" for name in MATMULS} | {"embedding.word", "embedding.position_type"}
        self.parameters = {
            name: tensor.to(self.device) if name in weights else tensor.to(self.device, torch.int64)
            for name, tensor in checkpoint.tensors.items()
        }

    # ------------------------------------------------------------------ public

    def run(
        self,
        sentences: Sequence[Sentence],
        policy: ExitPolicy | FixedExitPolicy | None = None,
        trace: Trace | None = None,
        batch_tokens: int = DEFAULT_BATCH_TOKENS,
        answer_first: bool = True,
    ) -> list[SentenceResult]:
        """Classifies sentences; each leaves after the iteration its policy says.

        Args:
            sentences: (ids, token types) each, 1..max_position_embeddings tokens.
            policy: None means no early exit.
            trace: Which named tensors to return in ``taps``; None for none.
            batch_tokens: Tokens computed together. Results do not depend on it.
            answer_first: In the iteration a sentence leaves after, compute of the rows that nothing reads any
                more keys and values alone. False: all rows in all iterations, as the accelerator does.
                Results differ in the rows of ``taps`` only.

        Returns:
            One result per sentence, in the order given.

        Raises:
            ValueError: a sentence is empty, too long, of unequal ids and types, or holds an id or type
                outside its table; the message names the sentence.
        """
        if policy is None:
            policy = FixedExitPolicy()
        fixed = policy.to_fixed() if isinstance(policy, ExitPolicy) else policy
        for index, sentence in enumerate(sentences):
            self._check(index, sentence)
        results: dict[int, SentenceResult] = {}
        for members in self._batches(sentences, batch_tokens):
            batch = _Batch(self, [sentences[i] for i in members], fixed, trace, answer_first)
            results.update(zip(members, batch.run(), strict=True))
        return [results[i] for i in range(len(sentences))]

    def all_iterations(
        self,
        sentences: Sequence[Sentence],
        batch_tokens: int = DEFAULT_BATCH_TOKENS,
        answer_first: bool = True,
    ) -> Tensor:
        """Logits of every iteration without early exit: int64 [iterations, sentences, classes]."""
        results = self.run(sentences, batch_tokens=batch_tokens, answer_first=answer_first)
        if not results:
            return torch.zeros((self.config.num_hidden_layers, 0, self.config.num_labels), dtype=torch.int64)
        return torch.stack([r.logits for r in results], dim=1)

    # ---------------------------------------------------------------- the rules

    def linear(self, name: str, iteration: int, x: Tensor, low: int, high: int) -> Tensor:
        """Requantised matmul: int64 [rows, out] of int8 ``x`` [rows, in], saturated to low..high."""
        p = self.parameters
        accumulator = matmul(x, p[f"{name}.weight"])
        row = iteration - 1
        return requantize(
            accumulator,
            p[f"{name}.offset"][row],
            p[f"{name}.multiplier"][row],
            p[f"{name}.shift"][row],
            low,
            high,
        )

    def norm(self, name: str, iteration: int, y: Tensor, limit: int) -> Tensor:
        """LayerNorm saturated to ±limit: int64, the shape of ``y``."""
        p, row, contract = self.parameters, iteration - 1, self.contract
        gamma, beta, shift = (p[f"{name}.{part}"][row] for part in ("gamma", "beta", "shift"))
        return layernorm(
            y, gamma, beta, shift, -limit, limit, contract.norm_fraction_bits, contract.rsqrt_bits
        )

    def operand(self, name: str, hidden: Tensor) -> Tensor:
        """What a matmul reads of hidden states, by its name in the contract: int8, of ``hidden``'s shape."""
        contract = self.contract
        return hidden_operand(hidden, contract.hidden_shift(name), contract.limit(name)).to(torch.int8)

    def scale_scores(self, iteration: int, accumulator: Tensor) -> Tensor:
        """Score accumulators to int12, LSB 1/32 nat."""
        p, row = self.parameters, iteration - 1
        multiplier, shift = p["attention.score.multiplier"][row], p["attention.score.shift"][row]
        return requantize(accumulator, 0, multiplier, shift, *signed_range(SCORE_BITS))

    def scale_context(self, iteration: int, accumulator: Tensor, exp_sum: Tensor) -> Tensor:
        """Context accumulators [..., keys' weighted sums] to operands; ``exp_sum`` has one entry per row."""
        p, row = self.parameters, iteration - 1
        multiplier, shift = row_scale(
            exp_sum, int(p["attention.context.multiplier"][row]), int(p["attention.context.shift"][row])
        )
        limit = self.contract.limit("attention.context")
        return requantize(accumulator, 0, multiplier.unsqueeze(-1), shift.unsqueeze(-1), -limit, limit)

    def embed(self, ids: Tensor, types: Tensor, positions: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yields the named tensors of the embedding for packed tokens; the last is ``embedding.hidden``."""
        p = self.parameters
        word = p["embedding.word"][ids].to(torch.int64)
        position_type = p["embedding.position_type"][types, positions].to(torch.int64)
        total = saturate_signed((word << EMBEDDING_SHIFT) + position_type, RESIDUAL_BITS)
        yield "embedding.sum", total
        normalized = self.norm("embedding.norm", 1, total, self.contract.limit("embedding.normalized"))
        yield "embedding.normalized", normalized
        operand = normalized.to(torch.int8)
        yield "embedding.hidden", self.linear("embedding.projection", 1, operand, -HIDDEN_MAX, HIDDEN_MAX)

    def keys_values(self, iteration: int, hidden: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yields keys and values of ``hidden`` [rows, H]: all that other rows need of a row."""
        operand = self.operand("hidden", hidden)
        for name in ("attention.key", "attention.value"):
            limit = self.contract.limit(name)
            yield name, self.linear(name, iteration, operand, -limit, limit)

    def attend(
        self, iteration: int, hidden: Tensor, chosen: Layout, key: Tensor, value: Tensor, layout: Layout
    ) -> Iterator[tuple[str, Tensor]]:
        """Yields the attention tensors of chosen rows, from their queries on.

        Args:
            iteration: Counts from 1.
            hidden: Of the chosen rows, packed [chosen rows, H].
            chosen: Their layout, of the same sentences as ``layout``.
            key: Of all tokens, packed [rows, H].
            value: The same.
            layout: Of all tokens.

        Yields:
            Grids [B, A, longest chosen, longest] for scores and exponentials, packed chosen rows for
            everything else; the last is ``attention.context``.
        """
        contract = self.contract
        limit = contract.limit("attention.query")
        query = self.linear("attention.query", iteration, self.operand("hidden", hidden), -limit, limit)
        yield "attention.query", query
        heads, dim = self.config.num_attention_heads, self.config.head_dim

        def by_head(packed: Tensor, rows: Layout) -> Tensor:
            """[B·A, longest, D]"""
            grid = rows.pad(packed.to(torch.int32)).view(rows.batch, rows.longest, heads, dim)
            return grid.transpose(1, 2).reshape(rows.batch * heads, rows.longest, dim)

        shape = (layout.batch, heads, chosen.longest)
        products = batched_matmul(by_head(query, chosen), by_head(key, layout).transpose(1, 2))
        unused = ~layout.real[:, None, None, :]
        lowest = signed_range(SCORE_BITS)[0]
        scores = self.scale_scores(iteration, products.view(*shape, layout.longest))
        scores = scores.masked_fill(unused, lowest)
        yield "attention.scores", scores
        weights = exponentials(scores, contract.exponentials_bits, contract.exp_index_bits)[1]
        weights = weights.masked_fill(unused, 0)
        yield "attention.exponentials", weights
        mixed = batched_matmul(weights.to(torch.int32).flatten(0, 1), by_head(value, layout))
        context = self.scale_context(iteration, mixed.view(*shape, dim), weights.sum(-1))
        yield "attention.context", chosen.pack(context.transpose(1, 2).flatten(2))

    def rows(
        self, iteration: int, hidden: Tensor, chosen: Layout, key: Tensor, value: Tensor, layout: Layout
    ) -> Iterator[tuple[str, Tensor]]:
        """Yields every other named tensor of the layer for chosen rows; the last is ``hidden``.

        Arguments are those of :meth:`attend`.
        """
        context = hidden
        for name, tensor in self.attend(iteration, hidden, chosen, key, value, layout):
            yield name, tensor
            context = tensor
        wide = signed_range(RESIDUAL_BITS)
        update = self.linear("attention.output", iteration, context.to(torch.int8), *wide)
        residual = add_residual(hidden, update)
        yield "attention.residual", residual
        middle = self.norm("attention.norm", iteration, residual, HIDDEN_MAX)
        yield "attention.hidden", middle
        index = self.linear(
            "ffn.intermediate",
            iteration,
            self.operand("attention.hidden", middle),
            *signed_range(self.contract.ffn_index_bits),
        )
        activation = lookup(self.parameters["ffn.table"][iteration - 1], index)
        yield "ffn.activation", activation
        update = self.linear("ffn.output", iteration, activation.to(torch.int8), *wide)
        residual = add_residual(middle, update)
        yield "ffn.residual", residual
        yield "hidden", self.norm("ffn.norm", iteration, residual, HIDDEN_MAX)

    def classify(self, iteration: int, first: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yields pooler output and logits of the first tokens' hidden states [B, H]."""
        operand = self.operand("pooler.hidden", first)
        index = self.linear("pooler", iteration, operand, *signed_range(self.contract.pooler_index_bits))
        output = lookup(self.parameters["pooler.table"][iteration - 1], index)
        yield "pooler.output", output
        logits = self.linear("classifier", iteration, output.to(torch.int8), *signed_range(LOGIT_BITS))
        yield "logits", logits

    # ----------------------------------------------------------------- helpers

    def _check(self, index: int, sentence: Sentence) -> None:
        ids, types = sentence
        config = self.config
        if not 1 <= len(ids) <= config.max_position_embeddings:
            raise ValueError(
                f"sentence {index} has {len(ids)} tokens, not in 1..{config.max_position_embeddings}"
            )
        if len(types) != len(ids):
            raise ValueError(f"sentence {index} has {len(ids)} ids and {len(types)} token types")
        for kind, values, bound in (
            ("id", ids, config.vocab_size),
            ("token type", types, config.type_vocab_size),
        ):
            wrong = [v for v in values if not 0 <= v < bound]
            if wrong:
                raise ValueError(f"sentence {index}: {kind} {wrong[0]} is not in 0..{bound - 1}")

    @staticmethod
    def _batches(sentences: Sequence[Sentence], batch_tokens: int) -> Iterator[list[int]]:
        """Indices by rising length, cut where a batch would exceed ``batch_tokens`` padded tokens."""
        if batch_tokens < 1:
            raise ValueError(f"batch_tokens {batch_tokens} is below 1")
        batch: list[int] = []
        for index in sorted(range(len(sentences)), key=lambda i: len(sentences[i][0])):
            if batch and (len(batch) + 1) * len(sentences[index][0]) > batch_tokens:
                yield batch
                batch = []
            batch.append(index)
        if batch:
            yield batch


def _last(tensors: Iterator[Tensor]) -> Tensor:
    """The last of at least one; none before it is held."""
    return deque(tensors, maxlen=1).pop()


class _Batch:
    """Sentences on their way through the iterations together."""

    def __init__(
        self,
        model: GoldenModel,
        sentences: Sequence[Sentence],
        policy: FixedExitPolicy,
        trace: Trace | None,
        answer_first: bool,
    ) -> None:
        self.model, self.trace = model, trace
        count = model.config.num_hidden_layers
        self.earliest = min(earliest_exit(policy) or count, count) if answer_first else count + 1
        """First iteration that answers before it computes the rows that do not."""
        device = model.device
        self.members = list(range(len(sentences)))
        """Which sentences are still in."""
        self.layout = Layout(torch.tensor([len(ids) for ids, _ in sentences], device=device))
        self.ids = torch.tensor([i for ids, _ in sentences for i in ids], device=device)
        self.types = torch.tensor([t for _, types in sentences for t in types], device=device)
        positions = [p for ids, _ in sentences for p in range(len(ids))]
        self.positions = torch.tensor(positions, device=device)
        self.state = ExitState(policy, len(sentences), device)
        self.steps: list[list[tuple[Tensor, Confidence]]] = [[] for _ in sentences]
        self.taps: list[dict[str, Tensor]] = [{} for _ in sentences]

    def run(self) -> list[SentenceResult]:
        """All iterations until the last sentence has left."""
        model, count = self.model, self.model.config.num_hidden_layers
        named = model.embed(self.ids, self.types, self.positions)
        hidden = _last(self._tapped("", named, self.layout))
        for iteration in range(1, count + 1):
            hidden = self._iterate(iteration, hidden, last=iteration == count)
            if not self.members:
                break
        return [self._result(steps, taps) for steps, taps in zip(self.steps, self.taps, strict=True)]

    def _iterate(self, iteration: int, hidden: Tensor, last: bool) -> Tensor:
        """One iteration: the hidden rows of all members to those of the members that stay."""
        named = self.model.keys_values(iteration, hidden)
        key, value = self._tapped(f"iteration.{iteration}.", named, self.layout)
        if iteration < self.earliest:
            hidden = self._rows(iteration, hidden, self.layout, key, value)
            staying = ~self._answer(iteration, hidden[self.layout.first], last)
            return self._keep(staying, hidden)[0]
        first = self._rows(iteration, hidden[self.layout.first], self.layout.cls, key, value)
        staying = ~self._answer(iteration, first, last)
        hidden, key, value = self._keep(staying, hidden, key, value)
        if not self.members:
            return hidden
        others = self._rows(iteration, hidden[self.layout.others], self.layout.rest, key, value)
        return self.layout.join(first[staying], others)

    def _rows(self, iteration: int, hidden: Tensor, chosen: Layout, key: Tensor, value: Tensor) -> Tensor:
        """The layer's hidden states of chosen rows."""
        named = self.model.rows(iteration, hidden, chosen, key, value, self.layout)
        return _last(self._tapped(f"iteration.{iteration}.", named, chosen))

    def _answer(self, iteration: int, first: Tensor, last: bool) -> Tensor:
        """Classifies by the first rows' hidden states [members, H]; who leaves, bool [members]."""
        logits = first
        for name, tensor in self.model.classify(iteration, first):
            self._tap_each(f"iteration.{iteration}.{name}", tensor)
            logits = tensor
        confidence = integer_confidence(logits)
        leaving = self.state.step(confidence, last)
        for slot, member in enumerate(self.members):
            self.steps[member].append((logits[slot], confidence[slot]))
        prefix = f"iteration.{iteration}.exit"
        self._tap_each(f"{prefix}.probabilities", confidence.probabilities)
        self._tap_each(f"{prefix}.entropy", confidence.entropy)
        self._tap_each(f"{prefix}.entropy_raw", confidence.entropy_raw)
        self._tap_each(f"{prefix}.decision", leaving.to(torch.int64))
        self._tap_each(f"{prefix}.label", confidence.label)
        return leaving

    def _keep(self, staying: Tensor, *packed: Tensor) -> tuple[Tensor, ...]:
        """Drops the members that leave; of every packed tensor, the rows of those that stay."""
        if bool(staying.all()):
            return packed
        rows = staying.repeat_interleave(self.layout.lengths)
        self.members = [m for m, stays in zip(self.members, staying.tolist(), strict=True) if stays]
        self.state.keep(staying)
        if self.members:
            self.layout = Layout(self.layout.lengths[staying])
        return tuple(tensor[rows] for tensor in packed)

    def _tapped(self, prefix: str, named: Iterator[tuple[str, Tensor]], rows: Layout) -> Iterator[Tensor]:
        """Hands tensors on, packed rows or grids; of the traced ones, keeps every member's own rows."""
        for name, tensor in named:
            if self.trace is not None and self.trace.wants(prefix + name):
                self._tap_rows(prefix + name, tensor.cpu(), rows)
            yield tensor

    def _tap_rows(self, name: str, tensor: Tensor, rows: Layout) -> None:
        """Appends to what is there: rows of one name come in the sentence's order."""
        if tensor.dim() == 4:
            lengths = zip(rows.lengths.tolist(), self.layout.lengths.tolist(), strict=True)
            parts = [grid[:, :n, :keys] for grid, (n, keys) in zip(tensor, lengths, strict=True)]
        else:
            parts = list(tensor.split(rows.lengths.tolist()))
        for member, part in zip(self.members, parts, strict=True):
            taps = self.taps[member]
            part = part.to(torch.int64, copy=True)
            taps[name] = torch.cat([taps[name], part], dim=-2) if name in taps else part

    def _tap_each(self, name: str, values: Tensor) -> None:
        if self.trace is not None and self.trace.wants(name):
            for member, part in zip(self.members, values.cpu(), strict=True):
                self.taps[member][name] = part.to(torch.int64, copy=True)

    @staticmethod
    def _result(steps: list[tuple[Tensor, Confidence]], taps: dict[str, Tensor]) -> SentenceResult:
        confidence = Confidence.stack([c for _, c in steps])
        probabilities = confidence.probabilities.cpu()
        return SentenceResult(
            label=int(probabilities[-1].argmax()),
            exit_iteration=len(steps),
            logits=torch.stack([z for z, _ in steps]).cpu(),
            probabilities=probabilities,
            entropy=confidence.entropy.cpu(),
            entropy_raw=confidence.entropy_raw.cpu(),
            taps=taps,
        )
