"""A multi-label data set with a long tail, made of single-label clips: what AudioSet is like, in a minute, on any desk.

    python benchmarks/soundscapes.py ESC DIR [--train 1500] [--eval 400] [--classes 50] [--ratio 50] [--seed 0]

ESC is ESC-50 or ESC-10 as published. Each soundscape is 10 s at 16 kHz (FLAC, 16 bit) of 1 to 4 events of different
classes, each at a random place, up to 12 dB below the loudest possible, over a faint hiss. The class of rank r is heard
in ``r ** -log(ratio) / log(classes)`` as many training soundscapes as the first (Zipf's law), ranks drawn by the seed;
evaluation soundscapes have all classes equally often, and only clips of ``--eval-fold``: no recording is on both sides.
``--balanced N`` makes a part of N soundscapes with all classes equally often from training clips, as AudioSet's.

DIR gets AudioSet's tables and audio/YTID.flac, and events.csv: which clip is heard where, and how loud. The same seed
(and libraries) makes the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import functools
import math
import string
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from spectag.audio.read import SAMPLE_RATE, read
from spectag.data.layouts import read_manifest
from spectag.data.manifest import Clip
from spectag.errors import SpectagError

SECONDS, POLYPHONY = 10, 4
LEVEL, RANGE = -20.0, 12.0  # dB: RMS of the loudest event, full scale = 0; how far below it others may be
HISS = (-70.0, -55.0)  # dB
SILENCE = 10 ** (-50 / 20)  # of a clip's peak: what is below it at either end is cut off
FADE = SAMPLE_RATE // 100  # samples = 10 ms
ID_LETTERS = string.ascii_letters + string.digits + "-_"  # as YouTube's


class Event(NamedTuple):
    """A clip heard in a soundscape, from ``onset`` (seconds) on, at ``level`` (dB)."""

    clip: Clip
    onset: float
    level: float


class Soundscape(NamedTuple):
    """Its id, its events by onset, and its samples ``[160000]``, int16."""

    id: str
    events: tuple[Event, ...]
    samples: NDArray[np.int16]

    @property
    def labels(self) -> list[int]:
        """Classes heard, ascending."""
        return sorted(event.clip.labels[0] for event in self.events)


@functools.cache
def sound(path: Path) -> NDArray[np.float32]:
    """A clip without silence at its ends, RMS 1, faded in and out."""
    x = read(path)
    heard = np.flatnonzero(np.abs(x) > SILENCE * np.abs(x).max())
    if not len(heard):
        raise SpectagError(f"{path}: nothing but silence")
    x = x[heard[0] : heard[-1] + 1][: SECONDS * SAMPLE_RATE]
    ramp = np.minimum(1, np.arange(1, len(x) + 1, dtype=np.float32) / FADE)
    return x / np.sqrt(np.square(x, dtype=np.float64).mean()).astype(np.float32) * ramp * ramp[::-1]


def positives(soundscapes: int, classes: int, ratio: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """How many soundscapes each class is heard in: as many events as fit, the first rank ``ratio`` times the last."""
    shares = np.arange(1, classes + 1) ** (-math.log(ratio) / math.log(classes))
    exact = shares / shares.sum() * sizes(soundscapes).sum()
    counts = exact.astype(np.int64)
    counts[np.argsort(counts - exact, kind="stable")[: round(exact.sum()) - counts.sum()]] += 1  # largest remainders
    return counts[rng.permutation(classes)]


def sizes(soundscapes: int) -> NDArray[np.int64]:
    """Events of each soundscape: 1 to 4, as many of each."""
    return np.arange(soundscapes) % POLYPHONY + 1


def assign(soundscapes: int, counts: NDArray[np.int64], rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """For each class the soundscapes it is heard in: none twice, every place taken.

    The most frequent class chooses first, each soundscape as likely as it has room; those with no more classes to come
    than room are taken at once.
    """
    room = rng.permutation(sizes(soundscapes))
    chosen: list[NDArray[np.int64]] = [np.zeros(0, np.int64)] * len(counts)
    for rank, label in enumerate(np.argsort(-counts, kind="stable")):
        chance = rng.random(len(room)) ** (1 / np.maximum(room, 1))
        chance[room == 0], chance[room >= len(counts) - rank] = -1, 2
        chosen[label] = np.argsort(-chance, kind="stable")[: counts[label]]
        room[chosen[label]] -= 1
    if room.any():
        raise SpectagError("so few classes cannot have so long a tail: lower --ratio")
    return chosen


def ids(rng: np.random.Generator, count: int) -> list[str]:
    """Different ones, even where upper and lower case are the same to the file system."""
    made: dict[str, str] = {}
    while len(made) < count:
        name = "".join(ID_LETTERS[i] for i in rng.integers(len(ID_LETTERS), size=11))
        made.setdefault(name.lower(), name)
    return list(made.values())


def mixed(name: str, clips: Sequence[Clip], rng: np.random.Generator) -> Soundscape:
    """Clips at random places and levels, over hiss."""
    length = SECONDS * SAMPLE_RATE
    mix = rng.standard_normal(length, np.float32) * 10 ** (rng.uniform(*HISS) / 20)
    events = []
    for clip in clips:
        x, level = sound(clip.path), LEVEL - rng.uniform(0, RANGE)
        start = int(rng.integers(length - len(x) + 1))
        mix[start : start + len(x)] += np.float32(10 ** (level / 20)) * x
        events.append(Event(clip, start / SAMPLE_RATE, level))
    mix /= max(1.0, np.abs(mix).max() / 0.9)  # impulses may reach beyond full scale
    return Soundscape(name, tuple(sorted(events, key=lambda e: e.onset)), np.rint(mix * 32767).astype(np.int16))


def cast(soundscapes: int, clips: Iterable[Clip], ratio: float, rng: np.random.Generator) -> list[list[Clip]]:
    """The clips of each soundscape of a part; a class's clips are heard equally often, give or take one."""
    pools: dict[int, list[Clip]] = {}
    for clip in clips:
        pools.setdefault(clip.labels[0], []).append(clip)
    heard: list[list[Clip]] = [[] for _ in range(soundscapes)]
    where = assign(soundscapes, positives(soundscapes, len(pools), ratio, rng), rng)
    for (_, pool), places in zip(sorted(pools.items()), where, strict=True):
        order = [pool[i] for _ in range(0, len(places), len(pool)) for i in rng.permutation(len(pool))]
        for place, clip in zip(places, order, strict=False):
            heard[place].append(clip)
    return heard


def summary(part: str, labels: Sequence[Sequence[int]]) -> str:
    """One line: soundscapes, how many have 1, 2, ... events, and the positives of the classes."""
    events = Counter(map(len, labels))
    counts = sorted(Counter(label for row in labels for label in row).values())
    return (
        f"{part:17} {len(labels):5} soundscapes; {', '.join(f'{n} of {k}' for k, n in sorted(events.items()))} events; "
        f"positives per class: {counts[0]} / {counts[len(counts) // 2]} / {counts[-1]} (min, median, max)"
    )


def make(
    esc: Path, out: Path, parts: dict[str, int], classes: int, ratio: float, fold: int, seed: int
) -> Iterator[str]:
    """Write the data set.

    Args:
        esc, out: where clips are read and soundscapes written.
        parts: how many ``unbalanced_train``, ``balanced_train`` and ``eval`` soundscapes.
        classes: so many of ESC's, drawn by the seed.
        ratio: how long the tail of ``unbalanced_train`` is.
        fold: whose clips are for evaluation only.
        seed: of everything.

    Yields:
        a line about each part, once it is written.

    Raises:
        SpectagError: ESC cannot be used, or the numbers asked for do not go together.
    """
    manifest = read_manifest(esc)
    if not POLYPHONY <= classes <= len(manifest.labels):
        raise SpectagError(f"--classes {classes}: expected {POLYPHONY} to {len(manifest.labels)}, as many as {esc} has")
    if (out / "audio").exists():
        raise SpectagError(f"{out}: holds a data set already")
    rng = np.random.default_rng(seed)
    taken = sorted(int(i) for i in rng.choice(len(manifest.labels), classes, replace=False))
    unseen = [clip for clip in manifest.only(fold=fold).clips if clip.labels[0] in taken]
    groups = {clip.group for clip in unseen}
    seen = [clip for clip in manifest.clips if clip.labels[0] in taken and clip.fold != fold]
    seen = [clip for clip in seen if clip.group is None or clip.group not in groups]
    for clips, side in ((seen, "training"), (unseen, "evaluation")):
        if {clip.labels[0] for clip in clips} != set(taken):
            raise SpectagError(f"{esc}: some classes have no clips for {side}")
    mids = {label: f"/m/esc{label:02}" for label in taken}

    casts: dict[str, list[list[Clip]]] = {}
    for number, (part, count) in enumerate(parts.items()):
        clips, tail = (unseen if part == "eval" else seen), (ratio if part == "unbalanced_train" else 1.0)
        if count:
            casts[part] = cast(count, clips, tail, np.random.default_rng((seed, number)))
    names = iter(ids(rng, sum(parts.values())))

    (out / "audio").mkdir(parents=True)
    with _table(out / "class_labels_indices.csv") as file:
        rows = [(i, mids[label], manifest.labels.names[label]) for i, label in enumerate(taken)]
        csv.writer(file, lineterminator="\n").writerows([("index", "mid", "display_name"), *rows])
    with _table(out / "events.csv") as file:
        events = csv.writer(file, lineterminator="\n")
        events.writerow(("YTID", "onset", "level_db", "mid", "clip"))
        for number, (part, heard) in enumerate(casts.items()):
            segments: dict[str, list[int]] = {}
            for place, clips in enumerate(heard):
                scape = mixed(next(names), clips, np.random.default_rng((seed, number, place)))
                sf.write(out / "audio" / f"{scape.id}.flac", scape.samples, SAMPLE_RATE, subtype="PCM_16")
                segments[scape.id] = scape.labels
                for clip, onset, level in scape.events:
                    events.writerow((scape.id, f"{onset:.4f}", f"{level:.2f}", mids[clip.labels[0]], clip.path.name))
            sound.cache_clear()
            with _table(out / f"{part}_segments.csv") as table:
                total = sum(map(len, segments.values()))
                table.write(f"# Segments csv created by benchmarks/soundscapes.py, seed {seed}\n")
                table.write(f"# num_ytids={len(segments)}, num_segs={len(segments)}, num_unique_labels={classes}, ")
                table.write(f"num_positive_labels={total}\n# YTID, start_seconds, end_seconds, positive_labels\n")
                for name, labels in sorted(segments.items()):
                    table.write(f'{name}, 0.000, {SECONDS}.000, "{",".join(mids[label] for label in labels)}"\n')
            yield summary(part, list(segments.values()))


def _table(path: Path) -> TextIO:
    return path.open("w", encoding="utf-8", newline="\n")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("esc", type=Path, metavar="ESC")
    parser.add_argument("out", type=Path, metavar="DIR")
    parser.add_argument("--train", type=int, default=1500)
    parser.add_argument("--balanced", type=int, default=0)
    parser.add_argument("--eval", type=int, default=400)
    parser.add_argument("--classes", type=int, default=50)
    parser.add_argument("--ratio", type=float, default=50, help="positives of the first class over those of the last")
    parser.add_argument("--eval-fold", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    parts = {"unbalanced_train": args.train, "balanced_train": args.balanced, "eval": args.eval}
    start = time.perf_counter()
    try:
        for line in make(args.esc, args.out, parts, args.classes, args.ratio, args.eval_fold, args.seed):
            print(line, flush=True)
    except SpectagError as error:
        sys.exit(str(error))
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
