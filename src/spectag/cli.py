"""The command line: parse, wire, print, exit code. Results go to stdout, everything else to stderr, a line each.

Exit codes: 0 all went well; 1 something failed; 2 wrong usage; 130 interrupted; 141 the reader of stdout went away.
Torch is imported inside the commands, so that help and usage errors answer at once.
"""

from __future__ import annotations

import json
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Any, Literal, TypeVar

import typer

from spectag import __version__
from spectag.errors import SaveError, SpectagError, TruncatedAudioWarning

T = TypeVar("T")

app = typer.Typer(
    help="Tag, train, reproduce and deploy the Audio Spectrogram Transformer on recordings of any length.",
    epilog="spectag COMMAND --help tells more.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _device(value: str) -> str:
    """Only the form: whether it is there needs torch."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?|mps", value):
        raise typer.BadParameter(f"expected cpu, cuda, cuda:N or mps; got {value!r}")
    return value


def _pair(value: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*),([1-9]\d*)", value)
    if match is None:
        raise typer.BadParameter(f"expected two whole numbers F,T (mel bins, frames) such as 10,10; got {value!r}")
    return int(match[1]), int(match[2])


MODEL = "A bundle or AST directory, a .pth file, a known name (esc10, audioset, speech-commands) or a Hub id."
Device = Annotated[str, typer.Option(callback=_device, help="cpu, cuda, cuda:N or mps.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Windows that the network sees at once.")]


@app.callback()
def _global(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="SPECTAG_DEBUG", help="Show where an error comes from; at any place.")
    ] = False,
) -> None:
    pass  # both are taken by main, since they must work where parsing fails


@app.command()
def tag(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Recordings, and folders of them.")],
    model: Annotated[str, typer.Option("--model", "-m", help=MODEL)] = "esc10",
    top_k: Annotated[int, typer.Option(min=1, help="At most so many tags per recording.")] = 5,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Only tags with at least this score.", show_default="none")
    ] = None,
    format: Annotated[
        Literal["text", "json", "jsonl", "csv"], typer.Option("--format", "-f", help="How results are written.")
    ] = "text",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to.", show_default="stdout")
    ] = None,
    device: Device = "cpu",
    precision: Annotated[
        Literal["fp32", "bf16"], typer.Option(help="Of the network; the front end stays fp32.")
    ] = "fp32",
    batch_size: BatchSize = 16,
) -> None:
    """Name what is heard in recordings.

    Of any length and format. A broken one costs just itself, and the exit code is 1.
    """
    from spectag.tag.folder import expand

    files = list(expand(paths))
    names = [file if isinstance(file, str) else file.path or "" for file in files]
    if output is not None:
        _refuse_overwriting(output, names)

    from spectag.tag.results import FileError, writer
    from spectag.tag.tagger import Tagger

    tagger = Tagger(model, device=device, precision=precision, batch_size=batch_size)
    failed = 0
    with _opened(output) as file:
        results = writer(format, file, clip_width=max(map(len, names)))
        try:
            for result in _watched(tagger.tag_many(files, top_k, threshold), len(files), quiet=file.isatty()):
                results.write(result)
                if isinstance(result, FileError):
                    failed += 1
                    _say("error", str(result))
        finally:
            results.close()
    if failed:
        raise typer.Exit(1)


@app.command()
def info(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL)],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Print what a model knows about itself."""
    from spectag.model.bundle import load

    facts = load(model).describe()
    if as_json:
        print(json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False))
        return
    lines = list(_lines(facts))
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        print(f"{name:<{width}}  {value}")


@app.command()
def convert(
    source: Annotated[str, typer.Argument(metavar="SRC", help=MODEL)],
    target: Annotated[Path, typer.Argument(metavar="DST", help="The bundle directory to write.")],
    stride: Annotated[
        Any, typer.Option(parser=_pair, metavar="F,T", help="Patch stride where a .pth leaves it open.")
    ] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Length in frames of 10 ms, likewise.")] = None,
    heads: Annotated[int | None, typer.Option(min=1, help="Attention heads, where they are not 64 wide.")] = None,
    statistics: Annotated[
        Literal["audioset", "esc50", "speech-commands"] | None, typer.Option(help="Data set a .pth was trained on.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Names of the outputs: index,mid,display_name.")
    ] = None,
    num_labels: Annotated[int | None, typer.Option(min=1, help="Outputs of the fresh head of a DeiT or ViT.")] = None,
    channels: Annotated[Literal["mean", "sum"], typer.Option(help="How a DeiT's colour channels become one.")] = "mean",
    window: Annotated[Literal["hamming", "hanning"] | None, typer.Option(help="Window of the front end.")] = None,
    activation: Annotated[
        Literal["sigmoid", "softmax"] | None, typer.Option(help="What turns logits into scores.")
    ] = None,
    fp16: Annotated[bool, typer.Option("--fp16", help="Halve the file: weights as float16.")] = False,
) -> None:
    """Write a bundle from any model.

    Whatever spectag reads becomes a directory that transformers reads too.
    """
    if target.exists() and not _is_replaceable(target):
        raise SaveError(f"{target}: there is something that is no bundle: name a new directory")

    import torch

    from spectag.labels import LabelSet
    from spectag.model.bundle import load

    bundle = load(
        source,
        stride=stride,
        frames=frames,
        heads=heads,
        statistics=statistics,
        labels=LabelSet.read(labels) if labels else None,
        num_labels=num_labels,
        channels=channels,
        window=window,
        activation=activation,
    )
    bundle.save(target, dtype=torch.float16 if fp16 else torch.float32)
    print(f"{target}: {sum(p.numel() for p in bundle.network.parameters())} parameters, {len(bundle.labels)} labels")


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
            if debug:
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
        _say("interrupted")
        return 130
    if isinstance(error, BrokenPipeError):  # spectag tag ... | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered goes nowhere
        return 141
    if isinstance(error, SpectagError):
        _say("error", str(error))
        return 1
    if hasattr(error, "format_message"):  # a usage error of Typer or, in older versions, of Click
        context = getattr(error, "ctx", None)
        _say("error", f"{error.format_message()} (see: {context.command_path if context else 'spectag'} --help)")
        return 2
    if isinstance(error, OSError) and error.strerror:
        _say("error", f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
        return 1
    _say("error", f"unexpected {type(error).__name__}: {error} (--debug shows where; please report it)")
    return 1


def _say(kind: str, text: str = "") -> None:
    line = " ".join(f"spectag: {kind}: {text}".split()) if text else f"spectag: {kind}"
    print(line, file=sys.stderr, flush=True)


def _warning_printer(debug: bool) -> Callable[..., None]:
    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if debug or issubclass(category, TruncatedAudioWarning):  # not the chatter of libraries
            _say("warning", str(message))

    return show


def _watched(items: Iterable[T], total: int, *, quiet: bool) -> Iterator[T]:
    """A progress bar on stderr, if that is a terminal; results on a terminal are progress enough."""
    if quiet or not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as progress:
        yield from progress.track(items, total=total)


def _refuse_overwriting(output: Path, inputs: Iterable[str]) -> None:
    if not output.parent.is_dir():
        raise SaveError(f"{output}: the folder {output.parent} does not exist: create it first")
    if output.is_dir():
        raise SaveError(f"{output}: is a folder: name a file in it")
    if output.exists() and any(os.path.exists(path) and output.samefile(path) for path in inputs):
        raise SaveError(f"{output}: is one of the inputs: choose another name")


@contextmanager
def _opened(output: Path | None) -> Iterator[IO[str]]:
    if output is None:
        yield sys.stdout
        return
    try:
        file = output.open("w", encoding="utf-8", errors="backslashreplace", newline="")
    except OSError as error:
        raise SaveError(f"{output}: cannot be written: {error.strerror}") from error
    with file:
        yield file


def _is_replaceable(target: Path) -> bool:
    """A bundle of ours, or an empty directory."""
    return target.is_dir() and ((target / "spectag.json").is_file() or not any(target.iterdir()))


def _lines(facts: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested facts as ``a.b`` and a value on one line."""
    for name, value in facts.items():
        if isinstance(value, dict) and value:
            yield from _lines(value, f"{prefix}{name}.")
        elif value is not None and value != {}:
            yield prefix + name, ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
