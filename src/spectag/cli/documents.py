"""Where and in which format the results of tagging are written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from spectag.choices import Format
from spectag.cli.output import opened, refuse_overwriting
from spectag.errors import SaveError

if TYPE_CHECKING:
    from spectag.tag.writers.writer import Writer


def choose_format(
    context: typer.Context,
    format: Format | None,
    output: str | None,
    count: int,
    *,
    events: bool = False,
    timeline: bool = False,
) -> Format:
    """The format that is asked for, by --format or by the name of the output.

    Args:
        context: of the command.
        format: the value of --format.
        output: the value of --output; a folder ends with a slash.
        count: number of recordings.
        events, timeline: whether they are asked for. Then tables are about them: ``.csv`` means ``csv-events``, say.

    Raises:
        typer.BadParameter: the two contradict each other, the name has an ending that says nothing, or the format can
            hold one recording only.

    >>> choose_format(None, None, "tags.csv", count=2), choose_format(None, None, "owls.csv", count=2, events=True)
    ('csv', 'csv-events')
    """
    from spectag.tag.writers.formats import DOCUMENTS, formats_of

    extension = "" if output is None or names_folder(output) else Path(output).suffix.lower()
    fitting = formats_of(extension)
    if format is None and extension and not fitting:
        known = ", ".join(dict.fromkeys(ending for document in DOCUMENTS.values() for ending in document.extensions))
        raise typer.BadParameter(
            f"--output {output}: expected a name that ends in one of {known}, or a --format; got {extension}", context
        )
    if format is not None and fitting and format not in fitting:
        meant = " or ".join(filter(None, [", ".join(fitting[:-1]), fitting[-1]]))
        raise typer.BadParameter(
            f"--output {output} means the format {meant}, but --format says {format}: leave one out", context
        )
    usual: Format = fitting[0] if fitting else "text"
    about = "timeline" if timeline else "events" if events else "tags"
    special = [other for other in fitting if other.startswith(f"{usual}-") and DOCUMENTS[other].needs == about]
    chosen: Format = format if format is not None else (*special, usual)[0]
    document = DOCUMENTS[chosen]
    if output is None and document.binary:
        raise typer.BadParameter(f"--format {chosen} is not text: name a file with --output", context)
    if not document.many and count > 1 and not (output is not None and names_folder(output)):
        raise typer.BadParameter(
            f"--format {chosen} holds one recording, and there are {count}: for a file each, name a folder with a "
            "slash at its end, such as --output labels/",
            context,
        )
    return chosen


def asks_for(format: Format, events: bool, timeline: bool) -> tuple[bool, bool]:
    """Whether events and a timeline are needed: where they are asked for, and where the format is about them.

    >>> asks_for("raven", False, False), asks_for("csv", False, True)
    ((True, False), (False, True))
    """
    from spectag.tag.writers.formats import DOCUMENTS

    needs = DOCUMENTS[format].needs
    return events or needs == "events", timeline or needs == "timeline"


def names_folder(output: str) -> bool:
    """Whether an output is a folder, for one document per recording.

    >>> names_folder("labels/"), names_folder("labels.txt")
    (True, False)
    """
    return output.endswith(("/", os.sep))


def refuse_output(output: str, inputs: Sequence[str]) -> None:
    """Raise SaveError if results cannot be written there.

    >>> refuse_output("labels/", ["dawn.wav"])
    """
    if not names_folder(output):
        if os.path.isdir(output):
            raise SaveError(f"{output}: is a folder: name a file, or add a slash for a file per recording")
        refuse_overwriting(Path(output), inputs)


@contextmanager
def open_writer(
    output: str | None, format: Format, names: Sequence[str], *, resumable: bool = False
) -> Iterator[Writer]:
    """Open the output for results; the document is ended also if the command is interrupted.

    Args:
        output: a file, a folder that ends with a slash, or None for stdout.
        format: see :func:`choose_format`.
        names: the recordings.
        resumable: whether it is the output of a job.

    Raises:
        SaveError: it cannot be written.
        MissingExtra: the format needs a package that is not installed.

    >>> from spectag.errors import FileError
    >>> with open_writer(None, "jsonl", ["dawn.wav"]) as writer:
    ...     writer.write(FileError("dawn.wav", "no such file"))
    {"path": "dawn.wav", "error": "no such file"}
    """
    from spectag.tag.writers.folder import Folder
    from spectag.tag.writers.formats import DOCUMENTS, make_writer

    if output is not None and names_folder(output):
        yield Folder(Path(output), format, names)
        return
    path = None if output is None else Path(output)
    with opened(path, mark=DOCUMENTS[format].mark, resumable=resumable) as file:
        writer = make_writer(format, file, names)
        try:
            yield writer
        finally:
            writer.close()
