"""Recordings -> the shards and the index of :mod:`spectag.data.shards`.

::

    clips -> _tasks (what is decoded together) -> _outcomes (in processes) -> _scatter -> _Tars -> write_index
"""

from __future__ import annotations

import io
import json
import math
import os
import signal
import struct
import tarfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile as sf

from spectag.ahead import in_order
from spectag.audio.read import SAMPLE_RATE, Waveform
from spectag.audio.segments import read_segments
from spectag.audio.source import Source
from spectag.data.manifest import Clip, Manifest
from spectag.data.shards import shard_name, write_index
from spectag.errors import DataError, SpectagWarning
from spectag.files import new_folder
from spectag.labels import LabelSet

SHARD_BYTES = 256_000_000
_HOUR = 3600  # most seconds of sound that one task decodes (or one clip, if longer), so that memory stays bounded


@dataclass(frozen=True)
class Packed:
    """What :func:`pack_data_set` wrote.

    Args:
        clips, shards, bytes: number of clips and shards, and the size of all shards.
        seconds: duration of all clips.
        over: number of clips with peaks above full scale.
        failed: one message for each clip that could not be read. These clips are not in the packed set.

    >>> Packed(clips=2, shards=1, bytes=20_480, seconds=10.0, over=0, failed=()).seconds
    10.0
    """

    clips: int
    shards: int
    bytes: int
    seconds: float
    over: int
    failed: tuple[str, ...]


def pack_data_set(
    manifest: Manifest,
    out: str | os.PathLike[str],
    *,
    shard_bytes: int = SHARD_BYTES,
    seed: int = 0,
    workers: int = 1,
    watch: Callable[[Iterable[Any], int], Iterable[Any]] = lambda items, total: items,
) -> Packed:
    """Decode all clips of a data set and pack them. The same clips, seed and libraries give the same bytes.

    Segments of one recording are decoded together, and then mixed with other clips in a buffer as large as a shard.

    Args:
        manifest: the data set.
        out: a new or empty folder. It appears when it is complete. Until then the files are in ``OUT.partial``.
        shard_bytes: maximum size of a shard, unless a single clip is larger.
        seed: decides the order of the clips.
        workers: number of processes that decode; 1 for this one. Others are spawned, so a script that calls this needs
            ``if __name__ == "__main__":``.
        watch: a function that all results pass through, for example a progress bar. It is called with them and their
            number.

    Raises:
        SaveError: ``out`` is not empty, or could not be written. In this case no files are left behind.
        DataError: two clips have the same id, no clip could be read, or a process died.

    Warns:
        SpectagWarning: a recording is cut off or damaged; what could be read of it is packed.

    >>> from spectag.data.manifest import Clip, Manifest
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "1.wav")
    ...     sf.write(path, np.zeros(16_000), 16_000)
    ...     manifest = Manifest((Clip("1.wav", path, (0,)),), LabelSet(("owl",)), "a test")
    ...     pack_data_set(manifest, Path(folder, "packed")).seconds
    1.0
    """
    clips = sorted(manifest.clips, key=lambda clip: clip.id)
    for one, other in pairwise(clips):
        if one.id == other.id:
            raise DataError(f"{other.path}: expected unique ids, got {other.id!r} twice: rename one of the clips")
    rng = np.random.default_rng(seed)
    tasks = _tasks(clips)
    scatter = shard_bytes if len(tasks) < len(clips) else 0  # whole files are already in random order
    order = [tasks[task] for task in rng.permutation(len(tasks))]
    failed: dict[int, str] = {}

    def sounds() -> Iterator[tuple[int, _Sound]]:
        for index, outcome in watch(_outcomes(clips, order, workers), len(clips)):
            if isinstance(outcome, str):
                failed[index] = outcome
            else:
                yield index, outcome

    places = np.zeros((len(clips), 4), np.int64)  # shard, offset, size, samples
    over = 0
    with new_folder(Path(out)) as folder, _Tars(folder, shard_bytes) as tars:
        for index, sound in _scatter(sounds(), scatter, rng):
            shard, offset = tars.add(clips[index], index, sound, manifest.labels)
            places[index] = shard, offset, len(sound.content), sound.samples
            over += sound.over
        if len(failed) == len(clips):
            first = next(iter(failed.values()), "there are none")
            raise DataError(f"none of the {len(clips)} clips can be read; the first error: {first}")
        tars.close()
        kept = [index for index in range(len(clips)) if index not in failed]
        missing = sorted({*manifest.missing, *(clips[index].id for index in failed)})
        rows = ((clips[index], places[index].tolist()) for index in kept)
        write_index(folder, replace(manifest, missing=tuple(missing)), tars.sizes, rows)
    seconds = int(places[kept, 3].sum()) / SAMPLE_RATE
    lines = tuple(failed[index] for index in sorted(failed))
    return Packed(len(kept), len(tars.sizes), sum(tars.sizes), seconds, over, lines)


# recordings -> sounds


@dataclass(frozen=True)
class _Sound:
    """A clip as it is stored: a whole FLAC or WAV file."""

    content: bytes
    samples: int
    over: bool


def _tasks(clips: Sequence[Clip]) -> list[list[int]]:
    """Indices of clips that are decoded together: segments of one recording, ordered by time, of up to an hour."""

    def file(index: int) -> tuple[str, tuple[int, int]]:
        return str(clips[index].path), clips[index].place or (-1, -1)

    def start(index: int) -> float:
        return clips[index].start or 0.0

    tasks: list[list[int]] = []
    by_file = sorted(range(len(clips)), key=lambda index: (file(index), clips[index].end is None, start(index)))
    for _, same_file in groupby(by_file, key=file):
        left = -math.inf
        for index in same_file:
            end = clips[index].end
            length = math.inf if end is None else end - start(index)
            if length > left:
                tasks.append([])
                left = _HOUR
            tasks[-1].append(index)
            left -= length
    return tasks


def _outcomes(clips: Sequence[Clip], tasks: Sequence[list[int]], workers: int) -> Iterator[tuple[int, _Sound | str]]:
    """Yield the index and the sound of every clip, or the error of reading it, in the order of the tasks."""
    sources: Iterator[list[Source]] = ([clips[index].source for index in task] for task in tasks)
    if workers == 1:
        results: Iterable[tuple[list[_Sound | str], list[str]]] = map(_encode, sources)
    else:
        # Processes instead of threads, because three quarters of the time of decoding AAC is spent in Python, where
        # threads would wait for each other. They are spawned, because a fork inherits locks that the threads of torch
        # hold. They ignore Ctrl-C: this process receives it and stops them.
        ignore = (signal.SIGINT, signal.SIG_IGN)
        pool = ProcessPoolExecutor(workers, get_context("spawn"), signal.signal, ignore)
        results = in_order(_encode, sources, workers, pool)
    try:
        for task, (outcomes, notes) in zip(tasks, results, strict=True):
            for note in notes:
                warnings.warn(note, SpectagWarning, stacklevel=2)
            yield from zip(task, outcomes, strict=True)
    except BrokenProcessPool as error:
        raise DataError(
            "a process that decodes died, probably because memory ran out: try again with --workers 1"
        ) from error


def _encode(sources: list[Source]) -> tuple[list[_Sound | str], list[str]]:
    """Read the clips of one task. Returns each clip as it is stored, or its error; and notes about the recordings."""
    notes: list[str] = []
    outcomes = [_store(x) if isinstance(x, np.ndarray) else str(x) for x in read_segments(sources, notes.append)]
    return outcomes, list(dict.fromkeys(notes))


def _store(waveform: Waveform) -> _Sound:
    over = bool(np.abs(waveform).max() > 1)
    if over:  # without libsndfile, which would write the time of day into the header
        content = waveform.astype("<f4").tobytes()
        form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 3, 1, SAMPLE_RATE, 4 * SAMPLE_RATE, 4, 32)
        body = b"WAVE" + form + struct.pack("<4sI", b"data", len(content)) + content
        return _Sound(struct.pack("<4sI", b"RIFF", len(body)) + body, len(waveform), over)
    file = io.BytesIO()
    steps = np.minimum(np.rint(waveform * np.float32(2**15)), 2**15 - 1).astype(np.int16)
    sf.write(file, steps, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return _Sound(file.getvalue(), len(waveform), over)


def _scatter(sounds: Iterable[tuple[int, _Sound]], size: int, rng: np.random.Generator) -> Iterator[tuple[int, _Sound]]:
    """Shuffle the sounds: each is drawn at random from a buffer of ``size`` bytes."""
    waiting: list[tuple[int, _Sound]] = []
    held = 0
    for item in sounds:
        waiting.append(item)
        held += len(item[1].content)
        while held > size:
            drawn = int(rng.integers(len(waiting)))
            waiting[drawn], waiting[-1] = waiting[-1], waiting[drawn]
            yield waiting[-1]
            held -= len(waiting.pop()[1].content)
    yield from (waiting[i] for i in rng.permutation(len(waiting)))


# sounds -> files


class _Tars:
    """Writes the shards of a folder, one at a time for each split."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self.sizes: list[int] = []  # of the finished shards, by number
        self._open: dict[str | None, tuple[int, BinaryIO, tarfile.TarFile]] = {}

    def __enter__(self) -> _Tars:
        return self

    def __exit__(self, *_: object) -> None:
        for _number, file, _tar in self._open.values():  # files are still open only after an error
            with suppress(OSError):
                file.close()

    def add(self, clip: Clip, key: int, sound: _Sound, labels: LabelSet) -> tuple[int, int]:
        """Append a clip to a shard of its split, and return the number of the shard and the offset of the sound."""
        names = [labels.names[label] for label in clip.labels]
        facts = {"id": clip.id, "labels": names, "split": clip.split, "fold": clip.fold, "group": clip.group}
        text = json.dumps(facts).encode()
        needed = 4 * tarfile.BLOCKSIZE + len(sound.content) + len(text)  # two headers and at most two paddings
        if clip.split in self._open:
            used = self._open[clip.split][1].tell()
            if used and used + needed + tarfile.RECORDSIZE > self.limit:
                self._finish(clip.split)
        if clip.split not in self._open:
            self._begin(clip.split)
        number, file, tar = self._open[clip.split]
        offset = file.tell() + tarfile.BLOCKSIZE
        for suffix, content in ((".wav" if sound.over else ".flac", sound.content), (".json", text)):
            info = tarfile.TarInfo(f"{key:09d}{suffix}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        return number, offset

    def close(self) -> None:
        """Finish all shards."""
        for split in list(self._open):
            self._finish(split)

    def _begin(self, split: str | None) -> None:
        number = len(self.sizes)
        file = (self.folder / shard_name(number)).open("xb")
        self.sizes.append(0)
        self._open[split] = number, file, tarfile.TarFile(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)

    def _finish(self, split: str | None) -> None:
        number, file, tar = self._open[split]
        tar.close()
        file.flush()
        os.fsync(file.fileno())
        self.sizes[number] = file.tell()
        file.close()
        del self._open[split]
