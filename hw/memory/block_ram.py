"""The ECP5's block memory: its shapes, and how a memory is cut so that none needs another's help."""

from __future__ import annotations

from hw.arith.widths import ceil_div

BLOCK_SHAPES = ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384))
"""Width and depth of a DP16KD."""


def fewest_blocks(width: int, depth: int) -> int:
    """Block memories of ``depth`` words, in whatever shape takes the fewest."""
    return min(ceil_div(width, w) * ceil_div(depth, d) for w, d in BLOCK_SHAPES)


def slice_width(width: int, depth: int) -> int:
    """Bits of a word that one block memory is to hold, over the whole depth; ``width`` for no cut.

    The fewest blocks often are short and wide ones, several to the depth: then a multiplexer lies between
    block and register, and one register, which holds the address's upper bits, turns all of them over the
    device. Cut into slices that are as deep as the memory there is neither. That is worth a third more
    blocks, no more.
    """
    if depth <= BLOCK_SHAPES[0][1]:
        return width
    held = next((w for w, d in BLOCK_SHAPES if d >= depth), None)
    if held is None or held >= width or 3 * ceil_div(width, held) > 4 * fewest_blocks(width, depth):
        return width
    return held
