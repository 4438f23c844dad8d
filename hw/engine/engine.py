"""One sentence through the machine: embedding, iterations, exit decision."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden_model.numerics import OPERAND_BITS
from hw.arith.delay import delay, delay_in_memory
from hw.arith.fan_out import register_each
from hw.arith.widths import bits_for_index
from hw.bus.axi import read_command_stream, read_data_stream
from hw.channel import CHANNEL, CHANNEL_BITS, NORM_CHANNEL
from hw.engine.array import Array
from hw.engine.fetcher import Fetcher
from hw.engine.hidden_stream import NORM_WRITE_LAG, HiddenStream
from hw.engine.operands import OPERAND_STAGES, WORDS_AT, Operands
from hw.engine.sequencer import Sequencer
from hw.engine.tile import ArrayState, last_block_of
from hw.engine.token_words import group_of, word_base
from hw.engine.trace import HEAD_SHIFT, LANE_BITS, POSITION_BITS, TracePort, TraceTag
from hw.engine.vector_path import VectorPath
from hw.interfaces import Command, Counters, ErrorCode, Record, Result
from hw.memory.banks import READ_LATENCY, GroupedMemory, WordMemory
from hw.params import Machine
from hw.units.activation_table import ActivationTable
from hw.units.embedding import EmbeddingUnit
from hw.units.exit_unit import ExitUnit
from hw.units.layernorm import LayerNorm
from hw.units.softmax import Softmax

TRACES = ("trace_vector", "trace_norm", "trace_exponentials", "trace_embedding")


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
            HiddenStream.ROWS_LATENCY,
        )
        self.vector_path = VectorPath(
            machine,
            norm_latency=self.layernorm.read_to_write_latency + NORM_WRITE_LAG,
            drain_lead=self.array.shift_latency - 1,
        )
        self.softmax = Softmax(p, model.max_position_embeddings)
        self.activation_table = ActivationTable(p)
        self.embedding = EmbeddingUnit(model, p, machine.axi_bits)
        self.exit_unit = ExitUnit(model.num_labels, machine.technology)

        def memory(depth: int) -> GroupedMemory:
            return GroupedMemory(
                groups=machine.groups,
                lanes=p,
                width=OPERAND_BITS,
                depth=depth,
                dense=machine.dense_memories,
                poison=machine.trace,
            )

        # No word is used that is written in the cycle of its read. Activations, keys and values are read by
        # descriptors that wait until the ones that write them are through; a context is written beside the
        # queries that are read. A weight bank is filled from its beginning when its last words are read.
        # LayerNorm's parameters are there before the first sums.
        self.operands = Operands(machine)
        self.hidden_stream = HiddenStream(machine)
        self.activation_memory = memory(machine.activation_words)
        self.key_memory = memory(machine.key_words)
        self.value_memory = memory(machine.value_words)
        self.weights_memory = WordMemory(
            unsigned(machine.axi_bits), 2 * machine.bank_words, poison=machine.trace
        )
        self.norm_parameters = WordMemory(unsigned(CHANNEL_BITS), model.hidden_size, poison=machine.trace)

        self._embedding_reads = Signal()  # the bus serves the embedding unit
        self._embedding_phase = Signal()  # LayerNorm works for the embedding
        self._embedding_valid = Signal()  # a feature leaves the embedding unit
        self._draining = Signal()
        self._norm_busy = Signal()
        self._quiet = Signal()  # nothing is on its way to a memory
        self._running = Signal()
        self._exiting = Signal()

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        for name in (
            "fetcher", "sequencer", "array", "vector_path", "softmax", "layernorm", "activation_table",
            "embedding", "exit_unit", "operands", "hidden_stream", "activation_memory", "key_memory",
            "value_memory", "weights_memory", "norm_parameters",
        ):  # fmt: skip
            m.submodules[name] = getattr(self, name)
        # Nothing comes from the embedding, or from its LayerNorm, in the phase's first and last cycles.
        self._embedding_phase_of = register_each(
            m, self._embedding_phase, self.machine.rows, "embedding_phase_of"
        )
        self._fetch(m)
        self._operands(m)
        self._drain(m)
        self._row_softmax(m)
        self._normalisation(m)
        self._hidden_writes(m)
        self._other_memories(m)
        self._settings(m)
        self._control(m)
        self._count(m)
        if self.machine.trace:
            self._trace(m)
        return m

    def _fetch(self, m: Module) -> None:
        """Where fetched words go, and who has the bus."""
        machine = self.machine
        fetcher, vector, table = self.fetcher, self.vector_path, self.activation_table
        embedding, weights, norm_parameters = self.embedding, self.weights_memory, self.norm_parameters
        m.d.sync += [
            weights.write_enable.eq(fetcher.bank_write_enable),
            weights.write_address.eq(
                Mux(fetcher.bank_write_bank, machine.bank_words, 0) + fetcher.bank_write_address
            ),
            weights.write_data.eq(fetcher.bank_write_data),
        ]
        # Like the weights a cycle late, so that the beat does not reach a memory's enable within its own.
        # None of these words is used before a tile has passed the array.
        m.d.sync += [
            norm_parameters.write_enable.eq(fetcher.norm_write_enable),
            norm_parameters.write_address.eq(fetcher.norm_write_index),
            norm_parameters.write_data.eq(fetcher.word[:CHANNEL_BITS]),
            table.write_enable.eq(fetcher.table_write_enable),
            table.write_address.eq(fetcher.table_write_address),
            table.write_data.eq(fetcher.table_write_data),
            vector.headers.valid.eq(fetcher.header_write_enable),
            vector.headers.payload.slot.eq(fetcher.header_write_slot),
            vector.headers.payload.index.eq(fetcher.header_write_index),
            vector.headers.payload.channel.eq(fetcher.word[:CHANNEL_BITS]),
        ]
        m.d.comb += vector.score_channel.eq(fetcher.attention_parameters[0][:CHANNEL_BITS])
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
        """The operands' memories, and the array behind them."""
        operands, array, softmax = self.operands, self.array, self.softmax
        m.d.comb += [
            operands.step.eq(self.sequencer.step),
            self.hidden_stream.array_address.eq(operands.hidden_address),
            operands.hidden_words.eq(self.hidden_stream.array_words),
            self.weights_memory.read_address.eq(operands.weights_address),
            operands.weights.eq(self.weights_memory.read_data),
            softmax.exp_enable.eq(operands.exponentials_enable),
            softmax.exp_key.eq(operands.exponentials_key),
            softmax.exp_parity.eq(operands.exponentials_parity),
            operands.exponentials.eq(softmax.exponentials),
            array.valid.eq(operands.valid),
            array.first.eq(operands.first),
            array.last.eq(operands.last),
            array.row_operands.eq(operands.rows),
            array.column_operands.eq(operands.columns),
        ]
        for name in ("activation", "key", "value"):
            memory: GroupedMemory = getattr(self, f"{name}_memory")
            m.d.comb += [
                memory.read_address.eq(getattr(operands, f"{name}_address")),
                getattr(operands, f"{name}_words").eq(memory.read_data),
            ]

    def _drain(self, m: Module) -> None:
        """A closed tile's destination waits for its sums; the vector path's neighbours."""
        sequencer, array, vector = self.sequencer, self.array, self.vector_path
        softmax, table = self.softmax, self.activation_table
        step = sequencer.step
        closing = step.valid & step.last
        way = OPERAND_STAGES + array.latency - vector.drain_lead
        on_the_way = Signal(way)
        m.d.sync += on_the_way.eq((on_the_way << 1) | closing)
        # Registered, but for the step that begins it.
        leaving = Signal()
        m.d.sync += leaving.eq(on_the_way.any() | closing | vector.busy)
        m.d.comb += [
            self._draining.eq(closing | leaving),
            vector.tile.valid.eq(on_the_way[-1]),
            vector.tile.payload.eq(delay_in_memory(m, sequencer.tile, way, "closed_tiles")),
            vector.column.eq(array.column),
            array.shift.eq(vector.shift),
            vector.row_multiplier.eq(softmax.row_multiplier),
            vector.row_shift.eq(softmax.row_shift),
            table.index.eq(vector.table_index),
            vector.table_values.eq(table.values),
        ]

    def _row_softmax(self, m: Module) -> None:
        """Score columns in; a row block's second pass starts when its last column is stored."""
        fetcher, sequencer, scores = self.fetcher, self.sequencer, self.vector_path.scores
        softmax, settings = self.softmax, self.settings
        stored, stored_parity, pending, pending_parity = Signal(), Signal(), Signal(), Signal()
        done_before = Signal(2)
        context_channel = Signal(CHANNEL)
        m.d.comb += [
            context_channel.eq(fetcher.attention_parameters[1][:CHANNEL_BITS]),
            softmax.score_valid.eq(scores.valid),
            softmax.score_parity.eq(scores.payload.parity),
            softmax.score_key.eq(scores.payload.key),
            softmax.score_first.eq(scores.payload.first),
            softmax.scores.eq(scores.payload.lanes),
            softmax.start.eq(pending & ~softmax.busy),
            softmax.start_parity.eq(pending_parity),
            softmax.start_keys.eq(settings.length),
            softmax.context_multiplier.eq(context_channel.multiplier),
            softmax.context_shift.eq(context_channel.shift),
            sequencer.softmax_done.eq(softmax.done & ~done_before),
        ]
        m.d.sync += [
            done_before.eq(softmax.done),
            stored.eq(scores.valid & scores.payload.last),
        ]
        with m.If(scores.valid & scores.payload.last):
            m.d.sync += stored_parity.eq(scores.payload.parity)
        with m.If(stored):
            m.d.sync += [pending.eq(1), pending_parity.eq(stored_parity)]
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
        # Known a cycle late: by then what leads to a request has been busy itself.
        m.d.sync += self._norm_busy.eq(norm_request | (requested != 0) | norm.busy)
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
            norm.pause.eq(vector.residual_read.valid),
            # Its parameters arrive with its values.
            norm_parameters.read_address.eq(
                delay(m, norm.parameter_feature, HiddenStream.ROWS_LATENCY - READ_LATENCY, "parameter")
            ),
            *(norm.read_values[i].eq(self.hidden_stream.rows[i].as_signed()) for i in range(p)),
        ]
        norm_channel = Signal(NORM_CHANNEL)
        m.d.comb += [
            norm_channel.eq(norm_parameters.read_data),
            norm.gamma.eq(norm_channel.multiplier),
            norm.beta.eq(norm_channel.offset),
            norm.shift.eq(norm_channel.shift),
        ]

        # The embedding's features arrive one lane at a time, the residual's a column at a time.
        feature, sums = embedding.out.payload, vector.statistics.payload
        m.d.comb += [
            embedding.out.ready.eq(1),
            self._embedding_valid.eq(embedding.out.valid & embedding.out.ready),
        ]
        m.d.comb += [
            norm.stat_values[lane].eq(Mux(self._embedding_phase_of[lane], feature.value, sums.lanes[lane]))
            for lane in range(p)
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
        with m.Else():
            m.d.comb += [
                norm.stat_valid.eq(vector.statistics.valid),
                norm.stat_lanes.eq(~0),
                norm.stat_first.eq(sums.first),
                norm.stat_block.eq(sums.block),
                norm.stat_block_start.eq(sums.block_start),
                norm.stat_block_end.eq(sums.block_end),
            ]
        # A block is complete with its last lane, or with the sentence's last token.
        embedded_block = Signal()
        m.d.sync += embedded_block.eq(self._embedding_valid & feature.last & feature.lane[p - 1])
        m.d.comb += norm_request.eq(vector.norm_request | embedded_block | self._partial_block(m))

    def _hidden_writes(self, m: Module) -> None:
        """The residual stream's readers and writers."""
        norm, vector, hidden = self.layernorm, self.vector_path, self.hidden_stream
        feature = self.embedding.out.payload
        wiring.connect(m, vector.residual_read, hidden.residual_read)
        wiring.connect(m, vector.hidden, hidden.vector_write)
        embedded = hidden.embedding_write
        m.d.comb += [
            vector.residual.eq(hidden.rows),
            hidden.norm_read.valid.eq(norm.read_enable),
            hidden.norm_read.payload.block.eq(norm.read_block),
            hidden.norm_read.payload.feature.eq(norm.read_feature),
            hidden.norm_write.valid.eq(norm.write_enable & ~self._embedding_phase),
            hidden.norm_write.payload.at.block.eq(norm.write_block),
            hidden.norm_write.payload.at.feature.eq(norm.write_feature),
            hidden.norm_write.payload.values.eq(norm.write_values),
            embedded.valid.eq(self._embedding_valid & self._embedding_phase),
            embedded.payload.at.block.eq(feature.block),
            embedded.payload.at.feature.eq(feature.feature),
            embedded.payload.lanes.eq(feature.lane),
            embedded.payload.value.eq(feature.value),
        ]

    def _other_memories(self, m: Module) -> None:
        """Writes of keys, values and activations."""
        machine = self.machine
        norm, vector, activation = self.layernorm, self.vector_path, self.activation_memory
        for memory, written in ((self.key_memory, vector.key), (self.value_memory, vector.value)):
            m.d.comb += [
                memory.write_enable.eq(written.valid),
                memory.write_group.eq(written.payload.group),
                memory.write_address.eq(written.payload.address),
                memory.write_data.eq(written.payload.lanes),
            ]
        # The embedding's operands come from LayerNorm, before anything comes from the vector path.
        base = Signal.like(activation.write_address)
        m.d.comb += base.eq(word_base(machine, norm.write_block, machine.activation_stride))
        with m.If(self._embedding_phase):
            m.d.sync += [
                activation.write_enable.eq(norm.write_enable),
                activation.write_group.eq(group_of(machine, norm.write_block)),
                activation.write_address.eq(base + norm.write_feature),
            ]
        with m.Else():
            m.d.sync += [
                activation.write_enable.eq(vector.activation.valid),
                activation.write_group.eq(vector.activation.payload.group),
                activation.write_address.eq(vector.activation.payload.address),
            ]
        m.d.sync += [
            activation.write_data[lane].eq(
                Mux(
                    self._embedding_phase_of[lane],
                    norm.write_values[lane][:OPERAND_BITS],
                    vector.activation.payload.lanes[lane],
                )
            )
            for lane in range(machine.rows)
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
        result = Signal(Result, reset_less=True)
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
        # Registers set with the state: all that the bus brings is behind them.
        reads, phase = self._embedding_reads, self._embedding_phase
        m.d.sync += exit_unit.clear.eq(0)
        with m.FSM(name="control"):
            with m.State("IDLE"), m.If(self.start):
                m.d.comb += fetcher.load_parameters.eq(1)
                m.d.sync += [self._running.eq(1), iteration.eq(0), exit_unit.clear.eq(1)]
                m.next = "NORM"
            with m.State("NORM"):
                run(program.norm, 0)
                m.d.sync += settle.eq(0)
                m.next = "NORM_RUN"
            with m.State("NORM_RUN"):
                m.d.sync += settle.eq(settle | 1)
                with m.If(settle[0] & ran):
                    m.d.sync += [reads.eq(1), phase.eq(1)]
                    m.next = "EMBED"
            with m.State("EMBED"):
                m.d.comb += embedding.start.eq(1)
                m.next = "EMBEDDING"
            with m.State("EMBEDDING"):
                m.d.sync += settle.eq(0)
                with m.If(embedding.done):
                    m.d.sync += reads.eq(0)
                    with m.If(embedding.token_error):
                        m.d.comb += [self.done.eq(1), self.error.eq(ErrorCode.TOKEN)]
                        m.d.sync += [self._running.eq(0), phase.eq(0)]
                        m.next = "IDLE"
                    with m.Else():
                        m.next = "EMBEDDED"
            with m.State("EMBEDDED"):
                m.d.sync += settle.eq(settle + (settle != 3))
                with m.If((settle == 3) & ~self._norm_busy):
                    m.d.sync += phase.eq(0)
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
        counters = Signal(Counters, reset_less=True)  # an abort leaves them as they were
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
        norm, operands = self.layernorm, self.operands
        step = delay(m, self.sequencer.step, WORDS_AT, "trace_step")
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
        position = (step.head << HEAD_SHIFT) | step.index
        exponentials = delay(m, operands.exponentials, WORDS_AT - 2, "trace_exponentials")
        m.d.comb += [
            trace.valid.eq(step.valid & step.trace),
            trace.tag.eq(TraceTag.EXPONENTIALS),
            trace.index.eq((step.block << POSITION_BITS) | position),
            trace.data.eq(lanes(exponentials[i] for i in range(p))),
        ]
        trace = self.trace_embedding
        m.d.comb += [
            trace.valid.eq(self._embedding_valid),
            trace.tag.eq(TraceTag.EMBEDDING_SUM),
            trace.index.eq((feature.block << POSITION_BITS) | feature.feature),
            trace.data.eq(lanes(Mux(feature.lane[i], feature.value, 0) for i in range(p))),
        ]
