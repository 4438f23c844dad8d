"""A run as a timeline for Perfetto (https://ui.perfetto.dev): a cycle is shown as a microsecond."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from hw.engine.program import Post, build_program
from hw.params import Machine
from sim.agents.activity import REASONS, Activity

TRACKS = {1: "descriptor", 2: "array", 3: "vector path", 4: "memory"}
IN_FLIGHT = "bursts in flight"


def timeline(machine: Machine, sentences: Mapping[int, Activity], lengths: list[int]) -> dict[str, Any]:
    """The Chrome trace-event document of sentences: a process each, one behind the other in time.

    Four tracks a process: the descriptor, what the array does or waits for, the tensor whose columns the
    vector path writes, the bursts whose beats the memory sends; and a counter of bursts in flight.
    """
    events: list[dict[str, Any]] = []
    begin = 0
    for number, activity in sorted(sentences.items()):
        events += _names(number, f"sentence {number + 1}: {lengths[number]} tokens")
        names = [d.name for d in build_program(machine).descriptors]
        at = begin
        for name, spent in activity.parts(names):
            count = sum(spent.values())
            events.append(_slice(number, 1, name, at, count, spent))
            at += count
        reasons = np.where(activity.reason < 0, -1, activity.reason)
        for value, start, end in _stretches(activity.cycle, reasons):
            events.append(_slice(number, 2, REASONS[value], begin + start, end - start))
        for value, start, end in _stretches(activity.cycle, activity.tensor):
            events.append(_slice(number, 3, Post(value).name.lower(), begin + start, end - start))
        events += _bursts(number, activity, begin)
        begin += activity.cycles
    return {"traceEvents": events, "displayTimeUnit": "ns", "otherData": {"unit": "1 us is a cycle"}}


def _names(process: int, title: str) -> list[dict[str, Any]]:
    named = [{"ph": "M", "name": "process_name", "pid": process, "tid": 0, "args": {"name": title}}]
    for track, name in TRACKS.items():
        named.append({"ph": "M", "name": "thread_name", "pid": process, "tid": track, "args": {"name": name}})
        named.append(
            {
                "ph": "M",
                "name": "thread_sort_index",
                "pid": process,
                "tid": track,
                "args": {"sort_index": track},
            }
        )
    return named


def _slice(
    process: int, track: int, name: str, start: int, count: int, arguments: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    event = {"ph": "X", "name": name, "pid": process, "tid": track, "ts": start, "dur": count}
    return event if arguments is None else {**event, "args": dict(arguments)}


def _stretches(cycle: np.ndarray, values: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """(value, first cycle, end) of each stretch of one value that is not negative."""
    edges = np.flatnonzero(np.diff(values)) + 1
    starts = np.concatenate([[0], edges])
    ends = np.concatenate([edges, [len(values) - 1]])
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if values[start] >= 0 and cycle[end] > cycle[start]:
            yield int(values[start]), int(cycle[start]), int(cycle[end])


def _bursts(process: int, activity: Activity, begin: int) -> Iterator[dict[str, Any]]:
    waiting: deque[int] = deque()
    opened = 0
    for i, cycle in enumerate(activity.cycle.tolist()):
        before = len(waiting)
        if activity.taken[i]:
            waiting.append(int(activity.beats[i]))
        if activity.first[i]:
            opened = cycle
        if activity.last[i] and waiting:
            beats = waiting.popleft()
            yield _slice(process, 4, f"{beats} beats", begin + opened, cycle - opened + 1)
        if len(waiting) != before:
            yield {
                "ph": "C", "name": IN_FLIGHT, "pid": process, "ts": begin + cycle,
                "args": {IN_FLIGHT: len(waiting)},
            }  # fmt: skip
