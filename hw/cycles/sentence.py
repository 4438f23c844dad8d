"""A sentence's cycles."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from hw.arith.widths import ceil_div
from hw.cycles.embedding import embedding
from hw.cycles.fetch import Fetch
from hw.cycles.latencies import Latencies, latencies_of
from hw.cycles.memory import MemoryTiming
from hw.cycles.schedule import Now, run
from hw.engine.program import build_program, fetch_items
from hw.params import Machine
from hw.units.embedding import TOKEN_BYTES

EMBEDDING, EXIT = "embedding", "exit"
"""Beside the descriptors' names."""


@dataclass(frozen=True)
class Prediction:
    """A sentence's cycles, as the CYCLES register would count them.

    Attributes:
        cycles: All of them.
        parts: In the order of time: descriptor (or ``embedding``, ``exit``) and its cycles, which begin when
            the sequencer has its first tile.
        spent: By the hardware's counters, and ``control`` for the cycle of the start.
        exits: The sentence's cycles if it leaves after iteration 1, 2, …; the last are ``cycles``.
    """

    cycles: int
    parts: tuple[tuple[str, int], ...]
    spent: dict[str, int]
    exits: tuple[int, ...]

    def cycles_after(self, iteration: int) -> int:
        """The cycles of a sentence that leaves after ``iteration``.

        Beyond those that were computed, every further one takes what the last did: from the second on
        iterations differ by where their parameters lie in 4 KB, no more.
        """
        known = len(self.exits)
        if iteration <= known:
            return self.exits[iteration - 1]
        if known < 2:
            raise ValueError(f"iteration {iteration} cannot be told from {known} alone")
        return self.exits[-1] + (iteration - known) * (self.exits[-1] - self.exits[-2])


@lru_cache(maxsize=64)
def _latencies(machine: Machine) -> Latencies:
    return latencies_of(machine)


def predict(machine: Machine, length: int, memory: MemoryTiming, iterations: int | None = None) -> Prediction:
    """The cycles of a sentence that leaves after ``iterations`` (None: all).

    Args:
        machine: Geometry, array, technology.
        length: Tokens.
        memory: Latency and bandwidth.
        iterations: That are computed.

    Raises:
        ValueError: length or iterations are none of the machine's.
    """
    model = machine.model
    if not 1 <= length <= model.max_position_embeddings:
        raise ValueError(
            f"length {length} is outside 1..{model.max_position_embeddings}, the longest sentence"
        )
    iterations = model.num_hidden_layers if iterations is None else iterations
    if not 1 <= iterations <= model.num_hidden_layers:
        raise ValueError(f"iterations {iterations} is outside 1..{model.num_hidden_layers}")
    latencies = _latencies(machine.model_copy(update={"trace": False}))
    program = build_program(machine)

    def descriptors(bounds: tuple[int, int]):  # type: ignore[no-untyped-def]
        return program.descriptors[bounds[0] : bounds[1] + 1]

    # The image's regions begin at multiples of 4 KB, and of an address only its place in 4 KB matters.
    fetch = Fetch(machine, memory, parameters=0)
    now = Now(machine, latencies, length, fetch)
    now.begun.append((EMBEDDING, 0))
    now.pass_to(1, "control")  # the start's cycle, which no counter sees
    now.pass_to(2, "fill")
    run(now, descriptors(program.norm), 0)
    now.pass_to(embedding(fetch.reads, machine, latencies, length, now.cycle) + 1, "fill")
    now.pass_to(now.cycle + 1, "fill")  # the projection's start
    run(now, descriptors(program.projection), 0)
    exits: list[int] = []
    for _ in range(iterations):
        now.pass_to(now.cycle + 1, "fill")  # the iteration's start
        run(now, descriptors(program.layer), 0)
        now.begun.append((EXIT, now.cycle))
        now.pass_to(now.cycle + 1 + latencies.exit, "exit")
        exits.append(now.cycle + 1)  # the end
    now.pass_to(now.cycle + 1, "fill")
    ends = [cycle for _, cycle in now.begun[1:]] + [now.cycle]
    parts = tuple((name, end - cycle) for (name, cycle), end in zip(now.begun, ends, strict=True))
    return Prediction(now.cycle, parts, dict(now.spent), tuple(exits))


def bytes_read(machine: Machine, length: int, iterations: int) -> int:
    """What a sentence reads over the bus: tokens in whole beats, embedding rows, parameters, weights."""
    program = build_program(machine)
    beat = machine.axi_bits // 8
    rows = length * 3 * machine.model.embedding_size  # int8 words, int16 positions

    def stream(bounds: tuple[int, int]) -> int:
        return sum(item.bytes for item in fetch_items(program, bounds, machine))

    once = stream(program.norm) + stream(program.projection)
    return ceil_div(length * TOKEN_BYTES, beat) * beat + rows + once + iterations * stream(program.layer)
