"""Embedding: token ids to the sum of word and position/type rows, one feature per cycle."""

from __future__ import annotations

from amaranth import Const, Module, Mux, ResetInserter, Signal, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.config import ElbertConfig
from golden_model.numerics import EMBEDDING_SHIFT, OPERAND_BITS, POSITION_TYPE_BITS, RESIDUAL_BITS
from hw.arith.constant import times_constant
from hw.arith.widths import bits_for_index, ceil_div
from hw.bus.axi import AXI_ADDRESS_BITS, AXI_DATA_BITS, read_command_stream, read_data_stream
from hw.interfaces import LENGTH_BITS

TOKEN_BYTES = 4
"""One token in memory, little-endian: id in bits 0..23, type in bits 24..31."""
TOKEN_ID_BITS = 24

# The sum needs 17 bits, so the contract's saturation to 18 never acts and costs nothing here.
_LARGEST = ((1 << (OPERAND_BITS - 1)) << EMBEDDING_SHIFT) + (1 << (POSITION_TYPE_BITS - 1))
assert _LARGEST < 1 << (RESIDUAL_BITS - 1)


def embedding_feature(rows: int, blocks: int, features: int) -> data.StructLayout:
    """One feature of one token's embedding sum.

    ``lane`` is a one-hot mask of ``rows`` bits (token % rows), ``block`` is token // rows,
    ``value`` the 18-bit sum; ``first`` and ``last`` mark the token's first and last feature.
    """
    return data.StructLayout(
        {
            "lane": rows,
            "block": bits_for_index(blocks),
            "feature": bits_for_index(features),
            "value": signed(RESIDUAL_BITS),
            "first": 1,
            "last": 1,
        }
    )


class EmbeddingUnit(wiring.Component):
    """``embedding.sum`` of docs/numerics.md: (word[id] << 6) + position_type[type, position].

    First all tokens are read and checked, then per token one word row (E bytes int8, at
    ``word_base + id * E``) and one position/type row (2E bytes int16, little-endian, at
    ``position_base + (type * max_length + t) * 2E``).

    The unit's reads go through an AxiReader outside. The token read is rounded up to whole beats,
    so up to a beat less 4 bytes behind the last token are read and ignored.

    Throughput: one feature per cycle within a token; a token costs E + E/B + 2 cycles (B bytes of
    a beat) as long as the memory keeps up. ``out`` may stall at any cycle.

    Parameters
    ----------
    config : ElbertConfig
    rows : int
        Tokens of a token block, at least 1.
    data_width : int
        Bits of a beat; embedding_size is a multiple of its bytes.

    Members
    -------
    start : In(1)
        Pulse while not ``busy``; ``length`` (1..max length) and the bases (multiples of the beat)
        are stable until ``done``.
    abort : In(1)
        Back to idle without ``done``; abort the AxiReader with it.
    length, tokens_base, word_base, position_base : In
    command : Out(stream of ReadCommand)
    data : In(stream of read_beat(data_width))
    out : Out(stream of embedding_feature(rows, blocks, E))
        Features of token 0 in order, then of token 1, …
    busy : Out(1)
    done : Out(1)
        Pulse after the last feature was taken, or after the tokens if one of them is bad.
    token_error : Out(1)
        From ``done`` until the next ``start``: an id is not below vocab_size or a type not below
        type_vocab_size. No feature came out.

    Raises
    ------
    ValueError
        ``rows`` or ``data_width`` is outside its bound, or embedding_size is no multiple of the
        beat.
    """

    def __init__(self, config: ElbertConfig, rows: int, data_width: int) -> None:
        if rows < 1:
            raise ValueError(f"rows {rows} is below 1")
        if data_width not in AXI_DATA_BITS:
            raise ValueError(f"data_width {data_width} is not one of {AXI_DATA_BITS}")
        if config.embedding_size % (data_width // 8):
            raise ValueError(
                f"embedding_size {config.embedding_size} is not a multiple of the beat's "
                f"{data_width // 8} bytes (data_width {data_width})"
            )
        self.config = config
        self.rows = rows
        self.data_width = data_width
        self.blocks = ceil_div(config.max_position_embeddings, rows)
        super().__init__(
            {
                "start": In(1),
                "abort": In(1),
                "length": In(LENGTH_BITS),
                "tokens_base": In(AXI_ADDRESS_BITS),
                "word_base": In(AXI_ADDRESS_BITS),
                "position_base": In(AXI_ADDRESS_BITS),
                "command": Out(read_command_stream()),
                "data": In(read_data_stream(data_width)),
                "out": Out(stream.Signature(embedding_feature(rows, self.blocks, config.embedding_size))),
                "busy": Out(1),
                "done": Out(1),
                "token_error": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config, beat_bytes = self.config, self.data_width // 8
        token = data.StructLayout(
            {"id": bits_for_index(config.vocab_size), "type": bits_for_index(config.type_vocab_size)}
        )
        m.submodules.tokens = tokens = memory.Memory(
            shape=token, depth=max(2, config.max_position_embeddings), init=[]
        )
        token_write, token_read = tokens.write_port(), tokens.read_port()

        begin = Signal()
        last_token = Signal(LENGTH_BITS)
        rows_asked = self._ask_rows(m, token_read, begin, last_token)
        rows_taken, rows_ready, row_done = self._add_rows(m, begin, last_token)

        beat_tokens = beat_bytes // TOKEN_BYTES
        buffer = Signal(self.data_width, reset_less=True)
        buffered = Signal(range(beat_tokens + 1))
        count = Signal(LENGTH_BITS)
        bad = Signal()
        word = Signal(data.StructLayout({"id": TOKEN_ID_BITS, "type": 8}))
        m.d.comb += [
            word.eq(buffer),
            bad.eq((word.id >= config.vocab_size) | (word.type >= config.type_vocab_size)),
            token_write.addr.eq(count),
            token_write.data.id.eq(word.id),
            token_write.data.type.eq(word.type),
        ]
        token_beats = Signal(LENGTH_BITS)
        m.d.comb += token_beats.eq((self.length + (beat_tokens - 1)) >> (beat_tokens.bit_length() - 1))
        m.d.sync += [self.done.eq(0), last_token.eq(self.length - 1)]

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [count.eq(0), buffered.eq(0)]
                with m.If(self.start):
                    m.d.sync += self.token_error.eq(0)
                    m.next = "ASK"
            with m.State("ASK"):
                m.d.comb += [
                    self.busy.eq(1),
                    self.command.valid.eq(1),
                    self.command.payload.address.eq(self.tokens_base),
                    self.command.payload.bytes.eq(token_beats << (beat_bytes.bit_length() - 1)),
                ]
                with m.If(self.command.ready):
                    m.next = "TOKENS"
            with m.State("TOKENS"):
                m.d.comb += [self.busy.eq(1), self.data.ready.eq(buffered == 0)]
                with m.If(buffered == 0):
                    m.d.sync += buffer.eq(self.data.payload.data)
                    with m.If(self.data.valid):
                        m.d.sync += buffered.eq(beat_tokens)
                with m.Else():
                    m.d.comb += token_write.en.eq(1)
                    m.d.sync += [
                        buffer.eq(buffer >> 8 * TOKEN_BYTES),
                        buffered.eq(buffered - 1),
                        count.eq(count + 1),
                        self.token_error.eq(self.token_error | bad),
                    ]
                    with m.If(count == last_token):
                        with m.If(self.token_error | bad):
                            m.d.sync += self.done.eq(1)
                            m.next = "IDLE"
                        with m.Else():
                            m.d.comb += begin.eq(1)
                            m.next = "ROWS"
            with m.State("ROWS"):
                m.d.comb += [
                    self.busy.eq(1),
                    self.command.valid.eq(rows_asked.valid),
                    self.command.payload.eq(rows_asked.payload),
                    rows_asked.ready.eq(self.command.ready),
                    rows_taken.eq(self.data.valid & rows_ready),
                    self.data.ready.eq(rows_ready),
                ]
                with m.If(row_done):
                    m.next = "LAST"
            with m.State("LAST"):
                m.d.comb += self.busy.eq(1)
                with m.If(~self.out.valid | self.out.ready):
                    m.d.sync += self.done.eq(1)
                    m.next = "IDLE"
        return ResetInserter(self.abort)(m)

    def _ask_rows(self, m: Module, token_read, begin, last_token):
        """Issues the two reads of every token, ahead of the data. Returns the command stream."""
        config = self.config
        row_bytes = config.embedding_size
        commands = read_command_stream().create()
        index = Signal(LENGTH_BITS)
        word_offset = Signal(AXI_ADDRESS_BITS, reset_less=True)
        position_offset = Signal(AXI_ADDRESS_BITS, reset_less=True)
        """(type * max_length + t) * 2E: a constant per type, plus a sum that grows with t."""
        position_row = Signal(AXI_ADDRESS_BITS)
        type_offset = Signal(AXI_ADDRESS_BITS)
        with m.Switch(token_read.data.type):
            for kind in range(config.type_vocab_size):
                with m.Case(kind):
                    m.d.comb += type_offset.eq(
                        Const(kind * config.max_position_embeddings * 2 * row_bytes, AXI_ADDRESS_BITS)
                    )
        m.d.comb += [token_read.addr.eq(index), token_read.en.eq(1)]
        with m.FSM(name="ask"):
            with m.State("IDLE"):
                m.d.sync += [index.eq(0), position_row.eq(0)]
                with m.If(begin):
                    m.next = "READ"
            with m.State("READ"):
                m.next = "OFFSET"
            with m.State("OFFSET"):
                m.d.sync += [
                    word_offset.eq(times_constant(token_read.data.id, row_bytes)),
                    position_offset.eq(type_offset + position_row),
                ]
                m.next = "WORD"
            with m.State("WORD"):
                m.d.comb += [
                    commands.valid.eq(1),
                    commands.payload.address.eq(self.word_base + word_offset),
                    commands.payload.bytes.eq(row_bytes),
                ]
                with m.If(commands.ready):
                    m.next = "POSITION"
            with m.State("POSITION"):
                m.d.comb += [
                    commands.valid.eq(1),
                    commands.payload.address.eq(self.position_base + position_offset),
                    commands.payload.bytes.eq(2 * row_bytes),
                ]
                with m.If(commands.ready):
                    m.d.sync += [index.eq(index + 1), position_row.eq(position_row + 2 * row_bytes)]
                    m.next = "READ"
                    with m.If(index == last_token):
                        m.next = "IDLE"
        return commands

    def _add_rows(self, m: Module, begin, last_token):
        """Buffers a word row, then adds the position/type row to it as it comes.

        Returns ``taken`` (in: a beat is offered and ``ready``), ``ready`` and ``all_done`` (pulse).
        """
        config, beat_bytes = self.config, self.data_width // 8
        features = config.embedding_size
        word_beats = features // beat_bytes
        half = beat_bytes // 2
        m.submodules.row = row = memory.Memory(shape=self.data_width, depth=max(2, word_beats), init=[])
        row_write, row_read = row.write_port(), row.read_port()
        taken, ready, all_done = Signal(), Signal(), Signal()

        index = Signal(LENGTH_BITS)
        # The sum has a register of its own: its readers, LayerNorm's squares before all, are far.
        out = Signal.like(self.out.payload)
        advance, emit = Signal(), Signal()
        words = Signal(self.data_width, reset_less=True)
        positions = Signal(self.data_width, reset_less=True)
        left = Signal(range(half + 1))
        """Features left in `positions`."""
        none_left, one_left = Signal(init=1), Signal()
        beats = Signal(range(2 * word_beats + 1))
        wanted = Signal()
        """``beats`` is not yet all of them."""
        write_index = Signal(range(max(2, word_beats)))
        read_index = Signal(range(max(2, word_beats)))
        lane = Signal(self.rows, init=1)
        block = Signal.like(out.block)
        feature = Signal.like(out.feature)
        word, position = Signal(signed(OPERAND_BITS)), Signal(signed(POSITION_TYPE_BITS))
        m.d.comb += [
            word.eq(words),
            position.eq(positions),
            out.value.eq((word << EMBEDDING_SHIFT) + position),
            out.lane.eq(lane),
            out.block.eq(block),
            out.feature.eq(feature),
            out.first.eq(feature == 0),
            out.last.eq(feature == features - 1),
            advance.eq(~self.out.valid | self.out.ready),
            emit.eq(~none_left & advance),
            row_write.addr.eq(write_index),
            row_write.data.eq(self.data.payload.data),
            row_read.addr.eq(read_index),
            row_read.en.eq(1),
        ]
        kept = Signal.like(out, reset_less=True)
        m.d.comb += self.out.payload.eq(kept)
        with m.If(advance):
            m.d.sync += [kept.eq(out), self.out.valid.eq(~none_left)]

        with m.FSM(name="add"):
            with m.State("IDLE"):
                m.d.sync += [index.eq(0), lane.eq(1), block.eq(0), feature.eq(0), write_index.eq(0)]
                with m.If(begin):
                    m.next = "WORD"
            with m.State("WORD"):
                m.d.comb += [ready.eq(1), row_write.en.eq(taken)]
                m.d.sync += [read_index.eq(0), beats.eq(0), wanted.eq(1)]
                with m.If(taken):
                    m.d.sync += write_index.eq(write_index + 1)
                    with m.If(write_index == word_beats - 1):
                        m.d.sync += write_index.eq(0)
                        m.next = "FETCH"
            with m.State("FETCH"):
                m.next = "POSITION"
            with m.State("POSITION"):
                m.d.comb += ready.eq(wanted & (none_left | (one_left & advance)))
                with m.If(emit):
                    m.d.sync += [
                        words.eq(words >> OPERAND_BITS),
                        positions.eq(positions >> POSITION_TYPE_BITS),
                        left.eq(left - 1),
                        none_left.eq(one_left),
                        one_left.eq(left == 2),
                        feature.eq(Mux(out.last, 0, feature + 1)),
                    ]
                with m.If(taken):
                    m.d.sync += [positions.eq(self.data.payload.data), left.eq(half), beats.eq(beats + 1)]
                    m.d.sync += [none_left.eq(0), one_left.eq(half == 1)]
                    m.d.sync += wanted.eq(beats != 2 * word_beats - 1)
                    with m.If(~beats[0]):
                        m.d.sync += [words.eq(row_read.data), read_index.eq(read_index + 1)]
                with m.If(emit & out.last):
                    m.d.sync += [
                        index.eq(index + 1),
                        lane.eq(lane.rotate_left(1)),
                        block.eq(block + lane[-1]),
                    ]
                    m.next = "WORD"
                    with m.If(index == last_token):
                        m.d.comb += all_done.eq(1)
                        m.next = "IDLE"
        return taken, ready, all_done
