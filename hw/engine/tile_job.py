"""What a loop nest asks of the array: one tile, from its first operands to the place of its sums."""

from __future__ import annotations

from amaranth.lib import data

from hw.arith.widths import bits_for_index
from hw.engine.program import descriptor_layout
from hw.engine.tile import ColumnSource, RowSource, tile_layout
from hw.params import Machine


def job_layout(machine: Machine) -> data.StructLayout:
    """One tile of the program's row ``descriptor``.

    ``tile`` is its destination, whose group, block, head and parity the row operands share. ``address``
    (rows: hidden or activation memory) and ``column_address`` (key or value memory) are those of k = 0; K is
    ``last_step`` + 1. The drain buffer is busy for ``drain`` cycles behind the closing one.

    Before its first step it waits for ``weights``: the weight bank's tile; ``quiet``: all earlier results, in
    memory; ``parameters``: the attention's (only together with ``quiet``); ``softmax``: the exponentials of
    its parity. With ``last_use`` its weight bank is given back, with ``claims`` its parity's exponentials
    are no longer valid. ``trace`` says that exponentials are read for the first time.
    """
    m = machine
    return data.StructLayout(
        {
            "descriptor": descriptor_layout(machine)["index"].shape,
            "tile": tile_layout(machine),
            "row": RowSource,
            "column": ColumnSource,
            "address": bits_for_index(max(m.activation_words, m.hidden_words)),
            "column_address": bits_for_index(max(m.key_words, m.value_words)),
            "bank": 1,
            "last_step": bits_for_index(max(m.bank_words, m.model.max_position_embeddings)),
            "drain": bits_for_index(m.columns + m.rows),
            "weights": 1,
            "last_use": 1,
            "quiet": 1,
            "parameters": 1,
            "softmax": 1,
            "claims": 1,
            "trace": 1,
        }
    )
