"""Why a tensor loses what it loses, in one line: range, unit, own grid, its iteration, or those before."""

from __future__ import annotations

from collections.abc import Mapping

from quant.quality import FIXED_UNITS, MOST_SATURATED, full_name, least_sqnr
from quant.report.quantisation.cells import Cell
from quant.report.quantisation.rules import inputs

MOSTLY = 0.5
"""Share of the noise from which on something is called the cause."""


def below_bound(short: str, cell: Cell) -> bool:
    """Whether a tensor is noisier than ``quality.least_sqnr`` allows, or clips more than MOST_SATURATED.

    An error below an LSB that the contract fixes is none.
    """
    fine = short in FIXED_UNITS and cell.fit.error <= 1.0
    noisy = cell.fit.sqnr < least_sqnr(short) and not fine
    return noisy or cell.fit.share_saturated > MOST_SATURATED


def reason(short: str, row: int, cells: Mapping[str, Cell]) -> str:
    """What limits a tensor's SQNR.

    Args:
        short: Its short name.
        row: 0 for iteration 1 and for the embedding's tensors.
        cells: All of the checkpoint's, by full name.
    """
    cell = cells[full_name(short, row)]
    fit = cell.fit
    if fit.noise == 0.0:
        return "nothing is lost"
    if fit.share_saturated > MOST_SATURATED:
        return f"clipped: {fit.share_saturated:.1%} of the values lie beyond the grid's ends"
    if short in FIXED_UNITS and fit.error <= 1.0:
        return (
            f"its unit, fixed by the contract: the error is {fit.error:.2f} LSB, the values' root mean "
            f"square {_in_lsbs(cell):.3g}"
        )
    if cell.own >= MOSTLY:
        return (
            f"its own grid: {cell.own:.0%} of the noise, {cell.grid_sqnr:.1f} dB alone; the largest value "
            f"uses {cell.used:.0%} of the range"
        )
    made_of = [name for name in inputs(short, row + 1) if name in cells]
    if not made_of:
        return f"the stored tables: its own grid alone would leave {cell.grid_sqnr:.1f} dB"
    noisiest = min(made_of, key=lambda name: _read(cells[name]))
    part = f"its noisiest part {noisiest}, {_read(cells[noisiest]):.1f} dB as read"
    if cell.made is None:
        return f"handed on: {part}; its own grid alone would leave {cell.grid_sqnr:.1f} dB"
    if cell.made >= MOSTLY:
        return f"made in this iteration, {cell.made:.0%} of the noise: {part}"
    return (
        f"from the iterations before: of an exact input this one would leave {cell.fresh_sqnr:.1f} dB; {part}"
    )


def _read(cell: Cell) -> float:
    """dB of a tensor as the next operation reads it: noise so far, and that of the operand's rounding."""
    operand = cell.operand_sqnr
    return cell.fit.sqnr if operand is None else min(cell.fit.sqnr, operand)


def _in_lsbs(cell: Cell) -> float:
    """Root mean square of the real values in LSBs; for tensors of one scale."""
    return cell.size / float(cell.grid.scale.max())
