"""Where a training under a scheme starts: at the integers that calibration chose."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from golden_model.float.albert import ElbertForSequenceClassification
from golden_model.integer.checkpoint import IntegerCheckpoint
from golden_model.integer.model import Sentence
from quant.assemble import assemble, made
from quant.calibrate import check_weights, corrected
from quant.fake.model import FakeElbert
from quant.modules import linears
from quant.observe import Progress, observe
from quant.reproducible import one_thread
from quant.scales import Scales, choose_scales, operand_scale, readings
from quant.schemes import Grid, Scheme

MARGIN = 0.02
"""Share of half a grid step that a weight keeps from the next integer: beyond what float32 loses of it."""


def calibrated_start(
    model: ElbertForSequenceClassification,
    sentences: Sequence[Sentence],
    scheme: Scheme,
    progress: Progress | None = None,
) -> FakeElbert:
    """The float model under a scheme whose scales and weights' integers are those of calibration.

    Roundings that are not to the nearest (GPTQ, AdaRound) become the nearest ones: a weight that they round
    otherwise is moved just into the range that rounds to its integer, and goes on from there.

    Args:
        model: The float model; copied.
        sentences: To calibrate on.
        scheme: Any. With ``correct_bias`` every iteration has biases of its own, which start at the
            correction (as float32 holds them: to the last bit of an offset).
        progress: Told how many more sentences were watched.

    Raises:
        ValueError: as :func:`quant.calibrate.calibrate`.
    """
    check_weights(model)
    seen = observe(model, sentences, scheme, progress=progress)
    with one_thread(), torch.no_grad():
        scales = choose_scales(model, seen, scheme)
        if scheme.correct_bias:
            plain = assemble(model, scales, scheme)
            scales.biases = added(plain, corrected(plain, model, seen, scales, sentences), scales)
        fake = FakeElbert(model, scheme, scales, exact=False)
        for matmul, start in scales.weights.items():
            module, multiplier = linears(fake.float_model)[matmul], fake.multiplier(matmul)
            unit = start.scale.to(fake.device).unsqueeze(1) * multiplier
            unit = unit / fake.factor(fake.readings[matmul].inputs[0])
            codes = start.integers.to(fake.device) / multiplier
            grid = scheme.weights(matmul).grid
            scaled = module.weight.double() / unit
            moved = rounding_to(scaled, codes, grid) * unit
            module.weight.copy_(torch.where(grid.nearest(scaled) == codes, module.weight.double(), moved))
    return fake


def added(plain: IntegerCheckpoint, corrected: IntegerCheckpoint, scales: Scales) -> dict[str, Tensor]:
    """What bias correction added to every offset and beta, in real units: [times it runs, out], float64."""
    found: dict[str, Tensor] = {}
    for name, iteration, output, _ in made(plain.config):
        row, kind = iteration - 1, "beta" if name.endswith("norm") else "offset"
        part = f"{name}.{kind}"
        more = corrected.tensors[part][row].double() - plain.tensors[part][row].double()
        if kind == "beta":
            lsb = scales.lsb(output) * torch.exp2(-plain.tensors[f"{name}.shift"][row].double())
        else:
            reading = readings(plain.config)[name].inputs[row]
            lsb = operand_scale(scales, name, reading, plain.contract) * scales.weights[name].scale
        found.setdefault(name, torch.zeros(len(plain.tensors[part]), more.numel(), dtype=torch.float64))
        found[name][row] = more * lsb
    return found


def rounding_to(scaled: Tensor, codes: Tensor, grid: Grid) -> Tensor:
    """The numbers nearest to ``scaled`` whose nearest integers of the grid are ``codes``; float64."""
    half = grid.step / 2 * (1 - MARGIN)
    low = torch.where(codes <= -grid.limit, -torch.inf, codes - half)
    high = torch.where(codes >= grid.limit, torch.inf, codes + half)
    return scaled.clamp(low, high)
