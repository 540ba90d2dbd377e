"""Rows with times as events of a clip, instead of as clips that are cut out of a file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from spectag.data.manifest import TIMES, Clip, Heard, Manifest
from spectag.errors import DataError


def join_events(manifest: Manifest) -> Manifest:
    """Join all segments of a file into one clip, with its labels and when each is heard.

    The rows of a table with onsets and offsets (DCASE's strong labels, for example) otherwise are clips that are cut
    out of the file. Clips without times stay as they are, and their events are not known. A row without a label and
    without times is about a file in which nothing is heard.

    Args:
        manifest: of a data set with times.

    Raises:
        DataError: no clip has times; a label of a file has times and another has none; an event has no end; or the
            segments of a file belong to several splits or folds.

    >>> clips = (
    ...     Clip("1.wav#0-2", Path("1.wav"), (0,), start=0.0, end=2.0),
    ...     Clip("1.wav#1-4", Path("1.wav"), (0, 1), start=1.0, end=4.0),
    ... )
    >>> [clip] = join_events(Manifest(clips, spectag.LabelSet(("owl", "fox")), "a table of clips")).clips
    >>> clip.id, clip.labels, clip.events
    ('1.wav', (0, 1), (Heard(label=0, onset=0.0, offset=4.0), Heard(label=1, onset=1.0, offset=4.0)))
    """
    files: defaultdict[tuple[object, object], list[Clip]] = defaultdict(list)
    for clip in manifest.clips:
        files[clip.path, clip.place].append(clip)
    if not any(clip.start is not None or clip.end is not None for clip in manifest.clips):
        raise DataError(
            f"expected times of events, got none in the data set ({manifest.layout}): give its tables the columns "
            "onset and offset, in seconds"
        )
    clips = tuple(sorted((_join(group) for group in files.values()), key=lambda clip: clip.id))
    missing = tuple(sorted({TIMES.sub("", id) for id in manifest.missing}))
    return replace(manifest, clips=clips, missing=missing)


def merge_times(times: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Merge intervals that touch or overlap. They are returned in the order of their beginnings.

    >>> merge_times([(2, 3), (0, 1), (1, 1.5)])
    [(0, 1.5), (2, 3)]
    """
    merged: list[tuple[float, float]] = []
    for onset, offset in sorted(times):
        if merged and onset <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], offset)
        else:
            merged.append((onset, offset))
    return merged


def _join(clips: Sequence[Clip]) -> Clip:
    """One clip of the segments of a file."""
    first = clips[0]
    name = TIMES.sub("", first.id)
    timed = [clip for clip in clips if clip.start is not None or clip.end is not None]
    if not timed:
        return first if first.labels else replace(first, events=())
    if untimed := [clip for clip in clips if clip not in timed and clip.labels]:
        raise DataError(f"{untimed[0].id}: has a label without times beside others with times: expected times for all")
    for field in ("split", "fold"):
        if len(values := {getattr(clip, field) for clip in clips}) > 1:
            one, other = sorted(map(str, values))[:2]
            raise DataError(f"{name}: its events belong to the {field}s {one} and {other}: expected one per file")
    times: defaultdict[int, list[tuple[float, float]]] = defaultdict(list)
    for clip in timed:
        if clip.end is None:
            raise DataError(f"{clip.id}: expected an event with an end, got only its beginning: add its offset")
        for label in clip.labels:
            times[label].append((clip.start or 0.0, clip.end))
    events = (Heard(label, *pair) for label in times for pair in merge_times(times[label]))
    return replace(
        first,
        id=name,
        labels=tuple(sorted(times)),
        start=None,
        end=None,
        events=tuple(sorted(events, key=lambda event: (event.onset, event.label))),
    )
