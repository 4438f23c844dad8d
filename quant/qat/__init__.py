"""Quantisation-aware training: what a scheme's roundings cost is learnt away, under the joint exit loss.

``start``: a calibrated model with gradients; ``objective``: what is learnt and written; ``setup``: the run.
"""
