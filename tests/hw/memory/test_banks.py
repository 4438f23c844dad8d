"""Memories: how late a word comes, and what of it when it is written in the cycle of its read."""

from __future__ import annotations

from typing import Any

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Elaboratable, Value, unsigned

from hw.memory.banks import GROUPED_READ_LATENCY, READ_LATENCY, GroupedMemory, WordMemory
from hw.memory.block_ram import slice_width


@pytest.mark.parametrize("poison", [False, True])
def test_a_word_comes_late_and_a_poisoned_collision_inverted(simulate: Any, poison: bool) -> None:
    memory = WordMemory(unsigned(8), 16, poison=poison)

    async def process(ctx: Any) -> None:
        async def cycle(*, read: int, write: tuple[int, int] | None = None) -> int:
            ctx.set(memory.read_address, read)
            ctx.set(memory.write_enable, int(write is not None))
            if write is not None:
                ctx.set(memory.write_address, write[0])
                ctx.set(memory.write_data, write[1])
            await ctx.tick()
            return int(ctx.get(memory.read_data))

        await cycle(read=0, write=(5, 0x35))
        await cycle(read=5, write=(6, 0x11))  # another word: nothing happens to this one
        for _ in range(READ_LATENCY - 1):
            seen = await cycle(read=0)
        assert seen == 0x35
        await cycle(read=5, write=(5, 0x99))
        for _ in range(READ_LATENCY - 1):
            seen = await cycle(read=0)
        assert seen == (0xFF ^ 0x35 if poison else 0x35)
        await cycle(read=5)
        for _ in range(READ_LATENCY - 1):
            seen = await cycle(read=0)
        assert seen == 0x99

    simulate(memory, process)


@pytest.mark.parametrize("lane_writes", [False, True])
def test_groups_are_written_apart_and_read_together(simulate: Any, lane_writes: bool) -> None:
    memory = GroupedMemory(groups=2, lanes=2, width=8, depth=4, lane_writes=lane_writes, poison=True)
    assert isinstance(memory, Elaboratable)
    assert hasattr(memory, "write_lanes") == lane_writes

    async def process(ctx: Any) -> None:
        ctx.set(memory.write_enable, 1)
        ctx.set(memory.write_address, 3)
        for group, values in ((0, (1, 2)), (1, (3, 4))):
            ctx.set(memory.write_group, group)
            ctx.set(memory.write_data, values)
            if lane_writes:
                ctx.set(memory.write_lanes, 0b11 if group else 0b10)
            await ctx.tick()
        # Group 1 is written in the cycle of the read: it is poisoned, group 0 is not.
        ctx.set(memory.read_address, 3)
        await ctx.tick().repeat(GROUPED_READ_LATENCY)
        first = 0 if lane_writes else 1
        assert [[ctx.get(memory.read_data[g][i]) for i in range(2)] for g in range(2)] == [
            [first, 2],
            [255 - 3, 255 - 4],
        ]
        ctx.set(memory.write_enable, 0)
        await ctx.tick().repeat(GROUPED_READ_LATENCY)
        assert [ctx.get(memory.read_data[1][i]) for i in range(2)] == [3, 4]

    simulate(memory, process)


def test_a_deep_word_is_cut_and_remains_one_word(simulate: Any) -> None:
    """2,048 words of two lanes of 16 bits: slices of 9 and 7 bits, lanes written one by one."""
    memory = GroupedMemory(groups=2, lanes=2, width=16, depth=2048, lane_writes=True, poison=True)
    # a shape that does not fit the geometry is a fault of this test
    assert slice_width(32, 2048) == 9

    async def process(ctx: Any) -> None:
        ctx.set(memory.write_enable, 1)
        for group, address, lanes, values in (
            (0, 2047, 0b11, (0xA5F0, 0x1234)),
            (1, 2047, 0b11, (0x0FF0, 0xFFFF)),
            (1, 2047, 0b10, (0x0000, 0x8001)),
            (0, 1023, 0b11, (0x0001, 0x0002)),
        ):
            ctx.set(memory.write_group, group)
            ctx.set(memory.write_address, address)
            ctx.set(memory.write_lanes, lanes)
            ctx.set(memory.write_data, values)
            await ctx.tick()
        ctx.set(memory.write_enable, 0)
        ctx.set(memory.read_address, 2047)
        await ctx.tick().repeat(GROUPED_READ_LATENCY)
        assert [[ctx.get(memory.read_data[g][i]) for i in range(2)] for g in range(2)] == [
            [0xA5F0, 0x1234],
            [0x0FF0, 0x8001],
        ]
        # written and read at once: every slice of both lanes is poisoned, in its group alone
        ctx.set(memory.write_enable, 1)
        ctx.set(memory.write_group, 0)
        ctx.set(memory.write_address, 2047)
        ctx.set(memory.write_lanes, 0b11)
        await ctx.tick().repeat(GROUPED_READ_LATENCY)
        assert [[ctx.get(memory.read_data[g][i]) for i in range(2)] for g in range(2)] == [
            [0xFFFF - 0xA5F0, 0xFFFF - 0x1234],
            [0x0FF0, 0x8001],
        ]

    simulate(memory, process)


@pytest.mark.parametrize(
    ("width", "depth", "piece"),
    [
        (144, 512, 144),  # wide blocks alone
        (144, 1536, 9),  # 16 blocks for 12
        (64, 1536, 9),  # 8 for 6
        (64, 6144, 2),  # 32 for 24
        (144, 3072, 144),  # 36 for 24: not worth it
        (64, 32768, 64),  # no block is that deep
        (8, 1536, 8),
    ],
)
def test_what_a_slice_may_cost(width: int, depth: int, piece: int) -> None:
    assert slice_width(width, depth) == piece


@pytest.mark.parametrize(("dense", "memories"), [(False, 2 * 16), (True, 2)])
def test_dense_memories_are_not_cut(dense: bool, memories: int) -> None:
    memory = GroupedMemory(groups=2, lanes=8, width=18, depth=1536, lane_writes=True, dense=dense)
    text = rtlil.convert(
        memory,
        emit_src=False,
        ports=[Value.cast(getattr(memory, name)) for name in ("read_address", "read_data", "write_enable")],
    )
    assert text.count("\n  memory width ") == memories
