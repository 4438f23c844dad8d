"""The engine: output-stationary array, sequencer, weight fetcher and vector path."""
