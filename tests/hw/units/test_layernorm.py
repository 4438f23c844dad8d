"""LayerNorm's root: its registers hold every step, its result is the golden one."""

from __future__ import annotations

import torch

from golden_model.integer.ops.layernorm import reciprocal_sqrt
from golden_model.numerics import RSQRT_BITS, RSQRT_MANTISSA_BITS
from hw.units.layernorm_rows import ROOT_REST_BITS


def test_root_recurrence_fits_its_registers_for_every_mantissa() -> None:
    """The row finisher's digit recurrence on all mantissas: the golden root, within ROOT_REST_BITS."""
    mantissa = torch.arange(1 << (RSQRT_MANTISSA_BITS - 2), 1 << RSQRT_MANTISSA_BITS)
    rest = torch.full_like(mantissa, 1 << RSQRT_MANTISSA_BITS)
    trial, root = mantissa.clone(), torch.zeros_like(mantissa)
    for _ in range(RSQRT_BITS):
        bit = rest >= trial
        rest = torch.where(bit, rest - trial, rest) << 2
        trial = 2 * trial + torch.where(bit, 3 * mantissa, -mantissa)
        root = 2 * root + bit
        assert int(rest.max()) < 1 << ROOT_REST_BITS
        assert int(trial.max()) < 1 << ROOT_REST_BITS
    # a variance in 2^14..2^16 - 1 is its own mantissa, with e = 7
    golden, exponent = reciprocal_sqrt(mantissa)
    assert bool((exponent == 7).all())
    assert torch.equal(root, golden)
