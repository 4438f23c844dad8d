"""The early-exit methods ELBERT is compared with, all on its backbone: heads, counting, checkpoints.

How they are trained is in ``golden_model.train``; docs/methods.md says what follows which paper or code.
"""
