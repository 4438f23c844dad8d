"""The golden model: ELBERT on integers, bit for bit what the accelerator computes.

Model, checkpoint, confidence (the exit unit's arithmetic), random checkpoints; ``ops/`` has every rule.
"""
