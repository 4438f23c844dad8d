"""What others read: a checkpoint as integers with their meaning, and as a graph of ONNX or QONNX operators.

``elbert export`` writes them; docs/export.md says what each holds and what it cannot say.
"""
