"""What array, sequencer and bus did, cycle by cycle: the monitor in the simulation, and its file read."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hw.interfaces import COUNTER_BITS, Counters

ACTIVITY_FILE = "activity.bin"
"""In the simulator's working folder; the argument is :data:`ACTIVITY_ARGUMENT`."""
ACTIVITY_ARGUMENT = f"+activity_file={ACTIVITY_FILE}"

REASONS = tuple(Counters.members)
"""The engine's counters, in their order."""

_RECORD_WORDS = 3


def with_activity(
    sources: Mapping[str, str], module: str = "accelerator", top: str = "system"
) -> dict[str, str]:
    """The sources of a simulated accelerator with the monitor added.

    It looks at the counters of ``MODULE.engine`` and at the sequencer's descriptor.

    Args:
        sources: Of ``sim.agents.system.system_sources``, of an accelerator with trace ports.
        module: The accelerator.
        top: The system.

    Raises:
        ValueError: the Verilog has no such signal, or no such counters.
    """
    text = sources[f"{module}.v"]
    prefix = re.escape(f"{module}.engine")
    found = re.search(rf"^module \\{prefix}\.sequencer .*?^endmodule", text, re.M | re.S)
    if found is None or f"module \\{module}.engine " not in text:
        raise ValueError(f"{module} has no engine with a sequencer")
    width = re.search(r"wire \[(\d+):0\] descriptor;", found[0])
    if width is None:
        raise ValueError(f"the sequencer of {module} names no descriptor")
    pins = {
        "clk": "clk",
        "rst": "rst",
        "sentence": "sentence",
        "counters": "device.engine.counters",
        "descriptor": "device.engine.sequencer.descriptor",
        "column": "trace_vector__valid",
        "tag": "trace_vector__tag[3:0]",
        **{name: name for name in (f"m_axi__{part}" for part in ("arlen", "arvalid", "arready"))},
        **{name: name for name in (f"m_axi__{part}" for part in ("rvalid", "rready", "rlast"))},
    }
    parameters = {
        "COUNTERS": len(REASONS),
        "COUNTER_BITS": COUNTER_BITS,
        "DESCRIPTOR_BITS": int(width[1]) + 1,
    }
    values = ", ".join(f".{name}({value})" for name, value in parameters.items())
    wires = ", ".join(f".{name}({wire})" for name, wire in pins.items())
    system, closed, rest = sources[f"{top}.v"].rpartition("endmodule")
    system += f"    activity_monitor #({values}) activity_monitor ({wires});\n{closed}{rest}"
    monitor = Path(__file__).with_name("activity_monitor.v").read_text()
    return {**sources, "activity_monitor.v": monitor, f"{top}.v": system}


@dataclasses.dataclass(frozen=True)
class Activity:
    """One sentence's records, in the order of time; a state lasts until the next record.

    Attributes:
        cycle: int64 [n], from the sentence's first counted cycle.
        reason: int64 [n], index into :data:`REASONS`, -1: not running.
        descriptor: int64 [n], the sequencer's.
        taken, first, last: bool [n], a burst's address, first beat, last beat.
        beats: int64 [n], of the burst whose address is taken.
        tensor: int64 [n], what the vector path writes, a ``hw.engine.program.Post``, -1: nothing.
    """

    cycle: np.ndarray
    reason: np.ndarray
    descriptor: np.ndarray
    taken: np.ndarray
    first: np.ndarray
    last: np.ndarray
    beats: np.ndarray
    tensor: np.ndarray

    def parts(self, names: Sequence[str]) -> list[tuple[str, dict[str, int]]]:
        """What the cycles were spent on, in the order of time: descriptor, and its cycles by reason.

        ``embedding`` is what comes before the first descriptor has a tile, ``exit`` the exit unit's work and
        what follows before the next descriptor has one.

        Args:
            names: Of the descriptors.
        """
        found: list[tuple[str, dict[str, int]]] = []
        before = int(self.descriptor[0])  # of the last sentence
        for i in range(len(self.cycle) - 1):
            reason, count = int(self.reason[i]), int(self.cycle[i + 1] - self.cycle[i])
            if reason < 0:
                continue
            descriptor = int(self.descriptor[i])
            if REASONS[reason] == "exit":
                name = "exit"
            elif descriptor == before:
                name = found[-1][0] if found else "embedding"
            else:
                name = names[descriptor]
            before = descriptor
            if not found or found[-1][0] != name:
                found.append((name, {}))
            spent = found[-1][1]
            spent[REASONS[reason]] = spent.get(REASONS[reason], 0) + count
        return found

    @property
    def cycles(self) -> int:
        """Cycles counted, from first to last."""
        return int(self.cycle[np.flatnonzero(self.reason >= 0)[-1] + 1])


def read_activity(path: Path | str) -> dict[int, Activity]:
    """The sentences of an activity file, by number.

    Raises:
        ValueError: the file is none, or a sentence in it never ran.
    """
    data = np.fromfile(path, dtype="<u4")
    if len(data) % _RECORD_WORDS:
        raise ValueError(f"{path} is no activity file: {len(data)} words are no multiple of {_RECORD_WORDS}")
    cycle, sentence, word = data.reshape(-1, _RECORD_WORDS).T.astype(np.int64)
    reason = (word & 0xFF) - 1
    sentences = {}
    for number in np.unique(sentence).tolist():
        mine = sentence == number
        running = np.flatnonzero(mine & (reason >= 0))
        if not len(running):
            continue
        # A counter shows in a cycle what the array did in the one before.
        own = slice(int(running[0]), int(np.flatnonzero(mine)[-1]) + 1)
        part = word[own]
        sentences[int(number)] = Activity(
            cycle=cycle[own] - cycle[own.start],
            reason=reason[own],
            descriptor=part >> 8 & 0xFF,
            taken=(part >> 24 & 1).astype(bool),
            first=(part >> 25 & 1).astype(bool),
            last=(part >> 26 & 1).astype(bool),
            beats=(part >> 16 & 0xFF) + 1,
            tensor=np.where(part >> 27 & 1, part >> 28, -1),
        )
    return sentences
