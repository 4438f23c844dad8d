"""Random integer checkpoints of any geometry, for tests and hardware benches.

Random weights alone would saturate or vanish within an iteration. Here the golden model itself runs on random
sentences, and whenever it reaches a matmul or LayerNorm of an iteration for the first time, that one's
channel parameters are chosen from the accumulators it sees, so that every named tensor fills its range.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from golden_model.config import ElbertConfig
from golden_model.integer.checkpoint import (
    MATMULS,
    NORMS,
    TABLE_OUTPUTS,
    IntegerCheckpoint,
    matmul_shape,
    tensor_specs,
)
from golden_model.integer.contract import HARDWARE, OPERANDS, Contract
from golden_model.integer.model import GoldenModel, Sentence
from golden_model.integer.ops.fixed import quantize_multiplier
from golden_model.integer.ops.matmul import matmul
from golden_model.integer.ops.table import activation_table
from golden_model.numerics import NORM_FRACTION_BITS, OFFSET_LIMIT, OPERAND_MAX, TABLE_INDEX_BITS

WEIGHT_SPREAD = 42.0
"""Standard deviation of a weight: 127 is three of them."""
HIDDEN_SPREAD = 8000.0
"""Standard deviation of a hidden state; it saturates at 32639."""
OPERAND_SPREAD = 40.0
"""Standard deviation of int8 results."""
SCORE_SPREAD = 48.0
"""Of attention scores, 1/32 nat: attention neither flat nor one-hot."""
INDEX_SPREAD = 170.0
"""Of table indices, which end at 512."""
LOGIT_SPREAD = 1000.0
"""Of logits, 2^-10: sentences leave at different iterations."""
TARGETS = {
    "embedding.projection": HIDDEN_SPREAD,
    "attention.query": OPERAND_SPREAD,
    "attention.key": OPERAND_SPREAD,
    "attention.value": OPERAND_SPREAD,
    "attention.output": 0.7 * HIDDEN_SPREAD,
    "ffn.intermediate": INDEX_SPREAD,
    "ffn.output": 0.7 * HIDDEN_SPREAD,
    "pooler": 0.8 * INDEX_SPREAD,
    "classifier": LOGIT_SPREAD,
}
"""Spread of what a matmul makes, in the hardware's widths."""
TABLE_TOPS = {"ffn.table": 4.0, "pooler.table": 2.5}
"""Real inputs at the tables' ends, in iteration 1."""
CALIBRATION_SENTENCES = 24
CALIBRATION_TOKENS = 384


def random_checkpoint(
    config: ElbertConfig, seed: int = 0, contract: Contract = HARDWARE
) -> IntegerCheckpoint:
    """A valid checkpoint with random weights; the same seed gives the same integers.

    Args:
        config: Any legal geometry.
        seed: Of the generator; no global state is touched.
        contract: The widths whose ranges are filled.
    """
    generator = torch.Generator().manual_seed(seed)
    specs = tensor_specs(config, contract)
    tensors = {name: torch.zeros(spec.shape, dtype=spec.dtype) for name, spec in specs.items()}
    _fill_weights(config, tensors, generator)
    _fill_tables(config, tensors, contract)
    draft = IntegerCheckpoint(config, tensors, contract=contract)
    calibrating = _Calibrating(draft, generator)
    calibrating.run(_sentences(config, generator), batch_tokens=1 << 20, answer_first=False)
    facts = {"provenance": {"made_by": "golden_model.integer.synthetic", "seed": seed}}
    return IntegerCheckpoint(config, tensors, facts, contract)


def random_sentences(
    config: ElbertConfig, count: int, seed: int = 0, longest: int | None = None
) -> list[Sentence]:
    """``count`` random sentences of 1..``longest`` tokens (None: the model's maximum)."""
    generator = torch.Generator().manual_seed(seed)
    longest = config.max_position_embeddings if longest is None else longest
    lengths = torch.randint(1, longest + 1, (count,), generator=generator).tolist()
    return [random_sentence(config, length, generator) for length in lengths]


def random_sentence(config: ElbertConfig, length: int, generator: torch.Generator) -> Sentence:
    """A random sentence of ``length`` tokens: type 0, then type 1 where the model has one."""
    ids = torch.randint(0, config.vocab_size, (length,), generator=generator).tolist()
    split = int(torch.randint(1, length + 1, (1,), generator=generator))
    return ids, [0 if i < split or config.type_vocab_size == 1 else 1 for i in range(length)]


def _sentences(config: ElbertConfig, generator: torch.Generator) -> list[Sentence]:
    """Lengths around a common middle, so that the grid of the one calibration batch is well used."""
    longest = min(config.max_position_embeddings, CALIBRATION_TOKENS // CALIBRATION_SENTENCES)
    lengths = torch.randint((longest + 1) // 2, longest + 1, (CALIBRATION_SENTENCES,), generator=generator)
    return [random_sentence(config, length, generator) for length in lengths.tolist()]


def _normal(shape: tuple[int, ...], spread: float, limit: int, generator: torch.Generator) -> Tensor:
    return (torch.randn(shape, generator=generator) * spread).round().clamp(-limit, limit)


def _fill_weights(config: ElbertConfig, tensors: dict[str, Tensor], generator: torch.Generator) -> None:
    for name in MATMULS:
        shape = matmul_shape(config, name)
        tensors[f"{name}.weight"].copy_(_normal(shape, WEIGHT_SPREAD, OPERAND_MAX, generator))
    word, position = tensors["embedding.word"], tensors["embedding.position_type"]
    word.copy_(_normal(tuple(word.shape), WEIGHT_SPREAD, OPERAND_MAX, generator))
    # sums are in 1/64 of a word's LSB, and positions move the sum half as much as words do
    position.copy_(_normal(tuple(position.shape), 32 * WEIGHT_SPREAD, 32767, generator))


def _fill_tables(config: ElbertConfig, tensors: dict[str, Tensor], contract: Contract) -> None:
    """One table per iteration, each of another input LSB, so that a table of a wrong iteration shows."""
    for iteration in range(config.num_hidden_layers):
        stretch = 1.0 + 0.5 * iteration / config.num_hidden_layers
        for name, function, bits in (
            ("ffn.table", config.hidden_act, contract.ffn_index_bits),
            ("pooler.table", "tanh", contract.pooler_index_bits),
        ):
            top, limit = TABLE_TOPS[name] * stretch, contract.limit(TABLE_OUTPUTS[name])
            largest = top if name == "ffn.table" else 1.0
            lsb = top / (1 << (bits - 1))
            tensors[name][iteration] = activation_table(function, lsb, largest / limit, bits, limit)


class _Calibrating(GoldenModel):
    """The golden model that sets the parameters it is about to use."""

    def __init__(self, draft: IntegerCheckpoint, generator: torch.Generator) -> None:
        super().__init__(draft)
        self.generator = generator
        self.drawn: set[tuple[str, int]] = set()
        for name in NORMS:
            for row in range(draft.tensors[f"{name}.gamma"].shape[0]):
                self._set_norm(name, row)

    def _store(self, name: str, row: int, values: Tensor) -> None:
        self.parameters[name][row] = values
        self.checkpoint.tensors[name][row] = values.to(self.checkpoint.tensors[name].dtype)

    def _uniform(self, count: int, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=self.generator)

    def _set_norm(self, name: str, row: int) -> None:
        features = self.parameters[f"{name}.gamma"].shape[1]
        fraction_bits = self.contract.norm_fraction_bits
        to_operand = name == "embedding.norm"
        spread = self._operand_spread("embedding.normalized") if to_operand else HIDDEN_SPREAD
        factor = spread / (1 << fraction_bits)
        shift = torch.randint(0, 3, (features,), generator=self.generator)
        shift += (18 if to_operand else 12) + fraction_bits - NORM_FRACTION_BITS
        sign = torch.where(self._uniform(features, 0, 1) < 0.1, -1.0, 1.0)
        scale = torch.pow(2.0, shift)
        gamma = sign * factor * self._uniform(features, 0.4, 1.2) * scale
        self._store(f"{name}.gamma", row, gamma.round().clamp(-32768, 32767).to(torch.int64))
        beta = self._uniform(features, -0.5, 0.5) * spread * scale
        self._store(f"{name}.beta", row, beta.round().to(torch.int64))
        self._store(f"{name}.shift", row, shift)

    def keys_values(self, iteration: int, hidden: Tensor) -> Iterator[tuple[str, Tensor]]:
        # a seed's integers are older than this order: they were drawn for query, key, value
        self._draw("attention.query", iteration, self.operand("hidden", hidden))
        yield from super().keys_values(iteration, hidden)

    def linear(self, name: str, iteration: int, x: Tensor, low: int, high: int) -> Tensor:
        self._draw(name, iteration, x)
        return super().linear(name, iteration, x, low, high)

    def _draw(self, name: str, iteration: int, x: Tensor) -> None:
        """Sets a matmul's channel parameters, once, from the accumulators of ``x``."""
        if (name, iteration) in self.drawn:
            return
        self.drawn.add((name, iteration))
        accumulator = matmul(x, self.parameters[f"{name}.weight"]).double()
        row = iteration - 1
        spread = accumulator.std(dim=0).clamp(min=1.0)
        wanted = self._target(name) * self._uniform(spread.shape[0], 0.6, 1.3)
        # Without the mean, tokens would grow alike from iteration to iteration and one class always win; on
        # top, a bias of a fraction of the spread.
        offset = self._uniform(spread.shape[0], -0.4, 0.4) * spread - accumulator.mean(dim=0)
        pairs = [quantize_multiplier(f) for f in (wanted / spread).tolist()]
        limit = OFFSET_LIMIT - 1
        self._store(f"{name}.offset", row, offset.round().clamp(-limit, limit).to(torch.int64))
        self._store(f"{name}.multiplier", row, torch.tensor([m for m, _ in pairs]))
        self._store(f"{name}.shift", row, torch.tensor([s for _, s in pairs]))

    def _operand_spread(self, operand: str) -> float:
        return OPERAND_SPREAD * self.contract.limit(operand) / OPERAND_MAX

    def _target(self, name: str) -> float:
        """Spread of what a matmul makes, in the contract's widths."""
        if name in OPERANDS:
            return self._operand_spread(name)
        index_bits = {
            "ffn.intermediate": self.contract.ffn_index_bits,
            "pooler": self.contract.pooler_index_bits,
        }
        bits = index_bits.get(name, TABLE_INDEX_BITS)
        return TARGETS[name] * 2.0 ** (bits - TABLE_INDEX_BITS)

    def scale_scores(self, iteration: int, accumulator: Tensor) -> Tensor:
        self._set_row_scale("attention.score", iteration - 1, SCORE_SPREAD / _spread(accumulator))
        return super().scale_scores(iteration, accumulator)

    def scale_context(self, iteration: int, accumulator: Tensor, exp_sum: Tensor) -> Tensor:
        average = accumulator.double() / exp_sum.clamp(min=1).unsqueeze(-1)
        self._set_row_scale(
            "attention.context", iteration - 1, self._operand_spread("attention.context") / _spread(average)
        )
        return super().scale_context(iteration, accumulator, exp_sum)

    def _set_row_scale(self, name: str, row: int, factor: float) -> None:
        multiplier, shift = quantize_multiplier(factor)
        self._store(f"{name}.multiplier", row, torch.tensor(multiplier))
        self._store(f"{name}.shift", row, torch.tensor(shift))


def _spread(values: Tensor) -> float:
    """Root mean square of what is not 0: unused slots of a grid hold zeros."""
    used = values[values != 0].double()
    return max(1e-3, float(used.square().mean().sqrt())) if used.numel() else 1.0
