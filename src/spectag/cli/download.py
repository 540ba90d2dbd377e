"""spectag download."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Annotated, Literal

import typer

from spectag.cli.output import say


def download(
    name: Annotated[
        Literal["esc50", "esc10", "speech-commands"],
        typer.Argument(metavar="NAME", help="esc50, esc10 or speech-commands."),
    ],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where it is to lie: a new or empty directory.")],
    version: Annotated[
        Literal["1", "2"] | None, typer.Option(help="Of Speech Commands; 2 has more words.", show_default="2")
    ] = None,
    keep_archive: Annotated[
        bool, typer.Option("--keep-archive", help="Leave the archive beside DIR; it is used the next time.")
    ] = False,
) -> None:
    """Fetch a published data set.

    It is verified before it is unpacked. After a break the same command goes on where it stopped; DIR is whole or not
    there.
    """
    from spectag.data import download as published

    if version is not None and name != "speech-commands":
        raise typer.BadParameter(f"{name} has only one version", param_hint="--version")
    source = published.SOURCES[name if name != "speech-commands" else f"{name}-{version or 2}"]
    there = published.present(source, directory) is not None
    with _progress() as progress:
        manifest = published.download(source, directory, keep_archive=keep_archive, progress=progress)
    already = ", was there already" if there else ""
    print(f"{directory}: {source.name}, {len(manifest)} clips of {source.classes} classes{already}")
    print(f"licence: {source.licence}")
    fold = f" --fold {manifest.folds[0]}" if manifest.folds else ""
    print(f"train on it: spectag train {name} --data {quote(str(directory))} --out runs/{name}{fold}")


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar per thing that is done on a terminal, elsewhere a line."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description:<9}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bars:
        tasks: dict[str, object] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, completed=done)
            bars.update(tasks[what], completed=done, total=max(done, total))  # type: ignore[arg-type]

        yield show


class _Lines:
    def __init__(self) -> None:
        self._said: set[str] = set()

    def __call__(self, what: str, done: int, total: int) -> None:
        if what not in self._said:
            self._said.add(what)
            say(f"{what} {total / 1e6:.1f} MB")
