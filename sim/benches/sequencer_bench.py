"""Sequencer against a plain loop nest: every step and every tile, in order, with every wait respected.

Arguments (``bench_args``): machine (`hw.params.Machine` as JSON), lengths. The bench plays fetcher, array,
softmax and LayerNorm: weight tiles become available when they like, results stay on their way for a random
time. Reported: steps and tiles checked, cycles by what the array did.
"""

from __future__ import annotations

import enum
import random
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cocotb
from amaranth.lib import data
from cocotb.triggers import RisingEdge

from hw.arith.widths import ceil_div
from hw.engine.program import HEADER_SLOTS, Descriptor, Operand, Post, build_program
from hw.engine.tile import ArrayState, ColumnSource, RowSource, step_layout, tile_layout
from hw.params import Machine
from sim.agents import clock
from sim.run import bench_args, report

BANKS = 2
NEVER = 1 << 30
SETTLED = 2
"""Cycles from a closing step until ``quiet`` has to show it."""


class Fields:
    """Values and masks of a packed struct: what is not given does not matter."""

    def __init__(self, layout: data.StructLayout) -> None:
        self.places = {name: (field.offset, field.width) for name, field in layout}

    def pack(self, **values: int | enum.Enum) -> tuple[int, int]:
        """(value, mask)."""
        value = mask = 0
        for name, given in values.items():
            number = given.value if isinstance(given, enum.Enum) else given
            offset, width = self.places[name]
            assert 0 <= number < 1 << width, f"{name} {number} has no room in {width} bits"
            value |= number << offset
            mask |= ((1 << width) - 1) << offset
        return value, mask

    def unpack(self, value: int, mask: int) -> dict[str, int]:
        """The fields within ``mask``."""
        return {
            name: (value >> offset) & ((1 << width) - 1)
            for name, (offset, width) in self.places.items()
            if (mask >> offset) & 1
        }


@dataclass(frozen=True)
class Tile:
    """One tile of the loop nest.

    Attributes:
        steps: (value, mask) of each step.
        tile: (value, mask) of its destination.
        drain: columns that leave the drain buffer behind it, after the first.
        weights: number of the weight tile it reads, or None. last_use: nobody reads that one again.
        quiet: all earlier results have to be in memory. attention: and the attention's parameters.
        scores, context: number of the row block whose last scores these are, whose exponentials it reads.
    """

    steps: list[tuple[int, int]]
    tile: tuple[int, int]
    drain: int
    weights: int | None = None
    last_use: bool = False
    quiet: bool = False
    attention: bool = False
    scores: int | None = None
    context: int | None = None


class LoopNest:
    """The definition: descriptors, weight tiles, chunks, token blocks, k; in attention heads, row blocks."""

    def __init__(self, machine: Machine, length: int) -> None:
        self.machine, self.length = machine, length
        self.step, self.destination = Fields(step_layout(machine)), Fields(tile_layout(machine))
        self.row_blocks = ceil_div(length, machine.rows)
        self.weight_tiles = self.headers = 0

    def base(self, block: int, features: int) -> int:
        """Address of a token block's first feature in a memory of so many features."""
        return block // self.machine.groups * features

    def run(self, bounds: tuple[int, int]) -> Iterator[Tile]:
        """All tiles of a run."""
        for d in build_program(self.machine).descriptors[bounds[0] : bounds[1] + 1]:
            tiles = self.attention() if d.attention else self.weights(d)
            for i, tile in enumerate(tiles):
                first = i == 0
                yield Tile(
                    **{
                        **vars(tile),
                        "quiet": first and d.wait,
                        "attention": first and d.attention,
                    }
                )

    def weights(self, d: Descriptor) -> Iterator[Tile]:
        """For each weight tile, for each chunk of it, for each token block."""
        m = self.machine
        for tile in range(d.tiles):
            for chunk in range(d.chunks):
                if d.first_block:
                    blocks = [0]
                elif d.swapped:  # all features of each word of tokens
                    blocks = list(range(ceil_div(self.length, m.columns) * m.groups))
                else:
                    blocks = list(range(self.row_blocks))
                for block in blocks:
                    yield self.weight_tile(d, tile, chunk, block, last_use=block == blocks[-1])
                self.weight_tiles += 1
            self.headers += 1

    def weight_tile(self, d: Descriptor, tile: int, chunk: int, block: int, *, last_use: bool) -> Tile:
        """Steps and destination of one weight tile against one token block."""
        m = self.machine
        p, q, model = m.rows, m.columns, m.model
        group, word = block % m.groups, block // m.groups
        hidden = d.source == Operand.HIDDEN
        source = self.base(block, model.hidden_size if hidden else m.activation_stride)
        if d.swapped:
            row, column = RowSource.WEIGHTS, ColumnSource.HIDDEN
        else:
            row, column = RowSource.HIDDEN if hidden else RowSource.ACTIVATION, ColumnSource.WEIGHTS
        steps = [
            self.step.pack(
                valid=1,
                first=int(k == 0),
                last=int(k == d.depth - 1),
                row=row,
                column=column,
                address=source + d.source_offset + chunk * d.depth + k,
                group=group,
                bank=self.weight_tiles % BANKS,
                index=k,
            )
            for k in range(d.depth)
        ]
        feature = d.target_offset + tile * q
        columns = min(q, self.length - word * q) if d.swapped else q
        if d.post == Post.VALUE:
            address = tile * model.max_position_embeddings + word * q
        elif d.post in (Post.QUERY, Post.TABLE):
            address = self.base(block, m.activation_stride) + feature
        else:
            address = self.base(block, model.hidden_size) + feature
        destination = self.destination.pack(
            post=d.post,
            columns=columns,
            address=address,
            group=group,
            block=block,
            feature=word * q if d.swapped else feature,
            slot=self.headers % HEADER_SLOTS,
            psum_first=int(chunk == 0),
            psum_last=int(chunk == d.chunks - 1),
            block_first=int(tile == 0),
            block_last=int(tile == d.tiles - 1),
        )
        return Tile(
            steps,
            destination,
            drain=columns - 1 + (p if d.swapped else 0),
            weights=self.weight_tiles,
            last_use=last_use,
        )

    def attention(self) -> Iterator[Tile]:
        """Scores one row block ahead of context: the softmax of one hides behind the scores of the next."""
        heads = self.machine.model.num_attention_heads
        blocks = [(head, block) for head in range(heads) for block in range(self.row_blocks)]
        for turn in range(len(blocks) + 1):
            if turn < len(blocks):
                yield from self.scores(turn, *blocks[turn])
            if turn > 0:
                yield from self.context(turn - 1, *blocks[turn - 1])

    def scores(self, number: int, head: int, block: int) -> Iterator[Tile]:
        """One row block's queries against all keys."""
        m = self.machine
        q, model = m.columns, m.model
        key_blocks = ceil_div(self.length, q)
        offset = head * model.head_dim
        for keys in range(key_blocks):
            steps = [
                self.step.pack(
                    valid=1,
                    first=int(k == 0),
                    last=int(k == model.head_dim - 1),
                    row=RowSource.ACTIVATION,
                    column=ColumnSource.KEY,
                    address=self.base(block, m.activation_stride) + offset + k,
                    group=block % m.groups,
                    key_address=keys * model.hidden_size + offset + k,
                )
                for k in range(model.head_dim)
            ]
            columns = min(q, self.length - keys * q)
            destination = self.destination.pack(
                post=Post.SCORES,
                columns=columns,
                address=keys * q,
                block=block,
                feature=keys * q,
                psum_first=1,
                psum_last=1,
                block_first=int(keys == 0),
                block_last=int(keys == key_blocks - 1),
                parity=number % 2,
                head=head,
            )
            last = number if keys == key_blocks - 1 else None
            yield Tile(steps, destination, drain=columns - 1, scores=last)

    def context(self, number: int, head: int, block: int) -> Iterator[Tile]:
        """One row block's exponentials against the head's values, Q features at a time."""
        m = self.machine
        q, model = m.columns, m.model
        for part in range(model.head_dim // q):
            feature = head * model.head_dim + part * q
            value_row = feature // q * model.max_position_embeddings
            steps = [
                self.step.pack(
                    valid=1,
                    first=int(k == 0),
                    last=int(k == self.length - 1),
                    row=RowSource.EXPONENTIALS,
                    column=ColumnSource.VALUE,
                    index=k,
                    value_address=value_row + k,
                    parity=number % 2,
                    trace=int(part == 0),
                    head=head,
                    block=block,
                )
                for k in range(self.length)
            ]
            destination = self.destination.pack(
                post=Post.CONTEXT,
                columns=q,
                group=block % m.groups,
                block=block,
                feature=feature,
                address=self.base(block, m.activation_stride) + model.hidden_size + feature,
                psum_first=1,
                psum_last=1,
                parity=number % 2,
            )
            yield Tile(steps, destination, drain=q - 1, context=number)


@dataclass
class Weather:
    """How the neighbours behave: probability that a weight tile arrives in a cycle, longest delays."""

    arrival: float = 1.0
    flight: int = 1
    """Cycles a closed tile's results are on their way, at most."""
    softmax: int = 1
    layernorm: float = 0.0
    """Probability that LayerNorm begins to work behind a tile."""


CALM = Weather()
STORMS = (
    Weather(arrival=0.02, flight=5, softmax=3, layernorm=0.1),
    Weather(arrival=0.3, flight=60, softmax=80, layernorm=0.02),
    Weather(arrival=0.9, flight=1, softmax=200),
)


class Bench:
    """The neighbours, and the loop nest that walks along."""

    def __init__(self, dut: Any, seed: int) -> None:
        args = bench_args()
        self.dut, self.rng = dut, random.Random(seed)
        self.machine = Machine.model_validate(args["machine"])
        self.program = build_program(self.machine)
        self.steps = self.tiles = 0
        self.reasons: Counter[str] = Counter()

    async def begin(self) -> None:
        """Clock and reset; all inputs at rest."""
        self.rest()
        await clock.start(self.dut)

    def rest(self) -> None:
        """Nothing happens."""
        dut = self.dut
        for name in ("start", "first", "last", "tile_available", "attention_loaded", "softmax_done"):
            getattr(dut, name).value = 0
        dut.length.value, dut.quiet.value, dut.layernorm_busy.value = 1, 1, 0

    async def start(self, bounds: tuple[int, int], length: int) -> None:
        """A run begins; what is taken at the start may change afterwards."""
        dut = self.dut
        dut.length.value = length
        await clock.cycles(dut, 3)  # a sentence's length is known long before
        dut.start.value, dut.first.value, dut.last.value = 1, bounds[0], bounds[1]
        await RisingEdge(dut.clk)
        dut.start.value = 0
        dut.first.value = dut.last.value = self.rng.randrange(len(self.program.descriptors))

    async def run(self, name: str, length: int, weather: Weather, cut: int | None = None) -> int:
        """One run, checked cycle by cycle; its cycles. ``cut``: given up after so many."""
        await self.start(getattr(self.program, name), length)
        return await Walk(self, name, length, weather).follow(cut)


class Walk:
    """One run."""

    def __init__(self, bench: Bench, name: str, length: int, weather: Weather) -> None:
        self.bench, self.dut, self.rng, self.weather = bench, bench.dut, bench.rng, weather
        self.where = f"{name}, {length} tokens"
        nest = LoopNest(bench.machine, length)
        self.nest = nest
        self.expected = nest.run(getattr(bench.program, name))
        self.tile: Tile | None = next(self.expected, None)
        self.place = 0  # the step expected next
        self.cycle = 0
        self.arrived = 0  # weight tiles
        self.released = 0
        self.available = False  # as the sequencer saw it
        self.closed_at = -1000
        self.drain = 0
        self.flying_until = -1  # results on their way
        self.norm_until = -1
        # the attention's parameters: early, or only when nothing else is missing
        early = self.rng.randint(0, 3 * weather.flight) if name == "layer" else NEVER
        self.loaded_at = self.rng.choice((early, NEVER))
        self.softmax_waiting: deque[int] = deque()
        self.softmax_busy_until = -1
        self.softmax_row: int | None = None
        self.softmax_at: dict[int, int] = {}  # row block: cycle of its pulse
        self.quiet_at: deque[int] = deque(maxlen=4)  # the last cycles in which it was quiet

    def name_of(self, tile: Tile) -> str:
        """For messages."""
        return (
            f"{self.where}, cycle {self.cycle}, step {self.place} of tile "
            f"{self.nest.destination.unpack(*tile.tile)}"
        )

    async def follow(self, cut: int | None) -> int:
        """Until the sequencer is idle again."""
        dut, limit = self.dut, 150_000 if cut is None else cut
        edge = RisingEdge(dut.clk)
        before = False  # the state of the cycle before belongs to this cycle's step
        while self.cycle < limit:
            self.drive()
            await edge
            self.cycle += 1
            step = int(dut.step.value)
            valid = step & 1
            self.check_state(ArrayState(int(dut.state.value)), valid)
            if valid:
                self.check_step(step)
            if int(dut.tile_release.value):
                self.check_release()
            if int(dut.idle.value) and not valid:
                if self.cycle > 3 and before:
                    assert self.tile is None, f"idle, but there is more: {self.name_of(self.tile)}"
                    self.bench.rest()
                    return self.cycle
                before = True
            else:
                before = False
        assert cut is not None, f"{self.where}: not idle after {limit} cycles"
        return self.cycle

    def drive(self) -> None:
        """The neighbours in the coming cycle."""
        dut, rng, weather, cycle = self.dut, self.rng, self.weather, self.cycle
        if self.arrived < self.released + BANKS and rng.random() < weather.arrival:
            self.arrived += 1
        self.available = self.arrived > self.released
        dut.tile_available.value = int(self.available)
        if self.tile is not None and self.tile.attention and self.loaded_at == NEVER:
            self.loaded_at = cycle + rng.randint(1, 200)
        dut.attention_loaded.value = int(cycle == self.loaded_at)
        flying, norm = cycle <= self.flying_until, cycle <= self.norm_until
        dut.layernorm_busy.value = int(norm)
        dut.quiet.value = int(not (flying or norm))
        if not (flying or norm):
            self.quiet_at.append(cycle)
        done = 0
        if self.softmax_row is not None and cycle == self.softmax_busy_until:
            done = 1 << self.softmax_row % 2
            self.softmax_at[self.softmax_row] = cycle
            self.softmax_row = None
        if self.softmax_row is None and self.softmax_waiting:
            self.softmax_row = self.softmax_waiting.popleft()
            self.softmax_busy_until = cycle + rng.randint(1, weather.softmax)
        dut.softmax_done.value = done

    def check_state(self, reason: Any, valid: int) -> None:
        """A step is work; a cycle without has a reason that holds."""
        tile = self.tile
        self.bench.reasons[reason.name] += 1
        assert (reason == ArrayState.ACTIVE) == bool(valid), f"{self.where}, cycle {self.cycle}: {reason}"
        if valid or tile is None:
            return
        text = f"{reason.name} at {self.name_of(tile)}"
        waits = tile.quiet and self.place == 0
        if reason == ArrayState.FILL:
            assert self.place == 0, f"a bubble within a tile: {text}"
        elif reason == ArrayState.WEIGHTS:
            assert self.place == 0, text
            assert waits or tile.weights is not None, text
        elif reason == ArrayState.DRAIN:
            closing = self.place == len(tile.steps) - 1
            assert waits or (closing and self.cycle <= self.closed_at + self.drain), text
        elif reason == ArrayState.SOFTMAX:
            assert tile.context is not None, text
            assert self.place == 0, text
        else:
            assert waits, text

    def check_step(self, step: int) -> None:
        """The step is the loop nest's next one, and nothing it needs is missing."""
        tile, dut = self.tile, self.dut
        assert tile is not None, f"{self.where}, cycle {self.cycle}: a step after the last"
        fields = self.nest.step
        value, mask = tile.steps[self.place]
        if step & mask != value:
            got, want = fields.unpack(step, mask), fields.unpack(value, mask)
            raise AssertionError(f"step: expected {want}, got {got}, {self.name_of(tile)}")
        if self.place == 0:
            self.check_opening(tile)
        self.place += 1
        self.bench.steps += 1
        if self.place == len(tile.steps):
            got_tile = int(dut.tile.value)
            value, mask = tile.tile
            if got_tile & mask != value:
                got, want = (self.nest.destination.unpack(v, mask) for v in (got_tile, value))
                raise AssertionError(f"tile: expected {want}, got {got}, {self.where}, cycle {self.cycle}")
            self.close(tile)

    def check_opening(self, tile: Tile) -> None:
        """What a tile's first step waits for. The decision fell a cycle before the step."""
        decided = self.cycle - 1
        if tile.weights is not None:
            assert tile.weights < self.arrived, f"weights are not there: {self.name_of(tile)}"
        if tile.quiet:
            quiet = [c for c in self.quiet_at if self.closed_at < c < self.cycle]
            assert quiet, f"results are still on their way: {self.name_of(tile)}"
        if tile.attention:
            assert self.loaded_at < decided, f"before its parameters: {self.name_of(tile)}"
        if tile.context is not None:
            at = self.softmax_at.get(tile.context)
            assert (self.cycle if at is None else at) < decided, f"before its softmax: {self.name_of(tile)}"

    def close(self, tile: Tile) -> None:
        """A tile closed in this cycle."""
        assert self.cycle > self.closed_at + self.drain, f"drained over: {self.name_of(tile)}"
        rng, weather = self.rng, self.weather
        self.closed_at, self.drain = self.cycle, tile.drain
        self.flying_until = self.cycle + SETTLED - 2 + rng.randint(1, weather.flight)
        if rng.random() < weather.layernorm:
            self.norm_until = self.flying_until + rng.randint(1, 2 * weather.flight)
        if tile.scores is not None:
            self.softmax_waiting.append(tile.scores)
        if tile.last_use and tile.weights is not None:
            assert self.released == tile.weights + 1, f"no release with the last step: {self.name_of(tile)}"
        self.bench.tiles += 1
        self.tile, self.place = next(self.expected, None), 0

    def check_release(self) -> None:
        """Comes with the decision for a weight tile's last step."""
        tile = self.tile
        assert tile is not None, f"{self.where}, cycle {self.cycle}: a release after the last"
        last = tile.last_use and self.place == len(tile.steps) - 1
        assert last, f"released too early: {self.name_of(tile)}"
        self.released += 1


def lengths() -> list[int]:
    """Of the sentences."""
    return list(bench_args()["lengths"])


@cocotb.test
async def whole_sentences(dut: Any) -> None:
    """All runs at every length, everything always there: no cycle is lost within a descriptor."""
    bench = Bench(dut, 1)
    await bench.begin()
    cycles = {}
    for length in lengths():
        for name in ("norm", "projection", "layer"):
            cycles[f"{name} {length}"] = await bench.run(name, length, CALM)
    report(steps=bench.steps, tiles=bench.tiles, cycles=cycles, calm=dict(bench.reasons))


@cocotb.test
async def stalls(dut: Any) -> None:
    """Weights, softmax, results and LayerNorm as late as they like."""
    bench = Bench(dut, 2)
    await bench.begin()
    for turn, length in enumerate(lengths()):
        await bench.run("projection", length, STORMS[turn % len(STORMS)])
        for storm in (0, 1):  # each length meets two, all of them together all three
            await bench.run("layer", length, STORMS[(turn + storm) % len(STORMS)])
    report(storm=dict(bench.reasons))


@cocotb.test
async def reset_at_any_time(dut: Any) -> None:
    """The engine resets it to drop a sentence: the next one runs as if nothing had been."""
    bench = Bench(dut, 3)
    await bench.begin()
    shortest = min(lengths())
    for _ in range(12):
        await bench.run("layer", max(lengths()), STORMS[2], cut=1 + bench.rng.randrange(3000))
        dut.rst.value = 1
        bench.rest()
        await RisingEdge(dut.clk)
        dut.rst.value = 0
        await RisingEdge(dut.clk)
        assert int(dut.idle.value)
        await bench.run("projection", shortest, CALM)
    await bench.run("layer", shortest, STORMS[1])
