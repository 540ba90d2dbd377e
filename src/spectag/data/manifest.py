"""A data set as one table of clips, independent of its layout on disk. Nothing is decoded here."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spectag.audio.source import Member, Segment
from spectag.errors import DataError, SpectagWarning
from spectag.labels import LabelSet, compose

TIMES = re.compile(r"#[\d.]*-[\d.]*$")  # the end of the id of a segment


class Heard(NamedTuple):
    """When a label is heard in a clip: an index into the label set, and seconds from the beginning of the clip.

    >>> Heard(0, onset=0.5, offset=2.0).offset
    2.0
    """

    label: int
    onset: float
    offset: float


@dataclass(frozen=True, slots=True)  # there may be millions
class Clip:
    """One recording, or a segment of one, and its labels.

    Args:
        id: its path relative to the data set, with forward slashes, followed by its times if it is a segment; unique.
        path: its file.
        labels: indices into the label set of the manifest, ascending; one if classes exclude each other. None for a
            negative: nothing of interest is heard.
        fold: number of its fold; None if the data set has no folds.
        split: name of its split, usually ``train``, ``validation`` or ``test``; None if the data set has no splits.
        group: name shared by clips that must not be separated when a data set is divided: takes of one recording,
            segments of one file, or recordings of one speaker. None for a clip that is a group of its own.
        start, end: seconds, if it is a segment of its file.
        place: offset and length in bytes, if its file is inside another one (packed data sets).
        events: when its labels are heard, by onset, see :func:`spectag.data.events.join_events`; None if that is not
            known.

    >>> Clip("dog/1.wav", Path("set/dog/1.wav"), labels=(0,), start=2.0, end=3.0).source.end
    3.0
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
    events: tuple[Heard, ...] | None = None

    @property
    def name(self) -> str:
        """The name of its file; of a packed clip, the name that the file had before."""
        return self.path.name if self.place is None else PurePosixPath(TIMES.sub("", self.id)).name

    @property
    def source(self) -> Path | Member | Segment:
        """The recording as :func:`spectag.audio.read.read` and a tagger take it."""
        file = self.path if self.place is None else Member(self.path, *self.place)
        return file if self.start is None and self.end is None else Segment(file, self.start or 0.0, self.end)


@dataclass(frozen=True)
class Manifest:
    """All clips of a data set, ordered by id.

    Args:
        clips: the table.
        labels: names of the classes.
        layout: name of the layout that it was read from, see :data:`spectag.data.layouts.LAYOUTS`.
        missing: ids of clips that a table lists but whose files do not exist.
        notes: what else there is and is not used, one line each.

    >>> clips = (Clip("a.wav", Path("a.wav"), (0,), split="train"), Clip("b.wav", Path("b.wav"), (1,), split="test"))
    >>> manifest = Manifest(clips, spectag.LabelSet(("dog", "rain")), "a table of clips")
    >>> manifest.splits, [clip.id for clip in manifest.only(split="test").clips]
    (('test', 'train'), ['b.wav'])
    >>> manifest.targets().tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """

    clips: tuple[Clip, ...]
    labels: LabelSet
    layout: str
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def negatives(self) -> int:
        """How many of its clips have no label."""
        return sum(not clip.labels for clip in self.clips)

    @property
    def folds(self) -> tuple[int, ...]:
        """The numbers of its folds, ascending; empty if it has none."""
        return tuple(sorted({clip.fold for clip in self.clips if clip.fold is not None}))

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of its splits, sorted; empty if it has none."""
        return tuple(sorted({clip.split for clip in self.clips if clip.split is not None}))

    def targets(self) -> NDArray[np.float32]:
        """Which labels each clip has, ``[clips, C]``: 1 for a label that applies, 0 for one that does not."""
        out = np.zeros((len(self), len(self.labels)), np.float32)
        for row, clip in enumerate(self.clips):
            out[row, list(clip.labels)] = 1
        return out

    def by_file(self) -> list[int]:
        """Positions of the clips in the order in which to read them: segments of one file together, by their starts.

        >>> one, other = (Clip(f"a#{start}", Path("a"), (), start=start, end=start + 2.0) for start in (10.0, 9.0))
        >>> Manifest((one, other), spectag.LabelSet(("owl",)), "a test").by_file()
        [1, 0]
        """
        order = list(range(len(self)))
        if any(clip.start is not None or clip.end is not None for clip in self.clips):
            order.sort(key=lambda at: (str(self.clips[at].path), self.clips[at].place or (), self.clips[at].start or 0))
        return order

    def only(self, *, fold: int | None = None, split: str | tuple[str, ...] | None = None) -> Manifest:
        """The clips of one fold, of one split or of several.

        Raises:
            DataError: there is no such fold or split; the message lists those that exist.
        """
        wanted = (split,) if isinstance(split, str) else split
        if fold is not None and fold not in self.folds:
            have = ", ".join(map(str, self.folds)) or "none"
            raise DataError(f"--fold {fold}: the data set ({self.layout}) has no such fold; it has: {have}")
        splits = self.splits if wanted is not None else ()
        for name in wanted or ():
            if name not in splits:
                have = ", ".join(splits) or "none"
                raise DataError(f"--split {name}: the data set ({self.layout}) has no such split; it has: {have}")
        return self._keep(lambda c: (fold is None or c.fold == fold) and (wanted is None or c.split in wanted))

    def timed(self) -> Manifest:
        """The clips of which it is known when their labels are heard.

        Raises:
            DataError: there are none.
        """
        timed = self._keep(lambda clip: clip.events is not None)
        if not timed.clips:
            raise DataError(f"expected clips with times of events, got none of {len(self)} ({self.layout})")
        return timed

    def without(self, other: Manifest) -> Manifest:
        """The clips that are not in another manifest."""
        ids = {clip.id for clip in other.clips}
        return self._keep(lambda clip: clip.id not in ids)

    def excluding(self, names: Iterable[str]) -> Manifest:
        """All clips but the named ones and other clips of their groups, such as other takes of the same recordings.

        Args:
            names: file names. The extension does not count, nor does the target that ESC-50 appends:
                ``1-40730-A.ogg`` also names ``1-40730-A-1.wav``.

        Warns:
            SpectagWarning: some names match a clip and others do not; it lists the latter.
        """
        stems = {compose(Path(name).stem): name for name in names}
        found = ((clip.id, _match(compose(Path(clip.name).stem), stems)) for clip in self.clips)
        named = {id: stem for id, stem in found if stem is not None}
        missing = sorted(name for stem, name in stems.items() if stem not in named.values())
        if named and missing:
            message = f"excluded clips that are not in the data set: {', '.join(missing)}"
            warnings.warn(message, SpectagWarning, stacklevel=2)
        groups = {clip.group for clip in self.clips if clip.id in named and clip.group is not None}
        return self._keep(lambda clip: clip.id not in named and clip.group not in groups)

    def _keep(self, wanted: Callable[[Clip], bool]) -> Manifest:
        return replace(self, clips=tuple(clip for clip in self.clips if wanted(clip)))


def _match(stem: str, stems: Collection[str]) -> str | None:
    """The name that means a clip, whose own name may end with a target."""
    return next((name for name in (stem, stem.rsplit("-", 1)[0]) if name in stems), None)
