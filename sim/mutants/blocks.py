"""Which module belongs to which block, and the bench runs that a block's mutants have to survive.

Nothing of hw is imported before a run is made: in the process of a mutant that happens after it was planted.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hw

MACHINE = "machine"
"""The block of every module that has no bench of its own; its bench is the whole machine."""
NOT_HARDWARE = (
    "hw.arith.check", "hw.bus.registers.__main__", "hw.bus.registers.export", "hw.bus.registers.model",
    "hw.cycles", "hw.emit", "hw.engine.trace", "hw.enumeration", "hw.image",
    "hw.interfaces", "hw.memory.attributes", "hw.params", "hw.synth",
)  # fmt: skip
"""Modules and packages that make no gates."""


@dataclass(frozen=True)
class Run:
    """One bench on one component.

    Members:
        component: ``module:Class`` of the device.
        arguments: Of the class.
        bench: The cocotb module.
        test_args: For the bench, made from the component where that must be asked.
        ecp5: Whether the device instantiates the ECP5's cells.
    """

    component: str
    arguments: Mapping[str, Any]
    bench: str
    test_args: Callable[[Any], dict[str, Any]]
    ecp5: bool = False

    def make(self) -> Any:
        """The component."""
        return self._class()(**self.arguments)

    def _class(self) -> Any:
        module, _, name = self.component.partition(":")
        return getattr(importlib.import_module(module), name)


@dataclass(frozen=True)
class Block:
    """Modules (or packages) whose mutants the runs are to kill."""

    modules: tuple[str, ...]
    runs: tuple[Run, ...] = field(default=())


def _requantizer(technology: str, high_in_logic: bool) -> Run:
    return Run(
        "hw.arith.requantizer:Requantizer",
        {"technology": technology, "high_in_logic": high_in_logic},
        "sim.benches.requantizer_bench",
        lambda block: {"latency": block.latency, "count": 4000},
        ecp5=technology == "ecp5",
    )


def _activation_table(block: Any) -> dict[str, Any]:
    from golden_model.integer.ops.table import activation_table

    table = activation_table("gelu_new", 1 / 64, 1 / 16).numpy()
    return {"lanes": 2, "latency": block.latency, "table": table}


def _softmax(lanes: int, keys: int, source: str, reader: str) -> Run:
    return Run(
        "hw.units.softmax:Softmax",
        {"lanes": lanes, "max_keys": keys},
        "sim.benches.softmax_bench",
        lambda block: {
            "lanes": lanes,
            "max_keys": keys,
            "pass_overhead": block.PASS_OVERHEAD,
            "divide_cycles": block.DIVIDE_CYCLES,
            "row_blocks": 40,
            "source": source,
            "reader": reader,
        },
    )


def _layernorm(lanes: int, sizes: tuple[int, ...], normalize_lanes: int) -> Run:
    return Run(
        "hw.units.layernorm:LayerNorm",
        {"lanes": lanes, "sizes": sizes, "max_blocks": 5, "normalize_lanes": normalize_lanes},
        "sim.benches.layernorm_bench",
        lambda block: {
            "lanes": lanes,
            "sizes": list(sizes),
            "blocks": 5,
            "read_latency": 1,
            "read_to_write_latency": block.read_to_write_latency,
            "cycles_per_feature": block.cycles_per_feature,
            "rounds": 8,
            "gap": "random",
            "pause": "random",
        },
    )


def _array(rows: int, columns: int) -> Run:
    return Run(
        "hw.engine.array:Array",
        {"rows": rows, "columns": columns},
        "sim.benches.array_bench",
        lambda block: {
            "rows": rows,
            "columns": columns,
            "latency": block.latency,
            "shift_latency": block.shift_latency,
            "tiles": 60,
            "holes": 0.2,
        },
    )


def _exit_unit(labels: int) -> Run:
    return Run(
        "hw.units.exit_unit:ExitUnit",
        {"num_labels": labels},
        "sim.benches.exit_unit_bench",
        lambda block: {"num_labels": labels, "latency": block.latency, "sentences": 210},
    )


def _exit_arithmetic(labels: int) -> Run:
    return Run(
        "hw.units.exit_arithmetic:ExitArithmetic",
        {"num_labels": labels},
        "sim.benches.exit_arithmetic_bench",
        lambda block: {"num_labels": labels, "latency": block.latency, "count": 200},
    )


def _exit_decision() -> Run:
    return Run(
        "hw.units.exit_decision:ExitDecision",
        {},
        "sim.benches.exit_decision_bench",
        lambda block: {"latency": block.latency, "sentences": 210},
    )


def _axi_reader() -> Run:
    arguments = {"data_width": 32, "max_burst": 64, "outstanding": 4}
    return Run(
        "hw.bus.axi_reader:AxiReader", arguments, "sim.benches.axi_reader_bench", lambda _: dict(arguments)
    )


def _registers() -> Run:
    sizes = {"rows": 4, "cols": 4, "axi_bits": 32}

    return _OfNano(
        "hw.bus.registers.hardware:Registers",
        sizes,
        "sim.benches.registers_bench",
        lambda _: {"config": _nano().model_dump(), **sizes},
    )


def _embedding() -> Run:
    sizes = {"rows": 4, "data_width": 32}

    def test_args(device: Any) -> dict[str, Any]:
        import numpy as np

        config, random = _nano(), np.random.default_rng(5)
        word = random.integers(-127, 128, (config.vocab_size, config.embedding_size), np.int8)
        shape = (config.type_vocab_size, config.max_position_embeddings, config.embedding_size)
        position_type = random.integers(-32768, 32768, shape, np.int16)
        return {"max_burst": 64, "outstanding": 4, "word": word, "position_type": position_type, **sizes}

    component = "sim.benches.embedding_device:EmbeddingWithReader"
    return _OfNano(component, sizes, "sim.benches.embedding_bench", test_args)


def _nano() -> Any:
    from golden_model.config import PRESETS

    return PRESETS["nano"]


class _OfNano(Run):
    def make(self) -> Any:
        """The component, whose first argument is the preset."""
        return self._class()(_nano(), *self.arguments.values())


def _engine_part(component: str, bench: str, lengths: list[int] | None = None) -> Run:
    """A part whose bench is told the machine: nano on 2 x 8, so that words hold groups."""

    def test_args(block: Any) -> dict[str, Any]:
        values: dict[str, Any] = {"machine": block.machine.model_dump(mode="json")}
        return values if lengths is None else values | {"lengths": lengths}

    return _OfMachine(component, {}, bench, test_args)


class _OfMachine(Run):
    def make(self) -> Any:
        """The component, whose argument is the machine."""
        from hw.params import Machine

        return self._class()(Machine(model=_nano(), rows=2, columns=8))


class _VectorPath(Run):
    def make(self) -> Any:
        """Nano's, four lanes."""
        from hw.params import Machine

        machine = Machine(model=_nano(), rows=4, columns=4)
        return self._class()(machine, **self.arguments)


def _vector_path() -> Run:
    fields = {"model": "nano", "rows": 4, "columns": 4, "technology": "generic"}

    def test_args(block: Any) -> dict[str, Any]:
        latencies = {
            "column": block.column_latency,
            "score": block.score_latency,
            "sum": block.sum_latency,
            "residual_read": block.residual_read_latency,
            "residual": block.residual_latency,
            "idle": block.idle_latency,
        }
        return {"machine": fields, "lead": block.drain_lead, "latencies": latencies, "tiles": 150}

    arguments = {"norm_latency": 24, "drain_lead": 3}
    return _VectorPath(
        "hw.engine.vector_path:VectorPath", arguments, "sim.benches.vector_path_bench", test_args
    )


BLOCKS: dict[str, Block] = {
    "requantizer": Block(
        ("hw.arith.requantizer", "hw.arith.rounding", "hw.arith.multiplier"),
        (_requantizer("generic", False), _requantizer("ecp5", True)),
    ),
    "activation table": Block(
        ("hw.units.activation_table",),
        (
            Run(
                "hw.units.activation_table:ActivationTable",
                {"lanes": 2},
                "sim.benches.activation_table_bench",
                _activation_table,
            ),
        ),
    ),
    "softmax": Block(
        ("hw.units.softmax", "hw.arith.integer_divider"),
        (_softmax(4, 16, "random", "random"), _softmax(3, 40, "none", "none")),
    ),
    "layernorm": Block(
        ("hw.units.layernorm", "hw.units.layernorm_lane", "hw.units.layernorm_rows",
         "hw.units.layernorm_statistics", "hw.arith.constant", "hw.arith.addition", "hw.arith.delay"),
        (_layernorm(4, (32, 16), 2), _layernorm(3, (11, 20, 59), 3)),
    ),
    "array": Block(
        ("hw.engine.array", "hw.engine.cell", "hw.arith.accumulator", "hw.arith.fan_out"),
        (_array(2, 8), _array(4, 4)),
    ),
    "exit arithmetic": Block(
        ("hw.units.exit_arithmetic", "hw.arith.divider"), (_exit_arithmetic(2), _exit_arithmetic(5))
    ),
    "exit decision": Block(("hw.units.exit_decision",), (_exit_decision(),)),
    "exit unit": Block(("hw.units.exit_unit",), (_exit_unit(3), _exit_unit(2))),
    "axi reader": Block(("hw.bus.axi_reader",), (_axi_reader(),)),
    "sequencer": Block(
        ("hw.engine.sequencer", "hw.engine.attention_tiles", "hw.engine.weight_tiles", "hw.engine.stepper",
         "hw.engine.token_blocks", "hw.engine.tile_job", "hw.engine.descriptors"),
        (
            _engine_part(
                "hw.engine.sequencer:Sequencer", "sim.benches.sequencer_bench", [1, 7, 8, 9, 16]
            ),
        ),
    ),
    "fetcher": Block(
        ("hw.engine.fetcher", "hw.engine.fetch_walk", "hw.engine.fetch_receive"),
        (_engine_part("hw.engine.fetcher:Fetcher", "sim.benches.fetcher_bench"),)
    ),
    "embedding": Block(("hw.units.embedding",), (_embedding(),)),
    "vector path": Block(
        ("hw.engine.vector_path", "hw.engine.drain", "hw.engine.channels", "hw.engine.partial_sums",
         "hw.engine.hidden_stream"),
        (_vector_path(),),
    ),
    "registers": Block(("hw.bus.registers", "hw.bus.axi_lite"), (_registers(),)),
    MACHINE: Block(("hw",)),
}  # fmt: skip
"""By name. A module belongs to the first block that names it, or its package."""


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def modules_of(block: str) -> dict[str, Path]:
    """The block's modules, by dotted name, as they are in the source tree today."""
    root = Path(hw.__file__).parent
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if any(_within(module, other) for other in NOT_HARDWARE):
            continue
        owner = next(name for name, b in BLOCKS.items() if any(_within(module, m) for m in b.modules))
        if owner == block:
            found[module] = path
    return found
