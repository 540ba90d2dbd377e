"""What is wrong with a data set: every clip is decoded once, and the table is looked at as a whole.

Kinds of findings, the errors first; only they keep a data set from being trained on as it is:

================ =======================================================================================
missing          a table names it, the disk does not have it
unreadable       it cannot be decoded
empty            it holds no sample
untrained        a class that is in other parts, but not in ``train``
leak             a group (one recording, one speaker) on both sides of the parts or folds
duplicate-parts  the same sound in several parts or folds
duplicate-labels the same sound with different labels
truncated        it breaks off before its header says
silent           it peaks below -60 dBFS
clipped          over 0.5 % of its samples are at full scale
short            it is shorter than 0.1 s
length           it is ten times as long as the median, or as short
duplicate        the same sound again, within one part or fold
one-part         a class that is in one part or fold only
imbalance        a class with less than a 20th of the clips of the largest
few              a class with less than five clips
low-rate         sampled below 16 kHz, where others are not: its upper bands are empty
================ =======================================================================================

Peaks and shares are those of the waveform (mono, 16 kHz). Two clips are the same sound if their waveforms are equal
when rounded to 16 bits: a WAV and a FLAC of it are. Silent ones are not compared.
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

SILENT = 1e-3  # peak: -60 dBFS, where 16 bits leave 5 of theirs
FULL_SCALE, CLIPPED = 0.999, 0.005  # magnitude; share of samples
SHORT, ODD = 0.1, 10.0  # s; factor to the median
IMBALANCE, FEW = 20, 5  # factor to the largest class; clips

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Args:
        level: ``error`` or ``warning``.
        kind: which, see the module.
        message: one line that names the clips or the class.
        clips: ids of the clips that it is about.
        label: the class that it is about.
    """

    level: Literal["error", "warning"]
    kind: str
    message: str
    clips: tuple[str, ...] = ()
    label: str | None = None


@dataclass(frozen=True)
class Report:
    """What a check brought, as plain values.

    Args:
        summary: counts and durations of the whole.
        classes: per class its name, clips, seconds, and clips by part and fold.
        findings: errors first, those of a kind in a row.
    """

    summary: dict[str, Any]
    classes: list[dict[str, Any]]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(finding.level == "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Reading:
    """What decoding one clip brought.

    Args:
        clip: which.
        samples: at 16 kHz; 0 where it cannot be read.
        peak: largest magnitude, full scale = 1.0.
        clipped: share of samples at full scale, 0..1.
        digest: of the waveform, rounded to 16 bits.
        rate, channels: of the file, Hz; None where it cannot be read.
        error: why it cannot be read.
        notes: what is odd about it, one line each.
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
        """Duration."""
        return self.samples / SAMPLE_RATE


def check(manifest: Manifest, jobs: int = 1, watch: Watch[Reading] = lambda results: results) -> Report:
    """Decode every clip, and say what is wrong with the data set.

    Args:
        manifest: the data set.
        jobs: threads that decode.
        watch: what the clips' results pass through, a progress bar say.
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
    return Report(_summary(manifest, readings, findings), _classes(manifest, readings), tuple(findings))


# A clip


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
    except (AudioError, InputError) as failure:  # InputError: times that make no segment
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


# Findings


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
        parts = {clip.split for clip in clips if clip.split is not None}
        if parts and "train" not in parts:
            message = f"{name!r} is in {_and(parts)}, but not in train: it cannot be learned"
            yield Finding("error", "untrained", message, _ids(clips), name)


def _leaks(manifest: Manifest) -> Iterator[Finding]:
    groups = _grouped((clip.group, clip) for clip in manifest.clips if clip.group is not None)
    for group, clips in groups.items():
        if apart := _apart(clips):
            message = f"group {group!r} is in {apart}: keep its {len(clips)} clips on one side"
            yield Finding("error", "leak", message, _ids(clips))


def _duplicates(readings: Iterable[Reading]) -> Iterator[Finding]:
    heard = (reading for reading in readings if not reading.error and reading.peak >= SILENT)
    for same in _grouped((reading.digest, reading.clip) for reading in heard).values():
        if len(same) == 1:
            continue
        who, ids = _and(_ids(same)), _ids(same)
        apart = _apart(same)
        if apart:
            yield Finding("error", "duplicate-parts", f"{who} are the same sound, in {apart}", ids)
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
            level = f"a peak of {20 * math.log10(reading.peak):.0f} dBFS" if reading.peak else "nothing but zeros"
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
            yield Finding("warning", "length", f"{name}: {seconds:.3g} s, where the median is {middle:.3g} s", (name,))


def _uneven(manifest: Manifest) -> Iterator[Finding]:
    """Labels with few clips, or in few places."""
    classes, splits, folds = _by_label(manifest), manifest.splits, manifest.folds
    trained = {
        name: sum("train" not in splits or clip.split == "train" for clip in clips) for name, clips in classes.items()
    }
    largest = max(trained, key=lambda name: trained[name])
    for name, clips in classes.items():
        for axis, there, values in (
            ("part", splits, {clip.split for clip in clips} - {None}),
            ("fold", folds, {clip.fold for clip in clips} - {None}),
        ):
            untrained = "train" in there and "train" not in values  # an error already
            if len(there) > 1 and len(values) == 1 and not untrained:
                message = f"{name!r} is in {axis} {values.pop()} only"
                yield Finding("warning", "one-part", message, _ids(clips), name)
        if len(clips) < FEW:
            message = f"{name!r} has {_count(len(clips), 'clip')}, less than {FEW}"
            yield Finding("warning", "few", message, _ids(clips), name)
        if 0 < IMBALANCE * trained[name] < trained[largest]:
            message = f"{name!r} has {_count(trained[name], 'clip')}, {largest!r} {trained[largest]}"
            yield Finding("warning", "imbalance", f"{message}: over {IMBALANCE} : 1", label=name)


def _low_rates(readings: Iterable[Reading]) -> Iterator[Finding]:
    known = [(reading.clip.id, reading.rate) for reading in readings if reading.rate is not None]
    if max((rate for _, rate in known), default=0) >= SAMPLE_RATE:
        for name, rate in known:
            if rate < SAMPLE_RATE:
                message = f"{name}: {rate} Hz, others at least {SAMPLE_RATE}: nothing above {rate / 2:.0f} Hz"
                yield Finding("warning", "low-rate", message, (name,))


# The whole


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
    """The parts or folds that clips are spread over, in words; empty where they are together."""
    splits = {clip.split for clip in clips if clip.split is not None}
    folds = {clip.fold for clip in clips if clip.fold is not None}
    if len(splits) > 1:
        return _and(splits)
    return f"folds {_and(folds)}" if len(folds) > 1 else ""


def _counts(values: Iterable[str | int | None]) -> dict[str, int]:
    """How often each value comes, ascending, as JSON takes it; None is what no clip or file tells."""
    counts = Counter(value for value in values if value is not None)
    return {str(value): counts[value] for value in sorted(counts, key=lambda value: (str(type(value)), value))}


def _ids(clips: Iterable[Clip]) -> tuple[str, ...]:
    return tuple(clip.id for clip in clips)


def _and(values: Iterable[Any]) -> str:
    words = [str(value) for value in (values if isinstance(values, tuple) else sorted(values))]
    if len(words) > 5:
        return f"{', '.join(words[:5])} and {len(words) - 5} more"
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
