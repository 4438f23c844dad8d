"""Arithmetic blocks that know nothing of transformers: multiply, divide, round, saturate, requantise.

Each names the golden function it equals.
"""
