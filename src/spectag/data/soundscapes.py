"""Soundscapes with known onsets, mixed from labelled clips: training data and tests for events.

::

    clips -> sounding (without the silence at their ends) -> plan_soundscape -> mix_soundscape -> a folder

"""

from __future__ import annotations

import csv
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from spectag.audio.read import SAMPLE_RATE, Waveform, read
from spectag.audio.source import Segment
from spectag.choices import MixFormat
from spectag.data.cells import read_labels
from spectag.data.events import merge_times
from spectag.data.folders import find_audio
from spectag.data.manifest import Clip, Manifest
from spectag.data.tables import EVENTS
from spectag.errors import AudioError, DataError, InputError
from spectag.files import new_folder
from spectag.version import __version__

PROVENANCE, AUDIO = "mix.json", "audio"
LEVEL = -50.0  # dB: RMS of the background (full scale = 0)
SILENCE = 10 ** (-50 / 20)  # fraction of a clip's peak; what is quieter is not heard
GAP = 0.5  # seconds of silence within a clip from which on its sounds are separate events
FADE = SAMPLE_RATE // 100  # samples = 10 ms
LONGEST = 600  # seconds of a recording of backgrounds that are used
TRIES = 50  # onsets that are tried for a clip, and clips for an event, before it is left out
KEPT = 512  # decoded clips that are kept in memory

Rng: TypeAlias = np.random.Generator


@dataclass(frozen=True)
class MixOptions:
    """How soundscapes are mixed.

    Args:
        seconds: length of each soundscape.
        count: number of soundscapes.
        seed: decides everything that is random.
        events: fewest and most clips in a soundscape. There are fewer where they do not fit.
        polyphony: most clips that are heard at the same time.
        snr: lowest and highest level of a clip above the background, in dB (both as root mean square).
        ratio: how many times as often the first class is drawn as the last. The others lie between them by Zipf's law;
            the seed decides which class has which rank. 1 for all equally often.
        format: of the audio files, ``flac`` or ``wav``; both are 16 kHz, mono, 16 bit.

    Raises:
        InputError: a value is out of its range; the message names it.

    >>> MixOptions(seconds=10, count=100).events
    (1, 4)
    """

    seconds: float = 10.0
    count: int = 1000
    seed: int = 0
    events: tuple[int, int] = (1, 4)
    polyphony: int = 2
    snr: tuple[float, float] = (6.0, 30.0)
    ratio: float = 1.0
    format: MixFormat = "flac"

    def __post_init__(self) -> None:
        wanted = {
            "seconds": (1 <= self.seconds <= 3600, "1 to 3600"),
            "count": (self.count >= 1, "at least 1"),
            "seed": (self.seed >= 0, "0 or more"),
            "events": (
                0 <= self.events[0] <= self.events[1] and self.events[1] >= 1,
                "fewest and most, such as (1, 4)",
            ),
            "polyphony": (self.polyphony >= 1, "at least 1"),
            "snr": (-30 <= self.snr[0] <= self.snr[1] <= 50, "lowest and highest, -30 to 50 dB"),
            "ratio": (1 <= self.ratio < math.inf, "at least 1"),
        }
        for name, (fine, range_) in wanted.items():
            if not fine:
                raise InputError(f"{name}: expected {range_}, got {getattr(self, name)}")

    @property
    def samples(self) -> int:
        """Length of a soundscape in samples."""
        return round(self.seconds * SAMPLE_RATE)


class Placed(NamedTuple):
    """A clip in a soundscape: where it begins, in samples, and its level above the background in dB.

    >>> Placed(Clip("1.wav", Path("1.wav"), (0,)), onset=8000, snr=12.0).onset
    8000
    """

    clip: Clip
    onset: int
    snr: float


class Sounding(NamedTuple):
    """The part of a clip that is heard.

    Args:
        waveform: ``[N]``, without the silence at both ends; its root mean square is 1, over what is heard.
        times: first sample and end of each sound in it, at least half a second of silence apart.

    >>> Sounding(np.ones(4, np.float32), ((0, 4),)).times
    ((0, 4),)
    """

    waveform: Waveform
    times: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Mixed:
    """What :func:`mix_data_set` wrote.

    Args:
        soundscapes, events: their numbers.
        seconds: duration of all soundscapes.
        failed: one message for each clip that cannot be read or heard, and was not used.

    >>> Mixed(soundscapes=2, events=5, seconds=20.0).failed
    ()
    """

    soundscapes: int
    events: int
    seconds: float
    failed: tuple[str, ...] = field(default=())


def mix_data_set(
    manifest: Manifest,
    out: Path,
    options: MixOptions,
    background: Path | None = None,
    watch: Callable[[Iterable[int], int], Iterable[int]] = lambda items, total: items,
) -> Mixed:
    """Mix soundscapes from the clips of a data set. The same clips, options and libraries give the same bytes.

    A soundscape depends on the seed and its own number only, so more of them leave the first ones as they are.

    Args:
        manifest: the clips. Those without labels are not used.
        out: a new or empty folder. It gets ``audio/``; ``events.tsv``, DCASE's strong labels (``filename``, ``onset``,
            ``offset``, ``event_label``), where a soundscape without events has a row with its name alone; and
            ``mix.json``, which says what each soundscape is made of.
        options: lengths, numbers and levels.
        background: a folder of recordings; excerpts of them lie under the events. None for noise.
        watch: a function that the numbers of the soundscapes pass through, for example a progress bar.

    Raises:
        DataError: there are no clips with labels, none can be heard, a background cannot be used, or a label would be
            read as several from a table.
        SaveError: ``out`` is not empty, or could not be written; nothing is left behind.

    >>> sf.write("1.wav", np.sin(np.arange(16_000) / 5) / 2, 16_000)
    >>> manifest = Manifest((Clip("1.wav", Path("1.wav"), (0,)),), spectag.LabelSet(("owl",)), "a test")
    >>> mix_data_set(manifest, Path("mix"), MixOptions(seconds=4.0, count=3, events=(1, 1)))
    Mixed(soundscapes=3, events=3, seconds=12.0, failed=())
    >>> Path("mix", "events.tsv").read_text().splitlines()[1].split("\\t")[::3]
    ['audio/000000.flac', 'owl']
    """
    for label in manifest.labels.names:
        if (parts := read_labels(label)) != (label,):
            raise DataError(f"{label!r}: in a table this would be read as {' and '.join(parts) or 'none'}: rename it")
    maker = _Maker(manifest, options, [] if background is None else find_audio(background))
    if background is not None and not maker.backgrounds:
        raise DataError(f"--background {background}: expected a folder with recordings, found none")
    rows: list[Sequence[str]] = [("filename", "onset", "offset", "event_label")]
    facts, count = [], 0
    with new_folder(out) as folder:
        (folder / AUDIO).mkdir()
        for number in watch(range(options.count), options.count):
            name = f"{AUDIO}/{number:06}.{options.format}"
            samples, events, fact = maker.make(number)
            sf.write(folder / name, samples, SAMPLE_RATE, subtype="PCM_16")
            rows += [(name, f"{onset:.7f}", f"{offset:.7f}", label) for onset, offset, label in events]
            if not events:
                rows.append((name, "", "", ""))
            count += len(events)
            facts.append({"file": name, **fact})
        about = {"spectag": __version__, "layout": manifest.layout, "options": asdict(options), "soundscapes": facts}
        with (folder / EVENTS).open("w", encoding="utf-8", newline="") as table:
            csv.writer(table, delimiter="\t", lineterminator="\n").writerows(rows)
        (folder / PROVENANCE).write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", "utf-8", newline="\n")
    return Mixed(options.count, count, options.count * options.seconds, tuple(maker.failed.values()))


def hear(waveform: Waveform, longest: int) -> Sounding | None:
    """Cut the silence off both ends of a clip, and find what is heard in it.

    Args:
        waveform: ``[N]``.
        longest: samples after which it is cut off.

    Returns:
        None if it is silent.

    >>> hear(np.float32([0, 0, 0.5, -0.5, 0]), longest=100).times
    ((0, 2),)
    """
    loud = np.flatnonzero(np.abs(waveform) > SILENCE * np.abs(waveform).max(initial=0))
    if not len(loud):
        return None
    first = loud[0]
    loud = loud[loud < first + longest] - first
    breaks = np.flatnonzero(np.diff(loud) > GAP * SAMPLE_RATE)
    starts, ends = [0, *loud[breaks + 1].tolist()], [*(loud[breaks] + 1).tolist(), int(loud[-1]) + 1]
    times = tuple(zip(starts, ends, strict=True))
    x = np.array(waveform[first : first + times[-1][1]], np.float64)
    heard = np.concatenate([x[start:end] for start, end in times])
    x /= math.sqrt(np.square(heard).mean())
    fade = np.minimum(1, np.arange(1, len(x) + 1) / FADE)
    return Sounding((x * fade * fade[::-1]).astype(np.float32), times)


def place(length: int, taken: Sequence[tuple[int, int]], samples: int, polyphony: int, rng: Rng) -> int | None:
    """Draw where a clip begins so that no more than ``polyphony`` clips are heard at once; None if it fits nowhere.

    Args:
        length: of the clip in samples.
        taken: beginnings and ends of the other clips.
        samples: length of the soundscape.
        polyphony: most clips at the same time.
        rng: draws.

    >>> place(10, [(0, 10)], 10, polyphony=1, rng=np.random.default_rng(0)) is None
    True
    """
    for onset in rng.integers(0, samples - length + 1, TRIES).tolist():
        inside = [(max(onset, a), b) for a, b in taken if a < onset + length and b > onset]
        # Most clips are heard where one of them begins.
        if max((sum(a <= at < b for a, b in inside) for at, _ in inside), default=0) < polyphony:
            return int(onset)
    return None


class _Maker:
    """Makes soundscapes by number."""

    def __init__(self, manifest: Manifest, options: MixOptions, backgrounds: Sequence[Path]) -> None:
        self.names, self.options, self.backgrounds = manifest.labels.names, options, backgrounds
        pools: defaultdict[int, list[Clip]] = defaultdict(list)
        for clip in manifest.clips:
            for label in clip.labels:
                pools[label].append(clip)
        if not pools:
            raise DataError("expected clips with labels to mix, got none")
        ranks = np.random.default_rng(options.seed).permutation(len(pools)) + 1
        shares = ranks ** (-math.log(options.ratio) / math.log(max(2, len(pools))))
        self.pools, self.chances = [pools[label] for label in sorted(pools)], shares / shares.sum()
        self.failed: dict[str, str] = {}
        self.hear = lru_cache(KEPT)(self._hear)
        self.read_background = lru_cache(8)(self._read_background)

    def make(self, number: int) -> tuple[NDArray[np.int16], list[tuple[float, float, str]], dict[str, Any]]:
        """A soundscape: its samples, its events in seconds, and what it is made of."""
        options = self.options
        rng = np.random.default_rng((options.seed, number))
        under, where = self._draw_background(rng)
        mix = under * np.float32(10 ** (LEVEL / 20))
        placed = self._place(rng)
        times: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        for clip, onset, snr in placed:
            heard = self.hear(clip)
            assert heard is not None
            mix[onset : onset + len(heard.waveform)] += np.float32(10 ** ((LEVEL + snr) / 20)) * heard.waveform
            for label in clip.labels:
                times[self.names[label]] += [(onset + a, onset + b) for a, b in heard.times]
        mix /= max(1.0, float(np.abs(mix).max()) / 0.9)  # impulses may exceed full scale
        events = [(a / SAMPLE_RATE, b / SAMPLE_RATE, name) for name in times for a, b in merge_times(times[name])]
        parts = [{"clip": c.id, "onset": onset / SAMPLE_RATE, "snr": round(snr, 3)} for c, onset, snr in placed]
        return np.rint(mix * 32767).astype(np.int16), sorted(events), {"background": where, "clips": parts}

    def _place(self, rng: Rng) -> list[Placed]:
        options = self.options
        placed: list[Placed] = []
        taken: list[tuple[int, int]] = []
        for _ in range(int(rng.integers(options.events[0], options.events[1] + 1))):
            snr = float(rng.uniform(*options.snr))
            clip, heard = self._draw_clip(rng)
            onset = place(len(heard.waveform), taken, options.samples, options.polyphony, rng)
            if onset is not None:
                taken.append((onset, onset + len(heard.waveform)))
                placed.append(Placed(clip, onset, snr))
        return sorted(placed, key=lambda p: p.onset)

    def _draw_clip(self, rng: Rng) -> tuple[Clip, Sounding]:
        for _ in range(TRIES):
            pool = self.pools[int(rng.choice(len(self.pools), p=self.chances))]
            clip = pool[int(rng.integers(len(pool)))]
            if (heard := self.hear(clip)) is not None:
                return clip, heard
        raise DataError(f"none of {TRIES} clips can be mixed; the first error: {next(iter(self.failed.values()))}")

    def _hear(self, clip: Clip) -> Sounding | None:
        try:
            heard = hear(read(clip.source), self.options.samples)
        except AudioError as error:
            self.failed[clip.id] = str(error)
            return None
        if heard is None:
            self.failed[clip.id] = f"{clip.id}: only silence"
        return heard

    def _draw_background(self, rng: Rng) -> tuple[NDArray[np.float32], dict[str, Any] | None]:
        """``[N]`` with a root mean square of 1, and where it is from."""
        samples = self.options.samples
        if not self.backgrounds:
            return rng.standard_normal(samples, np.float32), None
        path = self.backgrounds[int(rng.integers(len(self.backgrounds)))]
        x = self.read_background(path)
        start = int(rng.integers(max(1, len(x) - samples + 1)))
        part = np.resize(x[start : start + samples], samples).astype(np.float64)  # a short one is repeated
        level = math.sqrt(np.square(part).mean())
        where = {"file": path.name, "start": start / SAMPLE_RATE}
        return (part / (level or 1.0)).astype(np.float32), where

    def _read_background(self, path: Path) -> Waveform:
        try:
            return read(Segment(path, 0.0, LONGEST))
        except AudioError as error:
            raise DataError(f"--background: {error}: remove the file") from error


def choose_clips(manifest: Manifest, folds: Sequence[int] | None, split: str | None) -> Manifest:
    """The clips of some folds or of a split to make soundscapes of.

    Recordings of which takes are in other folds, too, are left out, so that mixes of different folds share none.

    Args:
        manifest: the data set.
        folds: numbers of folds; None for all.
        split: name of a split; None for all.

    Raises:
        DataError: there is no such fold or split.

    >>> clips = tuple(Clip(f"{n}.wav", Path(f"{n}.wav"), (0,), fold=n, group="ab"[n > 1]) for n in (1, 2, 3))
    >>> len(choose_clips(Manifest(clips, spectag.LabelSet(("owl",)), "a test"), [1, 2], None))
    1
    """
    if split is not None:
        manifest = manifest.only(split=split)
    if folds is None:
        return manifest
    chosen = [clip for fold in dict.fromkeys(folds) for clip in manifest.only(fold=fold).clips]
    others = {clip.group for clip in manifest.without(Manifest(tuple(chosen), manifest.labels, "")).clips}
    kept = [clip for clip in chosen if clip.group is None or clip.group not in others]
    return Manifest(tuple(sorted(kept, key=lambda clip: clip.id)), manifest.labels, manifest.layout)
