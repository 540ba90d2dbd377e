"""Make a small multi-label data set with a long tail, similar to AudioSet, from single-label clips.

    python benchmarks/soundscapes.py ESC DIR [--train 1500] [--eval 400] [--classes 50] [--ratio 50] [--seed 0]

ESC is ESC-50 or ESC-10 as published. Making the data set takes about a minute.

A soundscape is 10 s long, at 16 kHz (FLAC, 16 bit). It has 1 to 4 events of different classes over a faint hiss. Each
event starts at a random time and is up to 12 dB below the loudest possible level.

- In the training split, the class of rank r occurs in ``r ** (-log(ratio) / log(classes))`` times as many soundscapes
  as the class of rank 1 (Zipf's law). The seed decides which class has which rank.
- In the evaluation split, all classes occur equally often. It uses only clips of ``--eval-fold``, so no recording is in
  both splits.
- ``--balanced N`` adds a split of N soundscapes, made of training clips, in which all classes occur equally often.
  AudioSet has such a split, too.

The script writes AudioSet's tables, ``audio/YTID.flac`` and ``events.csv`` to DIR. ``events.csv`` says which clip
occurs where and how loud it is. The same seed, with the same libraries, makes the same bytes.
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
LEVEL, RANGE = -20.0, 12.0  # dB: RMS of the loudest event (full scale = 0), and how far below it others may be
HISS = (-70.0, -55.0)  # dB: lowest and highest RMS
SILENCE = 10 ** (-50 / 20)  # fraction of a clip's peak; quieter samples at either end are cut off
FADE = SAMPLE_RATE // 100  # samples = 10 ms
ID_LETTERS = string.ascii_letters + string.digits + "-_"  # the letters of YouTube's ids


class Event(NamedTuple):
    """A clip that starts at ``onset`` (seconds) in a soundscape, at ``level`` (dB)."""

    clip: Clip
    onset: float
    level: float


class Soundscape(NamedTuple):
    """A soundscape: its id, its events in order of onset, and its samples ``[160000]``, int16."""

    id: str
    events: tuple[Event, ...]
    samples: NDArray[np.int16]

    @property
    def labels(self) -> list[int]:
        """Classes of the events, in ascending order."""
        return sorted(event.clip.labels[0] for event in self.events)


@functools.cache
def sound(path: Path) -> NDArray[np.float32]:
    """Read a clip, cut the silence off both ends, scale it to an RMS of 1, and fade it in and out."""
    x = read(path)
    heard = np.flatnonzero(np.abs(x) > SILENCE * np.abs(x).max())
    if not len(heard):
        raise SpectagError(f"{path}: expected a clip with sound, got only silence")
    x = x[heard[0] : heard[-1] + 1][: SECONDS * SAMPLE_RATE]
    ramp = np.minimum(1, np.arange(1, len(x) + 1, dtype=np.float32) / FADE)
    return x / np.sqrt(np.square(x, dtype=np.float64).mean()).astype(np.float32) * ramp * ramp[::-1]


def positives(soundscapes: int, classes: int, ratio: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the number of soundscapes that each class occurs in.

    The first rank has ``ratio`` times as many as the last. Together the numbers fill all events of the soundscapes.
    """
    shares = np.arange(1, classes + 1) ** (-math.log(ratio) / math.log(classes))
    exact = shares / shares.sum() * sizes(soundscapes).sum()
    counts = exact.astype(np.int64)
    counts[np.argsort(counts - exact, kind="stable")[: round(exact.sum()) - counts.sum()]] += 1  # largest remainders
    return counts[rng.permutation(classes)]


def sizes(soundscapes: int) -> NDArray[np.int64]:
    """Return the number of events in each soundscape, 1 to 4, each number equally often."""
    return np.arange(soundscapes) % POLYPHONY + 1


def assign(soundscapes: int, counts: NDArray[np.int64], rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Choose the soundscapes that each class occurs in. Every event gets a class, and no soundscape has a class twice.

    The most frequent class chooses first, and soundscapes with more room are more likely to be chosen. A soundscape
    that needs all the remaining classes to be filled is always chosen.
    """
    room = rng.permutation(sizes(soundscapes))
    chosen: list[NDArray[np.int64]] = [np.zeros(0, np.int64)] * len(counts)
    for rank, label in enumerate(np.argsort(-counts, kind="stable")):
        chance = rng.random(len(room)) ** (1 / np.maximum(room, 1))
        chance[room == 0], chance[room >= len(counts) - rank] = -1, 2
        chosen[label] = np.argsort(-chance, kind="stable")[: counts[label]]
        room[chosen[label]] -= 1
    if room.any():
        raise SpectagError("the number of classes is too small for a tail of this length: lower --ratio")
    return chosen


def ids(rng: np.random.Generator, count: int) -> list[str]:
    """Draw ids that differ from each other, even on file systems that ignore case."""
    made: dict[str, str] = {}
    while len(made) < count:
        name = "".join(ID_LETTERS[i] for i in rng.integers(len(ID_LETTERS), size=11))
        made.setdefault(name.lower(), name)
    return list(made.values())


def mixed(name: str, clips: Sequence[Clip], rng: np.random.Generator) -> Soundscape:
    """Mix clips at random times and levels over hiss."""
    length = SECONDS * SAMPLE_RATE
    mix = rng.standard_normal(length, np.float32) * 10 ** (rng.uniform(*HISS) / 20)
    events = []
    for clip in clips:
        x, level = sound(clip.path), LEVEL - rng.uniform(0, RANGE)
        start = int(rng.integers(length - len(x) + 1))
        mix[start : start + len(x)] += np.float32(10 ** (level / 20)) * x
        events.append(Event(clip, start / SAMPLE_RATE, level))
    mix /= max(1.0, np.abs(mix).max() / 0.9)  # impulses may exceed full scale
    return Soundscape(name, tuple(sorted(events, key=lambda e: e.onset)), np.rint(mix * 32767).astype(np.int16))


def cast(soundscapes: int, clips: Iterable[Clip], ratio: float, rng: np.random.Generator) -> list[list[Clip]]:
    """Choose the clips of each soundscape in a split. The clips of a class are used equally often, or differ by one."""
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
    """Describe a split in one line: its soundscapes, their numbers of events, and the positives of the classes."""
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
        esc: the directory of ESC-50 or ESC-10.
        out: the directory to write to.
        parts: the number of soundscapes in ``unbalanced_train``, ``balanced_train`` and ``eval``.
        classes: the number of classes; the seed decides which of ESC's.
        ratio: in ``unbalanced_train``, the positives of the first class divided by those of the last.
        fold: the fold whose clips are used only for evaluation.
        seed: the seed for everything that is random.

    Yields:
        A line about each split once it is written.

    Raises:
        SpectagError: ESC cannot be used, ``out`` already holds a data set, or the numbers contradict each other.
    """
    manifest = read_manifest(esc)
    if not POLYPHONY <= classes <= len(manifest.labels):
        raise SpectagError(f"--classes {classes}: expected {POLYPHONY} to {len(manifest.labels)}, the number in {esc}")
    if (out / "audio").exists():
        raise SpectagError(f"{out}: already holds a data set: choose another directory")
    rng = np.random.default_rng(seed)
    taken = sorted(int(i) for i in rng.choice(len(manifest.labels), classes, replace=False))
    unseen = [clip for clip in manifest.only(fold=fold).clips if clip.labels[0] in taken]
    groups = {clip.group for clip in unseen}
    seen = [clip for clip in manifest.clips if clip.labels[0] in taken and clip.fold != fold]
    seen = [clip for clip in seen if clip.group is None or clip.group not in groups]
    for clips, side in ((seen, "training"), (unseen, "evaluation")):
        if {clip.labels[0] for clip in clips} != set(taken):
            raise SpectagError(f"{esc}: some classes have no clips for {side}: change --eval-fold")
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
    parser.add_argument("esc", type=Path, metavar="ESC", help="directory of ESC-50 or ESC-10")
    parser.add_argument("out", type=Path, metavar="DIR", help="directory to write the data set to")
    parser.add_argument("--train", type=int, default=1500, help="training soundscapes with a long tail")
    parser.add_argument("--balanced", type=int, default=0, help="training soundscapes with balanced classes")
    parser.add_argument("--eval", type=int, default=400, help="evaluation soundscapes")
    parser.add_argument("--classes", type=int, default=50, help="number of classes")
    parser.add_argument(
        "--ratio", type=float, default=50, help="positives of the first class divided by those of the last"
    )
    parser.add_argument("--eval-fold", type=int, default=5, help="fold whose clips are used only for evaluation")
    parser.add_argument("--seed", type=int, default=0, help="seed for everything that is random")
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
