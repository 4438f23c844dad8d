"""The ``elbert`` command: collects each package's commands and turns failures into messages and exit codes.

Exit codes: 0 done, 1 a promise did not hold (a mismatch, a failed tool), 2 bad usage or input,
130 interrupted (typer's).
Every package with commands has a module ``commands`` with ``register(app)``. Those modules import nothing
heavy (torch, amaranth, transformers) at their top, so that ``elbert --help`` answers at once.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module, metadata
from types import ModuleType
from typing import Annotated

import typer

from golden_model.results import PromiseBroken

COMMAND_MODULES = (
    "elbert.commands.run",
    "elbert.commands.model",
    "elbert.commands.quantize",
    "elbert.commands.report",
    "elbert.commands.synth",
)
"""Modules with ``register(app)``, in the order of ``elbert --help``."""

TRACEBACK_VARIABLE = "ELBERT_TRACEBACK"
"""Environment variable: if set and not empty, failures keep their traceback."""


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(metadata.version("elbert-fpga"))
        raise typer.Exit


def build_app() -> typer.Typer:
    """The root command with every package's commands on it."""
    app = typer.Typer(
        name="elbert",
        no_args_is_help=True,
        add_completion=False,
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

    for name in COMMAND_MODULES:
        module: ModuleType = import_module(name)
        module.register(app)
    return app


def _fail(message: str, code: int) -> int:
    typer.echo(f"error: {message}", err=True)
    return code


def main() -> None:
    """Entry point of the console script; always leaves through ``SystemExit``."""
    try:
        build_app()()
    except (PromiseBroken, ValueError, OSError) as failure:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        message = str(failure) or type(failure).__name__
        sys.exit(_fail(message, 1 if isinstance(failure, PromiseBroken) else 2))


if __name__ == "__main__":
    main()
