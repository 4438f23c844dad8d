"""The sentences with which a simulated machine reaches the ends of its numbers, all in one run."""

from __future__ import annotations

from golden_model.config import ElbertConfig
from golden_model.exits import ExitMode, FixedExitPolicy
from golden_model.integer.rails import RAILS, rail_checkpoint, rail_sentences
from golden_model.numerics import ONE
from sim.machine import Job

POLICIES = (
    FixedExitPolicy(mode=ExitMode.entropy, delta=ONE),
    FixedExitPolicy(mode=ExitMode.entropy_raw, delta=ONE),
    FixedExitPolicy(mode=ExitMode.patience, patience=1),
    FixedExitPolicy(mode=ExitMode.bias_1, window=1, margin=0),
    FixedExitPolicy(mode=ExitMode.bias_2, window=2, margin=0),
    FixedExitPolicy(mode=ExitMode.bias_3, window=2, margin=0, range=0),
)
"""With thresholds at the values that ties and saturated logits give: < and <= differ there."""
DECIDING = ("logits", "ties")
"""Rails whose sentences run once more under every policy."""


def rail_jobs(config: ElbertConfig, seed: int) -> list[Job]:
    """Every rail's sentences without exit; of :data:`DECIDING`, the longest under every policy too."""
    jobs = []
    sentences = rail_sentences(config, seed)
    for name, rail in RAILS.items():
        checkpoint = rail_checkpoint(rail, config, seed)
        jobs += [Job(sentence, checkpoint=checkpoint) for sentence in sentences]
        if name in DECIDING:
            jobs += [Job(sentences[-1], policy, checkpoint) for policy in POLICIES]
    return jobs
