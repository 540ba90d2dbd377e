"""spectag tag --plot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from spectag.cli.documents import names_folder, refuse_output
from spectag.errors import FileError, InputError, MissingExtra

if TYPE_CHECKING:
    from spectag.audio.source import Source
    from spectag.pictures.spectrogram import Spectrogram
    from spectag.tag.detector import Detector
    from spectag.tag.results import ClipTags
    from spectag.tag.stream import Watch


def refuse_plot(output: str, inputs: Sequence[str]) -> None:
    """Raise an error if no picture can be written there.

    Raises:
        typer.BadParameter: its name has an ending that is not known.
        SaveError: its folder does not exist, or it is one of the inputs.
        MissingExtra: Matplotlib or Jinja is not installed.

    >>> refuse_plot("pictures/", ["dawn.wav"])
    """
    from spectag.pictures.kinds import kind_of

    refuse_output(output, inputs)
    if not names_folder(output):
        try:
            kind_of(Path(output))
        except InputError as error:
            raise typer.BadParameter(f"--plot {error}") from error
    from importlib.util import find_spec

    if find_spec("matplotlib") is None or find_spec("jinja2") is None:
        raise MissingExtra("plot", "--plot")


def draw_many(
    output: str,
    names: Sequence[str],
    detector: Detector,
    sources: Iterable[Source | FileError],
    top_k: int | None,
    threshold: float | None,
    events: bool,
    timeline: bool,
    watch: Watch,
) -> Iterator[ClipTags | FileError]:
    """Draw recordings while they are tagged, and yield their results.

    Args:
        output: see :class:`spectag.pictures.album.Album`.
        names: the recordings.
        detector, sources, top_k, threshold, watch: see :meth:`spectag.tag.detector.Detector.detect_many`.
        events, timeline: whether the results keep them.

    Raises:
        SaveError: a picture could not be written.

    >>> from spectag.tag.detector import Detector
    >>> from spectag.errors import FileError
    >>> detector, bad = Detector(spectag.Tagger("esc10")), FileError("a.wav", "no such file")
    >>> list(draw_many("a.png", ["a.wav"], detector, [bad], 5, None, False, False, lambda _: None))
    [FileError(path='a.wav', error='no such file')]
    """
    from spectag.pictures.album import Album
    from spectag.pictures.spectrogram import WithSpectrogram

    album = Album(output, names)
    pairs: Iterator[tuple[ClipTags, Spectrogram | None] | FileError]
    if album.each:
        pairs = detector.tagger.collect_many(
            sources,
            lambda: WithSpectrogram(detector.collector(top_k, threshold, timeline=True)),
            detector.tagger.compute_frames,
            detector.hop,
            watch=watch,
        )
    else:
        results = detector.detect_many(sources, top_k, threshold, timeline=timeline, watch=watch)
        pairs = (result if isinstance(result, FileError) else (result, None) for result in results)
    for pair in pairs:
        if isinstance(pair, FileError):
            yield pair
            continue
        clip, spectrogram = pair
        album.add(clip, spectrogram)
        yield replace(clip, events=clip.events if events else None, timeline=clip.timeline if timeline else None)
    album.close()
