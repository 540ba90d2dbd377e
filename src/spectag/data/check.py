"""Find the problems of a data set. Every clip is decoded once, and then the clips are compared with each other.

Kinds of findings, errors first. Errors must be corrected before training; warnings may be intended.

================ =======================================================================================
missing          a table lists the clip, but its file does not exist
unreadable       the clip cannot be decoded
empty            the clip has no samples
untrained        a class is in other splits, but not in ``train``
leak             a group (one recording, one speaker) is in several splits or folds
duplicate-splits the same sound is in several splits or folds
duplicate-labels the same sound has different labels
truncated        the recording is shorter than its header states, or is damaged
silent           the peak is below -60 dBFS
clipped          over 0.5 % of the samples are at full scale
short            the clip is shorter than 0.1 s
length           the clip is over ten times as long as the median, or shorter than a tenth of it
duplicate        the same sound occurs twice in one split or fold
one-split        a class is in one split or fold only
imbalance        a class has fewer than a twentieth of the clips of the largest class
few              a class has fewer than five clips
low-rate         the sampling rate is below 16 kHz, unlike that of other clips, so the upper bands are empty
================ =======================================================================================

Peaks and fractions are those of the waveform (mono, 16 kHz). Two clips are the same sound if their waveforms are equal
when rounded to 16 bits. A WAV file and a FLAC file made from it are therefore the same sound. Silent clips are not
compared.
"""

from __future__ import annotations

import hashlib
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar

import numpy as np

from spectag.ahead import Watch, in_order
from spectag.audio.read import SAMPLE_RATE, open as open_recording
from spectag.data.manifest import Clip, Manifest
from spectag.errors import AudioError, AudioNotFound, EmptyAudio, InputError, SpectagError

SILENT = 1e-3  # peak: -60 dBFS, which leaves 5 of 16 bits
FULL_SCALE, CLIPPED = 0.999, 0.005  # magnitude; fraction of samples
SHORT, ODD = 0.1, 10.0  # s; ratio to the median length
IMBALANCE, FEW = 20, 5  # ratio of the largest class to a class; clips

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Finding:
    """One problem.

    Args:
        level: ``error`` or ``warning``.
        kind: one of the kinds in the table of this module.
        message: one line that names the clips or the class.
        clips: ids of the clips concerned.
        label: name of the class, if the finding is about a class.

    >>> Finding("warning", "short", "1.wav: 0.05 s, below 0.1 s", ("1.wav",)).kind
    'short'
    """

    level: Literal["error", "warning"]
    kind: str
    message: str
    clips: tuple[str, ...] = ()
    label: str | None = None


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


@dataclass(frozen=True)
class Reading:
    """What is known about a clip after decoding it.

    Args:
        clip: the clip.
        samples: at 16 kHz; 0 if it cannot be read.
        peak: largest magnitude, full scale = 1.0.
        clipped: fraction of the samples at full scale, 0..1.
        digest: hash of the waveform, rounded to 16 bits.
        rate: sampling rate of the file in Hz; None if it cannot be read.
        channels: channels of the file; None if it cannot be read.
        error: why it cannot be read; None if it can.
        notes: problems that did not prevent reading, one line each.

    >>> from spectag.data.manifest import Clip
    >>> Reading(Clip("1.wav", Path("1.wav"), ()), 8000, 0.5, 0.0, b"", 44_100, 2, None, ()).seconds
    0.5
    """

    clip: Clip
    samples: int
    peak: float
    clipped: float
    digest: bytes
    rate: int | None
    channels: int | None
    error: SpectagError | None
    notes: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Duration of the clip."""
        return self.samples / SAMPLE_RATE


def check_data_set(manifest: Manifest, jobs: int = 1, watch: Watch[Reading] = lambda results: results) -> CheckReport:
    """Decode every clip, and find the problems of a data set.

    Args:
        manifest: the data set.
        jobs: number of threads that decode.
        watch: a function that all results pass through, for example a progress bar.

    >>> from spectag.data.manifest import Clip, Manifest
    >>> report = check_data_set(Manifest((Clip("1.wav", Path("1.wav"), (0,)),), spectag.LabelSet(("owl",)), "a test"))
    >>> report.errors, report.findings[0].message
    (1, '1.wav: expected a file, found none: check the path')
    """
    readings = list(watch(in_order(_read, manifest.clips, jobs)))
    findings = [
        *_unusable(manifest, readings),
        *_untrained(manifest),
        *_leaks(manifest),
        *_duplicates(readings),
        *_flawed(readings),
        *_odd_lengths(readings),
        *_uneven(manifest),
        *_low_rates(readings),
    ]
    kinds = list(dict.fromkeys(finding.kind for finding in findings))
    findings.sort(key=lambda finding: (finding.level, kinds.index(finding.kind)))
    return CheckReport(_summary(manifest, readings, findings), _classes(manifest, readings), tuple(findings))


# one clip


def _read(clip: Clip) -> Reading:
    recording = open_recording(clip.source)
    digest = hashlib.blake2b(digest_size=16)
    samples = full = 0
    error = None
    try:
        for block in recording.blocks():
            full += int(np.count_nonzero(np.abs(block) >= FULL_SCALE))
            samples += len(block)
            digest.update(np.clip(np.rint(block * 32768), -32768, 32767).astype("<i2").data)
    except (AudioError, InputError) as failure:  # InputError: the start or end of the segment is invalid
        samples, error = 0, failure
    return Reading(
        clip=clip,
        samples=samples,
        peak=recording.peak,
        clipped=full / samples if samples else 0.0,
        digest=digest.digest(),
        rate=None if error else round(recording.rate),
        channels=None if error else recording.channels,
        error=error,
        notes=tuple(recording.notes),
    )


# findings


def _unusable(manifest: Manifest, readings: Iterable[Reading]) -> Iterator[Finding]:
    for name in manifest.missing:
        yield Finding("error", "missing", f"{name}: expected a file, found none: check the table", (name,))
    for reading in readings:
        if reading.error is None:
            continue
        name, error = reading.clip.id, reading.error
        kinds: dict[type[SpectagError], str] = {AudioNotFound: "missing", EmptyAudio: "empty"}
        reason = error.reason if isinstance(error, AudioError) else str(error)
        yield Finding("error", kinds.get(type(error), "unreadable"), f"{name}: {reason}", (name,))


def _untrained(manifest: Manifest) -> Iterator[Finding]:
    if "train" not in manifest.splits:
        return
    for name, clips in _by_label(manifest).items():
        splits = {clip.split for clip in clips if clip.split is not None}
        if splits and "train" not in splits:
            message = f"{name!r} is in {_join(splits)}, but not in train: it cannot be learned"
            yield Finding("error", "untrained", message, _ids(clips), name)


def _leaks(manifest: Manifest) -> Iterator[Finding]:
    groups = _grouped((clip.group, clip) for clip in manifest.clips if clip.group is not None)
    for group, clips in groups.items():
        if apart := _apart(clips):
            message = f"group {group!r} is in {apart}: keep its {len(clips)} clips together"
            yield Finding("error", "leak", message, _ids(clips))


def _duplicates(readings: Iterable[Reading]) -> Iterator[Finding]:
    audible = (reading for reading in readings if not reading.error and reading.peak >= SILENT)
    for same in _grouped((reading.digest, reading.clip) for reading in audible).values():
        if len(same) == 1:
            continue
        who, ids = _join(_ids(same)), _ids(same)
        apart = _apart(same)
        if apart:
            yield Finding("error", "duplicate-splits", f"{who} are the same sound, in {apart}", ids)
        if len({clip.labels for clip in same}) > 1:
            yield Finding("error", "duplicate-labels", f"{who} are the same sound, with different labels", ids)
        elif not apart:
            yield Finding("warning", "duplicate", f"{who} are the same sound", ids)


def _flawed(readings: Iterable[Reading]) -> Iterator[Finding]:
    for reading in readings:
        name = reading.clip.id
        if reading.error:
            continue
        for note in reading.notes:
            yield Finding("warning", "truncated", f"{name}: {note}", (name,))
        if reading.peak < SILENT:
            level = f"a peak of {20 * math.log10(reading.peak):.0f} dBFS" if reading.peak else "all samples are zero"
            yield Finding("warning", "silent", f"{name}: {level}", (name,))
        if reading.clipped > CLIPPED:
            share = f"{name}: {100 * reading.clipped:.1f} % of its samples are at full scale"
            yield Finding("warning", "clipped", share, (name,))


def _odd_lengths(readings: Iterable[Reading]) -> Iterator[Finding]:
    good = [reading for reading in readings if not reading.error]
    middle = statistics.median(reading.seconds for reading in good) if good else 0.0
    for reading in good:
        name, seconds = reading.clip.id, reading.seconds
        if seconds < SHORT:
            yield Finding("warning", "short", f"{name}: {seconds:.3g} s, below {SHORT:g} s", (name,))
        elif not middle / ODD <= seconds <= middle * ODD:
            yield Finding("warning", "length", f"{name}: {seconds:.3g} s; the median is {middle:.3g} s", (name,))


def _uneven(manifest: Manifest) -> Iterator[Finding]:
    """Classes with few clips, or in one split or fold only."""
    classes, splits, folds = _by_label(manifest), manifest.splits, manifest.folds
    trained = {
        name: sum("train" not in splits or clip.split == "train" for clip in clips) for name, clips in classes.items()
    }
    largest = max(trained, key=lambda name: trained[name])
    for name, clips in classes.items():
        for axis, there, values in (
            ("split", splits, {clip.split for clip in clips} - {None}),
            ("fold", folds, {clip.fold for clip in clips} - {None}),
        ):
            untrained = "train" in there and "train" not in values  # an error already
            if len(there) > 1 and len(values) == 1 and not untrained:
                message = f"{name!r} is only in {axis} {values.pop()}"
                yield Finding("warning", "one-split", message, _ids(clips), name)
        if len(clips) < FEW:
            message = f"{name!r} has {_count(len(clips), 'clip')}, fewer than {FEW}"
            yield Finding("warning", "few", message, _ids(clips), name)
        if 0 < IMBALANCE * trained[name] < trained[largest]:
            message = f"{name!r} has {_count(trained[name], 'clip')}, {largest!r} has {trained[largest]}"
            yield Finding("warning", "imbalance", f"{message}: more than {IMBALANCE} : 1", label=name)


def _low_rates(readings: Iterable[Reading]) -> Iterator[Finding]:
    known = [(reading.clip.id, reading.rate) for reading in readings if reading.rate is not None]
    if max((rate for _, rate in known), default=0) >= SAMPLE_RATE:
        for name, rate in known:
            if rate < SAMPLE_RATE:
                message = f"{name}: {rate} Hz, so it has nothing above {rate / 2:.0f} Hz, unlike other clips"
                yield Finding("warning", "low-rate", message, (name,))


# the whole


def _summary(manifest: Manifest, readings: list[Reading], findings: Iterable[Finding]) -> dict[str, Any]:
    good = [reading for reading in readings if not reading.error]
    lengths = [reading.seconds for reading in good]
    durations = {"min": min(lengths), "median": statistics.median(lengths), "max": max(lengths)} if lengths else None
    levels = Counter(finding.level for finding in findings)
    return {
        "layout": manifest.layout,
        "clips": len(manifest),
        "classes": len(manifest.labels),
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
        for name, clips in _by_label(manifest).items()
    ]


def _by_label(manifest: Manifest) -> dict[str, list[Clip]]:
    rows: list[list[Clip]] = [[] for _ in manifest.labels.names]
    for clip in manifest.clips:
        for label in clip.labels:
            rows[label].append(clip)
    return dict(zip(manifest.labels.names, rows, strict=True))


def _grouped(pairs: Iterable[tuple[Key, Clip]]) -> dict[Key, list[Clip]]:
    out: dict[Key, list[Clip]] = defaultdict(list)
    for key, clip in pairs:
        out[key].append(clip)
    return out


def _apart(clips: Iterable[Clip]) -> str:
    """The splits or folds that clips are in, in words; empty if all clips are in the same one."""
    splits = {clip.split for clip in clips if clip.split is not None}
    folds = {clip.fold for clip in clips if clip.fold is not None}
    if len(splits) > 1:
        return _join(splits)
    return f"folds {_join(folds)}" if len(folds) > 1 else ""


def _counts(values: Iterable[str | int | None]) -> dict[str, int]:
    """Count how often each value occurs, in ascending order, with keys for JSON. None (unknown) is not counted."""
    counts = Counter(value for value in values if value is not None)
    return {str(value): counts[value] for value in sorted(counts, key=lambda value: (str(type(value)), value))}


def _ids(clips: Iterable[Clip]) -> tuple[str, ...]:
    return tuple(clip.id for clip in clips)


def _join(values: Iterable[Any]) -> str:
    words = [str(value) for value in (values if isinstance(values, tuple) else sorted(values))]
    if len(words) > 5:
        return f"{', '.join(words[:5])} and {len(words) - 5} more"
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
