"""Cocotb benches, one per block and for the whole machine; ``tests/sim`` runs them.

``agents/`` holds the benches of the agents themselves and the small designs they are tried on.
"""
