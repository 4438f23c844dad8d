"""Benches of the agents themselves, and the small designs they are tried on.

A fault planted in a design must be found by the agent.
"""
