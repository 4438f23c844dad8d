"""A sample of mutants through their blocks' benches, and through the whole machine if those let them live."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golden_model.cache import cache_dir
from golden_model.children import child, side_by_side
from golden_model.errors import PromiseBroken
from golden_model.files import write_json
from golden_model.progress import Bars, silent
from sim import toolchain
from sim.mutants.blocks import BLOCKS, MACHINE, modules_of
from sim.mutants.child import ELABORATED, FAILED, PASSED, SAME, SLOW, UNBUILDABLE
from sim.mutants.closure import fingerprint
from sim.mutants.reviewed import REVIEWED, reason_for
from sim.mutants.rules import Mutant, find_mutants

PROMISED = 0.95
"""Least share of killed among those that change the netlist and are not explained."""
KILLED, SURVIVED, EQUIVALENT = "killed", "survived", "equivalent"
OUTCOMES = (KILLED, SLOW, UNBUILDABLE, SURVIVED, EQUIVALENT)
"""What becomes of a mutant. The first three are killed; ``EQUIVALENT`` leaves every netlist as it is."""
PATIENCE = 10.0
"""Times the unmutated bench's seconds before a mutant is given up."""
LEAST_SECONDS = 120.0
_MACHINE_MODULES = (
    "hw.accelerator",
    "sim.machine",
    "sim.rails",
    "sim.mutants.child",
    "sim.benches.machine_bench",
)


@dataclass(frozen=True)
class Verdict:
    """What became of one mutant.

    Members:
        block: Its block.
        outcome: One of OUTCOMES.
        by: The run that ended it; empty for a survivor.
        message: What that run said.
        reason: Of a survivor that was reviewed.
    """

    block: str
    mutant: Mutant
    outcome: str
    by: str
    message: str
    seconds: float
    reason: str | None = None

    def as_json(self) -> dict[str, Any]:
        """For result files."""
        return {
            "block": self.block,
            **self.mutant.as_json(),
            "outcome": self.outcome,
            "by": self.by,
            "message": self.message,
            "seconds": self.seconds,
            "reason": self.reason,
        }


def sample(block: str | None, limit: int, seed: int) -> list[tuple[str, Mutant]]:
    """Mutants in the order in which they are run, as many of every block and, within it, of every rule.

    Which one comes first of a rule is decided by seed and the mutant's name alone, not by its line.

    Raises:
        ValueError: no such block, or a limit below 1.
    """
    if block is not None and block not in BLOCKS:
        raise ValueError(f"block {block!r} is not one of {', '.join(BLOCKS)}")
    if limit < 1:
        raise ValueError(f"limit {limit} is below 1")
    queues = []
    for name in BLOCKS if block is None else (block,):
        by_rule: dict[str, list[Mutant]] = defaultdict(list)
        for module, path in modules_of(name).items():
            for mutant in find_mutants(path.read_text(encoding="utf-8"), module):
                by_rule[mutant.rule].append(mutant)
        order = functools.partial(_rank, seed)
        rules = sorted(by_rule.values(), key=lambda found: order(found[0].rule + name))
        ranked = [sorted(found, key=lambda mutant: order(mutant.name)) for found in rules]
        queues.append([(name, mutant) for mutant in _in_turn(ranked)])
    return _in_turn(queues)[:limit]


def _rank(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()


def _in_turn(queues: Sequence[Sequence[Any]]) -> list[Any]:
    longest = max(map(len, queues), default=0)
    return [queue[i] for i in range(longest) for queue in queues if i < len(queue)]


class Campaign:
    """Runs mutants; what a run said is kept by everything it depends on, and not asked again."""

    def __init__(self, seed: int, store: Path | None = None) -> None:
        self.seed = seed
        self.store = cache_dir() / "mutants" if store is None else store
        self._lock = threading.Lock()
        self._baselines: dict[tuple[str, int | str, bool], dict[str, Any]] = {}
        self._baseline_locks: dict[tuple[str, int | str, bool], threading.Lock] = defaultdict(threading.Lock)

    def verdict(self, block: str, mutant: Mutant) -> Verdict:
        """Runs the block's benches in turn, then the machine, until one kills.

        Raises:
            PromiseBroken: a bench fails without any mutant.
        """
        runs: list[int | str] = [*range(len(BLOCKS[block].runs)), MACHINE]
        seconds, told_apart = 0.0, False
        for run in runs:
            if run == MACHINE and self._run(block, run, mutant, elaborate_only=True)["outcome"] == SAME:
                continue
            said = self._run(block, run, mutant)
            seconds += said["seconds"]
            told_apart |= said["outcome"] != SAME
            if said["outcome"] in (FAILED, SLOW, UNBUILDABLE):
                outcome = KILLED if said["outcome"] == FAILED else said["outcome"]
                return Verdict(block, mutant, outcome, self._name(block, run), said["message"], seconds)
        if not told_apart:
            return Verdict(block, mutant, EQUIVALENT, "", "", seconds)
        reason = reason_for(mutant.function, mutant.rule, mutant.before, mutant.after)
        return Verdict(block, mutant, SURVIVED, "", "", seconds, reason)

    @staticmethod
    def _name(block: str, run: int | str) -> str:
        return MACHINE if run == MACHINE else f"{BLOCKS[block].runs[int(run)].bench.split('.')[-1]} {run}"

    def _baseline(self, block: str, run: int | str, elaborate_only: bool) -> dict[str, Any]:
        """The run without a mutant.

        Raises:
            PromiseBroken: it fails.
        """
        key = (MACHINE if run == MACHINE else block, run, elaborate_only)
        with self._lock:
            lock = self._baseline_locks[key]
        with lock:
            if key not in self._baselines:
                said = self._ask(key[0], run, None, None, elaborate_only)
                if said["outcome"] not in (PASSED, ELABORATED):
                    name, wrong = self._name(block, run), f"{said['outcome']} without a mutant"
                    raise PromiseBroken(f"{block}: {name} {wrong}: {said['message']}")
                self._baselines[key] = said
            return self._baselines[key]

    def _run(
        self, block: str, run: int | str, mutant: Mutant, elaborate_only: bool = False
    ) -> dict[str, Any]:
        baseline = self._baseline(block, run, elaborate_only)
        return self._ask(block, run, mutant, baseline, elaborate_only)

    def _ask(
        self,
        block: str,
        run: int | str,
        mutant: Mutant | None,
        baseline: dict[str, Any] | None,
        elaborate_only: bool,
    ) -> dict[str, Any]:
        """What a run says, from the store if it said so before."""
        modules = (
            _MACHINE_MODULES
            if run == MACHINE
            else (
                BLOCKS[block].runs[int(run)].component.partition(":")[0],
                BLOCKS[block].runs[int(run)].bench,
                "sim.run", "sim.mutants.child",
            )
        )  # fmt: skip
        request = {
            "block": block,
            "run": run,
            "seed": self.seed,
            "mutant": mutant.as_json() if mutant else None,
            "netlist": baseline["netlist"] if baseline else "",
            "elaborate_only": elaborate_only,
            "timeout_s": max(LEAST_SECONDS, PATIENCE * baseline["seconds"]) if baseline else 3600.0,
        }
        depends = {
            "sources": _fingerprint(modules),
            "versions": toolchain.versions(),
            **{key: request[key] for key in ("block", "run", "seed", "netlist", "elaborate_only")},
            "mutant": mutant.name if mutant else "",
        }
        key = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()
        path = self.store / key[:2] / f"{key}.json"
        if path.exists():
            return dict(json.loads(path.read_text()))
        said = _ask(request)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, said)
        return said


@functools.cache
def _fingerprint(modules: tuple[str, ...]) -> str:
    return fingerprint(modules)


def _ask(request: dict[str, Any]) -> dict[str, Any]:
    """In a process of its own."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        folder = Path(name)
        (folder / "request.json").write_text(json.dumps(request))
        command = [sys.executable, "-m", "sim.mutants.child", "request.json", "answer.json"]
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
        environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "TMPDIR": name}
        with (
            (folder / "log").open("wb") as log,
            child(command, folder=folder, output=log, environment=environment) as started,
        ):
            status = started.process.wait()
        answer = folder / "answer.json"
        if not answer.exists():
            lines = (folder / "log").read_text(errors="replace").strip().splitlines() or ["it said nothing"]
            raise PromiseBroken(f"the process of a mutant ended with status {status}: {lines[-1]}")
        return dict(json.loads(answer.read_text()))


def run_campaign(
    *,
    block: str | None,
    limit: int,
    workers: int,
    seed: int,
    store: Path | None = None,
    bars: Bars = silent,
    on_verdict: Callable[[Verdict], None] | None = None,
) -> list[Verdict]:
    """Runs a sample and returns its verdicts in the sample's order.

    Args:
        block: One block's mutants only; None: all blocks'.
        limit: Mutants at most.
        workers: Processes side by side.
        seed: Of the sample and of the benches.
        store: Where runs are kept; None: the cache.
        bars: How progress is shown.
        on_verdict: Told of each as it is found.

    Raises:
        PromiseBroken: a bench fails without a mutant.
        ValueError: workers or limit below 1, or no such block.
    """
    if workers < 1:
        raise ValueError(f"workers {workers} is below 1")
    chosen = sample(block, limit, seed)
    campaign = Campaign(seed, store)
    waiting = iter(enumerate(chosen))
    found: dict[int, Verdict] = {}
    lock = threading.Lock()
    with bars("mutants", len(chosen)) as advance:

        def work() -> None:
            while True:
                with lock:
                    number, item = next(waiting, (-1, None))
                if item is None:
                    return
                verdict = campaign.verdict(*item)
                with lock:
                    found[number] = verdict
                    advance(1)
                    if on_verdict:
                        on_verdict(verdict)

        side_by_side([work] * min(workers, max(1, len(chosen))))
    return [found[number] for number in range(len(chosen))]


def summary(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Counts and killed share, per block and of all; a reviewed survivor counts for neither side."""
    blocks: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        blocks[verdict.block].append(verdict)
    return {"blocks": {name: _counts(part) for name, part in blocks.items()}, "all": _counts(verdicts)}


def _counts(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    counts = Counter(verdict.outcome for verdict in verdicts)
    explained = sum(v.reason is not None for v in verdicts)
    killed = counts[KILLED] + counts[SLOW] + counts[UNBUILDABLE]
    counted = killed + counts[SURVIVED] - explained
    return {
        "mutants": len(verdicts),
        **{outcome: counts[outcome] for outcome in OUTCOMES},
        "explained": explained,
        "share": killed / counted if counted else None,
    }


def stale_reviews(verdicts: Sequence[Verdict]) -> list[str]:
    """Reviewed survivors that were run and did not survive, as text."""
    ended = {v.mutant for v in verdicts if v.outcome not in (SURVIVED, EQUIVALENT)}
    changes = {(m.function, m.rule, m.before, m.after) for m in ended}
    return [
        f"{r.function}: {r.rule}: {r.before} -> {r.after}"
        for r in REVIEWED
        if (r.function, r.rule, r.before, r.after) in changes
    ]
