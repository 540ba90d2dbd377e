"""The command line: it reads the arguments, runs a command, prints the results and sets the exit code.

Results go to stdout, everything else goes to stderr, one line each. Exit codes: 0 everything worked; 1 something
failed; 2 wrong usage; 130 interrupted; 141 the reader of stdout went away. Torch is imported inside the commands, so
help and usage errors appear at once.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Annotated, Any

import typer

from spectag.cli import (
    calibrate,
    data,
    download,
    ensemble,
    export,
    listen,
    merge,
    mix,
    model,
    pack,
    score,
    sweep,
    tag,
    train,
)
from spectag.cli.commands import Commands
from spectag.cli.output import say
from spectag.cli.usage import explain_usage
from spectag.cores import wait_asleep
from spectag.errors import GuessWarning, SpectagError, SpectagWarning
from spectag.version import __version__

app = typer.Typer(
    cls=Commands,
    help="Tag, train, reproduce and deploy the Audio Spectrogram Transformer on recordings of any length.",
    epilog="Run spectag COMMAND --help for the options of a command.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def _global(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", envvar="SPECTAG_DEBUG", help="Show the traceback of errors. Can be given anywhere."),
    ] = False,
) -> None:
    pass  # main handles both, since they must also work where parsing fails


for command in (
    tag.tag,
    merge.merge_results,
    listen.listen,
    model.info,
    model.convert,
    train.train,
    train.recipes,
    sweep.sweep,
    score.evaluate,
    score.score,
    calibrate.calibrate,
    ensemble.ensemble,
    export.export,
    download.download,
):
    app.command()(command)
data.app.command()(pack.pack)
data.app.command()(mix.mix)
app.add_typer(data.app, name="data")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Errors are one line on stderr, with a traceback under ``--debug``.

    >>> main(["--version"])
    spectag ...
    0
    """
    wait_asleep()
    if arguments is None:
        _keep_stdout()
    args = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in args or os.environ.get("SPECTAG_DEBUG", "") not in ("", "0")
    args = [arg for arg in args if arg != "--debug"]
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # a service, or a program in a window
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a file name that is not UTF-8 must not stop the others
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


def _keep_stdout() -> None:
    """What decoders print, which are C libraries, goes to stderr: stdout has results."""
    try:
        own = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # one of them is closed
        return
    sys.stdout = open(own, "w", encoding="utf-8", buffering=1 if os.isatty(own) else -1)  # noqa: SIM115


def _run(args: list[str]) -> None:
    """Do what Typer's own main does, without its handling of errors."""
    with _command().make_context("spectag", args) as context:
        _command().invoke(context)


@cache
def _command() -> Any:
    """What Typer makes of all signatures, which takes as long as a short command."""
    return typer.main.get_command(app)


def _report(error: BaseException) -> int:
    """Print an error as one line on stderr, and return the exit code."""
    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        say("interrupted")
        return 130
    if isinstance(error, BrokenPipeError):  # spectag tag ... | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # discards what is still buffered
        return 141
    if isinstance(error, SpectagError):
        say("error", str(error))
        return 1
    if hasattr(error, "format_message"):  # a usage error of Typer or, in older versions, of Click
        context = getattr(error, "ctx", None)
        say("error", f"{explain_usage(error)} (see: {context.command_path if context else 'spectag'} --help)")
        return 2
    if isinstance(error, OSError) and error.strerror:
        say("error", f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
        return 1
    say("error", f"unexpected {type(error).__name__}: {error} (run again with --debug to see where; please report it)")
    return 1


def _warning_printer(debug: bool) -> Callable[..., None]:
    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if debug or issubclass(category, SpectagWarning):  # not those of other libraries
            settle = "; see spectag convert --help" if issubclass(category, GuessWarning) else ""
            say("warning", f"{message}{settle}")

    return show
