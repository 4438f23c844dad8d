"""The engine: multiplier array, sequencer, fetcher and vector path, driven by one table of descriptors.

A tile of weights is read once and serves all token blocks.
"""
