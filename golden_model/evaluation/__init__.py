"""Answers of a float or golden checkpoint, and how good and how early they are.

One ``Backend`` for both forms, so that evaluations, studies and reports do not tell them apart.
"""
