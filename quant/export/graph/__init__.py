"""The integer model as one ONNX graph: ``builder`` makes nodes, ``rules`` are those of docs/numerics.md,
``whole`` puts them together from embedding to logits.
"""
