"""The pictures of a job: one per recording, and an overview where there are several."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from spectag.errors import SaveError, reason
from spectag.pictures.hours import Hours
from spectag.pictures.overview import write_overview
from spectag.pictures.recording import write_recording
from spectag.pictures.spectrogram import Spectrogram
from spectag.tag.results import ClipTags
from spectag.tag.writers.names import Names


class Album:
    """Draws recordings as they come.

    Args:
        output: a file that ends in ``.png``, ``.svg`` or ``.html``: the picture of the recording, or an overview where
            there are several. With a slash at its end, a folder for a PNG of each recording and ``overview.png``.
        paths: of all recordings.

    Attributes:
        each: whether each recording gets a picture, for which its spectrogram is needed.

    >>> album = Album("day.svg", ["a.wav", "b.wav"])
    >>> album.add(ClipTags("a.wav", 5.0, (), events=()))
    >>> album.close()
    >>> "<svg" in Path("day.svg").read_text("utf-8")
    True
    """

    def __init__(self, output: str, paths: Sequence[str]) -> None:
        self._folder = output.endswith(("/", os.sep))
        self._output = Path(output)
        self._names = Names(paths)
        self._hours = Hours(paths) if len(paths) > 1 else None
        self.each = self._folder or self._hours is None

    def add(self, clip: ClipTags, spectrogram: Spectrogram | None = None) -> None:
        """Draw a recording.

        Raises:
            SaveError: the picture could not be written.
        """
        if self._hours is not None:
            self._hours.add(clip)
        if self.each and spectrogram is not None:
            write_recording(self._place(self._names.document(clip.path, ".png")), clip, spectrogram)

    def close(self) -> None:
        """Draw the overview, if there are several recordings.

        Raises:
            SaveError: the picture could not be written.
        """
        if self._hours is not None and self._hours.recordings:
            write_overview(self._place(self._names.unique("overview") + ".png"), self._hours, self._names.folder)

    def _place(self, name: str) -> Path:
        if not self._folder:
            return self._output
        path = self._output / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SaveError(f"{path.parent}: cannot be created: {reason(error)}") from error
        return path
