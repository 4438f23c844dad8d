"""The ``elbert`` command: one table of its subcommands, and failures as messages and exit codes.

Exit codes: 0 done, 1 a promise did not hold (a mismatch, a failed tool), 2 bad usage or input,
128 + the signal's number when told to end (Ctrl-C: 130), 141 when nobody reads the output any more.
Modules of ``elbert.commands`` import nothing heavy (torch, amaranth, transformers) at their top, so that
``elbert --help`` and shell completion answer at once.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module, metadata
from typing import Annotated

import typer

from elbert.interrupts import termination_interrupts
from elbert.terminal import degrade, shorten
from golden_model.errors import PromiseBroken, describe

COMMANDS = (
    ("run", "elbert.commands.run:run"),
    ("simulate", "elbert.commands.simulate:simulate"),
    ("train", "elbert.commands.train:train"),
    ("pretrain", "elbert.commands.pretrain:pretrain"),
    ("eval", "elbert.commands.evaluate:evaluate"),
    ("export", "elbert.commands.export:export"),
    ("quantize", "elbert.commands.quantize:quantize"),
    ("calibrate-exits", "elbert.commands.calibrate_exits:calibrate_exits"),
    ("study exits", "elbert.commands.study.exits:exits"),
    ("study slowdown", "elbert.commands.study.slowdown:slowdown"),
    ("study bits", "elbert.commands.study.bits:bits"),
    ("study peers", "elbert.commands.study.peers:peers"),
    ("report decisions", "elbert.commands.report.decisions:decisions"),
    ("report exits", "elbert.commands.report.exits:exits"),
    ("report quantisation", "elbert.commands.report.quantisation:quantisation"),
    ("synth", "elbert.commands.synth:synth"),
    ("explore", "elbert.commands.explore:explore"),
    ("bench golden", "elbert.commands.bench.golden:golden"),
    ("bench rtl", "elbert.commands.bench.rtl:rtl"),
    ("bench synth", "elbert.commands.bench.synth:synth"),
    ("registers", "elbert.commands.registers:registers"),
)
"""Name (of two words: group and name in it) and function, in the order of ``elbert --help``."""

GROUPS = {
    "study": "Experiments that compare methods, as a paper reports them.",
    "bench": "Golden model and machine measured, and compared with what was measured before.",
    "report": "Pages and pictures of what a model does.",
}

TRACEBACK_VARIABLE = "ELBERT_TRACEBACK"
"""Environment variable: if set and not empty, failures keep their traceback."""

LONGEST_MESSAGE = 600
"""Characters of an error message; a reader that quotes its input shortens that itself."""


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(metadata.version("elbert-fpga"))
        raise typer.Exit


def build_app() -> typer.Typer:
    """The root command with every package's commands on it."""
    app = typer.Typer(
        name="elbert",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def root(
        version: Annotated[
            bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
        ] = False,
    ) -> None:
        """ELBERT: early-exit ALBERT as a bit-exact integer model and an FPGA accelerator."""

    groups: dict[str, typer.Typer] = {}
    for path, place in COMMANDS:
        group, _, name = path.rpartition(" ")
        if group and group not in groups:
            groups[group] = typer.Typer(no_args_is_help=True, help=GROUPS[group])
            app.add_typer(groups[group], name=group)
        module, _, function = place.partition(":")
        (groups[group] if group else app).command(name)(getattr(import_module(module), function))
    return app


def _fail(message: str, code: int) -> int:
    typer.echo(f"error: {shorten(message, LONGEST_MESSAGE)}", err=True)
    return code


def main() -> None:
    """Entry point of the console script; always leaves through ``SystemExit``."""
    degrade()
    try:
        with termination_interrupts():
            build_app()(prog_name="elbert")
    except BrokenPipeError:
        # results are saved before they are shown, so nothing is lost; what is buffered has nowhere to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (PromiseBroken, ValueError, OSError) as failure:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        sys.exit(_fail(describe(failure), 1 if isinstance(failure, PromiseBroken) else 2))
