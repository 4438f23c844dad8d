"""docs/numerics.md once more, on Python integers, element by element: slow and independent.

Widths are taken from a checkpoint's contract by name; what follows from them is written out here again.
"""

from __future__ import annotations

import math

from golden_model.integer.checkpoint import IntegerCheckpoint

HIDDEN = 32639
WIDE = (-(1 << 17), (1 << 17) - 1)


def requantized(acc: int, offset: int, multiplier: int, shift: int, low: int, high: int) -> int:
    half = (1 << shift) >> 1
    return max(low, min(high, ((acc + offset) * multiplier + half) >> shift))


def signed(bits: int) -> int:
    """Largest integer of a symmetric range."""
    return 2 ** (bits - 1) - 1


class ScalarModel:
    """One sentence at a time, all rows of all iterations."""

    def __init__(self, checkpoint: IntegerCheckpoint) -> None:
        self.config, self.contract = checkpoint.config, checkpoint.contract
        self.t = {name: tensor.tolist() for name, tensor in checkpoint.tensors.items()}
        bits, index_bits = self.contract.exponentials_bits, self.contract.exp_index_bits
        self.exp = [
            math.floor((2**bits - 1) * math.exp(-i * 8 / 2**index_bits) + 0.5) for i in range(2**index_bits)
        ]

    def matmul(self, name: str, row: int, x: list[int], low: int, high: int) -> list[int]:
        offset, multiplier, shift = (self.t[f"{name}.{p}"][row] for p in ("offset", "multiplier", "shift"))
        return [
            requantized(
                sum(a * b for a, b in zip(x, w, strict=True)), offset[c], multiplier[c], shift[c], low, high
            )
            for c, w in enumerate(self.t[f"{name}.weight"])
        ]

    def operand(self, hidden: list[int], bits: int) -> list[int]:
        """What a matmul reads of a hidden state: the nearest integer, halves up."""
        step, limit = 2 ** (16 - bits - self.contract.hidden_headroom), signed(bits)
        return [max(-limit, min(limit, math.floor(v / step + 0.5))) for v in hidden]

    def norm(self, name: str, row: int, y: list[int], limit: int) -> list[int]:
        gamma, beta, shift = (self.t[f"{name}.{p}"][row] for p in ("gamma", "beta", "shift"))
        fraction, bits = self.contract.norm_fraction_bits, self.contract.rsqrt_bits
        n = len(y)
        s1 = sum(y)
        variance = max(n * sum(v * v for v in y) - s1 * s1, 1)
        e = (variance.bit_length() - 1) // 2
        mantissa = (variance << (bits - 2)) // 4**e
        root = min(math.isqrt((1 << (3 * bits - 2)) // mantissa), 2**bits - 1)
        out = []
        for c, v in enumerate(y):
            t = (((n * v - s1) << fraction) + ((1 << e) >> 1)) >> e
            t = max(-(1 << (fraction + 6)), min((1 << (fraction + 6)) - 1, t))
            unit = (t * root + (1 << (bits - 1))) >> bits
            value = (unit * gamma[c] + beta[c] + ((1 << shift[c]) >> 1)) >> shift[c]
            out.append(max(-limit, min(limit, value)))
        return out

    def run(self, ids: list[int], types: list[int]) -> dict[str, list]:
        t, config, contract, taps = self.t, self.config, self.contract, {}
        sums = [
            [
                (w << 6) + p
                for w, p in zip(t["embedding.word"][i], t["embedding.position_type"][k][at], strict=True)
            ]
            for at, (i, k) in enumerate(zip(ids, types, strict=True))
        ]
        sums = [[max(WIDE[0], min(WIDE[1], v)) for v in y] for y in sums]
        taps["embedding.sum"] = sums
        limit = signed(contract.embedding_normalized_bits)
        normed = [self.norm("embedding.norm", 0, y, limit) for y in sums]
        taps["embedding.normalized"] = normed
        hidden = [self.matmul("embedding.projection", 0, x, -HIDDEN, HIDDEN) for x in normed]
        taps["embedding.hidden"] = hidden
        for row in range(config.num_hidden_layers):
            prefix = f"iteration.{row + 1}."
            read = [self.operand(h, contract.hidden_bits) for h in hidden]
            parts = {}
            for part in ("query", "key", "value"):
                limit = signed(getattr(contract, f"{part}_bits"))
                parts[part] = [self.matmul(f"attention.{part}", row, x, -limit, limit) for x in read]
                taps[f"{prefix}attention.{part}"] = parts[part]
            scores, exponentials, context = self.attend(row, parts)
            taps[f"{prefix}attention.scores"] = scores
            taps[f"{prefix}attention.exponentials"] = exponentials
            taps[f"{prefix}attention.context"] = context
            update = [self.matmul("attention.output", row, x, *WIDE) for x in context]
            taps[f"{prefix}attention.residual"] = added = self.add(hidden, update)
            middle = [self.norm("attention.norm", row, y, HIDDEN) for y in added]
            taps[f"{prefix}attention.hidden"] = middle
            half = 2 ** (contract.ffn_index_bits - 1)
            read = [self.operand(h, contract.attention_hidden_bits) for h in middle]
            index = [self.matmul("ffn.intermediate", row, x, -half, half - 1) for x in read]
            active = [[t["ffn.table"][row][i % (2 * half)] for i in x] for x in index]
            taps[f"{prefix}ffn.activation"] = active
            update = [self.matmul("ffn.output", row, x, *WIDE) for x in active]
            taps[f"{prefix}ffn.residual"] = added = self.add(middle, update)
            hidden = [self.norm("ffn.norm", row, y, HIDDEN) for y in added]
            taps[f"{prefix}hidden"] = hidden
            half = 2 ** (contract.pooler_index_bits - 1)
            first = self.operand(hidden[0], contract.pooler_hidden_bits)
            index = self.matmul("pooler", row, first, -half, half - 1)
            pooled = [t["pooler.table"][row][i % (2 * half)] for i in index]
            taps[f"{prefix}pooler.output"] = pooled
            taps[f"{prefix}logits"] = self.matmul("classifier", row, pooled, *WIDE)
        return taps

    def attend(self, row: int, parts: dict[str, list[list[int]]]) -> tuple[list, list, list]:
        """Scores and exponentials [heads][queries][keys], context [tokens][features]."""
        t, config, contract = self.t, self.config, self.contract
        limit = signed(contract.context_bits)
        tokens = range(len(parts["query"]))
        context = [[0] * config.hidden_size for _ in tokens]
        every_score, every_exp = [], []
        for head in range(config.num_attention_heads):
            columns = range(head * config.head_dim, (head + 1) * config.head_dim)
            head_scores, head_exp = [], []
            for q in tokens:
                scores = [
                    requantized(
                        sum(parts["query"][q][c] * parts["key"][k][c] for c in columns),
                        0,
                        t["attention.score.multiplier"][row],
                        t["attention.score.shift"][row],
                        -2048,
                        2047,
                    )
                    for k in tokens
                ]
                step = 2 ** (8 - contract.exp_index_bits)
                exp = [self.exp[min(max(scores) - s, 255) // step] for s in scores]
                total = sum(exp)
                bits = total.bit_length()
                m = (t["attention.context.multiplier"][row] << (bits - 1)) // total
                s = t["attention.context.shift"][row] + bits - 1
                for c in columns:
                    acc = sum(e * parts["value"][k][c] for k, e in enumerate(exp))
                    context[q][c] = requantized(acc, 0, m, s, -limit, limit)
                head_scores.append(scores)
                head_exp.append(exp)
            every_score.append(head_scores)
            every_exp.append(head_exp)
        return every_score, every_exp, context

    @staticmethod
    def add(hidden: list[list[int]], update: list[list[int]]) -> list[list[int]]:
        return [
            [max(WIDE[0], min(WIDE[1], a + b)) for a, b in zip(h, u, strict=True)]
            for h, u in zip(hidden, update, strict=True)
        ]
