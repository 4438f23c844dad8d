"""The golden model on compiled kernels: the plain form's steps and names, on compact integers.

Hidden states are int16, operands int8, residual sums int32; attention is one kernel without padding. Every
named tensor holds the integers of the plain form.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from golden_model.exits import ExitPolicy, FixedExitPolicy
from golden_model.integer.checkpoint import MATMULS, NORMS, IntegerCheckpoint
from golden_model.integer.fused import kernels
from golden_model.integer.model import (
    DEFAULT_BATCH_TOKENS,
    GoldenModel,
    Layout,
    Sentence,
    SentenceResult,
    Trace,
    signed_range,
)
from golden_model.integer.ops.softmax import exp_table
from golden_model.numerics import (
    EMBEDDING_SHIFT,
    EXP_INDEX_BITS,
    HIDDEN_MAX,
    LOGIT_BITS,
    RESIDUAL_BITS,
    SCORE_BITS,
)

_GRIDS = ("attention.scores", "attention.exponentials")


class FusedGoldenModel(GoldenModel):
    """Runs an integer checkpoint on the CPU through the compiled kernels; results are the plain form's.

    Args:
        checkpoint: A validated integer checkpoint.

    Raises:
        NoCompilerError: the kernels cannot be made here.
    """

    def __init__(self, checkpoint: IntegerCheckpoint) -> None:
        """Packs weights and parameters."""
        super().__init__(checkpoint)
        self.grids = False
        """Whether scores and exponentials are yielded."""
        tensors, contract = checkpoint.tensors, self.contract
        self.weights = {name: kernels.Weight(tensors[f"{name}.weight"]) for name in MATMULS}
        self.channels = {
            name: [
                kernels.Channels(*row)
                for row in zip(
                    *(self._narrow(f"{name}.{part}") for part in ("offset", "multiplier", "shift")),
                    strict=True,
                )
            ]
            for name in MATMULS
        }
        widths = (contract.norm_fraction_bits, contract.norm_bits, contract.rsqrt_bits)
        self.norms = {
            name: [
                kernels.Norm(gamma, beta, shift, *widths)
                for gamma, beta, shift in zip(
                    *(self._narrow(f"{name}.{part}") for part in ("gamma", "beta", "shift")), strict=True
                )
            ]
            for name in NORMS
        }
        self.tables = {name: list(tensors[name].contiguous()) for name in ("ffn.table", "pooler.table")}
        entries = exp_table(contract.exponentials_bits, contract.exp_index_bits)
        exponential, dropped = (
            torch.tensor(entries, dtype=torch.uint8),
            EXP_INDEX_BITS - contract.exp_index_bits,
        )
        limit = contract.limit("attention.context")
        rescale = {
            name: [tensors[f"attention.{name}.{part}"].tolist() for part in ("multiplier", "shift")]
            for name in ("score", "context")
        }
        self.softmax = [
            kernels.Softmax(sm, ss, SCORE_BITS, exponential, dropped, cm, cs, limit)
            for sm, ss, cm, cs in zip(*rescale["score"], *rescale["context"], strict=True)
        ]

    def _narrow(self, name: str) -> Iterator[Tensor]:
        """Rows per iteration, int32."""
        return iter(self.checkpoint.tensors[name].to(torch.int32).contiguous())

    def run(
        self,
        sentences: Sequence[Sentence],
        policy: ExitPolicy | FixedExitPolicy | None = None,
        trace: Trace | None = None,
        batch_tokens: int = DEFAULT_BATCH_TOKENS,
        answer_first: bool = True,
    ) -> list[SentenceResult]:
        """As the plain form's, which says arguments, results and errors."""
        wanted = trace is not None and any(
            trace.wants(f"iteration.{i}.{name}")
            for i in range(1, self.config.num_hidden_layers + 1)
            for name in _GRIDS
        )
        if wanted and not self.grids:
            traced = copy.copy(self)
            traced.grids = True
            return traced.run(sentences, policy, trace, batch_tokens, answer_first)
        return super().run(sentences, policy, trace, batch_tokens, answer_first)

    # ---------------------------------------------------------------- the rules

    def embed(self, ids: Tensor, types: Tensor, positions: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yields the named tensors of the embedding; the last is ``embedding.hidden``, int16."""
        tensors = self.checkpoint.tensors
        word = tensors["embedding.word"][ids].to(torch.int32)
        total = (word << EMBEDDING_SHIFT) + tensors["embedding.position_type"][types, positions]
        total = total.clamp_(*signed_range(RESIDUAL_BITS))
        yield "embedding.sum", total
        limit = self.contract.limit("embedding.normalized")
        normalized = kernels.layernorm(total, self.norms["embedding.norm"][0], limit, torch.int8)
        yield "embedding.normalized", normalized
        after = kernels.After(-HIDDEN_MAX, HIDDEN_MAX, torch.int16)
        yield "embedding.hidden", self._product("embedding.projection", 1, normalized, after)

    def keys_values(self, iteration: int, hidden: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yields keys and values of ``hidden`` int16 [rows, H], int8."""
        operand = self.operand("hidden", hidden)
        for name in ("attention.key", "attention.value"):
            yield name, self._product(name, iteration, operand, self._to_operand(name))

    def attend(
        self, iteration: int, hidden: Tensor, chosen: Layout, key: Tensor, value: Tensor, layout: Layout
    ) -> Iterator[tuple[str, Tensor]]:
        """Yields the attention tensors of chosen rows; scores and exponentials where ``grids`` is set."""
        name = "attention.query"
        query = self._product(name, iteration, self.operand("hidden", hidden), self._to_operand(name))
        yield name, query
        context, scores, exponentials = kernels.attention(
            query,
            key,
            value,
            chosen.lengths,
            layout.lengths,
            self.config.num_attention_heads,
            self.softmax[iteration - 1],
            self.grids,
        )
        if scores is not None and exponentials is not None:
            yield "attention.scores", scores
            yield "attention.exponentials", exponentials
        yield "attention.context", context

    def rows(
        self, iteration: int, hidden: Tensor, chosen: Layout, key: Tensor, value: Tensor, layout: Layout
    ) -> Iterator[tuple[str, Tensor]]:
        """Yields every other named tensor of the layer for chosen rows; the last is ``hidden``, int16."""
        context = hidden
        for name, tensor in self.attend(iteration, hidden, chosen, key, value, layout):
            yield name, tensor
            context = tensor
        row = iteration - 1
        residual = self._product("attention.output", iteration, context, self._to_residual(hidden))
        yield "attention.residual", residual
        middle = kernels.layernorm(residual, self.norms["attention.norm"][row], HIDDEN_MAX, torch.int16)
        yield "attention.hidden", middle
        after = self._to_table("ffn.table", row, self.contract.ffn_index_bits)
        activation = self._product(
            "ffn.intermediate", iteration, self.operand("attention.hidden", middle), after
        )
        yield "ffn.activation", activation
        residual = self._product("ffn.output", iteration, activation, self._to_residual(middle))
        yield "ffn.residual", residual
        yield "hidden", kernels.layernorm(residual, self.norms["ffn.norm"][row], HIDDEN_MAX, torch.int16)

    def classify(self, iteration: int, first: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yields pooler output, int8, and logits, int64, of the first tokens' hidden states [B, H]."""
        after = self._to_table("pooler.table", iteration - 1, self.contract.pooler_index_bits)
        output = self._product("pooler", iteration, self.operand("pooler.hidden", first), after)
        yield "pooler.output", output
        after = kernels.After(*signed_range(LOGIT_BITS), torch.int32)
        yield "logits", self._product("classifier", iteration, output, after).to(torch.int64)

    # ----------------------------------------------------------------- helpers

    def _product(self, name: str, iteration: int, x: Tensor, after: kernels.After) -> Tensor:
        return kernels.linear(x, self.weights[name], self.channels[name][iteration - 1], after)

    def operand(self, name: str, hidden: Tensor) -> Tensor:
        """What a matmul reads of int16 hidden states, by its name in the contract: int8."""
        return kernels.operand(hidden, self.contract.hidden_shift(name), self.contract.limit(name))

    def _to_operand(self, name: str) -> kernels.After:
        limit = self.contract.limit(name)
        return kernels.After(-limit, limit, torch.int8)

    def _to_table(self, name: str, row: int, index_bits: int) -> kernels.After:
        return kernels.After(*signed_range(index_bits), torch.int8, table=self.tables[name][row])

    @staticmethod
    def _to_residual(hidden: Tensor) -> kernels.After:
        low, high = signed_range(RESIDUAL_BITS)
        return kernels.After(low, high, torch.int32, residual=hidden, residual_high=high)
