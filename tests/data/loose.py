"""A small data set of all kinds of clips, to be packed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

from spectag.data.manifest import Clip, Manifest
from spectag.labels import LabelSet

LABELS = LabelSet(("dog", "rain", "sea"), ("/m/1", "/m/2", "/m/3"))


def noise(seconds: float, peak: float = 0.5, rate: int = 16_000, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).uniform(-1, 1, round(seconds * rate))
    return x / np.abs(x).max() * peak


def make_loose(folder: Path) -> Manifest:
    """Clips of all kinds: two splits, folds, several labels and none, odd names, segments, other rates, one sample."""
    clips = []
    for n in range(12):
        path = folder / f"c.l ip ü{n}.wav"
        rate = (16_000, 44_100)[n % 2]
        soundfile.write(path, noise(0.1 + n / 100, rate=rate, seed=n), rate, subtype="FLOAT")
        labels, split = ((0,), (0, 2), ())[n % 3], ("train", "test")[n % 4 == 0]
        clips.append(Clip(path.name, path, labels, fold=n % 5, split=split, group=f"g{n % 3}"))
    soundfile.write(folder / "one.wav", [0.25], 16_000)
    clips.append(Clip("one", folder / "one.wav", (1,), split="train"))
    long = folder / "long.flac"
    soundfile.write(long, noise(70, rate=8_000), 8_000)
    for start, end in ((0.0, 1.0), (0.5, 1.5), (29.9, 30.1), (61.00003, 62.0), (69.5, 99.0), (5.0, None)):
        clips.append(Clip(f"long.flac {start} {end}", long, (1,), split="train", start=start, end=end))
    return Manifest(tuple(sorted(clips, key=lambda c: c.id)), LABELS, "a table", ("gone",))


def known(clip: Clip) -> Clip:
    """A clip without where it is stored."""
    return replace(clip, path=Path(), start=None, end=None, place=None)
