"""Find the problems of a data set. Every clip is decoded once, and then the clips are compared with each other.

Kinds of findings, errors first. Errors must be corrected before training; warnings may be intended.

================ =======================================================================================
missing          a table lists the clip, but its file does not exist
unreadable       the clip cannot be decoded
empty            the clip has no samples
one-class        the only class is a label of every clip (a warning if there are other classes)
untrained        a class is in other splits, but not in ``train``
leak             a group (one recording, one speaker) is in several splits or folds
duplicate-splits the same sound is in several splits or folds
duplicate-labels the same sound has different labels
near-duplicate   two clips of different groups were cut out of one recording, and share a stretch of it
no-labels        no clip of a split has a label
left-out         recordings, files or columns are not used
several-labels   the name of a class looks like several labels
similar-names    names of classes differ in letter case, ``_`` or spaces only
overlap          stretches of one file overlap, and have different labels
truncated        the recording is shorter than its header states, or is damaged
beyond           a stretch ends after the end of its file, and is shortened
note             something else is odd: channels that cancel each other, a header that states too little, other tracks
silent           the peak is below -60 dBFS
clipped          over 0.5 % of the samples are at full scale
short            the clip is shorter than 0.1 s
length           the clip is over ten times as long as the median, or shorter than a tenth of it
duplicate        the same sound occurs twice in one split or fold
one-split        a class is in one split or fold only
imbalance        a class has fewer than a twentieth of the clips of the largest class
few              a class has fewer than five clips
low-rate         the sampling rate is below 16 kHz, so the upper bands are empty
narrow           the upper bands are empty, though the sampling rate would hold them
================ =======================================================================================

Peaks and fractions are those of the waveform (mono, 16 kHz). Two clips are the same sound if their waveforms are equal
when rounded to 16 bits. A WAV file and a FLAC file made from it are therefore the same sound. Silent clips are not
compared.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from operator import itemgetter
from threading import Event
from typing import Any

from spectag.ahead import Watch, chain
from spectag.audio.readers import Readers
from spectag.audio.segments import group_segments
from spectag.data.findings import Finding, by_label, find_problems
from spectag.data.listening import Reading, listen
from spectag.data.manifest import Manifest

_AHEAD = 8  # segments of one file that are ready before they are asked for


@dataclass(frozen=True)
class CheckReport:
    """The result of a check, as plain values.

    Args:
        summary: counts and durations of the whole data set.
        classes: for each class its name, number of clips, seconds, and number of clips per split and fold.
        findings: errors first, then warnings. Findings of the same kind are next to each other.

    >>> CheckReport({}, [], (Finding("error", "empty", "1.wav: no samples"),)).errors
    1
    """

    summary: dict[str, Any]
    classes: list[dict[str, Any]]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        """Number of findings that are errors."""
        return sum(finding.level == "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return asdict(self)


def check_data_set(manifest: Manifest, jobs: int = 1, watch: Watch[Reading] = lambda results: results) -> CheckReport:
    """Decode every clip, and find the problems of a data set.

    Files are decoded in other processes, so that one that makes a decoder crash is one finding.

    Args:
        manifest: the data set.
        jobs: number of files that are read at once.
        watch: a function that all results pass through, for example a progress bar.

    >>> from spectag.data.manifest import Clip, Manifest
    >>> report = check_data_set(Manifest((Clip("1.wav", Path("1.wav"), (0,)),), spectag.LabelSet(("owl",)), "a test"))
    >>> report.errors, report.findings[0].message
    (2, '1.wav: expected a file, found none: check the path')
    """
    stop, order = Event(), manifest.by_file()
    read = partial(Readers().blocks, stop=stop)
    groups = group_segments((manifest.clips[at] for at in order), lambda clip: clip.source)
    found = watch(chain((partial(listen, group, read) for group in groups), workers=jobs, items=_AHEAD, stop=stop))
    readings = [reading for _, reading in sorted(zip(order, found, strict=True), key=itemgetter(0))]
    findings = find_problems(manifest, readings)
    return CheckReport(_summary(manifest, readings, findings), _classes(manifest, readings), tuple(findings))


def _summary(manifest: Manifest, readings: list[Reading], findings: Iterable[Finding]) -> dict[str, Any]:
    good = [reading for reading in readings if not reading.error]
    lengths = [reading.seconds for reading in good]
    durations = {"min": min(lengths), "median": statistics.median(lengths), "max": max(lengths)} if lengths else None
    levels = Counter(finding.level for finding in findings)
    return {
        "layout": manifest.layout,
        "clips": len(manifest),
        "classes": len(manifest.labels),
        "negatives": manifest.negatives,
        "hours": sum(lengths) / 3600,
        "seconds": durations,
        "splits": _counts(clip.split for clip in manifest.clips),
        "folds": _counts(clip.fold for clip in manifest.clips),
        "rates": _counts(reading.rate for reading in good),
        "channels": _counts(reading.channels for reading in good),
        "errors": levels["error"],
        "warnings": levels["warning"],
    }


def _classes(manifest: Manifest, readings: Iterable[Reading]) -> list[dict[str, Any]]:
    seconds = {reading.clip.id: reading.seconds for reading in readings}
    return [
        {
            "name": name,
            "clips": len(clips),
            "seconds": sum(seconds[clip.id] for clip in clips),
            "splits": _counts(clip.split for clip in clips),
            "folds": _counts(clip.fold for clip in clips),
        }
        for name, clips in by_label(manifest).items()
    ]


def _counts(values: Iterable[str | int | None]) -> dict[str, int]:
    """Count how often each value occurs, in ascending order, with keys for JSON. None (unknown) is not counted."""
    counts = Counter(value for value in values if value is not None)
    return {str(value): counts[value] for value in sorted(counts, key=lambda value: (str(type(value)), value))}
