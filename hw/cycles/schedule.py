"""The schedule's cycles, one function per kind of descriptor.

Nothing is simulated: each function follows its loop nest tile by tile, and knows of a tile when its first
step could come (weights, softmax), when its last (drain buffer), and what its columns start behind it
(vector path, softmax, LayerNorm). Times are cycles since the sentence's start; a step's is that of the
sequencer's decision.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hw.arith.widths import ceil_div
from hw.cycles.fetch import Fetch
from hw.cycles.latencies import Latencies
from hw.engine.program import Descriptor, Post
from hw.params import Machine

START_TO_TILE = 3
"""Cycles from the one after a run's start to its first tile: descriptor, loop nest, two registers."""


@dataclass
class Now:
    """Where a sentence is: what has been decided, and what is still on its way.

    Attributes:
        machine, latencies, length: What runs.
        fetch: The weight and parameter streams.
        cycle: The sequencer's next decision.
        may_close: First cycle in which a tile may close: the drain buffer is empty behind it.
        vector_idle: First cycle in which no column is on its way to a memory.
        norm_busy, norm_idle: LayerNorm works from the one to before the other.
        spent: Cycles by the hardware's counters.
    """

    machine: Machine
    latencies: Latencies
    length: int
    fetch: Fetch
    cycle: int = 0
    may_close: int = 0
    vector_idle: int = 0
    norm_busy: int = 0
    norm_idle: int = 0
    spent: Counter[str] = field(default_factory=Counter)
    loaded: int = 0
    """The tile to come was there from this cycle on."""
    begun: list[tuple[str, int]] = field(default_factory=list)
    """Descriptors, and the cycle from which the counters count for each."""

    def pass_to(self, cycle: int, reason: str) -> None:
        """Goes on to ``cycle``, if that is later; the cycles between are ``reason``'s."""
        if cycle > self.cycle:
            self.spent[reason] += cycle - self.cycle
            self.cycle = cycle

    def steps(self, depth: int, columns: int, preload: int = 0) -> int:
        """A tile of ``depth`` steps; its last may have to wait until the drain buffer is empty.

        Returns:
            The cycle of its first column at the vector path, after ``preload`` cycles of row parameters.
        """
        begin = self.cycle
        self.pass_to(begin + depth - 1, "active")
        self.pass_to(self.may_close, "drain")
        close = self.cycle
        self.pass_to(close + 1, "active")
        # the buffer drains a column a cycle, the first with the vector path's first look at the tile
        self.may_close = close + columns + preload
        first = close + self.latencies.drain + preload
        self.vector_idle = first + columns - 1 + self.latencies.idle
        # the register beside the running tile takes a tile every second cycle: felt by tiles of one step
        self.pass_to(self.loaded + 2, "fill")
        self.loaded = self.cycle
        return first

    @property
    def blocks(self) -> int:
        """Token blocks of P rows."""
        return ceil_div(self.length, self.machine.rows)

    @property
    def words(self) -> int:
        """Token blocks of Q tokens."""
        return ceil_div(self.length, self.machine.columns)


def wait(now: Now, ready: int = 0) -> None:
    """The descriptor's first tile waits until all is in memory and for ``ready``."""
    quiet = max(now.vector_idle, now.norm_idle)
    if now.norm_idle > now.cycle:  # until its first request LayerNorm waits for the vector path
        now.pass_to(min(now.norm_busy, quiet), "drain")
        now.pass_to(now.norm_idle, "layernorm")
    now.pass_to(quiet, "drain")
    # It is looked at from the tile's second cycle on; the cycle that sees it counts as a wait for weights,
    # like those until ``ready``.
    now.pass_to(max(now.cycle, now.loaded + 1, ready) + 1, "weights")


def weight_matmul(now: Now, descriptor: Descriptor) -> None:
    """Weight tiles, each for all token blocks; a tile's first step waits for its weights.

    A tile of a plain matmul serves blocks of P tokens. Swapped, tokens are the columns and a tile's Q
    features the rows, P at a time: Q/P groups for every Q tokens, and their requantisation parameters are
    loaded before the columns.
    """
    machine = now.machine
    q = machine.columns
    norms = LayerNorms(now) if descriptor.post is Post.RESIDUAL else None
    for tile in range(descriptor.tiles):
        for chunk in range(descriptor.chunks):
            now.pass_to(now.fetch.weights(descriptor, chunk), "weights")
            if descriptor.swapped:
                for word in range(now.words):
                    for _ in range(machine.groups):
                        now.steps(descriptor.depth, min(q, now.length - word * q), machine.rows)
            else:
                for _ in range(1 if descriptor.first_block else now.blocks):
                    column = now.steps(descriptor.depth, q)
                    if norms and tile == descriptor.tiles - 1 and chunk == descriptor.chunks - 1:
                        norms.block_drains(column)
            now.fetch.release(now.cycle - 1)
    if norms:
        norms.finish(machine.model.hidden_size)


def attention(now: Now) -> None:
    """Scores of a row block, then the context of the one before; its softmax hides behind both.

    A score tile (a head's features deep) gives Q keys' columns, a context tile (tokens deep) Q features.
    """
    machine, latencies = now.machine, now.latencies
    model, q = machine.model, machine.columns
    total = model.num_attention_heads * now.blocks
    ready: list[int] = []
    pass_ends = row_scales = 0

    def scores() -> None:
        nonlocal pass_ends, row_scales
        for word in range(now.words):
            keys = min(q, now.length - word * q)
            column = now.steps(model.head_dim, keys)
        # the last column's write, a pulse, a request, a start
        begin = max(column + keys - 1 + latencies.score + 2, pass_ends + 1)
        # the rows' sums go to the dividers, which may still work for the block before
        pass_ends = max(begin + now.length + latencies.softmax_pass, row_scales + 1)
        row_scales = pass_ends + latencies.softmax_divide
        ready.append(row_scales + 2)

    def context(number: int) -> None:
        now.pass_to(ready[number], "softmax")
        for _ in range(model.head_dim // q):
            now.steps(now.length, q)

    scores()
    for number in range(1, total):
        scores()
        context(number - 1)
    context(total - 1)


class LayerNorms:
    """The LayerNorms of a residual matmul's token blocks, in the order in which their last columns come.

    A block's rows are finished one by one; then a pass reads its features, pausing where the array's drain
    reads residuals, and writes them. The finisher of a block works under the pass of the one before.
    """

    def __init__(self, now: Now) -> None:
        self.now = now
        self.requests: list[int] = []
        self.pauses: list[tuple[int, int]] = []

    def block_drains(self, column: int) -> None:
        """The block's last tile has its first column at the vector path in cycle ``column``."""
        latencies, q = self.now.latencies, self.now.machine.columns
        self.pauses.append((column + latencies.residual_read, column + latencies.residual_read + q))
        # the request follows the last column's write
        self.requests.append(column + q - 1 + latencies.residual + 1)

    def finish(self, features: int) -> None:
        """All blocks are requested; sets when LayerNorm is busy."""
        now, latencies = self.now, self.now.latencies
        free = accepts = 0
        for request in self.requests:
            begin = max(request + 1, accepts)
            # the pass begins in the cycle before its first read, and not before the last one's end
            passing = max(begin + latencies.norm_first_read - 1, free)
            accepts = passing + 1
            written = self._last_read(passing + 1, features) + latencies.norm_write
            free = written + 1
        # known a cycle late
        now.norm_busy, now.norm_idle = self.requests[0] + 1, free + 2

    def _last_read(self, cycle: int, features: int) -> int:
        """Cycle of the last of ``features`` reads of which the first may come in ``cycle``."""
        each = self.now.latencies.norm_each
        for begin, end in self.pauses:
            before = max(0, ceil_div(begin - cycle, each))
            if before >= features:
                break
            features -= before
            cycle += before * each
            if cycle < end:
                cycle = end
        return cycle + (features - 1) * each


def run(now: Now, descriptors: tuple[Descriptor, ...], weights: int) -> None:
    """A run of descriptors; the weights begin at address ``weights``.

    ``now`` comes in the cycle after the run's start and leaves in the one after the control has seen that
    all is quiet.
    """
    now.fetch.start(now.cycle - 1, weights)
    now.pass_to(now.cycle + START_TO_TILE, "fill")
    now.loaded = now.cycle
    for descriptor in descriptors:
        parameters = now.fetch.descriptor(descriptor)
        if descriptor.attention or descriptor.tiles:
            now.begun.append((descriptor.name, now.cycle + 1))  # the state comes out of a register
        if descriptor.wait:
            wait(now, parameters + 1 if descriptor.attention else 0)
        if descriptor.attention:
            attention(now)
        elif descriptor.tiles:
            weight_matmul(now, descriptor)
    quiet = max(now.cycle, now.fetch.idle, now.vector_idle, now.norm_idle)
    now.pass_to(quiet + 1, "fill")
