"""Latencies of a machine's parts, read from the parts."""

from __future__ import annotations

from dataclasses import dataclass

from hw.engine.engine import OPERAND_STAGES, Engine
from hw.params import Machine
from hw.unelaborated import unelaborated
from hw.units.softmax import Softmax


@dataclass(frozen=True)
class Latencies:
    """Cycles between events of the engine.

    Attributes:
        drain: From the decision of a tile's last step to its first column in the drain buffer: the step's
            register, operands, array.
        score: From a column in the drain buffer to its scores at the softmax.
        residual: Likewise, to the write of its residual sum.
        residual_read: To the read of the residual, in whose cycle LayerNorm pauses.
        idle: From a column in the drain buffer to the first cycle in which nothing of it is on its way.
        softmax_pass: From the start of a row block's second pass to its last cycle, less a cycle per key.
        softmax_divide: From that to the row scales, and least distance between two such.
        norm_first_read: From LayerNorm's start of a block to the first read of its pass.
        norm_write: From a read of the pass to its write.
        norm_each: Cycles per feature of the pass.
        exit: From the exit unit's start to its end.
    """

    drain: int
    score: int
    residual: int
    residual_read: int
    idle: int
    softmax_pass: int
    softmax_divide: int
    norm_first_read: int
    norm_write: int
    norm_each: int
    exit: int


def latencies_of(machine: Machine) -> Latencies:
    """The latencies of ``machine``."""
    return _latencies(unelaborated(Engine(machine)))


def _latencies(engine: Engine) -> Latencies:
    vector, norm = engine.vector_path, engine.layernorm
    return Latencies(
        drain=1 + OPERAND_STAGES + engine.array.latency,
        score=vector.score_latency,
        residual=vector.residual_latency,
        residual_read=vector.residual_read_latency,
        idle=vector.idle_latency + 1,  # the engine's register
        softmax_pass=Softmax.PASS_OVERHEAD,
        softmax_divide=Softmax.DIVIDE_CYCLES,
        norm_first_read=norm.first_read_latency,
        norm_write=norm.read_to_write_latency,
        norm_each=norm.cycles_per_feature,
        exit=engine.exit_unit.latency,
    )
