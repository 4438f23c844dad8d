"""Exit policies and the integer exit unit: bounds, identities, and that every form of them agrees."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from golden_model.exits import (
    MAX_PATIENCE,
    MAX_WINDOW,
    Confidence,
    ExitMode,
    ExitPolicy,
    ExitState,
    FixedExitPolicy,
    exit_flags,
    exit_iterations,
    never_fires,
)
from golden_model.integer.confidence import (
    binary_entropy_threshold,
    binary_margin_threshold,
    integer_confidence,
    quantise_logits,
)
from golden_model.integer.ops import exit_math as em
from golden_model.numerics import ENTROPY_BITS

LABELS = (2, 3, 4, 5, 6, 7, 8)


def logit_cases(num_labels: int, count: int = 4000) -> torch.Tensor:
    """Random logits of every spread, tails, ties and the format's corners: int64 [M, C]."""
    generator = torch.Generator().manual_seed(num_labels)

    def draw(low: int, high: int) -> torch.Tensor:
        return torch.randint(low, high, (count, num_labels), generator=generator)

    cases = [draw(-spread, spread) for spread in (2, 16, 256, 1024, 4096, 16384, em.LOGIT_MAX)]
    tail = draw(-12500, -10000)  # 10 to 12 nat below the winner: where one LSB of p is everything
    tail[:, 0] = 0
    sweep = -torch.arange(em.EXP_ZERO_FROM + 10).unsqueeze(1).expand(-1, num_labels).clone()
    sweep[:, 0] = 0
    low, high = em.LOGIT_MIN, em.LOGIT_MAX
    corners = torch.full((4, num_labels), low)
    corners[1] = high
    corners[2, 0] = high
    corners[3, -1] = high
    return torch.cat([*cases, tail, sweep, corners])


def test_rom_layout_and_reproducible_rounding() -> None:
    rom = em.exit_rom()
    assert len(rom) == em.ROM_WORDS
    assert max(rom) < 1 << em.ROM_BITS
    assert rom[em.ROM_COARSE] == rom[em.ROM_FINE] == em.ONE
    assert rom[em.ROM_LOG] == 0
    assert rom[em.ROM_LOG + 256] == round(math.log(2) * em.ONE)
    assert em.ROM_LOG + em.LOG_ENTRIES <= em.ROM_WORDS
    # no entry sits so near a half that another libm could round it differently
    exact = [math.exp(-i / 16) for i in range(256)] + [math.exp(-i / 1024) for i in range(64)]
    exact += [math.log1p(i / 256) for i in range(257)]
    assert min(abs((x * em.ONE) % 1 - 0.5) for x in exact) > 1e-4


def test_exp_is_within_its_bound_and_zero_from_16_nat() -> None:
    distance = torch.arange(1 << em.LOGIT_BITS)
    error = em.exp_negative(distance) - torch.exp(-distance.double() / 1024) * em.ONE
    assert error.abs().max() < 1.3
    assert em.exp_negative(distance[em.EXP_ZERO_FROM :]).count_nonzero() == 0
    assert em.exp_negative(torch.tensor([0]))[0] == em.ONE


def test_ln_is_within_its_bound_for_every_sum() -> None:
    total = torch.arange(em.ONE, 8 * em.ONE + 1)
    error = em.ln_fixed(total) - torch.log(total.double() / em.ONE) * em.ONE
    assert error.abs().max() <= em.LN_ERROR
    assert em.ln_fixed(torch.tensor([em.ONE]))[0] == 0


@pytest.mark.parametrize("num_labels", LABELS)
def test_integer_confidence_is_within_its_error_bounds(num_labels: int) -> None:
    logits = logit_cases(num_labels)
    got = integer_confidence(logits)
    exact = Confidence.from_logits(logits.double() / 1024)
    assert (got.probabilities - exact.probabilities * em.ONE).abs().max() <= em.probability_error(num_labels)
    assert (got.entropy_raw - exact.entropy_raw * em.ONE).abs().max() <= em.entropy_raw_error(num_labels)
    assert (got.entropy - exact.entropy * em.ONE).abs().max() <= em.entropy_error(num_labels)
    assert torch.equal(got.label, logits.argmax(-1))
    for tensor in (got.probabilities, got.entropy):
        assert 0 <= int(tensor.min()) <= int(tensor.max()) <= em.ONE
    assert 0 <= int(got.entropy_raw.min()) <= int(got.entropy_raw.max()) < 1 << ENTROPY_BITS


def test_two_class_probabilities_always_sum_to_one() -> None:
    distance = torch.arange(1 << em.LOGIT_BITS)
    logits = torch.stack([torch.full_like(distance, em.LOGIT_MAX), em.LOGIT_MAX - distance], -1)
    assert (integer_confidence(logits).probabilities.sum(-1) == em.ONE).all()


def test_entropy_ends_at_exactly_zero_and_one() -> None:
    for num_labels in LABELS:
        sure = torch.full((num_labels,), em.LOGIT_MIN)
        sure[1] = em.LOGIT_MAX
        assert integer_confidence(sure).entropy == 0
        even = integer_confidence(torch.zeros(num_labels, dtype=torch.int64))
        assert abs(int(even.entropy) - em.ONE) <= em.entropy_error(num_labels)
        assert even.label == 0
        assert even.lead == 0
    saturated = Confidence.from_logits(torch.tensor([0.0, -1e9]))
    assert saturated.entropy == 0  # the released code has NaN here


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: integer_confidence(torch.zeros(3, 9, dtype=torch.int64)), "2..8"),
        (lambda: integer_confidence(torch.zeros(3, 1, dtype=torch.int64)), "2..8"),
        (lambda: integer_confidence(torch.tensor([0, 131072])), "131072"),
        (lambda: integer_confidence(torch.tensor([0, -131073])), "-131073"),
        (lambda: em.normalisation_factor(9), "num_labels 9"),
        (lambda: Confidence(torch.zeros(3, 2), torch.zeros(2), torch.zeros(3)), "entropy"),
        (lambda: ExitState(ExitPolicy(), 3).step(Confidence.from_logits(torch.zeros(2, 2))), "state of"),
        (lambda: exit_iterations(ExitPolicy(), Confidence.from_logits(torch.zeros(2, 2))), "trajectory"),
        (
            lambda: exit_flags(ExitPolicy(), Confidence.from_logits(torch.zeros(0, 2, 2))),
            "iterations >= 1",
        ),
        (lambda: binary_entropy_threshold(FixedExitPolicy(mode="none")), "none"),
    ],
)
def test_wrong_arguments_are_refused_by_name(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_float_logits_are_refused() -> None:
    with pytest.raises(TypeError, match="float32"):
        integer_confidence(torch.zeros(2))


@pytest.mark.parametrize(
    ("kind", "values", "bound"),
    [
        (ExitPolicy, {"mode": "bias_4"}, "bias_4"),
        (ExitPolicy, {"mode": 7}, "mode"),
        (ExitPolicy, {"delta": -0.1}, "delta"),
        (ExitPolicy, {"mode": "entropy", "delta": 1.1}, "delta 1.1 is above 1"),
        (ExitPolicy, {"mode": "entropy_raw", "delta": 2.1}, "delta 2.1 is above 2.07944"),
        (ExitPolicy, {"delta": math.nan}, "delta"),
        (ExitPolicy, {"window": 0}, "window"),
        (ExitPolicy, {"window": MAX_WINDOW + 1}, "window"),
        (ExitPolicy, {"patience": MAX_PATIENCE + 1}, "patience"),
        (ExitPolicy, {"margin": 0.6}, "margin"),
        (ExitPolicy, {"range": 1.5}, "range"),
        (ExitPolicy, {"treshold": 1.5}, "treshold"),
        (FixedExitPolicy, {"delta": 1 << 18}, "delta"),
        (FixedExitPolicy, {"margin": 32769}, "margin"),
        (FixedExitPolicy, {"delta": 0.5}, "delta"),
    ],
)
def test_policies_refuse_what_is_out_of_bounds(kind: type, values: dict, bound: str) -> None:
    with pytest.raises(ValidationError, match=bound):
        kind(**values)


def test_policy_is_frozen_and_survives_json() -> None:
    policy = ExitPolicy(mode="bias_3", delta=0.1, window=5, margin=0.2, range=0.05)
    with pytest.raises(ValidationError):
        policy.delta = 0.2
    assert '"bias_3"' in policy.model_dump_json()
    assert ExitPolicy.model_validate_json(policy.model_dump_json()) == policy
    fixed = policy.to_fixed()
    assert (fixed.delta, fixed.margin, fixed.range) == (6554, 13107, 3277)
    assert FixedExitPolicy.model_validate_json(fixed.model_dump_json()) == fixed
    assert ExitPolicy(mode="entropy_raw", delta=math.log(8)).to_fixed().delta == 136278


def trajectory_of(x: list[float]) -> Confidence:
    """Binary trajectory [I, 1] from p of class 0."""
    p = torch.tensor(x, dtype=torch.float64)
    return Confidence.from_probabilities(torch.stack([p, 1 - p], -1).unsqueeze(1))


@pytest.mark.parametrize(
    ("policy", "x", "expected"),
    [
        (ExitPolicy(mode="none", delta=1.0), [0.99, 0.99, 0.99], 3),
        (ExitPolicy(mode="entropy", delta=0.5), [0.6, 0.95, 0.99], 2),
        (ExitPolicy(mode="entropy", delta=0.0), [1.0, 1.0, 1.0], 3),
        (ExitPolicy(mode="entropy", delta=0.001), [1.0, 1.0, 1.0], 1),
        (ExitPolicy(mode="entropy_raw", delta=0.5 * math.log(2)), [0.6, 0.95, 0.99], 2),
        (ExitPolicy(mode="patience", patience=0), [0.6, 0.4], 1),
        (ExitPolicy(mode="patience", patience=1), [0.6, 0.4, 0.3, 0.2], 3),
        (ExitPolicy(mode="patience", patience=5, delta=1.0), [0.9, 0.9, 0.9], 3),
        (ExitPolicy(mode="bias_1", window=2, margin=0.1), [0.7, 0.55, 0.65, 0.62, 0.9], 4),
        (ExitPolicy(mode="bias_1", window=2, margin=0.1), [0.3, 0.7, 0.3, 0.7, 0.7, 0.7], 5),
        (ExitPolicy(mode="bias_1", window=3, margin=0.1, delta=0.3), [0.7, 0.97, 0.9], 2),
        (ExitPolicy(mode="bias_1", window=9, margin=0.1), [0.9] * 4, 4),
        (ExitPolicy(mode="bias_2", window=3, margin=0.1), [0.7, 0.6, 0.65, 0.7, 0.8], 5),
        (ExitPolicy(mode="bias_2", window=2, margin=0.1), [0.4, 0.35, 0.2, 0.1], 3),
        (ExitPolicy(mode="bias_2", window=2, margin=0.1), [0.7, 0.7, 0.9], 2),
        (ExitPolicy(mode="bias_3", window=2, margin=0.1, range=0.05), [0.7, 0.8, 0.84, 0.9], 3),
        (ExitPolicy(mode="bias_3", window=1, margin=0.1, range=0.0), [0.55, 0.3, 0.9], 2),
    ],
)
def test_policies_by_hand(policy: ExitPolicy, x: list[float], expected: int) -> None:
    assert exit_iterations(policy, trajectory_of(x)).tolist() == [expected]


def binary_rule(policy: FixedExitPolicy, x: list[int], newest: int) -> bool:
    """elbert.md's binary table taken literally on x = p[class 0] in 2^-16, window ending at ``newest``."""
    if newest + 1 < policy.window:
        return False
    w = x[newest + 1 - policy.window : newest + 1]
    half, m = em.ONE // 2, policy.margin
    above, below = [v > half + m for v in w], [v < half - m for v in w]
    pairs = list(itertools.pairwise(w))
    if policy.mode == ExitMode.bias_1:
        return all(above) or all(below)
    if policy.mode == ExitMode.bias_2:
        rising, falling = all(b >= a for a, b in pairs), all(b <= a for a, b in pairs)
        return (above[0] and rising) or (below[0] and falling)
    return (all(above) or all(below)) and max(w) - min(w) <= policy.range


# steps small against the thresholds, so that windows fill and break
walks = st.lists(st.lists(st.integers(-1500, 1500), min_size=8, max_size=8), min_size=1, max_size=20)
fixed_policies = st.builds(
    FixedExitPolicy,
    mode=st.sampled_from(list(ExitMode)),
    delta=st.integers(0, em.ONE),
    window=st.integers(1, 6),
    margin=st.integers(0, 16000),
    range=st.integers(0, 20000),
    patience=st.integers(0, 5),
)


def walk_logits(walk: list[list[int]], num_labels: int) -> torch.Tensor:
    """A random walk of logits: int64 [I, 1, C]."""
    return torch.tensor(walk)[:, :num_labels].cumsum(0).unsqueeze(1)


@given(walks, fixed_policies, st.sampled_from([ExitMode.bias_1, ExitMode.bias_2, ExitMode.bias_3]))
@settings(max_examples=200, deadline=None)
def test_multiclass_rule_reduces_to_the_binary_one(walk, policy, mode) -> None:
    policy = policy.model_copy(update={"mode": mode, "delta": 0})
    trajectory = integer_confidence(walk_logits(walk, 2))
    x = trajectory.probabilities[:, 0, 0].tolist()
    assert exit_flags(policy, trajectory)[:, 0].tolist() == [binary_rule(policy, x, i) for i in range(len(x))]


@given(walks, st.integers(1, 8))
@settings(max_examples=100, deadline=None)
def test_bias_1_without_margin_is_pabee_ties_apart(walk, window: int) -> None:
    trajectory = integer_confidence(walk_logits(walk, 2))
    bias = exit_flags(FixedExitPolicy(mode="bias_1", window=window), trajectory)[:, 0]
    pabee = exit_flags(FixedExitPolicy(mode="patience", patience=window - 1), trajectory)[:, 0]
    tie = trajectory.lead[:, 0] == 0
    for i in range(len(tie)):
        if not tie[max(0, i + 1 - window) : i + 1].any():
            assert bias[i] == pabee[i]


@given(st.integers(0, 1 << 18), st.integers(0, em.ONE), st.booleans(), st.booleans())
@example(distance=0, delta=45441, raw=True, first_wins=False)  # above ln 2: a tie leaves too
@settings(max_examples=300, deadline=None)
def test_two_class_entropy_is_one_compare(distance: int, delta: int, raw: bool, first_wins: bool) -> None:
    """U < delta is |D| > tau(delta), wherever U is further from delta than its error bound."""
    policy = FixedExitPolicy(mode="entropy_raw" if raw else "entropy", delta=delta)
    logits = torch.tensor([0, -min(distance, em.LOGIT_MAX)])
    logits = logits if first_wins else logits.flip(0)
    exact = Confidence.from_logits(logits.double() / 1024)
    error = em.entropy_raw_error(2) if raw else em.entropy_error(2)
    assume(abs(float(exact.uncertainty(policy.mode)) * em.ONE - delta) > error)
    got = integer_confidence(logits)
    fired = bool(exit_flags(policy, got[None, None])[0, 0])
    nat = abs(int(logits[0] - logits[1])) / 1024
    assert fired == (nat > binary_entropy_threshold(policy))


@given(st.integers(-60000, 60000), st.integers(0, 32768))
@settings(max_examples=300, deadline=None)
def test_two_class_margin_is_one_compare(difference: int, margin: int) -> None:
    """x > 0.5 + m is D > ln((0.5 + m) / (0.5 - m)), wherever x is further from 0.5 + m than its error."""
    policy = FixedExitPolicy(mode="bias_1", window=1, margin=margin)
    exact = 1 / (1 + math.exp(-abs(difference) / 1024)) * em.ONE
    assume(abs(exact - em.ONE / 2 - margin) > em.probability_error(2))
    got = integer_confidence(torch.tensor([difference, 0]))
    fired = bool(exit_flags(policy, got[None, None])[0, 0])
    assert fired == (abs(difference) / 1024 > binary_margin_threshold(policy))


@given(walks, fixed_policies, st.sampled_from(LABELS))
@settings(max_examples=200, deadline=None)
def test_streaming_equals_vectorised(walk, policy, num_labels: int) -> None:
    logits = walk_logits(walk, num_labels)
    float_policy = ExitPolicy(
        mode=policy.mode,
        delta=policy.delta / em.ONE,
        window=policy.window,
        margin=policy.margin / em.ONE,
        range=policy.range / em.ONE,
        patience=policy.patience,
    )
    for chosen, trajectory in (
        (policy, integer_confidence(logits)),
        (float_policy, Confidence.from_logits(logits.double() / 1024)),
        (float_policy, Confidence.from_logits(logits.float() / 1024)),
    ):
        state = ExitState(chosen, 1)
        streamed = [bool(state.step(trajectory[i])) for i in range(len(walk))]
        assert streamed == exit_flags(chosen, trajectory)[:, 0].tolist()


@pytest.mark.parametrize("mode", list(ExitMode))
@pytest.mark.parametrize("num_labels", [2, 3, 8])
def test_batches_that_shrink_leave_at_the_same_iteration(mode: ExitMode, num_labels: int) -> None:
    """A sentence's exit does not depend on its batch: compaction against whole trajectories."""
    generator = torch.Generator().manual_seed(mode)
    steps = torch.randint(-1500, 1500, (12, 300, num_labels), generator=generator)
    trajectory = integer_confidence(steps.cumsum(0))
    policy = ExitPolicy(mode=mode, delta=0.6, window=3, margin=0.1, range=0.1, patience=3).to_fixed()
    expected = exit_iterations(policy, trajectory)
    assert mode == ExitMode.none or len(expected.unique()) >= 4
    state, alive = ExitState(policy, 300), torch.arange(300)
    got = torch.zeros(300, dtype=torch.int64)
    for i in range(12):
        leaves = state.step(trajectory[i, alive], last=i == 11)
        got[alive[leaves]] = i + 1
        state.keep(~leaves)
        alive = alive[~leaves]
    assert torch.equal(got, expected)
    assert not len(alive)


@given(walks, fixed_policies, st.sampled_from([2, 3, 8]))
@settings(max_examples=200, deadline=None)
def test_integer_and_float_agree_away_from_thresholds(walk, policy, num_labels: int) -> None:
    """Where no compared quantity is nearer its threshold than the error bounds, decisions are equal."""
    logits = walk_logits(walk, num_labels)
    got, exact = integer_confidence(logits), Confidence.from_logits(logits.double() / 1024)
    p_error = em.probability_error(num_labels)
    u_error = em.entropy_raw_error(num_labels) if policy.mode == ExitMode.entropy_raw else 0
    u_error = u_error or em.entropy_error(num_labels)
    top, lead = exact.confidence[:, 0] * em.ONE, exact.lead[:, 0] * em.ONE
    pairs = (top.unsqueeze(0) - top.unsqueeze(1)).abs()
    pairs = pairs[~torch.eye(len(top), dtype=torch.bool)]
    uncertainty = exact.uncertainty(policy.mode)[:, 0] * em.ONE
    near = bool(((uncertainty - policy.delta).abs() <= u_error).any())
    near |= bool(((lead - 2 * policy.margin).abs() <= 2 * p_error).any())
    near |= policy.mode == ExitMode.bias_2 and bool((pairs <= 2 * p_error).any())
    near |= policy.mode == ExitMode.bias_3 and bool(((pairs - policy.range).abs() <= 2 * p_error).any())
    assume(not near)
    float_policy = ExitPolicy.model_construct(
        mode=policy.mode,
        window=policy.window,
        patience=policy.patience,
        delta=policy.delta / em.ONE,
        margin=policy.margin / em.ONE,
        range=policy.range / em.ONE,
    )
    assert torch.equal(exit_flags(policy, got), exit_flags(float_policy, exact))


def test_quantise_logits_rounds_and_saturates() -> None:
    got = quantise_logits(torch.tensor([0.0, 1.0, -1.0, 0.5 / 1024, -0.5 / 1024, 1e9, -1e9]))
    assert got.tolist() == [0, 1024, -1024, 1, 0, em.LOGIT_MAX, em.LOGIT_MIN]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_is_bit_identical() -> None:
    for num_labels in LABELS:
        logits = logit_cases(num_labels)
        cpu, gpu = integer_confidence(logits), integer_confidence(logits.cuda())
        assert torch.equal(cpu.probabilities, gpu.probabilities.cpu())
        assert torch.equal(cpu.entropy, gpu.entropy.cpu())
        assert torch.equal(cpu.label, gpu.label.cpu())


@pytest.mark.parametrize("integer", [False, True])
@pytest.mark.parametrize("mode", list(ExitMode))
def test_what_never_fires_lets_not_even_the_surest_sentence_go(mode: ExitMode, integer: bool) -> None:
    certain = Confidence.from_probabilities(torch.tensor([1.0, 0.0], dtype=torch.float64).expand(13, 1, 2))
    if integer:
        certain = integer_confidence(torch.tensor([em.LOGIT_MAX, em.LOGIT_MIN]).expand(13, 1, 2))
    said = 0
    for iterations, length, margin, delta in itertools.product(
        (1, 2, 5, 12, 13), (1, 2, 5, 12, 13, 16), (0.0, 0.49, 0.5), (0.0, 0.1)
    ):
        policy = ExitPolicy(mode=mode, window=length, patience=length - 1, margin=margin, delta=delta)
        applied = policy.to_fixed() if integer else policy
        hint = never_fires(applied, iterations)
        if mode == ExitMode.none:
            assert hint is None
            continue
        # stage 1 may still fire beside a window that cannot
        alone = applied.model_copy(update={"delta": 0}) if hint and "only delta" in hint else applied
        early = int(exit_iterations(alone, certain[:iterations])[0]) < iterations
        assert early == (hint is None), (applied, iterations, hint)
        said += hint is not None
    assert said > 0 or mode == ExitMode.none


@pytest.mark.parametrize(
    ("policy", "hint"),
    [
        ({"mode": "bias_1", "window": 13, "delta": 0.1}, "window 13 is not shorter than the model's 12"),
        ({"mode": "bias_2", "window": 3, "margin": 0.5, "delta": 0.1}, "only delta can let a sentence go"),
        ({"mode": "bias_3", "window": 3, "margin": 0.5}, "twice the margin 0.5; and delta 0 switches"),
        ({"mode": "patience", "patience": 12}, "patience 12 never fires early: it wants 13 iterations"),
        ({"mode": "entropy"}, "entropy never fires: no entropy is below delta 0"),
    ],
)
def test_hints_name_value_and_bound(policy: dict, hint: str) -> None:
    found = never_fires(ExitPolicy.model_validate(policy), 12)
    assert found is not None
    assert hint in found
    assert "\n" not in found
