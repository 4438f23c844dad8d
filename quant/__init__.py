"""Quantisation: a float checkpoint becomes an integer one; studies and reports of what that costs.

Depends on the golden model alone.
"""
