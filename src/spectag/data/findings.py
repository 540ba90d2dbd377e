"""The findings of a check, by kind."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, TypeVar

from spectag.audio.heard import DAMAGED
from spectag.audio.read import SAMPLE_RATE
from spectag.audio.segments import SHORTENED
from spectag.data.fingerprints import find_overlaps
from spectag.data.listening import Reading
from spectag.data.manifest import Clip, Manifest
from spectag.data.naming import find_twins, split_name
from spectag.errors import AudioError, AudioNotFound, EmptyAudio, SpectagError

SILENT = 1e-3  # peak: -60 dBFS, which leaves 5 of 16 bits
CLIPPED = 0.005  # fraction of samples
SHORT, ODD = 0.1, 10.0  # s; ratio to the median length
IMBALANCE, FEW = 20, 5  # ratio of the largest class to a class; clips
NARROW = 7000  # Hz: what ends below lacks bands that a model listens to
_NOTES = {DAMAGED: "truncated", SHORTENED: "beyond"}  # words in a recording's note and its kind; "note" for others

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Finding:
    """One problem.

    Args:
        level: ``error`` or ``warning``.
        kind: one of the kinds in the table of :mod:`spectag.data.check`.
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


def find_problems(manifest: Manifest, readings: Sequence[Reading]) -> list[Finding]:
    """Everything that a check finds, errors first.

    Args:
        manifest: the data set.
        readings: of all of its clips.

    >>> from spectag.data.listening import listen
    >>> manifest = Manifest((Clip("1.wav", Path("1.wav"), (0,)),), spectag.LabelSet(("owl",)), "a test")
    >>> [finding.kind for finding in find_problems(manifest, list(listen(manifest.clips)))]
    ['missing', 'one-class', 'few']
    """
    findings = [
        *_unusable(manifest, readings),
        *_unlearnable(manifest),
        *_leaks(manifest),
        *_duplicates(readings),
        *_near_duplicates(manifest, readings),
        *_left_out(manifest),
        *_names(manifest),
        *_overlapping(manifest),
        *_flawed(readings),
        *_odd_lengths(readings),
        *_uneven(manifest),
        *_empty_bands(readings),
    ]
    kinds = list(dict.fromkeys(finding.kind for finding in findings))
    return sorted(findings, key=lambda finding: (finding.level, kinds.index(finding.kind)))


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


def _unlearnable(manifest: Manifest) -> Iterator[Finding]:
    for name, clips in by_label(manifest).items():
        if len(clips) == len(manifest):
            alone = len(manifest.labels) == 1
            message = (
                f"{name!r} is {'the only class, and ' if alone else ''}a label of every clip: a model would learn to "
                "say it always; add clips without it: --negatives FOLDER, or rows with an empty label"
            )
            yield Finding("error" if alone else "warning", "one-class", message, label=name)
    for split in manifest.splits:
        if not any(clip.labels for clip in manifest.clips if clip.split == split):
            yield Finding("warning", "no-labels", f"no clip of {split} has a label: it measures false alarms only")
    if "train" not in manifest.splits:
        return
    for name, clips in by_label(manifest).items():
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


def _near_duplicates(manifest: Manifest, readings: Sequence[Reading]) -> Iterator[Finding]:
    """Cuts of one recording that are in different groups, and are or may be kept apart."""
    divided = bool(manifest.splits or manifest.folds)
    for found in find_overlaps([reading.keys for reading in readings]):
        one, other = readings[found.one], readings[found.other]
        apart = _apart([one.clip, other.clip])
        together = one.clip.group is not None and one.clip.group == other.clip.group
        if one.digest == other.digest or together or (divided and not apart):
            continue
        message = (
            f"{one.clip.id} (from {found.start:.1f} s) and {other.clip.id} (from {found.other_start:.1f} s) share "
            f"{found.seconds:.1f} s of one recording{', in ' + apart if apart else ''}: give them one group"
        )
        yield Finding("warning", "near-duplicate", message, _ids([one.clip, other.clip]))


def _left_out(manifest: Manifest) -> Iterator[Finding]:
    for note in manifest.notes:
        yield Finding("warning", "left-out", note)


def _names(manifest: Manifest) -> Iterator[Finding]:
    names = manifest.labels.names
    if manifest.labels.is_published:
        return
    for name in names:
        if parts := split_name(name, names):
            message = f"{name!r} looks like several labels: write {'|'.join(parts)}, or set labels.separator"
            yield Finding("warning", "several-labels", message, label=name)
    for twins in find_twins(names):
        message = f"{_join(tuple(map(repr, twins)))} are different classes: rename them if they mean the same"
        yield Finding("warning", "similar-names", message)


def _overlapping(manifest: Manifest) -> Iterator[Finding]:
    """Stretches of one file that overlap, of which each has labels that the other lacks."""
    cut = (clip for clip in manifest.clips if clip.start is not None or clip.end is not None)
    for path, clips in _grouped((clip.path, clip) for clip in cut).items():
        ordered = sorted(clips, key=lambda clip: clip.start or 0)
        both = [
            (one, other)
            for one, other in pairwise(ordered)
            if (other.start or 0) < (math.inf if one.end is None else one.end)
            and not set(one.labels) <= set(other.labels)
            and not set(one.labels) >= set(other.labels)
        ]
        if both:
            what = "1 stretch overlaps" if len(both) == 1 else f"{len(both)} stretches overlap"
            message = f"{path.name}: {what} the next with other labels"
            yield Finding("warning", "overlap", message, _ids(both[0]))


def _flawed(readings: Iterable[Reading]) -> Iterator[Finding]:
    for reading in readings:
        name = reading.clip.id
        if reading.error:
            continue
        for note in reading.notes:
            kind = next((kind for words, kind in _NOTES.items() if words in note), "note")
            yield Finding("warning", kind, f"{name}: {note}", (name,))
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
    classes, splits, folds = by_label(manifest), manifest.splits, manifest.folds
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


def _empty_bands(readings: Iterable[Reading]) -> Iterator[Finding]:
    """Recordings without upper bands, by their sampling rate or although it would hold them."""
    good = [reading for reading in readings if reading.rate is not None]
    for kind, ends, few in (
        (
            "low-rate",
            [(r.rate or 0) // 2 for r in good],
            "{rate} Hz, so it has nothing above {end} Hz, unlike other clips",
        ),
        (
            "narrow",
            [r.highest for r in good],
            "nothing above {end} Hz, unlike other clips, though its rate is {rate} Hz",
        ),
    ):
        low = [end < SAMPLE_RATE // 2 if kind == "low-rate" else end < NARROW for end in ends]
        if kind == "narrow":
            low = [is_low and (r.rate or 0) >= SAMPLE_RATE for is_low, r in zip(low, good, strict=True)]
        if good and all(low):
            message = f"nothing is above {max(ends)} Hz in any clip: models listen up to {SAMPLE_RATE // 2} Hz"
            yield Finding("warning", kind, message)
        else:
            for reading, end, is_low in zip(good, ends, low, strict=True):
                if is_low:
                    text = few.format(rate=reading.rate, end=end)
                    yield Finding("warning", kind, f"{reading.clip.id}: {text}", (reading.clip.id,))


def by_label(manifest: Manifest) -> dict[str, list[Clip]]:
    """The clips of each class, by its name.

    >>> by_label(Manifest((Clip("1.wav", Path("1.wav"), ()),), spectag.LabelSet(("owl",)), "a test"))
    {'owl': []}
    """
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


def _ids(clips: Iterable[Clip]) -> tuple[str, ...]:
    return tuple(clip.id for clip in clips)


def _join(values: Iterable[Any]) -> str:
    words = [str(value) for value in (values if isinstance(values, tuple) else sorted(values))]
    if len(words) > 5:
        return f"{', '.join(words[:5])} and {len(words) - 5} more"
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
