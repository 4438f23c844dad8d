"""Verilog to a simulation binary: Verilator with only the top module's ports visible, and a cache.

``build(sources, top=..., options=BuildOptions())`` returns the binary's path. The key is a SHA-256 over the
sources, the options and the versions of Verilator, cocotb and the compiler, so that equal inputs never
build twice, and different ones never meet. A build happens in a temporary folder and is renamed into place
while a lock file of its key is held: parallel processes wait for one build instead of repeating it.

make takes no path with a space in it, and shells and compilers stumble over others. So what they are told are
names in the folder of the build, among them links to Verilator and to cocotb's libraries; and that folder is
among the system's temporary ones where the cache's own path would not do.

Only the ports of the top module are visible to cocotb: making every signal public, as cocotb's runner does,
costs a factor of 6 in speed and 9 in build time on a 32x32 array.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from golden_model.cache import cache_dir
from golden_model.children import child
from golden_model.errors import PromiseBroken
from golden_model.locks import waited_for
from sim import toolchain

_MAIN = Path(__file__).parent / "verilator_main.cpp"
_VERILATOR, _LIBS = "verilator", "libs"
"""Links in the folder of a build."""
# cocotb's libraries need one another; where they lie, the simulation is told when it starts (sim.run).
_LINK = f"-L../{_LIBS} -lcocotbvpi_verilator" + (
    f" -Wl,-rpath-link,../{_LIBS}" if sys.platform == "linux" else ""
)
_RUNTIME_OBJECTS = ("verilated.o", "verilated_dpi.o", "verilated_vpi.o", "verilated_threads.o")
_RUNTIME_OBJECTS_TRACE = (*_RUNTIME_OBJECTS, "verilated_vcd_c.o")
_WORKING: set[tuple[str, ...]] = set()
"""Compilers that built a tiny program."""


class BuildFailure(PromiseBroken):
    """Verilator or the C++ compiler refused the design; the text ends with their messages."""


@dataclasses.dataclass(frozen=True)
class BuildOptions:
    """What a build can be asked for.

    Attributes:
        fast: undefined and initial values are whatever is cheapest (speed runs). Otherwise they are random,
            with the run's seed (correctness runs).
        optimize: the compiler's level for the model, 0 to 3. 3 runs large designs faster; below a million
            cycles the compiler's time counts (nano, 4x4, 16 sentences: 17, 23 and 35 s of building at 0, 1
            and 2, 20 s of running at each).
        trace: a build that can write a VCD.
        timing: keep delays in the Verilog (``#5``), off by default.
        parameters: values for the top module's parameters.
        defines: preprocessor macros.
        public: further visible signals, as (module, signal) pairs; ``*`` is a wildcard in either.
        arguments: further arguments of Verilator.
    """

    fast: bool = False
    optimize: int = 1
    trace: bool = False
    timing: bool = False
    parameters: Mapping[str, int | str] = dataclasses.field(default_factory=dict)
    defines: Mapping[str, int | str] = dataclasses.field(default_factory=dict)
    public: Sequence[tuple[str, str]] = ()
    arguments: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.optimize not in range(4):
            raise ValueError(f"optimize {self.optimize} is not in 0..3")


def normalise_sources(sources: Mapping[str, str] | Sequence[str | Path] | str | Path) -> dict[str, str]:
    """File name to Verilog text, from such a dictionary, or from texts and paths (a text holds a newline)."""
    if isinstance(sources, Mapping):
        named = dict(sources)
    else:
        items = [sources] if isinstance(sources, str | Path) else list(sources)
        named = {}
        for index, item in enumerate(items):
            if isinstance(item, str) and "\n" in item:
                named[f"source{index}.v"] = item
            else:
                path = Path(item)
                if path.name in named:
                    raise ValueError(f"two sources have the file name {path.name!r}")
                named[path.name] = path.read_text()
    if not named:
        raise ValueError("no Verilog source was given")
    for name in named:
        if Path(name).name != name or not name.endswith((".v", ".sv", ".vh", ".svh")):
            raise ValueError(f"source name {name!r} is not a plain file name ending in .v, .sv, .vh or .svh")
    return named


def _control_file(top: str, public: Sequence[tuple[str, str]]) -> str:
    lines = ["`verilator_config", f'public_flat_rw -module "{top}" -port "*"']
    lines += [f'public_flat_rw -module "{module}" -var "{signal}"' for module, signal in public]
    return "\n".join(lines) + "\n"


def _verilator_arguments(top: str, names: Sequence[str], options: BuildOptions) -> list[str]:
    unknown = "fast" if options.fast else "unique"
    arguments = [
        *("--cc", "--exe", "--vpi", "--quiet", "--Mdir", "obj", "--prefix", "Vtop", "-o", "sim"),
        *("--top-module", top, "--timescale", "1ns/1ps"),
        *("--x-assign", unknown, "--x-initial", unknown, "-O3"),
        *("-Wno-fatal", "-Wno-lint", "-Wno-style", "-Wno-UNOPTFLAT", "-Wno-WIDTH"),
        "--timing" if options.timing else "--no-timing",
        *("-LDFLAGS", _LINK),
    ]
    if options.trace:
        arguments += ["--trace-vcd", "--trace-structs"]
    arguments += [f"-G{name}={value}" for name, value in sorted(options.parameters.items())]
    arguments += [f"-D{name}={value}" for name, value in sorted(options.defines.items())]
    arguments += options.arguments
    headers = (".vh", ".svh")
    return [*arguments, "main.cpp", "visible.vlt", *(n for n in names if not n.endswith(headers))]


def _make_variables(options: BuildOptions) -> list[str]:
    return [f"OPT_FAST=-O{options.optimize}", *_runtime_variables(options)]


def _runtime_variables(options: BuildOptions) -> list[str]:
    """Of them those that Verilator's own run-time library is compiled with."""
    variables = ["OPT_SLOW=-O0", "OPT_GLOBAL=-O2"]
    if options.timing:
        variables += ["CFG_CXXFLAGS_COROUTINES=-fcoroutines", "CFG_CXXFLAGS_STD_NEWEST=-std=gnu++20"]
        variables += ["CFG_CXXFLAGS_STD=-std=gnu++20"]
    return variables


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def build_key(sources: Mapping[str, str], top: str, options: BuildOptions) -> str:
    """SHA-256 in hex of everything that decides what the binary does."""
    return _digest(
        {
            "sources": dict(sources),
            "visible": _control_file(top, options.public),
            "arguments": _verilator_arguments(top, list(sources), options),
            "make": _make_variables(options),
            "main": _MAIN.read_text(),
            "versions": toolchain.versions(),
        }
    )


def _run(command: Sequence[str], folder: Path, log: Path, what: str) -> None:
    with log.open("a") as handle:
        handle.write("$ " + " ".join(command) + "\n")
        handle.flush()
        # The compiler's temporary files go where they vanish with the folder, whatever ends it.
        environment = toolchain.build_env(folder / _VERILATOR) | {"TMPDIR": str(folder)}
        with child(command, folder=folder, output=handle, environment=environment) as tool:
            status = tool.process.wait()
    if status:
        lines = log.read_text(errors="replace").splitlines()
        errors = [n for n, line in enumerate(lines) if "%Error" in line or " error: " in line]
        shown = lines[errors[0] : errors[0] + 40] if errors else lines[-40:]
        raise BuildFailure(f"{what} failed with status {status}:\n" + "\n".join(shown))


def _runtime_folder(options: BuildOptions) -> Path:
    """Cached objects of Verilator's own run-time library: neither the design nor its level is in them."""
    variables, root = _runtime_variables(options), str(toolchain.verilator_root())
    key = _digest([toolchain.versions(), variables, options.trace, root])
    return cache_dir() / "runtime" / key[:32]


def _copy_runtime(options: BuildOptions, obj: Path) -> bool:
    folder = _runtime_folder(options)
    if not folder.is_dir():
        return False
    for item in folder.iterdir():
        shutil.copyfile(item, obj / item.name)  # a new time stamp: make takes it as done
    return True


def _keep_runtime(options: BuildOptions, obj: Path) -> None:
    folder = _runtime_folder(options)
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
    for name in _RUNTIME_OBJECTS_TRACE if options.trace else _RUNTIME_OBJECTS:
        shutil.copyfile(obj / name, staging / name)
    try:
        os.rename(staging, folder)
    except OSError:  # another process was first, with the same content
        shutil.rmtree(staging)


def build(
    sources: Mapping[str, str] | Sequence[str | Path] | str | Path,
    *,
    top: str,
    options: BuildOptions | None = None,
    jobs: int = 2,
) -> Path:
    """The simulation binary of these sources, built now or taken from the cache.

    Args:
        sources: ``{file name: Verilog text}``, or a list of texts and paths.
        top: name of the top module; an input ``clk`` of it is driven by the main loop.
        options: see ``BuildOptions``.
        jobs: compiler processes at a time.

    Raises:
        BuildFailure: with the tools' messages.
        ToolchainError: a tool is missing.
        ValueError: a source's name is not a plain Verilog file name.
    """
    named = normalise_sources(sources)
    options = options or BuildOptions()
    key = build_key(named, top, options)
    root = cache_dir() / "sim"
    final = root / key[:2] / key
    binary = final / "sim"
    if binary.exists():
        return binary
    with waited_for(root / key[:2] / f"{key}.lock"):
        if binary.exists():
            return binary
        for left in final.parent.glob(f".new-{key[:8]}-*"):  # of a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        with contextlib.ExitStack() as temporary:

            def folder(parent: Path) -> Path:
                made = Path(tempfile.mkdtemp(prefix=f".new-{key[:8]}-", dir=parent))
                temporary.callback(shutil.rmtree, made, ignore_errors=True)
                return made

            staging = folder(final.parent)
            place = staging if toolchain.plain(staging) else folder(toolchain.plain_folder())
            _build_in(place, named, top, options, jobs)
            if place != staging:
                shutil.copytree(place, staging, dirs_exist_ok=True)
            os.rename(staging, final)
    return binary


def _build_in(folder: Path, sources: Mapping[str, str], top: str, options: BuildOptions, jobs: int) -> None:
    for name, text in sources.items():
        (folder / name).write_text(text)
    (folder / "visible.vlt").write_text(_control_file(top, options.public))
    shutil.copyfile(_MAIN, folder / "main.cpp")
    links = (folder / _VERILATOR, folder / _LIBS)
    for link, target in zip(links, (toolchain.verilator_root(), toolchain.cocotb_libs()), strict=True):
        link.symlink_to(target)
    log = folder / "build.log"
    make = toolchain.make_arguments()
    _check_compiler(folder)
    verilator = str(toolchain.verilator_root() / "bin" / "verilator_bin")
    _run([verilator, *_verilator_arguments(top, list(sources), options)], folder, log, "Verilator")
    obj = folder / "obj"
    had_runtime = _copy_runtime(options, obj)
    make = (*make, *_make_variables(options), "-C", "obj", "-f", "Vtop.mk", "-j", str(jobs))
    _run(make, folder, log, "the C++ build")
    if not had_runtime:
        _keep_runtime(options, obj)
    os.replace(obj / "sim", folder / "sim")
    shutil.rmtree(obj)  # several times the binary's size, and of no further use
    for link in links:
        link.unlink()


def _check_compiler(folder: Path) -> None:
    """Builds a tiny program, so that a compiler of no use is told from a design of none; once a process.

    Raises:
        ToolchainError: the compiler or its library does not work.
    """
    compiler = toolchain.compiler()
    if compiler in _WORKING:
        return
    source, program = folder / "probe.cpp", folder / "probe"
    source.write_text("#include <memory>\nint main() { return *std::make_unique<int>(0); }\n")
    command = [*compiler, source.name, "-o", program.name]
    try:
        _run(command, folder, folder / "probe.log", "the C++ compiler")
    except BuildFailure as failure:
        [line, *_] = str(failure).splitlines()[1:] or ["it prints nothing"]
        raise toolchain.ToolchainError(f"{shlex.join(command)} fails on a tiny program: {line}") from None
    if not program.exists():
        raise toolchain.ToolchainError(f"{shlex.join(command)} writes no program")
    for path in (source, program, folder / "probe.log"):
        path.unlink()
    _WORKING.add(compiler)
