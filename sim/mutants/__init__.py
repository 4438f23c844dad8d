"""Faults planted into the hardware's source, one at a time, to measure what the benches catch.

A rule (`rules`) finds sites on the syntax tree, a child process (`child`) runs a block's benches on a copy
of the module with one of them changed, a campaign (`campaign`) samples, runs and counts.
"""
