"""Rounding a weight so that what a matmul makes changes least, rather than the weight itself.

Both methods see the second moments of what the matmul reads, H = sum x·xᵀ over all iterations: the error of
the outputs is tr((W - Q)·H·(W - Q)ᵀ).
"""
