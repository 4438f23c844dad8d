"""The named tensors of docs/numerics.md in one line each, and what each is made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from golden_model.integer.scales import EMBEDDING_TENSORS, input_name

INPUT = "input"
"""The hidden state that an iteration starts from."""


@dataclass(frozen=True)
class Rule:
    """How a named tensor is made.

    Members:
        text: Its rule in docs/numerics.md, letter by letter.
        reads: Short names of the tensors it is made of; :data:`INPUT` for the iteration's input.
    """

    text: str
    reads: tuple[str, ...]


RULES: dict[str, Rule] = {
    "embedding.sum": Rule("saturate18((word[id] << 6) + position_type[type, position])", ()),
    "embedding.normalized": Rule("layernorm(embedding.sum), saturated to ±127", ("embedding.sum",)),
    "embedding.hidden": Rule("q16(embedding.normalized · W_projᵀ)", ("embedding.normalized",)),
    "attention.query": Rule("q8(hi(hidden) · Wᵀ)", (INPUT,)),
    "attention.key": Rule("q8(hi(hidden) · Wᵀ)", (INPUT,)),
    "attention.value": Rule("q8(hi(hidden) · Wᵀ)", (INPUT,)),
    "attention.scores": Rule(
        "q12(query_h · key_hᵀ), offset 0, one (m, s) per iteration; LSB 1/32 nat",
        ("attention.query", "attention.key"),
    ),
    "attention.exponentials": Rule("EXP[min(max over keys − score, 255)]", ("attention.scores",)),
    "attention.context": Rule(
        "q8(exponentials · value_h) with the row's (m_row, s_row)",
        ("attention.exponentials", "attention.value"),
    ),
    "attention.residual": Rule("saturate18(hidden + q18(context · W_oᵀ))", (INPUT, "attention.context")),
    "attention.hidden": Rule("layernorm(attention.residual), saturated to ±32639", ("attention.residual",)),
    "ffn.activation": Rule("table_i[q10(hi(attention.hidden) · W_1ᵀ)], GELU", ("attention.hidden",)),
    "ffn.residual": Rule(
        "saturate18(attention.hidden + q18(ffn.activation · W_2ᵀ))", ("attention.hidden", "ffn.activation")
    ),
    "hidden": Rule("layernorm(ffn.residual), saturated to ±32639", ("ffn.residual",)),
    "pooler.output": Rule("tanh table_i[q10(hi(hidden[0]) · W_pᵀ)]", ("hidden",)),
    "logits": Rule("q18(pooler.output · W_cᵀ); LSB 2^-10 in every iteration", ("pooler.output",)),
    "exit.probabilities": Rule("round_half_up(2^16·e_c / S)", ("logits",)),
    "exit.entropy": Rule("min(round_half_up(U_raw·round(2^16/ln C) / 2^16), 2^16)", ("logits",)),
    "exit.entropy_raw": Rule("ln S + round_half_up(sum p_c·d_c / 2^10)", ("logits",)),
}
"""By short name, in the order of the computation."""


def made_once(short: str) -> bool:
    """Whether a tensor is made once and not in every iteration."""
    return short in EMBEDDING_TENSORS


def inputs(short: str, iteration: int) -> Iterator[str]:
    """Full names of the tensors that a tensor of an iteration, counted from 1, is made of."""
    for name in RULES[short].reads:
        if name == INPUT:
            yield input_name(iteration)
        else:
            yield name if made_once(name) else f"iteration.{iteration}.{name}"
