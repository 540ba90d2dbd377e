"""Recordings without labels, as a manifest: any folder, whatever it holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import soundfile

from spectag.audio.find import find_recordings
from spectag.data.manifest import Clip, Manifest
from spectag.errors import DataError, FileError
from spectag.labels import LabelSet

LAYOUT = "recordings without labels"
STRETCH = 30.0  # s: recordings of twice this and more are cut into clips of this length; the last one may be longer


def read_sounds(data: str | Path, labels: LabelSet) -> Manifest:
    """Read a folder of recordings, and of folders of them, as clips without labels.

    Long recordings become several clips of one group, so that no more than one of them is in memory at a time. Their
    length is what their header states; the last clip goes on to the end of the file.

    Args:
        data: the folder, or one recording.
        labels: the label set of the manifest.

    Raises:
        DataError: there are no recordings.

    >>> import soundfile
    >>> soundfile.write("long.wav", np.zeros(70 * 100), 100)
    >>> [(clip.id, clip.end) for clip in read_sounds(".", spectag.LabelSet(("owl",))).clips]
    [('long.wav#0-30', 30.0), ('long.wav#30-', None)]
    """
    root = Path(data)
    clips: list[Clip] = []
    notes: list[str] = []
    for found in find_recordings([root]):
        if isinstance(found, FileError):
            notes.append(str(found))
        else:
            path = Path(found)
            clips += _cut(path, path.name if root.is_file() else path.relative_to(root).as_posix())
    if not clips:
        raise DataError(f"--data {data}: expected recordings, found none")
    return Manifest(tuple(sorted(clips, key=lambda clip: clip.id)), labels, LAYOUT, notes=tuple(notes))


def _cut(path: Path, id: str) -> Iterator[Clip]:
    seconds = _length(path)
    if seconds < 2 * STRETCH:
        yield Clip(id, path, ())
        return
    for number in range(count := int(seconds // STRETCH)):
        start = number * STRETCH
        end = None if number == count - 1 else start + STRETCH
        yield Clip(f"{id}#{start:g}-{'' if end is None else f'{end:g}'}", path, (), group=id, start=start, end=end)


def _length(path: Path) -> float:
    """Seconds that the header of a recording states; 0 if it is not known without decoding."""
    try:
        return float(soundfile.info(str(path)).duration)
    except (RuntimeError, OSError):
        return _stated(path)


def _stated(path: Path) -> float:
    import av

    try:
        with av.open(str(path)) as container:
            return (container.duration or 0) / av.time_base
    except (OSError, ValueError, av.error.FFmpegError):
        return 0.0
