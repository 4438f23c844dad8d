"""Where training under a scheme starts: calibration's integers; and the gradients of the scales."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from golden_model.float.albert import ElbertForSequenceClassification
from golden_model.integer.model import Sentence
from quant.calibrate import calibrate
from quant.fake.model import REACH, FakeElbert
from quant.modules import linears
from quant.observe import observe
from quant.qat.start import MARGIN, calibrated_start, rounding_to
from quant.scales import choose_scales
from quant.schemes import Grid, Scheme

SCHEMES = {
    "W2, gptq": Scheme(weight_bits=2, weight_observer="mse", rounding="gptq", correct_bias=True),
    "ternary, adaround": Scheme(weight_bits=2, ternary=True, weight_observer="mse", rounding="adaround"),
    "groups, gptq": Scheme(weight_bits=3, granularity="group", group_size=5, rounding="gptq"),
    "W4, per tensor": Scheme(weight_bits=4, granularity="tensor"),
}


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_it_starts_at_the_integers_that_calibration_finds(
    float_model: ElbertForSequenceClassification, sentences: list[Sentence], scheme: Scheme
) -> None:
    """Whatever rounds them, in the model's own float32; a weight that rounds so already stays as it is."""
    wanted = calibrate(float_model, sentences, scheme).tensors
    fake = calibrated_start(float_model, sentences, scheme)
    for name, found in fake.checkpoint().tensors.items():
        off = (found.long() - wanted[name].long()).abs()
        # a correction in float32, 24 bits of it, against an integer of up to 32
        bound = wanted[name].abs().max() * 2.0**-22 + 1 if name.endswith((".offset", ".beta")) else 0
        assert int(off.max()) <= (bound if scheme.correct_bias else 0), name
    assert bool(fake.biases) == scheme.correct_bias
    corrected = any(bool((fake.biases[name] != 0).any()) for name in fake.biases)
    assert corrected == scheme.correct_bias
    stayed = {}
    for matmul, module in linears(float_model).items():
        moved = linears(fake.float_model)[matmul].weight != module.weight
        stayed[matmul] = 1 - float(moved.double().mean())
    assert min(stayed.values()) > 0.5
    assert (min(stayed.values()) < 1.0) == (scheme.rounding != "nearest")


@pytest.mark.parametrize(
    ("grid", "x", "code", "wanted"),
    [
        (Grid(3), 0.2, 1, 0.5 + 0.5 * MARGIN),
        (Grid(3), 0.2, 0, 0.2),
        (Grid(3), 9.0, 3, 9.0),
        (Grid(3), 1.0, 3, 2.5 + 0.5 * MARGIN),
        (Grid(3), 1.0, -3, -2.5 - 0.5 * MARGIN),
        (Grid(3, odd=True), 0.5, -1, -MARGIN),
        (Grid(3, odd=True), -7.0, -3, -7.0),
        (Grid(3, odd=True), -7.0, 1, MARGIN),
        (Grid(1), 0.6, 0, 0.5 - 0.5 * MARGIN),
    ],
)
def test_a_weight_moves_just_into_the_range_of_its_integer(
    grid: Grid, x: float, code: int, wanted: float
) -> None:
    found = rounding_to(torch.tensor([x], dtype=torch.float64), torch.tensor([float(code)]), grid)
    assert float(found) == pytest.approx(wanted)
    assert int(grid.nearest(found)) == code


def made(model: ElbertForSequenceClassification, sentences: list[Sentence], scheme: Scheme) -> FakeElbert:
    return FakeElbert(model, scheme, choose_scales(model, observe(model, sentences, scheme), scheme))


@pytest.mark.parametrize(
    ("scheme", "top"),
    [
        (Scheme(weight_bits=4, weight_observer="mse"), 7),
        (Scheme(weight_bits=2, weight_observer="mse"), 3),
        (Scheme(weight_bits=2, ternary=True, weight_observer="mse", granularity="tensor"), 1),
    ],
    ids=["W4", "W2", "ternary per tensor"],
)
def test_gradients_are_learned_step_size_quantisations(
    float_model: ElbertForSequenceClassification, sentences: list[Sentence], scheme: Scheme, top: int
) -> None:
    """Esser et al. 2020: d(q·s)/ds = q - x/s within, ±Q beyond, times 1/sqrt(N·Q); d(q·s)/dx = 1 within."""
    fake, matmul = made(float_model, sentences, scheme), "attention.query"  # which reads no channel factors
    parameter, step = linears(fake.float_model)[matmul].weight, fake.steps["attention/query/weight"]
    with torch.no_grad():
        start = fake.start.weights[matmul].scale
        step.mul_(torch.linspace(0.7, 1.3, len(step)))  # no longer where it started
        scale = (start * step.double()).unsqueeze(1)
        parameter[0, 0], parameter[0, 1] = 5 * top * scale[0, 0], -5 * top * scale[0, 0]
    weighing = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = fake.weight(matmul).double() * fake._weight_step(matmul).unsqueeze(1)
    (found * weighing).sum().backward()

    x, outside = parameter.detach().double() / scale, parameter.detach().double().abs() > top * scale
    assert 0 < int(outside.sum()) < outside.numel()
    code = fake.weight(matmul).detach().double()
    slope = torch.where(outside, top * x.sign(), code - x) * weighing
    count = parameter.numel() if len(step) == 1 else parameter.shape[1]
    each = (slope.sum(1) * start).sum().reshape(1) if len(step) == 1 else slope.sum(1) * start
    assert step.grad is not None
    assert parameter.grad is not None
    assert torch.allclose(step.grad.double(), each * (count * top) ** -0.5, rtol=1e-4, atol=1e-7)
    assert torch.allclose(parameter.grad.double(), torch.where(outside, 0.0, weighing), rtol=1e-5)


def test_an_activations_gradient_scale_counts_its_features_and_levels(
    float_model: ElbertForSequenceClassification, sentences: list[Sentence]
) -> None:
    fake = made(float_model, sentences, Scheme(activation_bits=6, ffn_index_bits=7))
    config = fake.config
    hidden, wide = config.hidden_size, config.intermediate_size
    for name, wanted in {
        "embedding.sum": (config.embedding_size, 127),
        "embedding.hidden": (hidden, 31),
        "iteration.2.ffn.activation": (wide, 31),
        "iteration.1.ffn.index": (wide, 63),
    }.items():
        assert fake.levels(name) == wanted, name
    name = "iteration.1.attention.query"
    fake.step(name).backward()
    gradient = fake.steps[name.replace(".", "/")].grad
    assert gradient is not None
    assert float(gradient) == pytest.approx(fake.start.tensors[name] * (hidden * 31) ** -0.5, rel=1e-6)


def test_scales_stay_positive_and_come_back(
    float_model: ElbertForSequenceClassification, sentences: list[Sentence]
) -> None:
    fake = made(float_model, sentences, Scheme())
    name, key = "iteration.1.hidden", "iteration/1/hidden"
    for value, wanted in ((-3.0, 1 / REACH), (0.0, 1 / REACH), (2.5, 2.5), (1e4, REACH)):
        with torch.no_grad():
            fake.steps[key].fill_(value)
        fake.steps[key].grad = None
        fake.step(name).backward()
        assert float(fake.step(name).detach()) == pytest.approx(wanted * fake.start.tensors[name])
        assert float(fake.steps[key].grad) > 0  # beyond the end too
    with torch.no_grad():
        fake.steps["pooler/weight"].fill_(-1.0)
    fake.checkpoint()


def test_exits_that_are_not_asked_for_are_not_computed(
    float_model: ElbertForSequenceClassification, sentences: list[Sentence]
) -> None:
    fake = made(float_model, sentences, Scheme())
    ids = torch.tensor([list(max((ids for ids, _ in sentences), key=len))])
    seen: list[str] = []

    def tap(name: str, values: Tensor) -> None:
        seen.append(name)

    with torch.no_grad():
        everything, part = fake(ids), fake(ids, exits=[1, 3], tap=tap)
    assert torch.equal(part, everything[[0, 2]])
    assert [name for name in seen if name.endswith("logits")] == ["iteration.1.logits", "iteration.3.logits"]
    assert "iteration.3.hidden" in seen
    assert not any(name.startswith("iteration.4.") for name in seen)
