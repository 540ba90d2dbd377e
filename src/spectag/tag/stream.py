"""Recordings in, one result per recording out: windows are read ahead, and computed in batches.

::

    source -> Recording -> blocks -> fbank -> windows -> inputs         for many files: in threads, ahead of the network
           -> batches of windows of one or several recordings -> rows -> a collector per recording -> its result

Nothing is read or computed twice. What is done with the rows is up to the collector.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spectag.audio.fbank import fbank_blocks, normalise, pad_or_cut
from spectag.audio.front_end import FrontEnd
from spectag.audio.read import Recording, Waveform
from spectag.audio.segments import Read, read_group
from spectag.audio.source import Source
from spectag.errors import AudioError, FileError, SpectagError
from spectag.tag.windows import Window, cut_windows

Rows: TypeAlias = "NDArray[np.float32]"  # [B, C] scores, [B, n, C] frame scores, or [B, D] features
Compute: TypeAlias = "Callable[[Tensor], tuple[Rows, ...]]"  # inputs [B, T, F] -> arrays with one row per window
Watch: TypeAlias = Callable[[Recording], None]
Clip = TypeVar("Clip")
Clip_co = TypeVar("Clip_co", covariant=True)

NOT_FINITE = "the network returned NaN or infinite values: try the precision fp32"
AHEAD = 4  # batches that may wait for windows of their length, and as many recordings
LOUDEST = 8.0  # times full scale: mastering and resampling exceed 1 by less, unscaled PCM by far more


class Collector(Protocol[Clip_co]):
    """Takes what the network says about the windows of one recording, in the order of time, and makes a result of it.

    >>> class Counter:
    ...     windows = 0
    ...
    ...     def add(self, window, *rows):
    ...         self.windows += 1
    ...
    ...     def end(self, recording):
    ...         return f"{recording.seconds:.0f} s, {self.windows} windows"
    >>> spectag.Tagger("esc10").collect(np.zeros(160_000, np.float32), Counter())
    '10 s, 7 windows'
    """

    def add(self, window: Window, *rows: NDArray[np.float32]) -> None:
        """Take a window and its rows: its scores ``[C]``, for example."""
        ...

    def end(self, recording: Recording) -> Clip_co:
        """Make the result, when the recording has ended and all that is known about it is complete."""
        ...


@dataclass(frozen=True)
class Inputs:
    """A window as the network gets it: ``[T, F]``, normalised.

    >>> recording, window = spectag.Recording("a.wav", "a.wav", "a.wav"), Window(0, torch.zeros(9, 128), 1.0)
    >>> Inputs(recording, window, torch.zeros(512, 128)).window.start
    0
    """

    recording: Recording
    window: Window
    inputs: Tensor


Item: TypeAlias = "Inputs | Recording | FileError"


def fit_length(frames: int, window: int, unit: int | None) -> int:
    """The frames that the network gets of a recording's window.

    Args:
        frames: that there are, at most those of a window.
        window: frames of a whole window.
        unit: of exact lengths; None to pad to a whole window.

    >>> fit_length(50, window=1024, unit=32), fit_length(50, window=1024, unit=None)
    (64, 1024)
    """
    return window if unit is None else min(window, -(-frames // unit) * unit)


def read_windows(
    recording: Recording,
    blocks: Iterable[Waveform],
    front_end: FrontEnd,
    hop: int | None = None,
    unit: int | None = None,
) -> Iterator[Inputs | Recording]:
    """Read the windows of a recording, then give the recording itself, whose facts are complete by then.

    Args:
        recording: what is known about it is filled in meanwhile.
        blocks: its waveform.
        front_end: of the model.
        hop: frames from one window to the next; None for half a window.
        unit: a recording shorter than a window is padded to a multiple of so many frames; None to pad it to a window.

    >>> from spectag.audio.read import open
    >>> recording = open(np.zeros(160_000, np.float32))
    >>> *windows, end = read_windows(recording, recording.blocks(), FrontEnd(frames=512))
    >>> windows[0].inputs.shape, end.seconds
    (torch.Size([512, 128]), 10.0)
    """
    heard = False
    for window in cut_windows(fbank_blocks(blocks, front_end), front_end.frames, hop):
        heard = heard or window.sound > 0
        fitted = pad_or_cut(window.fbank, fit_length(len(window.fbank), front_end.frames, unit))
        yield Inputs(recording, window, normalise(fitted, front_end.mean, front_end.std))
    recording.silent = recording.silent or not heard  # a codec may leave less than the network can hear
    if recording.silent:
        recording.notes.append("digital silence throughout, so nothing can be heard: check how it was recorded")
    if recording.peak > LOUDEST:
        recording.notes.append(
            f"samples reach {recording.peak:.0f} times full scale: divide by 32768 if they were 16-bit PCM"
        )
    yield recording


def read_or_error(
    sources: Sequence[Source | FileError],
    front_end: FrontEnd,
    hop: int | None = None,
    blocks: Read | None = None,
    unit: int | None = None,
) -> Iterator[Item]:
    """The same, with any failure as a value: one broken file in a million must not stop the others.

    Args:
        sources: one, or segments of one file.
        front_end, hop, unit: as for :func:`read_windows`.
        blocks: how a recording becomes blocks; None to read it in this process.

    >>> [error] = read_or_error(["a-file-that-does-not-exist.wav"], FrontEnd())
    >>> type(error).__name__
    'FileError'
    """
    if isinstance(sources[0], FileError):
        yield sources[0]
        return
    for recording, pieces in read_group(sources, blocks):  # type: ignore[arg-type]
        try:
            yield from read_windows(recording, pieces, front_end, hop, unit)
        except AudioError as error:
            yield FileError(recording.path, error.reason)
        except SpectagError as error:
            yield FileError(recording.path, str(error))
        except Exception as error:
            yield FileError(recording.path, f"cannot be read: {type(error).__name__}: {error}")


class _Progress(Generic[Clip]):
    """A recording on its way through the network, and what ended it, once it has ended."""

    def __init__(self, collector: Collector[Clip]) -> None:
        self.collector = collector
        self.finite = True
        self.waiting = 0  # windows that are not computed yet
        self.end: Recording | FileError | None = None

    def add(self, window: Window, rows: tuple[NDArray[np.float32], ...]) -> None:
        self.waiting -= 1
        self.finite = self.finite and all(np.isfinite(row).all() for row in rows)
        if self.finite:
            self.collector.add(window, *rows)

    def result(self) -> Clip | FileError:
        assert self.end is not None
        if isinstance(self.end, FileError):
            return self.end
        if not self.finite:
            return FileError(self.end.path, NOT_FINITE)
        return self.collector.end(self.end)


def collect(
    items: Iterable[Item],
    compute: Compute,
    batch_size: int,
    make: Callable[[], Collector[Clip]],
    watch: Watch = lambda _: None,
) -> Iterator[Clip | FileError]:
    """Compute windows in batches, of one recording or of several, and yield one result per recording, in order.

    Args:
        items: the windows of each recording, then the recording, or the error that ended it.
        compute: runs the network.
        batch_size: windows that are computed together.
        make: makes the collector of a recording.
        watch: called with a recording each time that more of it was computed.

    >>> list(collect([FileError("a.wav", "no such file")], lambda inputs: (), 16, lambda: None))
    [FileError(path='a.wav', error='no such file')]
    """
    clips: deque[_Progress[Clip]] = deque([_Progress(make())])  # the last one is still being read
    batches: dict[int, list[tuple[_Progress[Clip], Inputs]]] = {}  # by the length of the windows
    waiting = 0

    def flush(batch: list[tuple[_Progress[Clip], Inputs]]) -> None:
        nonlocal waiting
        arrays = compute(torch.stack([item.inputs for _, item in batch]))
        for (clip, item), *rows in zip(batch, *arrays, strict=True):
            clip.add(item.window, tuple(rows))
        waiting -= len(batch)
        batch.clear()

    def flush_all() -> None:
        for batch in batches.values():
            if batch:
                flush(batch)

    def ended() -> Iterator[Clip | FileError]:
        while clips[0].end is not None and not clips[0].waiting:
            yield clips.popleft().result()

    for item in items:
        if isinstance(item, Inputs):
            batch = batches.setdefault(len(item.inputs), [])
            batch.append((clips[-1], item))
            clips[-1].waiting += 1
            waiting += 1
            if len(batch) == batch_size:
                flush(batch)
                yield from ended()
                watch(item.recording)
        else:
            clips[-1].end = item
            clips.append(_Progress(make()))
        # Neither may windows of rare lengths wait for long, nor broken files behind a batch that is nearly full.
        if waiting >= AHEAD * batch_size or len(clips) > AHEAD * batch_size:
            flush_all()
        yield from ended()
    flush_all()
    yield from ended()
