"""Proof by simulation: builds, runs, the checker that compares hardware and golden model integer by integer.

Agents are what surrounds a design in simulation, benches what is asked of it.
"""
