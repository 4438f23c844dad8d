"""Fake quantisation: a scheme in differentiable floats, whose every number is the golden model's integer.

``straight``: roundings that gradients pass; ``model``: ELBERT made of them.
"""
