"""Every width and fixed-point position of the integer contract, defined once.

The golden model computes with them, the hardware derives its ports and memories from them, and
docs/numerics.md explains them. Nothing here is a float.
"""

from __future__ import annotations

# Matmul operands
OPERAND_BITS = 8
"""Weights and activations: int8, symmetric, -127..127."""
OPERAND_MAX = 127
ACCUMULATOR_BITS = 28
"""Signed. 4096 products of at most 255·127 need 27 bits and a sign."""
OFFSET_BITS = 32
"""Signed; a channel's offset (bias) is stored in 32 bits, of which OFFSET_LIMIT may be used."""
OFFSET_LIMIT = 1 << 27
"""|offset| of a matmul channel stays below this, so that accumulator + offset fits 29 bits."""
BIASED_ACCUMULATOR_BITS = 29
"""Signed: accumulator + offset."""

# Requantisation: saturate(round_half_up((accumulator + offset) · multiplier / 2^shift))
MULTIPLIER_BITS = 16
"""Unsigned, normalised: 2^15 <= multiplier < 2^16 (0 for a channel that is always zero)."""
SHIFT_BITS = 6
CHANNEL_PARAMETER_BYTES = 8
"""One channel's offset, multiplier and shift in memory, as `hw.channel` lays them out."""

# Residual stream
HIDDEN_MAX = 127 * 256 + 127
"""hidden = 256·hi + lo with hi in -127..127 and lo in -128..127; hidden saturates symmetrically
at ±32639, so that hi never reaches -128."""
RESIDUAL_BITS = 18
"""hidden + requantised matmul output, the input of LayerNorm; saturating."""

# Embedding
EMBEDDING_SHIFT = 6
"""sum = word << 6 + position_type; word is int8, position_type int16."""
POSITION_TYPE_BITS = 16

# Softmax
SCORE_BITS = 12
"""Signed score, saturating."""
SCORE_FRACTION_BITS = 5
"""LSB of a score: 1/32 nat."""
EXP_BITS = 8
"""Unsigned; exp(0) = 255."""
EXP_INDEX_BITS = 8
EXP_SUM_BITS = 17
"""255 · 512 keys < 2^17."""

# Table activations (GELU, tanh)
TABLE_INDEX_BITS = 10
TABLE_SIZE = 1 << TABLE_INDEX_BITS

# LayerNorm
NORM_FRACTION_BITS = 11
"""Fraction bits of the deviation scaled by a power of two, and of the normalised value."""
NORM_BITS = 18
RSQRT_MANTISSA_BITS = 16
"""Bits of the variance's mantissa, 2^14 <= M < 2^16."""
RSQRT_BITS = 16
GAMMA_BITS = 16
"""Signed."""

# Logits
LOGIT_BITS = 18
"""Signed: -128 to just under 128 nat."""
LOGIT_FRACTION_BITS = 10
"""A logit's LSB is 2^-10 nat, for every iteration alike, so that a threshold means the same everywhere."""

# Exit decision: probabilities, entropies and every threshold of an exit policy have the LSB 2^-16
PROBABILITY_FRACTION_BITS = 16
ONE = 1 << PROBABILITY_FRACTION_BITS
"""A probability of 1; a normalised entropy of ln C."""
PROBABILITY_BITS = PROBABILITY_FRACTION_BITS + 1
"""Unsigned, 0..ONE."""
ENTROPY_BITS = 18
"""Unsigned; raw entropy reaches ln 8 = 2.08 nat."""
