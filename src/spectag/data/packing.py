"""Recordings -> the shards and the index of :mod:`spectag.data.shards`.

::

    clips -> _tasks (what is decoded together) -> _outcomes (in processes) -> _scattered -> _Tars -> write_index
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
from numpy.typing import NDArray

from spectag.ahead import in_order
from spectag.audio.read import SAMPLE_RATE, Recording, open as open_recording
from spectag.audio.source import Segment, Source
from spectag.data.manifest import Clip, Manifest
from spectag.data.shards import shard_name, write_index
from spectag.errors import AudioError, DataError, InputError, SpectagWarning
from spectag.files import new_folder
from spectag.labels import LabelSet

SHARD_BYTES = 256_000_000
_HOUR = 3600  # s of sound that one task decodes at most, beyond one clip: bounds memory where recordings last days


@dataclass(frozen=True)
class Packed:
    """What :func:`pack` wrote.

    Args:
        clips, shards, bytes: how many there are, and the size of all shards.
        seconds: of sound.
        over: how many clips have peaks above full scale.
        failed: for each clip that could not be read, a line that names it; these are not in the packed set.
    """

    clips: int
    shards: int
    bytes: int
    seconds: float
    over: int
    failed: tuple[str, ...]


def pack(
    manifest: Manifest,
    out: str | os.PathLike[str],
    *,
    shard_bytes: int = SHARD_BYTES,
    seed: int = 0,
    workers: int = 1,
    watch: Callable[[Iterable[Any], int], Iterable[Any]] = lambda items, total: items,
) -> Packed:
    """Decode all clips of a data set and pack them; the same clips, seed and libraries make the same bytes.

    Clips that are stretches of one recording are decoded together, and scattered over what fits one shard.

    Args:
        out: a folder that is new or empty; it is there once it is whole, until then OUT.partial grows.
        shard_bytes: a shard ends before it exceeds this, unless one clip alone does.
        seed: of the order of the clips.
        workers: processes that decode; 1 is this one. Others are spawned: a script that calls this needs its
            ``if __name__ == "__main__"``.
        watch: sees (outcomes, their number) go by, for a progress bar; must pass on all of them.

    Raises:
        SaveError: ``out`` holds files, or could not be written; nothing is left behind.
        DataError: two clips have one id, no clip could be read, or a worker died.

    Warns:
        SpectagWarning: a recording is cut off or damaged; it is packed as far as it goes.
    """
    clips = sorted(manifest.clips, key=lambda clip: clip.id)
    for one, other in pairwise(clips):
        if one.id == other.id:
            raise DataError(f"{other.path}: expected ids that are unique, got {other.id!r} twice: rename one")
    rng = np.random.default_rng(seed)
    tasks = _tasks(clips)
    scatter = shard_bytes if len(tasks) < len(clips) else 0  # whole files are in random order already
    order = [tasks[task] for task in rng.permutation(len(tasks))]
    failed: dict[int, str] = {}

    def sounds() -> Iterator[tuple[int, _Sound]]:
        for place, outcome in watch(_outcomes(clips, order, workers), len(clips)):
            if isinstance(outcome, str):
                failed[place] = outcome
            else:
                yield place, outcome

    where = np.zeros((len(clips), 4), np.int64)  # shard, offset, size, samples
    over = 0
    with new_folder(Path(out)) as folder, _Tars(folder, shard_bytes) as tars:
        for place, sound in _scattered(sounds(), scatter, rng):
            where[place] = *tars.add(clips[place], place, sound, manifest.labels), len(sound.content), sound.samples
            over += sound.over
        if len(failed) == len(clips):
            raise DataError(f"not one of {len(clips)} clips can be read; the first: {next(iter(failed.values()), '-')}")
        tars.close()
        kept = [place for place in range(len(clips)) if place not in failed]
        missing = sorted({*manifest.missing, *(clips[place].id for place in failed)})
        rows = ((clips[place], where[place].tolist()) for place in kept)
        write_index(folder, replace(manifest, missing=tuple(missing)), tars.sizes, rows)
    seconds = int(where[kept, 3].sum()) / SAMPLE_RATE
    lines = tuple(failed[place] for place in sorted(failed))
    return Packed(len(kept), len(tars.sizes), sum(tars.sizes), seconds, over, lines)


# recordings -> sounds


@dataclass(frozen=True)
class _Sound:
    """A clip as it is stored: a whole FLAC or WAV file."""

    content: bytes
    samples: int
    over: bool


def _tasks(clips: Sequence[Clip]) -> list[list[int]]:
    """What is decoded together: stretches of one recording in order of time, up to an hour of sound; else one clip."""

    def file(place: int) -> tuple[str, tuple[int, int]]:
        return str(clips[place].path), clips[place].place or (-1, -1)

    def begin(place: int) -> float:
        return clips[place].start or 0.0

    tasks: list[list[int]] = []
    in_order = sorted(range(len(clips)), key=lambda n: (file(n), clips[n].end is None, begin(n)))
    for _, group in groupby(in_order, key=file):
        left = -math.inf
        for place in group:
            clip = clips[place]
            length = math.inf if clip.end is None else clip.end - begin(place)
            if length > left:
                tasks.append([])
                left = _HOUR
            tasks[-1].append(place)
            left -= length
    return tasks


def _outcomes(clips: Sequence[Clip], tasks: Sequence[list[int]], workers: int) -> Iterator[tuple[int, _Sound | str]]:
    """For every clip, in the order of the tasks, its sound or what is wrong with it."""
    sources: Iterator[list[Source]] = ([clips[place].source for place in task] for task in tasks)
    if workers == 1:
        results: Iterable[tuple[list[_Sound | str], list[str]]] = map(_encoded, sources)
    else:
        # Processes, since three quarters of decoding AAC is Python, packet by packet: threads would wait for one
        # another. Spawned, since a fork inherits locks that torch's threads hold. They ignore Ctrl-C, upon which the
        # parent stops them.
        ignore = (signal.SIGINT, signal.SIG_IGN)
        pool = ProcessPoolExecutor(workers, get_context("spawn"), signal.signal, ignore)
        results = in_order(_encoded, sources, workers, pool)
    try:
        for task, (outcomes, messages) in zip(tasks, results, strict=True):
            for message in messages:
                warnings.warn(message, SpectagWarning, stacklevel=2)
            yield from zip(task, outcomes, strict=True)
    except BrokenProcessPool as error:
        raise DataError(
            "a process that decodes died, probably because memory ran out: try again with --workers 1"
        ) from error


def _encoded(parts: list[Source]) -> tuple[list[_Sound | str], list[str]]:
    """The clips of one task as they are stored, or what is wrong with them; and what is odd about them, each once."""
    messages: list[str] = []
    outcomes = [_stored(x) if isinstance(x, np.ndarray) else str(x) for x in _waveforms(parts, messages)]
    return outcomes, list(dict.fromkeys(messages))


def _waveforms(parts: list[Source], messages: list[str]) -> Iterator[NDArray[np.float32] | AudioError | InputError]:
    """The same as reading each part; but stretches of one recording, which begin in order, cost one decoding."""
    stretches = [part for part in parts if isinstance(part, Segment) and 0 <= part.start < (part.end or 0) < math.inf]
    if len(stretches) < max(2, len(parts)):
        yield from (_alone(part, messages) for part in parts)
        return
    whole = open_recording(Segment(stretches[0].file, 0.0, max(part.end or 0.0 for part in stretches)))
    pieces = whole.blocks()
    held, begin = np.empty(0, np.float32), 0  # samples, and where they begin
    for number, part in enumerate(stretches):
        first, last = round(part.start * SAMPLE_RATE), round((part.end or 0.0) * SAMPLE_RATE)
        try:
            while begin + len(held) < last and (piece := next(pieces, None)) is not None:
                passed = min(len(held), first - begin)
                held, begin = np.concatenate([held[passed:], piece]), begin + passed
        except (AudioError, InputError):  # it may lie behind this one
            yield from (_alone(part, messages) for part in stretches[number:])
            return
        waveform = held[first - begin : last - begin]
        yield waveform if len(waveform) else _alone(part, messages)  # which says what is wrong
    messages += _named(whole)


def _alone(part: Source, messages: list[str]) -> NDArray[np.float32] | AudioError | InputError:
    recording = open_recording(part)
    try:
        waveform = np.concatenate(list(recording.blocks()))
    except (AudioError, InputError) as error:
        return error
    messages += _named(recording)
    return waveform


def _named(recording: Recording) -> list[str]:
    return [f"{recording.name}: {note}" for note in recording.notes]


def _stored(waveform: NDArray[np.float32]) -> _Sound:
    over = bool(np.abs(waveform).max() > 1)
    if over:  # libsndfile would write the time of day into its header
        content = waveform.astype("<f4").tobytes()
        form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 3, 1, SAMPLE_RATE, 4 * SAMPLE_RATE, 4, 32)
        body = b"WAVE" + form + struct.pack("<4sI", b"data", len(content)) + content
        return _Sound(struct.pack("<4sI", b"RIFF", len(body)) + body, len(waveform), over)
    file = io.BytesIO()
    steps = np.minimum(np.rint(waveform * np.float32(2**15)), 2**15 - 1).astype(np.int16)
    sf.write(file, steps, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return _Sound(file.getvalue(), len(waveform), over)


def _scattered(
    sounds: Iterable[tuple[int, _Sound]], size: int, rng: np.random.Generator
) -> Iterator[tuple[int, _Sound]]:
    """The same in another order: each is drawn from the ``size`` bytes that wait."""
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
    """The tars of a folder while they grow, one at a time for every part."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self.sizes: list[int] = []  # of the finished ones, by number
        self._open: dict[str | None, tuple[int, BinaryIO, tarfile.TarFile]] = {}

    def __enter__(self) -> _Tars:
        return self

    def __exit__(self, *_: object) -> None:
        for _number, file, _tar in self._open.values():  # none, where all went well
            with suppress(OSError):
                file.close()

    def add(self, clip: Clip, key: int, sound: _Sound, labels: LabelSet) -> tuple[int, int]:
        """Append a clip to a shard of its part; (number of the shard, where the sound begins there)."""
        names = [labels.names[label] for label in clip.labels]
        known = {"id": clip.id, "labels": names, "split": clip.split, "fold": clip.fold, "group": clip.group}
        told = json.dumps(known).encode()
        needed = 4 * tarfile.BLOCKSIZE + len(sound.content) + len(told)  # two headers, two paddings at most
        if clip.split in self._open:
            used = self._open[clip.split][1].tell()
            if used and used + needed + tarfile.RECORDSIZE > self.limit:
                self._finish(clip.split)
        if clip.split not in self._open:
            self._begin(clip.split)
        number, file, tar = self._open[clip.split]
        offset = file.tell() + tarfile.BLOCKSIZE
        for suffix, content in ((".wav" if sound.over else ".flac", sound.content), (".json", told)):
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
