"""Exit thresholds with a guarantee: chosen on held-out sentences so that a bound holds for new ones.

docs/guarantees.md says what is promised and from what it follows.
"""
