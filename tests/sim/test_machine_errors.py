"""Errors, aborts and resets of the whole machine, on memories of several latencies and with stalls."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from golden_model.config import ElbertConfig
from golden_model.exits import ExitMode
from golden_model.integer.checkpoint import IntegerCheckpoint
from golden_model.integer.model import GoldenModel
from golden_model.integer.synthetic import random_checkpoint, random_sentence
from hw.image import build_image
from hw.params import Machine
from sim.build import BuildOptions
from sim.driver import policy_settings
from sim.machine import NO_EXIT, accelerator_system, image_settings, memory_size
from sim.run import BenchResult, run_bench

SMALL = ElbertConfig(
    vocab_size=40,
    embedding_size=8,
    hidden_size=16,
    num_attention_heads=2,
    intermediate_size=32,
    num_hidden_layers=2,
    max_position_embeddings=12,
    num_labels=3,
)
MACHINE = Machine(model=SMALL, rows=2, columns=8, trace=True)
WATCHDOG = 60_000


@pytest.fixture(scope="module")
def checkpoint() -> IntegerCheckpoint:
    return random_checkpoint(SMALL, seed=4)


def run(
    checkpoint: IntegerCheckpoint,
    folder: Path,
    *,
    latency: int,
    stall_mode: int,
    tests: str | None = None,
    abort_step: int = 1,
) -> BenchResult:
    """The bench on MACHINE with a good sentence of three tokens."""
    good = random_sentence(SMALL, 3, torch.Generator().manual_seed(1))
    bad_id = ([*good[0][:2], SMALL.vocab_size], good[1])
    bad_type = (good[0], [*good[1][:2], SMALL.type_vocab_size])
    image = build_image(checkpoint, MACHINE, [good, bad_id, bad_type])
    [golden] = GoldenModel(checkpoint).run([good], NO_EXIT)
    (folder / "image.bin").write_bytes(image.contents)
    bases = image_settings(image, 0)
    askew = [({name: base + offset}, "ALIGNMENT") for name, base in bases.items() for offset in (1, 4)]
    return run_bench(
        sources=accelerator_system(MACHINE, memory_size(image)),
        top="system",
        test_module="sim.benches.machine_errors_bench",
        test_args={
            "good": {
                "LENGTH": len(good[0]),
                "ITERATIONS": SMALL.num_hidden_layers,
                **policy_settings(NO_EXIT),
                **bases,
                "WATCHDOG": WATCHDOG,
            },
            "expected": {
                "label": golden.label,
                "exit_iteration": golden.exit_iteration,
                "logits": golden.logits[-1].tolist(),
                "probabilities": golden.probabilities[-1].tolist(),
            },
            "illegal": [
                ({"LENGTH": 0}, "LENGTH"),
                ({"LENGTH": SMALL.max_position_embeddings + 1}, "LENGTH"),
                ({"LENGTH": 1 << 20}, "LENGTH"),
                ({"POLICY": 7}, "MODE"),
                ({"ITERATIONS": 0}, "ITERATIONS"),
                ({"ITERATIONS": SMALL.num_hidden_layers + 1}, "ITERATIONS"),
                ({"POLICY": int(ExitMode.bias_1), "WINDOW": 0}, "WINDOW"),
                ({"POLICY": int(ExitMode.bias_3), "WINDOW": 17}, "WINDOW"),
                *askew,
            ],
            "bad_tokens": list(image.tokens[1:]),
            "regions": [
                ("tokens", image.tokens[0], 16),
                ("positions", image.position, 32),
                ("projection", image.embedding_layer, 64),
                ("layer, late", image.layer + 512, 256),
                ("parameters", image.parameters, 128),
                ("parameters, iteration 2", image.parameters + 3072, 1024),
            ],
            "stall_mode": stall_mode,
            "abort_step": abort_step,
        },
        plusargs=[f"+axi_image={folder / 'image.bin'}", f"+axi_latency={latency}"],
        test_filter=tests,
        seed=3,
        build_options=BuildOptions(optimize=0),  # a short run: the compiler's time counts
        timeout_s=1200,
        waves_on_failure=False,
    )


@pytest.mark.parametrize(
    ("latency", "stall_mode"),
    [pytest.param(1, 0, marks=pytest.mark.slow), pytest.param(20, 1, marks=pytest.mark.slow), (100, 2)],
)
def test_errors_end_in_codes_and_the_next_sentence_is_right(
    checkpoint: IntegerCheckpoint, tmp_path: Path, latency: int, stall_mode: int
) -> None:
    result = run(checkpoint, tmp_path, latency=latency, stall_mode=stall_mode, abort_step=61)
    assert len(result.tests) == 7
    assert result.metrics["aborts"] > 20


@pytest.mark.slow
@pytest.mark.parametrize(("latency", "stall_mode"), [(8, 0), (30, 3)])
def test_abort_at_every_cycle(
    checkpoint: IntegerCheckpoint, tmp_path: Path, latency: int, stall_mode: int
) -> None:
    result = run(checkpoint, tmp_path, latency=latency, stall_mode=stall_mode, tests="abort_at_every_cycle")
    assert result.metrics["aborts"] == result.metrics["cycles"] - 1
