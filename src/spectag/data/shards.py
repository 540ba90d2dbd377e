"""A data set decoded once: 16 kHz mono FLAC in large tars, which an epoch reads one after the other.

::

    OUT/shard-000000.tar  000000017.flac 000000017.json 000000004.flac ..  a WebDataset: a key, the sound, what is known
    OUT/index.jsonl       a header, then a line per clip, ordered by id    what a manifest needs: no tar is scanned

A shard holds clips of one part only, in random order: a part is read by reading its shards as they are.

A sample is off by half a step of 16 bits at most (by a whole one at full scale). Decoders of MP3 and AAC return peaks
above full scale, which FLAC cannot hold: a clip with such a peak is kept as float WAV instead, exactly, in three to
four times the space. So what is read from a packed set never differs in level or form from the recordings.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import shutil
import signal
import struct
import tarfile
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from spectag.audio.read import SAMPLE_RATE, Segment, Source, blocks, read
from spectag.data.manifest import Clip, Manifest
from spectag.errors import AudioError, DataError, InputError, SaveError, SpectagWarning
from spectag.labels import LabelSet

INDEX = "index.jsonl"
COLUMNS = ("id", "shard", "offset", "size", "samples", "labels", "split", "fold", "group")
SHARD_BYTES = 256_000_000
_VERSION = 1
_HOUR = 3600  # s of sound that one task decodes at most, beyond one clip: bounds memory where recordings last days
_ROWS = 1000  # lines that are parsed together: twice as fast as one by one


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


def shard_name(number: int) -> str:
    """The file of the shard with this number, 0 or more."""
    return f"shard-{number:06d}.tar"


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
    for one, other in zip(clips, clips[1:], strict=False):
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
    with _new_folder(Path(out)) as folder, _Shards(folder, shard_bytes) as shards:
        for place, sound in _scattered(sounds(), scatter, rng):
            where[place] = *shards.add(clips[place], place, sound, manifest.labels), len(sound.content), sound.samples
            over += sound.over
        if len(failed) == len(clips):
            raise DataError(f"not one of {len(clips)} clips can be read; the first: {next(iter(failed.values()), '-')}")
        shards.close()
        kept = [place for place in range(len(clips)) if place not in failed]
        missing = sorted({*manifest.missing, *(clips[place].id for place in failed)})
        _write_index(folder, manifest, missing, shards.sizes, [(clips[place], where[place].tolist()) for place in kept])
    seconds = int(where[kept, 3].sum()) / SAMPLE_RATE
    lines = tuple(failed[place] for place in sorted(failed))
    return Packed(len(kept), len(shards.sizes), sum(shards.sizes), seconds, over, lines)


def is_packed(root: Path) -> bool:
    """Whether a folder looks like a packed data set."""
    return (root / INDEX).is_file()


def read_packed(root: Path) -> Manifest:
    """The manifest of a packed data set: the clips as they were, but for where they lie.

    Raises:
        DataError: the index is damaged or points outside a shard, or a shard is missing or not as long as it was.
    """
    table = root / INDEX
    try:
        # A byte that is not ASCII becomes an escape that JSON does not know: an error with its line.
        with table.open(encoding="ascii", errors="backslashreplace", newline="\n") as lines:
            labels, layout, count, missing, sizes = _header(table, next(lines, ""))
            paths = [root / shard_name(number) for number in range(len(sizes))]
            for path, size in zip(paths, sizes, strict=True):
                found = path.stat().st_size if path.is_file() else "no file"
                if found != size:
                    raise DataError(f"{path}: expected {size} bytes, found {found}: copy it again")
            clips = list(_clips(table, lines, paths, sizes, len(labels)))
    except OSError as error:
        raise DataError(f"{table}: cannot be read: {error.strerror}") from error
    if len(clips) != count:
        raise DataError(f"{table}: expected {count} clips, found {len(clips)}: copy it again")
    return Manifest(tuple(clips), labels, f"packed (was {layout})", missing)


def reading_order(clips: Sequence[Clip], rng: np.random.Generator, buffer_shards: int = 4) -> list[int]:
    """An order for an epoch that keeps to a few shards at a time: they are shuffled, and the clips of every few.

    Args:
        clips: of a packed set, or some of them.
        rng: what the order depends on, besides the clips.
        buffer_shards: how many shards take turns; what the system's file cache should hold.

    Returns:
        every index into ``clips`` once.

    Raises:
        InputError: ``buffer_shards`` below 1.
    """
    if buffer_shards < 1:
        raise InputError(f"buffer_shards: expected 1 or more, got {buffer_shards}")
    shards: dict[Path, list[int]] = {}
    for index, clip in enumerate(clips):
        shards.setdefault(clip.path, []).append(index)
    members, order = list(shards.values()), rng.permutation(len(shards))
    windows = (order[start : start + buffer_shards] for start in range(0, len(order), buffer_shards))
    return [i for window in windows for i in rng.permutation([i for shard in window for i in members[shard]]).tolist()]


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
    for _, group in groupby(sorted(range(len(clips)), key=lambda place: (file(place), begin(place))), key=file):
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


def _outcomes(
    clips: Sequence[Clip], tasks: Iterable[list[int]], workers: int
) -> Iterator[tuple[int, _Sound | str]]:
    """For every clip, in the order of the tasks, its sound or what is wrong with it."""
    for task, (outcomes, messages) in _mapped(lambda task: [clips[place].source for place in task], tasks, workers):
        for message in messages:
            warnings.warn(message, SpectagWarning, stacklevel=2)
        yield from zip(task, outcomes, strict=True)


def _mapped(
    sources: Callable[[list[int]], list[Source]], tasks: Iterable[list[int]], workers: int
) -> Iterator[tuple[list[int], tuple[list[_Sound | str], list[str]]]]:
    """:func:`_encoded` of every task, in order; a few are ahead of what was asked for."""
    if workers == 1:
        yield from ((task, _encoded(sources(task))) for task in tasks)
        return
    # Spawned, since a fork inherits locks that torch's threads hold. Ctrl-C is for the parent, which stops them.
    ignore = (signal.SIGINT, signal.SIG_IGN)
    with ProcessPoolExecutor(workers, get_context("spawn"), signal.signal, ignore) as pool:
        ahead: deque[tuple[list[int], Future[tuple[list[_Sound | str], list[str]]]]] = deque()
        try:
            for task in tasks:
                ahead.append((task, pool.submit(_encoded, sources(task))))
                if len(ahead) > 4 * workers:
                    done, future = ahead.popleft()
                    yield done, future.result()
            for done, future in ahead:
                yield done, future.result()
        except BrokenProcessPool as error:
            raise DataError("a process that decodes died (no memory left, say): try again with one worker") from error
        finally:
            pool.shutdown(cancel_futures=True)


def _encoded(parts: list[Source]) -> tuple[list[_Sound | str], list[str]]:
    """The clips of one task as they are stored, or what is wrong with them; and the warnings, each once."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SpectagWarning)
        outcomes = [_stored(x) if isinstance(x, np.ndarray) else str(x) for x in _waveforms(parts)]
    messages = [str(warning.message) for warning in caught if issubclass(warning.category, SpectagWarning)]
    return outcomes, list(dict.fromkeys(messages))


def _waveforms(parts: list[Source]) -> Iterator[NDArray[np.float32] | AudioError | InputError]:
    """The same as reading each part; but stretches of one recording, which begin in order, cost one decoding."""
    stretches = [part for part in parts if isinstance(part, Segment) and 0 <= part.start < (part.end or 0) < math.inf]
    if len(stretches) < max(2, len(parts)):
        yield from map(_alone, parts)
        return
    pieces = blocks(Segment(stretches[0].file, 0.0, max(part.end or 0.0 for part in stretches)))
    held, begin = np.empty(0, np.float32), 0  # samples, and where they begin
    for number, part in enumerate(stretches):
        first, last = round(part.start * SAMPLE_RATE), round((part.end or 0.0) * SAMPLE_RATE)
        try:
            while begin + len(held) < last and (piece := next(pieces, None)) is not None:
                passed = min(len(held), first - begin)
                held, begin = np.concatenate([held[passed:], piece]), begin + passed
        except (AudioError, InputError):  # it may lie behind this one
            yield from map(_alone, stretches[number:])
            return
        waveform = held[first - begin : last - begin]
        yield waveform if len(waveform) else _alone(part)  # which says what is wrong


def _alone(part: Source) -> NDArray[np.float32] | AudioError | InputError:
    try:
        return read(part)
    except (AudioError, InputError) as error:
        return error


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


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder that takes the name ``out`` in the end, or is removed."""
    out = Path(os.path.abspath(out))
    partial = out.with_name(out.name + ".partial")
    try:
        if out.exists() and not (out.is_dir() and not any(out.iterdir())):
            raise SaveError(f"{out}: expected a new or an empty folder, found files: choose another one")
        partial.mkdir(parents=True)
    except FileExistsError:
        raise SaveError(f"{partial}: is there already: delete it unless another command is writing to it") from None
    except OSError as error:
        raise SaveError(f"{out}: cannot be made: {error.strerror}") from error
    try:
        yield partial
        if out.exists():
            out.rmdir()
        partial.rename(out)
    except OSError as error:  # what cannot be read is an AudioError by now
        raise SaveError(
            f"{out}: could not be written ({error.strerror or error}) and is not there: free some space and try again"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


class _Shards:
    """The tars of a folder while they grow, one at a time for every part."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self.sizes: list[int] = []  # of the finished ones, by number
        self._open: dict[str | None, tuple[int, BinaryIO, tarfile.TarFile]] = {}

    def __enter__(self) -> _Shards:
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
        tar.members.clear()  # which it would list in memory
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


# index


def _write_index(
    folder: Path, manifest: Manifest, missing: Sequence[str], sizes: Sequence[int], rows: Sequence[tuple[Clip, list[int]]]
) -> None:
    header = {
        "packed": _VERSION,
        "layout": _PACKED.sub(r"\1", manifest.layout),
        "labels": manifest.labels.names,
        "label_ids": manifest.labels.ids,
        "clips": len(rows),
        "shards": sizes,
        "columns": COLUMNS,
        "missing": missing,
    }
    with (folder / INDEX).open("x", encoding="ascii", newline="\n") as lines:
        print(json.dumps(header), file=lines)
        for clip, where in rows:
            row = (clip.id, *where, clip.labels, clip.split, clip.fold, clip.group)
            print(json.dumps(row, separators=(",", ":")), file=lines)
        lines.flush()
        os.fsync(lines.fileno())


_PACKED = re.compile(r"packed \(was (.*)\)", re.DOTALL)


def _header(table: Path, line: str) -> tuple[LabelSet, str, int, tuple[str, ...], list[int]]:
    """(labels, layout, number of clips, missing ids, sizes of the shards)."""
    try:
        header = json.loads(line)
        version, layout, count, sizes = header["packed"], header["layout"], header["clips"], header["shards"]
        names, ids, missing = header["labels"], header["label_ids"], header["missing"]
        texts = [layout, *names, *(ids or ()), *missing]
        numbers = [version, count, *sizes]
        if not all(type(text) is str for text in texts) or not all(type(n) is int and n >= 0 for n in numbers):
            raise ValueError
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise DataError(
            f"{table}, line 1: expected the header of a packed data set, got {line[:80]!r}: copy it again"
        ) from error
    if version != _VERSION:
        raise DataError(f"{table}: expected version {_VERSION}, got {version}: update spectag, or pack it again")
    try:
        return LabelSet(tuple(names), None if ids is None else tuple(ids)), layout, count, tuple(missing), sizes
    except InputError as error:
        raise DataError(f"{table}, line 1: {error}") from error


def _clips(
    table: Path, lines: Iterable[str], paths: Sequence[Path], sizes: Sequence[int], classes: int
) -> Iterator[Clip]:
    """The clips of an index that nobody vouches for."""
    last = ""
    label_sets: dict[tuple[int, ...], tuple[int, ...]] = {}  # those that are fine: many clips share one
    texts: dict[str | None, str | None] = {}  # likewise
    for number, row in _rows(table, lines):
        try:
            id, shard, offset, size, samples, labels, split, fold, group = row
            fine = (
                (type(id) is str and id > last)  # so that each is there once
                and (type(shard) is type(offset) is type(size) is type(samples) is int)
                and (0 <= shard < len(sizes) and 0 <= offset <= sizes[shard] - size and 0 < size and 0 < samples)
                and (split is None or type(split) is str)
                and (fold is None or type(fold) is int)
                and (group is None or type(group) is str)
            )
            known = label_sets.get(key := tuple(labels))
            if known is None and _are_labels(key, classes):
                known = label_sets[key] = key
        except (TypeError, ValueError):
            fine, known = False, None
        if not fine or known is None:
            raise DataError(
                f"{table}, line {number}: expected [{', '.join(COLUMNS)}] within the shard, ids and labels ascending; "
                f"got {json.dumps(row)[:100]}: copy it again"
            )
        last = id
        split, group = texts.setdefault(split, split), texts.setdefault(group, group)
        yield Clip(id, paths[shard], known, fold, split, group, None, None, (offset, size))


def _are_labels(labels: tuple[Any, ...], classes: int) -> bool:
    fine = all(type(label) is int and 0 <= label < classes for label in labels)
    return fine and all(one < other for one, other in zip(labels, labels[1:], strict=False))


def _rows(table: Path, lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
    """(number of the line, what it says)."""
    lines, number = iter(lines), 2
    while chunk := list(islice(lines, _ROWS)):
        try:
            rows = json.loads(f"[{','.join(chunk)}]")
        except (ValueError, RecursionError):
            rows = []
        if len(rows) != len(chunk):
            rows = [_row(table, place, line) for place, line in enumerate(chunk, number)]
        yield from enumerate(rows, number)
        number += len(chunk)


def _row(table: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{table}, line {number}: expected JSON, got {line[:80]!r}: copy it again") from error
