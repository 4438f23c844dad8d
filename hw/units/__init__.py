"""Units of the transformer layer beside the array: softmax, LayerNorm, tables, embedding, exit decision.

Each names the golden function it equals and has a bench in ``sim/benches``.
"""
