"""How long a sentence may take at most: the default of a simulation's watchdog."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

from hw.arith.widths import ceil_div
from hw.bus.registers.model import REGISTERS
from hw.cycles.memory import MemoryTiming
from hw.engine.program import Descriptor, build_program, fetch_items
from hw.params import Machine

MARGIN = 2
STALLED = 4
"""Every stall mode of the simulated memory holds each channel up half the time."""
STEP = 128
"""Cycles of control, pipeline and division around a tile, a row of LayerNorm or softmax, a read."""
NEVER = 0
"""WATCHDOG's value for no limit."""


def _matmuls(machine: Machine, d: Descriptor) -> int:
    """Cycles of a descriptor's tiles, one after the other, for the longest sentence."""
    model, blocks = machine.model, machine.token_blocks
    if not d.attention:
        return d.tiles * d.chunks * blocks * (d.depth + machine.columns + STEP)
    scores = machine.word_blocks * (model.head_dim + machine.columns + STEP)
    length = model.max_position_embeddings
    context = (model.head_dim // machine.columns) * (length + machine.columns + STEP)
    softmax = length + machine.rows * STEP
    return model.num_attention_heads * blocks * (scores + context + softmax)


def _reads(machine: Machine, memory: MemoryTiming, sizes: list[int]) -> int:
    """Cycles of linear reads of these bytes, one after the other."""
    beat = machine.columns
    rate = None if memory.bandwidth is None else min(memory.bandwidth, Fraction(beat))
    cycles = 0
    for size in sizes:
        bursts = ceil_div(size, 64 * beat) + 1
        streamed = size if rate is None else ceil(size / rate) * beat
        cycles += bursts * (memory.latency + STEP) + ceil_div(streamed, beat)
    return cycles


def longest_sentence(machine: Machine, memory: MemoryTiming, *, stalled: bool = False) -> int:
    """Cycles that no sentence of ``machine`` takes: as if nothing overlapped anything, and twice that.

    Args:
        memory: its latency and bandwidth.
        stalled: the memory pauses at random.
    """
    model, program = machine.model, build_program(machine)
    length = model.max_position_embeddings

    def run(bounds: tuple[int, int]) -> int:
        sizes = [item.bytes for item in fetch_items(program, bounds, machine)]
        descriptors = program.descriptors[bounds[0] : bounds[1] + 1]
        return sum(_matmuls(machine, d) for d in descriptors) + reads(sizes)

    def reads(sizes: list[int]) -> int:
        return _reads(machine, memory, sizes) * (STALLED if stalled else 1)

    lanes = machine.rows // machine.normalize_lanes
    norm = length * STEP + machine.token_blocks * (2 * model.hidden_size * lanes + STEP)
    row = model.embedding_size
    embedding = reads([4 * length, *[row, 2 * row] * length]) + length * (row + STEP)
    iteration = run(program.layer) + 2 * norm + 16 * STEP  # the exit unit's
    once = run(program.norm) + embedding + norm + run(program.projection)
    return MARGIN * (once + model.num_hidden_layers * iteration)


def default_watchdog(machine: Machine, memory: MemoryTiming, stall_mode: int = 0) -> int:
    """WATCHDOG's value: :func:`longest_sentence`, or NEVER where the register cannot hold that."""
    cycles = longest_sentence(machine, memory, stalled=stall_mode != 0)
    return cycles if cycles <= REGISTERS["WATCHDOG"].fields[0].mask else NEVER
