"""What a scheme costs without measuring: products times the bits of both factors.

Products times bits of weight times bits of activation is the field's measure of a multiplier array's work
(bit operations: Baskin et al., UNIQ, 2021). Ternary weights count as 2 bits, as stored one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from golden_model.config import ElbertConfig
from golden_model.integer.checkpoint import MATMULS, matmul_shape
from golden_model.integer.scales import operand_of
from quant.schemes import Scheme

CLS_ROW = ("pooler", "classifier")
"""They read one row."""
EMBEDDING = "embedding.projection"


def products(config: ElbertConfig, length: int) -> Iterator[tuple[str, int]]:
    """(matmul, multiply-adds) of one iteration of ``length`` tokens: together ``config.layer_products``.

    Scores and context, whose both factors are activations, are called ``scores`` and ``context``.
    """
    for matmul in MATMULS:
        if matmul != EMBEDDING:
            out, inputs = matmul_shape(config, matmul)
            yield matmul, out * inputs * (1 if matmul in CLS_ROW else length)
    yield "scores", length * length * config.hidden_size
    yield "context", length * length * config.hidden_size


def products_x_bits(scheme: Scheme, config: ElbertConfig, lengths: Sequence[int]) -> float:
    """Mean over sentences of these lengths, all iterations and the embedding's projection."""
    contract = scheme.contract
    pairs = {
        "scores": contract.bits("attention.query") * contract.bits("attention.key"),
        "context": contract.bits("attention.exponentials") * contract.bits("attention.value"),
    }
    for matmul in MATMULS:
        pairs[matmul] = scheme.weights(matmul).weight_bits * contract.bits(operand_of(matmul))
    total = 0
    for length in lengths:
        layer = sum(count * pairs[name] for name, count in products(config, length))
        total += config.num_hidden_layers * layer + config.embedding_products(length) * pairs[EMBEDDING]
    return total / len(lengths)
