"""spectag download."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Annotated, Literal

import typer

from spectag.cli.output import require_folder_name, say


def download(
    name: Annotated[
        Literal["esc50", "esc10", "speech-commands"],
        typer.Argument(metavar="NAME", help="Data set to download: esc50, esc10 or speech-commands."),
    ],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory to create (new or empty).")],
    version: Annotated[
        Literal["1", "2"] | None,
        typer.Option(help="Version of Speech Commands: 1 (30 words) or 2 (35 words).", show_default="2"),
    ] = None,
    keep_archive: Annotated[
        bool,
        typer.Option(
            "--keep-archive",
            help="Keep the downloaded archive next to DIR. The next download uses it instead of downloading again.",
        ),
    ] = False,
) -> None:
    """Download a published data set.

    The archive is verified before it is unpacked. If the download is interrupted, run the same command again to
    continue it. DIR appears only when the data set is complete.
    """
    from spectag.data.download import download_data_set, find_data_set
    from spectag.data.published import PUBLISHED

    if version is not None and name != "speech-commands":
        raise typer.BadParameter(f"{name} has only one version", param_hint="--version")
    require_folder_name(directory)
    published = PUBLISHED[name if name != "speech-commands" else f"{name}-{version or 2}"]
    manifest = find_data_set(published, directory)
    already = "" if manifest is None else ", already complete"
    if manifest is None:
        with _progress() as progress:
            manifest = download_data_set(published, directory, keep_archive=keep_archive, progress=progress)
    print(f"{directory}: {published.name}, {len(manifest)} clips of {published.classes} classes{already}")
    print(f"licence: {published.licence}")
    fold = f" --fold {manifest.folds[0]}" if manifest.folds else ""
    print(f"train on it: spectag train {name} --data {quote(str(directory))} --out runs/{name}{fold}")


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A function that shows the progress of every activity: as a bar on a terminal, elsewhere as a line."""
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
