"""One sentence through the machine: embedding, iterations, exit decision."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden_model.numerics import OPERAND_BITS, RESIDUAL_BITS
from hw.arith.constant import times_constant
from hw.arith.widths import bits_for_index
from hw.bus.axi import read_command_stream, read_data_stream
from hw.channel import CHANNEL, CHANNEL_BITS, NORM_CHANNEL
from hw.engine.array import COLUMN_BITS, ROW_BITS, Array
from hw.engine.fetcher import Fetcher
from hw.engine.sequencer import Sequencer
from hw.engine.tile import ArrayState, ColumnSource, RowSource, last_block_of
from hw.engine.trace import HEAD_SHIFT, LANE_BITS, POSITION_BITS, TracePort, TraceTag
from hw.engine.vector_path import VectorPath
from hw.interfaces import Command, Counters, ErrorCode, Record, Result
from hw.memory.banks import GroupedMemory, WordMemory
from hw.memory.hidden import HIDDEN_WORD, split_hidden
from hw.params import Machine
from hw.units.activation_table import ActivationTable
from hw.units.embedding import EmbeddingUnit
from hw.units.exit_unit import ExitUnit
from hw.units.layernorm import LayerNorm
from hw.units.softmax import Softmax

TRACES = ("trace_vector", "trace_norm", "trace_exponentials", "trace_embedding")
OPERAND_STAGES = 2
"""Memory read and operand register between a step and the array."""


class Engine(wiring.Component):
    """Runs one command. The whole engine may be reset at any time (see `hw.accelerator`).

    Members
    -------
    start : In(1), settings : In(Command)
        One sentence; ``settings`` stay stable until ``done``.
    done : Out(1), error : Out(ErrorCode)
        Pulse; ``error`` is NONE or TOKEN.
    result, counters, record_valid, record : as in `hw.interfaces.ResultPort`
    command, data : to the AxiReader
    trace_* : Out(TracePort), with ``machine.trace`` only
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        ports: dict[str, object] = {
            "start": In(1),
            "settings": In(Command),
            "done": Out(1),
            "error": Out(ErrorCode),
            "result": Out(Result),
            "counters": Out(Counters),
            "record_valid": Out(1),
            "record": Out(Record),
            "command": Out(read_command_stream()),
            "data": In(read_data_stream(machine.axi_bits)),
        }
        if machine.trace:
            ports |= {name: Out(TracePort(machine.rows)) for name in TRACES}
        super().__init__(ports)
        self._make_parts()

    def _make_parts(self) -> None:
        """The parts, and the signals that several of the methods below share."""
        machine, model = self.machine, self.machine.model
        p = machine.rows
        self.fetcher = Fetcher(machine)
        self.sequencer = Sequencer(machine)
        self.array = Array(p, machine.columns, machine.technology)
        self.layernorm = LayerNorm(
            p,
            (model.hidden_size, model.embedding_size),
            machine.token_blocks,
            machine.normalize_lanes,
            machine.technology,
        )
        self.vector_path = VectorPath(
            machine,
            norm_latency=self.layernorm.read_to_write_latency,
            drain_lead=self.array.shift_latency - 1,
        )
        self.softmax = Softmax(p, model.max_position_embeddings)
        self.activation_table = ActivationTable(p)
        self.embedding = EmbeddingUnit(model, p, machine.axi_bits)
        self.exit_unit = ExitUnit(model.num_labels)

        def memory(width: int, depth: int) -> GroupedMemory:
            return GroupedMemory(groups=machine.groups, lanes=p, width=width, depth=depth)

        self.hidden_memory = memory(RESIDUAL_BITS, machine.hidden_words)
        self.activation_memory = memory(OPERAND_BITS, machine.activation_words)
        self.key_memory = memory(OPERAND_BITS, machine.key_words)
        self.value_memory = memory(OPERAND_BITS, machine.value_words)
        self.weights_memory = WordMemory(unsigned(machine.axi_bits), 2 * machine.bank_words)
        self.norm_parameters = WordMemory(unsigned(CHANNEL_BITS), model.hidden_size)

        self._embedding_reads = Signal()  # the bus serves the embedding unit
        self._embedding_phase = Signal()  # LayerNorm works for the embedding
        self._embedding_valid = Signal()  # a feature leaves the embedding unit
        self._step_1 = Signal.like(self.sequencer.step)  # the step whose operands leave the memories
        self._reading_hidden = Signal()
        self._draining = Signal()
        self._norm_busy = Signal()
        self._quiet = Signal()  # nothing is on its way to a memory
        self._running = Signal()
        self._exiting = Signal()

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        for name in (
            "fetcher", "sequencer", "array", "vector_path", "softmax", "layernorm", "activation_table",
            "embedding", "exit_unit", "hidden_memory", "activation_memory", "key_memory", "value_memory",
            "weights_memory", "norm_parameters",
        ):  # fmt: skip
            m.submodules[name] = getattr(self, name)
        self._fetch(m)
        self._operands(m)
        self._drain(m)
        self._row_softmax(m)
        self._normalisation(m)
        self._hidden_memory(m)
        self._other_memories(m)
        self._settings(m)
        self._control(m)
        self._count(m)
        if self.machine.trace:
            self._trace(m)
        return m

    def _word_base(self, block: Signal, stride: int) -> Value:
        """Address of a token block's first feature, ``stride`` features per block of Q tokens."""
        return times_constant(block >> (self.machine.groups.bit_length() - 1), stride)

    def _group_of(self, block: Signal) -> Value:
        """A token block's group within its memory word."""
        bits = self.machine.groups.bit_length() - 1
        return block[:bits] if bits else Const(0, 1)

    def _fetch(self, m: Module) -> None:
        """Where fetched words go, and who has the bus."""
        machine = self.machine
        fetcher, vector, table = self.fetcher, self.vector_path, self.activation_table
        embedding, weights, norm_parameters = self.embedding, self.weights_memory, self.norm_parameters
        m.d.comb += [
            weights.write_enable.eq(fetcher.bank_write_enable),
            weights.write_address.eq(
                fetcher.bank_write_bank * machine.bank_words + fetcher.bank_write_address
            ),
            weights.write_data.eq(fetcher.bank_write_data),
            norm_parameters.write_enable.eq(fetcher.norm_write_enable),
            norm_parameters.write_address.eq(fetcher.norm_write_index),
            norm_parameters.write_data.eq(fetcher.word[:CHANNEL_BITS]),
            table.write_enable.eq(fetcher.table_write_enable),
            table.write_address.eq(fetcher.table_write_address),
            table.write_data.eq(fetcher.table_write_data),
            vector.header_write_enable.eq(fetcher.header_write_enable),
            vector.header_write_slot.eq(fetcher.header_write_slot),
            vector.header_write_index.eq(fetcher.header_write_index),
            vector.header_write_data.eq(fetcher.word[:CHANNEL_BITS]),
            vector.attention_parameters.eq(fetcher.attention_parameters),
        ]
        # The bus serves the embedding unit or the fetcher, never both at once.
        for unit, selected in ((embedding, self._embedding_reads), (fetcher, ~self._embedding_reads)):
            m.d.comb += [
                unit.command.ready.eq(self.command.ready & selected),
                unit.data.valid.eq(self.data.valid & selected),
                unit.data.payload.eq(self.data.payload),
            ]
        with m.If(self._embedding_reads):
            m.d.comb += [
                self.command.payload.eq(embedding.command.payload),
                self.command.valid.eq(embedding.command.valid),
                self.data.ready.eq(embedding.data.ready),
            ]
        with m.Else():
            m.d.comb += [
                self.command.payload.eq(fetcher.command.payload),
                self.command.valid.eq(fetcher.command.valid),
                self.data.ready.eq(fetcher.data.ready),
            ]

    def _operands(self, m: Module) -> None:
        """From a step's addresses to the array's operands, two cycles later."""
        machine = self.machine
        p = self.machine.rows
        q = self.machine.columns
        groups = self.machine.groups
        sequencer, array, softmax = self.sequencer, self.array, self.softmax
        hidden, activation, key = self.hidden_memory, self.activation_memory, self.key_memory
        value, weights = self.value_memory, self.weights_memory
        step = sequencer.step
        m.d.comb += [
            self._reading_hidden.eq(
                step.valid & ((step.row == RowSource.HIDDEN) | (step.column == ColumnSource.HIDDEN))
            ),
            activation.read_enable.eq(1),
            activation.read_address.eq(step.address),
            key.read_enable.eq(1),
            key.read_address.eq(step.key_address),
            value.read_enable.eq(1),
            value.read_address.eq(step.value_address),
            weights.read_address.eq(step.bank * machine.bank_words + step.index),
            softmax.exp_enable.eq(step.valid & (step.row == RowSource.EXPONENTIALS)),
            softmax.exp_key.eq(step.index),
            softmax.exp_parity.eq(step.parity),
        ]
        m.d.sync += self._step_1.eq(step)
        rows = Signal(data.ArrayLayout(signed(ROW_BITS), p), reset_less=True)
        columns = Signal(data.ArrayLayout(signed(COLUMN_BITS), q), reset_less=True)
        for lane in range(p):

            def of_group(word, lane=lane):  # type: ignore[no-untyped-def]
                return Cat(*(word[g][lane] for g in range(groups))).word_select(
                    self._step_1.group, len(word[0][lane])
                )

            with m.Switch(self._step_1.row):
                with m.Case(RowSource.HIDDEN):
                    m.d.sync += rows[lane].eq(HIDDEN_WORD(of_group(hidden.read_data)).hi)
                with m.Case(RowSource.ACTIVATION):
                    m.d.sync += rows[lane].eq(of_group(activation.read_data).as_signed())
                with m.Case(RowSource.WEIGHTS):
                    m.d.sync += rows[lane].eq(
                        weights.read_data.word_select(self._step_1.group * p + lane, OPERAND_BITS).as_signed()
                    )
                with m.Case(RowSource.EXPONENTIALS):
                    m.d.sync += rows[lane].eq(softmax.exponentials[lane])
        for column in range(q):
            group, lane = divmod(column, p)
            with m.Switch(self._step_1.column):
                with m.Case(ColumnSource.WEIGHTS):
                    m.d.sync += columns[column].eq(
                        weights.read_data.word_select(column, OPERAND_BITS).as_signed()
                    )
                with m.Case(ColumnSource.HIDDEN):
                    m.d.sync += columns[column].eq(HIDDEN_WORD(hidden.read_data[group][lane]).hi)
                with m.Case(ColumnSource.KEY):
                    m.d.sync += columns[column].eq(key.read_data[group][lane].as_signed())
                with m.Case(ColumnSource.VALUE):
                    m.d.sync += columns[column].eq(value.read_data[group][lane].as_signed())
        for name in ("valid", "first", "last"):
            register = Signal(name=f"array_{name}")
            m.d.sync += register.eq(getattr(self._step_1, name))
            m.d.comb += getattr(array, name).eq(register)
        m.d.comb += [array.row_operands.eq(rows), array.column_operands.eq(columns)]

    def _drain(self, m: Module) -> None:
        """A closed tile's destination waits for its sums; the vector path's neighbours."""
        sequencer, array, vector = self.sequencer, self.array, self.vector_path
        softmax, table = self.softmax, self.activation_table
        step = sequencer.step
        closing, closed_tile = step.valid & step.last, sequencer.tile
        on_the_way = [closing]
        for i in range(OPERAND_STAGES + array.latency - vector.drain_lead):
            valid_later = Signal(name=f"closing_{i}")
            tile_later = Signal.like(sequencer.tile, name=f"tile_{i}", reset_less=True)
            m.d.sync += [valid_later.eq(closing), tile_later.eq(closed_tile)]
            closing, closed_tile = valid_later, tile_later
            on_the_way.append(closing)
        m.d.comb += [
            self._draining.eq(Cat(*on_the_way).any() | vector.busy),
            vector.tile_valid.eq(closing),
            vector.tile.eq(closed_tile),
            vector.column.eq(array.column),
            array.shift.eq(vector.shift),
            vector.row_multiplier.eq(softmax.row_multiplier),
            vector.row_shift.eq(softmax.row_shift),
            table.index.eq(vector.table_index),
            vector.table_values.eq(table.values),
        ]

    def _row_softmax(self, m: Module) -> None:
        """Score columns in; a row block's second pass starts when its last column is stored."""
        fetcher, sequencer, vector = self.fetcher, self.sequencer, self.vector_path
        softmax, settings = self.softmax, self.settings
        pending, pending_parity = Signal(), Signal()
        done_before = Signal(2)
        context_channel = Signal(CHANNEL)
        m.d.comb += [
            context_channel.eq(fetcher.attention_parameters[1][:CHANNEL_BITS]),
            softmax.score_valid.eq(vector.score_valid),
            softmax.score_parity.eq(vector.score_parity),
            softmax.score_key.eq(vector.score_key),
            softmax.score_first.eq(vector.score_first),
            softmax.scores.eq(vector.scores),
            softmax.start.eq(pending & ~softmax.busy),
            softmax.start_parity.eq(pending_parity),
            softmax.start_keys.eq(settings.length),
            softmax.context_multiplier.eq(context_channel.multiplier),
            softmax.context_shift.eq(context_channel.shift),
            sequencer.softmax_done.eq(softmax.done & ~done_before),
        ]
        m.d.sync += done_before.eq(softmax.done)
        with m.If(vector.softmax_start):
            m.d.sync += [pending.eq(1), pending_parity.eq(vector.softmax_start_parity)]
        with m.Elif(softmax.start):
            m.d.sync += pending.eq(0)

    def _normalisation(self, m: Module) -> None:
        """LayerNorm: sums as columns pass, requests in the order of the token blocks."""
        machine = self.machine
        p = self.machine.rows
        norm, vector, embedding = self.layernorm, self.vector_path, self.embedding
        norm_parameters, settings = self.norm_parameters, self.settings
        last_block = Signal(bits_for_index(machine.token_blocks))
        m.d.sync += last_block.eq(last_block_of(settings.length, p))
        blocks = range(machine.token_blocks + 1)
        requested, started = Signal(blocks), Signal(blocks)
        norm_request = Signal()
        with m.If(norm_request):
            m.d.sync += requested.eq(requested + 1)
        with m.If(norm.start):
            m.d.sync += started.eq(started + 1)
        with m.If(norm.done & (norm.done_block == last_block)):
            m.d.sync += [requested.eq(0), started.eq(0)]
        m.d.comb += [
            norm.start.eq((requested != started) & norm.ready),
            norm.start_block.eq(started),
            norm.size_select.eq(self._embedding_phase),
            norm.to_operand.eq(self._embedding_phase),
            norm.pause.eq(vector.residual_read),
            self._norm_busy.eq(norm_request | (requested != 0) | norm.busy),
            norm_parameters.read_address.eq(norm.parameter_feature),
        ]
        norm_channel = Signal(NORM_CHANNEL)
        m.d.comb += [
            norm_channel.eq(norm_parameters.read_data),
            norm.gamma.eq(norm_channel.multiplier),
            norm.beta.eq(norm_channel.offset),
            norm.shift.eq(norm_channel.shift),
        ]

        # The embedding's features arrive one lane at a time, the residual's a column at a time.
        feature = embedding.out.payload
        m.d.comb += [
            embedding.out.ready.eq(1),
            self._embedding_valid.eq(embedding.out.valid & embedding.out.ready),
        ]
        with m.If(self._embedding_phase):
            m.d.comb += [
                norm.stat_valid.eq(self._embedding_valid),
                norm.stat_lanes.eq(feature.lane),
                norm.stat_first.eq(feature.first),
                norm.stat_block.eq(feature.block),
                norm.stat_block_start.eq(feature.first),
                norm.stat_block_end.eq(feature.last),
            ]
            m.d.comb += [norm.stat_values[lane].eq(feature.value) for lane in range(p)]
        with m.Else():
            m.d.comb += [
                norm.stat_valid.eq(vector.stat_valid),
                norm.stat_lanes.eq(~0),
                norm.stat_first.eq(vector.stat_first),
                norm.stat_block.eq(vector.stat_block),
                norm.stat_block_start.eq(vector.stat_block_start),
                norm.stat_block_end.eq(vector.stat_block_end),
                norm.stat_values.eq(vector.stat_values),
            ]
        # A block is complete with its last lane, or with the sentence's last token.
        embedded_block = Signal()
        m.d.sync += embedded_block.eq(self._embedding_valid & feature.last & feature.lane[p - 1])
        m.d.comb += norm_request.eq(vector.norm_request | embedded_block | self._partial_block(m))

    def _hidden_memory(self, m: Module) -> None:
        """The residual stream's ports."""
        machine = self.machine
        model = self.machine.model
        p = self.machine.rows
        groups = self.machine.groups
        norm, vector, embedding = self.layernorm, self.vector_path, self.embedding
        hidden = self.hidden_memory
        feature = embedding.out.payload
        norm_write_address = Signal(bits_for_index(max(machine.hidden_words, machine.activation_words)))
        norm_write_pair = Signal.like(hidden.write_data)
        m.d.comb += norm_write_address.eq(
            self._word_base(norm.write_block, model.hidden_size) + norm.write_feature
        )
        for lane in range(p):
            m.d.comb += norm_write_pair[lane].eq(
                split_hidden(m, norm.write_values[lane], f"norm_high_{lane}")
            )

        # One read port: array, residual and LayerNorm never meet (LayerNorm pauses for the residual, the
        # array waits for both). One write port: residual and LayerNorm share one read-to-write latency.
        read_group = Signal(range(max(2, groups)))
        with m.If(vector.residual_read):
            m.d.comb += hidden.read_address.eq(vector.residual_read_address)
        with m.Elif(norm.read_enable):
            m.d.comb += hidden.read_address.eq(
                self._word_base(norm.read_block, model.hidden_size) + norm.read_feature
            )
        with m.Else():
            m.d.comb += hidden.read_address.eq(self.sequencer.step.address)
        m.d.comb += hidden.read_enable.eq(vector.residual_read | norm.read_enable | self._reading_hidden)
        m.d.sync += read_group.eq(
            Mux(vector.residual_read, vector.residual_read_group, self._group_of(norm.read_block))
        )
        for lane in range(p):
            word = Cat(*(hidden.read_data[g][lane] for g in range(groups))).word_select(
                read_group, RESIDUAL_BITS
            )
            m.d.comb += [
                vector.residual_read_data[lane].eq(word),
                norm.read_values[lane].eq(word.as_signed()),
            ]
        with m.If(self._embedding_phase & self._embedding_valid):
            m.d.comb += [
                hidden.write_lanes.eq(feature.lane),
                hidden.write_group.eq(self._group_of(feature.block)),
                hidden.write_address.eq(self._word_base(feature.block, model.hidden_size) + feature.feature),
            ]
            m.d.comb += [hidden.write_data[lane].eq(feature.value) for lane in range(p)]
        with m.Elif(vector.hidden_write):
            m.d.comb += [
                hidden.write_lanes.eq(~0),
                hidden.write_group.eq(vector.hidden_write_group),
                hidden.write_address.eq(vector.hidden_write_address),
                hidden.write_data.eq(vector.hidden_write_data),
            ]
        with m.Else():
            m.d.comb += [
                hidden.write_lanes.eq(Mux(norm.write_enable & ~self._embedding_phase, (1 << p) - 1, 0)),
                hidden.write_group.eq(self._group_of(norm.write_block)),
                hidden.write_address.eq(norm_write_address),
                hidden.write_data.eq(norm_write_pair),
            ]

    def _other_memories(self, m: Module) -> None:
        """Writes of keys, values and activations."""
        machine = self.machine
        p = self.machine.rows
        norm, vector, activation = self.layernorm, self.vector_path, self.activation_memory
        key, value = self.key_memory, self.value_memory
        all_lanes = (1 << p) - 1
        for memory_, enable in ((key, vector.key_write), (value, vector.value_write)):
            m.d.comb += [
                memory_.write_lanes.eq(Mux(enable, all_lanes, 0)),
                memory_.write_group.eq(vector.write_group),
                memory_.write_address.eq(vector.write_address),
                memory_.write_data.eq(vector.write_bytes),
            ]
        with m.If(self._embedding_phase):
            m.d.comb += [
                activation.write_lanes.eq(Mux(norm.write_enable, all_lanes, 0)),
                activation.write_group.eq(self._group_of(norm.write_block)),
                activation.write_address.eq(
                    self._word_base(norm.write_block, machine.activation_stride) + norm.write_feature
                ),
            ]
            m.d.comb += [
                activation.write_data[lane].eq(norm.write_values[lane][:OPERAND_BITS]) for lane in range(p)
            ]
        with m.Else():
            m.d.comb += [
                activation.write_lanes.eq(Mux(vector.activation_write, all_lanes, 0)),
                activation.write_group.eq(vector.write_group),
                activation.write_address.eq(vector.write_address),
                activation.write_data.eq(vector.write_bytes),
            ]

    def _settings(self, m: Module) -> None:
        """What the parts know of the sentence and of each other."""
        fetcher, sequencer, embedding = self.fetcher, self.sequencer, self.embedding
        settings = self.settings
        m.d.comb += [
            self._quiet.eq(~(self._draining | self._norm_busy)),
            sequencer.quiet.eq(self._quiet),
            sequencer.layernorm_busy.eq(self._norm_busy),
            sequencer.length.eq(settings.length),
            sequencer.tile_available.eq(fetcher.tile_available),
            sequencer.attention_loaded.eq(fetcher.attention_loaded),
            fetcher.tile_release.eq(sequencer.tile_release),
            fetcher.parameters_base.eq(settings.parameters_base),
            embedding.length.eq(settings.length),
            embedding.tokens_base.eq(settings.tokens_base),
            embedding.word_base.eq(settings.embedding_base),
            embedding.position_base.eq(settings.position_base),
        ]

    def _partial_block(self, m: Module) -> Signal:
        """Pulse: the sentence ended within a token block."""
        lane = Signal(self.machine.rows)
        partial = Signal()
        with m.If(self.embedding.out.valid & self.embedding.out.ready):
            m.d.sync += lane.eq(self.embedding.out.payload.lane)
        m.d.comb += partial.eq(self.embedding.done & ~self.embedding.token_error & ~lane[-1])
        return partial

    def _control(self, m: Module) -> None:
        """Embedding, projection, then iterations until the exit unit is satisfied."""
        settings, program = self.settings, self.fetcher.table.program
        vector, exit_unit, embedding = self.vector_path, self.exit_unit, self.embedding
        fetcher, sequencer = self.fetcher, self.sequencer
        iteration = Signal.like(self.result.exit_iteration)
        result = Signal(Result)
        m.d.comb += self.result.eq(result)

        def run(descriptors: tuple[int, int], weights_base) -> None:  # type: ignore[no-untyped-def]
            m.d.comb += [
                fetcher.start.eq(1),
                fetcher.first.eq(descriptors[0]),
                fetcher.last.eq(descriptors[1]),
                fetcher.weights_base.eq(weights_base),
                sequencer.start.eq(1),
                sequencer.first.eq(descriptors[0]),
                sequencer.last.eq(descriptors[1]),
            ]

        ran = Signal()
        m.d.comb += ran.eq(fetcher.idle & sequencer.idle & self._quiet)
        m.d.comb += [
            exit_unit.logits.eq(vector.logits),
            exit_unit.mode.eq(settings.mode),
            exit_unit.delta.eq(settings.delta),
            exit_unit.window.eq(settings.window),
            exit_unit.margin.eq(settings.margin),
            exit_unit.range_.eq(settings.range),
            exit_unit.patience.eq(settings.patience),
            exit_unit.last_iteration.eq(iteration == settings.iterations),
            self.record.iteration.eq(iteration),
            self.record.label.eq(exit_unit.label),
            self.record.confidence.eq(exit_unit.confidence),
            self.record.entropy.eq(exit_unit.entropy),
        ]
        settle = Signal(2)
        with m.FSM(name="control"):
            with m.State("IDLE"), m.If(self.start):
                m.d.comb += [fetcher.load_parameters.eq(1), exit_unit.clear.eq(1)]
                m.d.sync += [self._running.eq(1), iteration.eq(0)]
                m.next = "NORM"
            with m.State("NORM"):
                run(program.norm, 0)
                m.d.sync += settle.eq(0)
                m.next = "NORM_RUN"
            with m.State("NORM_RUN"):
                m.d.sync += settle.eq(settle | 1)
                with m.If(settle[0] & ran):
                    m.next = "EMBED"
            with m.State("EMBED"):
                m.d.comb += [embedding.start.eq(1), self._embedding_phase.eq(1), self._embedding_reads.eq(1)]
                m.next = "EMBEDDING"
            with m.State("EMBEDDING"):
                m.d.comb += [self._embedding_phase.eq(1), self._embedding_reads.eq(1)]
                m.d.sync += settle.eq(0)
                with m.If(embedding.done):
                    with m.If(embedding.token_error):
                        m.d.comb += [self.done.eq(1), self.error.eq(ErrorCode.TOKEN)]
                        m.d.sync += self._running.eq(0)
                        m.next = "IDLE"
                    with m.Else():
                        m.next = "EMBEDDED"
            with m.State("EMBEDDED"):
                m.d.comb += self._embedding_phase.eq(1)
                m.d.sync += settle.eq(settle + (settle != 3))
                with m.If((settle == 3) & ~self._norm_busy):
                    m.next = "PROJECT"
            with m.State("PROJECT"):
                run(program.projection, settings.embedding_layer_base)
                m.d.sync += settle.eq(0)
                m.next = "PROJECTING"
            with m.State("PROJECTING"):
                m.d.sync += settle.eq(settle | 1)
                with m.If(settle[0] & ran):
                    m.next = "ITERATE"
            with m.State("ITERATE"):
                run(program.layer, settings.layer_base)
                m.d.sync += [settle.eq(0), iteration.eq(iteration + 1)]
                m.next = "ITERATION"
            with m.State("ITERATION"):
                m.d.sync += settle.eq(settle | 1)
                with m.If(settle[0] & ran):
                    m.next = "EXIT"
            with m.State("EXIT"):
                m.d.comb += [exit_unit.start.eq(1), self._exiting.eq(1)]
                m.next = "EXITING"
            with m.State("EXITING"):
                m.d.comb += self._exiting.eq(1)
                with m.If(exit_unit.done):
                    m.d.comb += self.record_valid.eq(1)
                    m.d.sync += [
                        result.label.eq(exit_unit.label),
                        result.exit_iteration.eq(iteration),
                        result.logits.eq(vector.logits),
                        result.probabilities.eq(exit_unit.probabilities),
                        result.entropy.eq(exit_unit.entropy),
                    ]
                    with m.If(exit_unit.exit):
                        m.next = "FINISH"
                    with m.Else():
                        m.next = "ITERATE"
            with m.State("FINISH"):
                m.d.comb += [self.done.eq(1), self.error.eq(ErrorCode.NONE)]
                m.d.sync += self._running.eq(0)
                m.next = "IDLE"

    def _count(self, m: Module) -> None:
        """Every cycle of a sentence is counted once: the array works, or it has a reason not to."""
        counters = Signal(Counters)
        m.d.comb += self.counters.eq(counters)
        with m.If(self.start):
            m.d.sync += counters.eq(0)
        state = Signal(ArrayState)
        m.d.comb += state.eq(Mux(self._exiting, ArrayState.EXIT, self.sequencer.state))
        with m.If(self._running), m.Switch(state):
            for reason in ArrayState:
                with m.Case(reason):
                    counter = counters[reason.name.lower()]
                    m.d.sync += counter.eq(counter + 1)

    def _trace(self, m: Module) -> None:
        """Drives the trace ports."""
        p = self.machine.rows
        norm, softmax, step_1 = self.layernorm, self.softmax, self._step_1
        feature = self.embedding.out.payload
        wiring.connect(m, wiring.flipped(self.trace_vector), self.vector_path.trace)

        def lanes(values) -> Cat:  # type: ignore[no-untyped-def]
            return Cat(*(_extended(v) for v in values))

        def _extended(value):  # type: ignore[no-untyped-def]
            wide = Signal(signed(LANE_BITS), name="trace_lane")
            m.d.comb += wide.eq(value)
            return wide

        trace = self.trace_norm
        m.d.comb += [
            trace.valid.eq(norm.write_enable),
            trace.tag.eq(Mux(self._embedding_phase, TraceTag.NORM_OPERAND, TraceTag.NORM_HIDDEN)),
            trace.index.eq((norm.write_block << POSITION_BITS) | norm.write_feature),
            trace.data.eq(lanes(norm.write_values[i] for i in range(p))),
        ]
        trace = self.trace_exponentials
        position = (step_1.head << HEAD_SHIFT) | step_1.index
        m.d.comb += [
            trace.valid.eq(step_1.valid & step_1.trace),
            trace.tag.eq(TraceTag.EXPONENTIALS),
            trace.index.eq((step_1.block << POSITION_BITS) | position),
            trace.data.eq(lanes(softmax.exponentials[i] for i in range(p))),
        ]
        trace = self.trace_embedding
        m.d.comb += [
            trace.valid.eq(self._embedding_valid),
            trace.tag.eq(TraceTag.EMBEDDING_SUM),
            trace.index.eq((feature.block << POSITION_BITS) | feature.feature),
            trace.data.eq(lanes(Mux(feature.lane[i], feature.value, 0) for i in range(p))),
        ]
