"""A data set as one table of clips. Nothing is decoded here; :mod:`spectag.data.layouts` reads it from the disk."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from spectag.audio.source import Member, Segment
from spectag.errors import DataError, SpectagWarning
from spectag.labels import LabelSet

_TIMES = re.compile(r"#[\d.]*-[\d.]*$")  # what ids of stretches end with


@dataclass(frozen=True, slots=True)  # there may be millions
class Clip:
    """One recording and what is heard in it.

    Args:
        id: its path relative to the data set, with forward slashes, and its times where it is a segment; unique.
        path: where it lies.
        labels: indices into the manifest's label set, ascending; one for single-label sets.
        fold: number of its fold, where the set has folds.
        split: name of its part (``train``, ``validation``, ``test``), where the set has parts.
        group: what must stay on one side of any split: takes of one recording, pieces of one file, one speaker.
        start, end: seconds, where it is a stretch of its file.
        place: first byte and length, where it is a file within a file (packed sets).
    """

    id: str
    path: Path
    labels: tuple[int, ...]
    fold: int | None = None
    split: str | None = None
    group: str | None = None
    start: float | None = None
    end: float | None = None
    place: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """The name of its file, where it is packed the one before."""
        return self.path.name if self.place is None else PurePosixPath(_TIMES.sub("", self.id)).name

    @property
    def source(self) -> Path | Member | Segment:
        """What :func:`spectag.audio.read.read` and a tagger take."""
        file = self.path if self.place is None else Member(self.path, *self.place)
        return file if self.start is None and self.end is None else Segment(file, self.start or 0.0, self.end)


@dataclass(frozen=True)
class Manifest:
    """All clips of a data set, ordered by id.

    Args:
        clips: the table.
        labels: names of the classes.
        layout: which layout it was read from.
        missing: ids of clips that a table names and the disk does not have.
    """

    clips: tuple[Clip, ...]
    labels: LabelSet
    layout: str
    missing: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def folds(self) -> tuple[int, ...]:
        """The numbers of its folds, ascending; empty where the set has none."""
        return tuple(sorted({clip.fold for clip in self.clips if clip.fold is not None}))

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of its parts, sorted; empty where the set has none."""
        return tuple(sorted({clip.split for clip in self.clips if clip.split is not None}))

    def targets(self) -> NDArray[np.float32]:
        """Which labels each clip has, ``[clips, C]``: 1 for a label that applies, 0 for one that does not."""
        out = np.zeros((len(self), len(self.labels)), np.float32)
        for row, clip in enumerate(self.clips):
            out[row, list(clip.labels)] = 1
        return out

    def only(self, *, fold: int | None = None, split: str | tuple[str, ...] | None = None) -> Manifest:
        """The clips of one fold, of one part or of several.

        Raises:
            DataError: there is no such fold or part; the message lists which exist.
        """
        parts = (split,) if isinstance(split, str) else split
        if fold is not None and fold not in self.folds:
            have = ", ".join(map(str, self.folds)) or "none"
            raise DataError(f"--fold {fold}: the data set ({self.layout}) has no such fold; it has: {have}")
        have_parts = self.splits if parts is not None else ()
        for name in parts or ():
            if name not in have_parts:
                have = ", ".join(have_parts) or "none"
                raise DataError(f"--split {name}: the data set ({self.layout}) has no such part; it has: {have}")
        return self._keep(lambda c: (fold is None or c.fold == fold) and (parts is None or c.split in parts))

    def without(self, other: Manifest) -> Manifest:
        """The clips that are not in another manifest."""
        ids = {clip.id for clip in other.clips}
        return self._keep(lambda clip: clip.id not in ids)

    def excluding(self, names: Iterable[str]) -> Manifest:
        """Without the named clips, and without other takes of the same recordings (same group).

        A name means the clip whatever its format, and with or without the target that ESC-50 appends:
        ``1-40730-A.ogg`` is ``1-40730-A-1.wav``, too. Where some names mean clips and others none, warns of the latter.
        """
        stems = {Path(name).stem: name for name in names}
        named = {clip.id: stem for clip in self.clips if (stem := _named(Path(clip.name).stem, stems)) is not None}
        missing = sorted(name for stem, name in stems.items() if stem not in named.values())
        if named and missing:
            message = f"to be excluded, but not in the data set: {', '.join(missing)}"
            warnings.warn(message, SpectagWarning, stacklevel=2)
        groups = {clip.group for clip in self.clips if clip.id in named and clip.group is not None}
        return self._keep(lambda clip: clip.id not in named and clip.group not in groups)

    def _keep(self, wanted: Callable[[Clip], bool]) -> Manifest:
        return replace(self, clips=tuple(clip for clip in self.clips if wanted(clip)))


def _named(stem: str, stems: Collection[str]) -> str | None:
    return next((name for name in (stem, stem.rsplit("-", 1)[0]) if name in stems), None)
