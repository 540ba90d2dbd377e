"""The command line: parse, wire, print, exit code. Results go to stdout, everything else to stderr, a line each.

Exit codes: 0 all went well; 1 something failed; 2 wrong usage; 130 interrupted; 141 the reader of stdout went away.
Torch is imported inside the commands, so that help and usage errors answer at once.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from spectag.cli import data, download, ensemble, model, pack, sweep, tag, train
from spectag.cli.output import say
from spectag.errors import SpectagError, SpectagWarning
from spectag.version import __version__

app = typer.Typer(
    help="Tag, train, reproduce and deploy the Audio Spectrogram Transformer on recordings of any length.",
    epilog="spectag COMMAND --help tells more.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def _global(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="SPECTAG_DEBUG", help="Show where an error comes from; at any place.")
    ] = False,
) -> None:
    pass  # both are taken by main, since they must work where parsing fails


for command in (
    tag.tag,
    model.info,
    model.convert,
    train.train,
    train.evaluate,
    train.recipes,
    sweep.sweep,
    ensemble.score,
    ensemble.ensemble,
    download.download,
):
    app.command()(command)
data.app.command()(pack.pack)
app.add_typer(data.app, name="data")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. Every error is a line on stderr, with its traceback only under ``--debug``."""
    args = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in args or os.environ.get("SPECTAG_DEBUG", "") not in ("", "0")
    args = [arg for arg in args if arg != "--debug"]
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # file names that are not UTF-8 must not stop the others
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    if args == ["--version"]:
        print(f"spectag {__version__}")
        return 0
    with warnings.catch_warnings():
        warnings.showwarning = _warning_printer(debug)
        try:
            _run(args or ["--help"])
            sys.stdout.flush()
            return 0
        except (Exception, KeyboardInterrupt) as error:
            if debug and not isinstance(error, typer.Exit):
                traceback.print_exc()
            return _report(error)


def _run(args: list[str]) -> None:
    """What Typer's own main does, without its handling of errors."""
    command = typer.main.get_command(app)
    with command.make_context("spectag", args) as context:
        command.invoke(context)


def _report(error: BaseException) -> int:
    """A line on stderr where one is due; the exit code."""
    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        say("interrupted")
        return 130
    if isinstance(error, BrokenPipeError):  # spectag tag ... | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered goes nowhere
        return 141
    if isinstance(error, SpectagError):
        say("error", str(error))
        return 1
    if hasattr(error, "format_message"):  # a usage error of Typer or, in older versions, of Click
        context = getattr(error, "ctx", None)
        say("error", f"{error.format_message()} (see: {context.command_path if context else 'spectag'} --help)")
        return 2
    if isinstance(error, OSError) and error.strerror:
        say("error", f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
        return 1
    say("error", f"unexpected {type(error).__name__}: {error} (--debug shows where; please report it)")
    return 1


def _warning_printer(debug: bool) -> Callable[..., None]:
    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if debug or issubclass(category, SpectagWarning):  # not the chatter of libraries
            say("warning", str(message))

    return show
