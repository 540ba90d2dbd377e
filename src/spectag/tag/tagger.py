"""The front door: recordings in, tags out.

One chain serves every way in; a recording is decoded, resampled and turned into a spectrogram once::

    source -> blocks -> fbank -> windows -> fit -> normalise     for many files: in threads, ahead of the network
           -> batches of windows, of one clip or several -> engine -> merge per clip -> tags

Through it flow the inputs of a clip's windows, then one :class:`ClipTags` (still without tags) or :class:`FileError`
that ends the clip.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spectag.audio import read
from spectag.audio.fbank import FrontEnd, fbank_blocks, fit
from spectag.audio.read import SAMPLE_RATE
from spectag.choices import Precision
from spectag.engines.base import Engine
from spectag.engines.factory import make_engine
from spectag.errors import AudioError, FileError, InputError, SpectagError, SpectagWarning
from spectag.labels import LabelSet
from spectag.model.bundle import Bundle
from spectag.model.ensemble import Ensemble
from spectag.model.loading import load
from spectag.tag.folder import read_ahead
from spectag.tag.notes import noted
from spectag.tag.results import ClipTags, Tag
from spectag.tag.windows import merge, sound, windows

Samples: TypeAlias = "NDArray[np.generic] | Tensor"
Source: TypeAlias = "read.Source | Samples | tuple[Samples, float]"
Row: TypeAlias = "NDArray[np.float32]"
Window: TypeAlias = "tuple[Tensor, float]"  # inputs [frames, F] and how much of them is sound, 0..1
Scored: TypeAlias = "tuple[Row, float]"
Compute: TypeAlias = "Callable[[Tensor], NDArray[np.float32]]"  # inputs [B, T, F] -> [B, ...]

IN_MEMORY = (np.ndarray, Tensor, tuple)  # sources that need no decoder
BLOCK = 30 * SAMPLE_RATE  # samples of an array whose fbank is computed at once
READERS = min(4, os.cpu_count() or 1)  # threads
LOUDEST = 8.0  # times full scale: mastering and resampling overshoot by less, unscaled PCM by far more
WAITING = 8  # windows that a file may have read ahead: 0.5 MB each at 10 s


class Tagger:
    """Names what is heard in recordings of any length.

    A source is a path, the bytes of a file, a binary file object, a stretch of any of these
    (:class:`spectag.audio.read.Segment`), samples (a 16 kHz mono array or tensor ``[N]``), or ``(samples, rate)`` with
    samples ``[N]`` or ``[N, channels]`` as soundfile returns them and the rate in Hz. Samples are floats with full
    scale 1.0, or integer PCM of 8 to 32 bits.

    A clip no longer than the network's window is padded to it, as in training; a longer one is covered by windows that
    overlap by half, the last one ending with the clip. The scores of a clip are the mean of those of its windows, each
    weighing as much as it holds sound rather than digital silence (:func:`spectag.tag.windows.sound`).

    Args:
        model: whatever :func:`spectag.load` takes or gives: a path or a name, a bundle, an ensemble.
        device: ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: ``fp32`` or ``bf16``.
        batch_size: windows that the network sees at once.

    Raises:
        ModelError: the model cannot be used.
        InputError: a device, precision or batch size that does not exist.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Bundle | Ensemble = "esc10",
        *,
        device: str = "cpu",
        precision: Precision = "fp32",
        batch_size: int = 16,
    ) -> None:
        if not isinstance(batch_size, int) or batch_size < 1:
            raise InputError(f"batch_size must be a whole number of at least 1; got {batch_size!r}")
        self.bundle: Bundle | Ensemble = model if isinstance(model, (Bundle, Ensemble)) else load(model)
        self.engine: Engine = make_engine(self.bundle, device, precision)
        self.batch_size = batch_size

    @property
    def labels(self) -> LabelSet:
        """What the scores belong to, in order."""
        return self.bundle.labels

    def tag(self, source: Source, top_k: int | None = 5, threshold: float | None = None) -> ClipTags:
        """The tags of one recording.

        Args:
            source: see the class.
            top_k: at most so many tags; None for all.
            threshold: only tags with at least this score, 0..1.

        Returns:
            tags in descending order of score, equal ones in the order of the labels.

        Raises:
            AudioError: the recording cannot be used.
            InputError: a source, top_k or threshold out of its range.
        """
        choose = self._chooser(top_k, threshold)
        return choose(*self._one(source, self.engine.scores))

    def scores(self, source: Source) -> Row:
        """The scores of one recording for every label, ``[C]``, 0..1: the weighted mean over its windows.

        Raises as :meth:`tag`.
        """
        return self._one(source, self.engine.scores)[0]

    def embed(self, source: Source) -> Row:
        """Features of one recording, ``[D]``, the mean over its windows weighted by their sound, as that of the scores.

        Those of an ensemble are its members', one after the other.

        Raises as :meth:`tag`.
        """
        return self._one(source, self.engine.embed)[0]

    def tag_many(
        self, sources: Iterable[Source | FileError], top_k: int | None = 5, threshold: float | None = None
    ) -> Iterator[ClipTags | FileError]:
        """The tags of many recordings: read in the background, batched across files, in the order of the sources.

        Args:
            sources: see the class; for the recordings of folders pass ``spectag.tag.folder.expand(folders)``. A
                :class:`FileError` is passed on.
            top_k, threshold: as for :meth:`tag`.

        Yields:
            exactly one per source: :class:`ClipTags`, or :class:`FileError` where it cannot be used (a folder, say):
            it costs just itself.

        Raises:
            InputError: top_k or threshold out of its range, or one recording in place of several.
        """
        choose = self._chooser(top_k, threshold)
        return (clip if isinstance(clip, FileError) else choose(*clip) for clip in self._many(sources))

    def scores_many(self, sources: Iterable[Source | FileError]) -> Iterator[Row | FileError]:
        """The scores of many recordings, ``[C]`` or a :class:`FileError` each, otherwise as :meth:`tag_many`."""
        return (clip if isinstance(clip, FileError) else clip[0] for clip in self._many(sources))

    def _many(self, sources: Iterable[Source | FileError]) -> Iterator[tuple[Row, ClipTags] | FileError]:
        if isinstance(sources, (str, os.PathLike, bytes, np.ndarray, Tensor)) or hasattr(sources, "read"):
            raise InputError(
                f"expected several recordings, got one {type(sources).__name__}: pass a list of recordings"
            )
        tasks = (partial(_inputs_or_error, source, self.bundle.front_end) for source in sources)
        ahead = read_ahead(tasks, workers=READERS, items=WAITING)
        return _merged(_computed(ahead, self.engine.scores, self.batch_size))

    def _one(self, source: Source, compute: Compute) -> tuple[Row, ClipTags]:
        [clip] = _merged(_computed(_inputs(source, self.bundle.front_end), compute, self.batch_size))
        if isinstance(clip, FileError):
            raise AudioError(clip.path or "<array>", clip.error)
        return clip

    def _chooser(self, top_k: int | None, threshold: float | None) -> Callable[[Row, ClipTags], ClipTags]:
        if top_k is not None and (not isinstance(top_k, int) or top_k < 1):
            raise InputError(f"top_k must be a whole number of at least 1, or None for all; got {top_k!r}")
        if threshold is not None and not 0 <= threshold <= 1:
            raise InputError(f"threshold must be 0 to 1, or None for none; got {threshold!r}")
        names = self.labels.names

        def choose(scores: Row, clip: ClipTags) -> ClipTags:
            tags = (Tag(names[i], float(scores[i])) for i in np.argsort(-scores, kind="stable")[:top_k])
            return replace(clip, tags=tuple(tag for tag in tags if threshold is None or tag.score >= threshold))

        return choose


def _inputs(source: Source, front_end: FrontEnd) -> Iterator[Window | ClipTags]:
    """The windows of a clip, then what is known of the clip."""
    samples, peak = 0, 0.0

    def measured() -> Iterator[NDArray[np.float32]]:
        nonlocal samples, peak
        for block in _blocks(source):
            samples, peak = samples + len(block), max(peak, float(block.max()), -float(block.min()))
            yield block

    with noted() as notes:
        for window in windows(fbank_blocks(measured(), front_end), front_end.frames):
            yield front_end.normalise(fit(window, front_end.frames)), sound(window, front_end.frames)
        if peak > LOUDEST:
            name = "<array>" if isinstance(source, IN_MEMORY) else read.describe(source)
            warnings.warn(
                f"{name}: samples reach {peak:.0f} times full scale: divide by 32768 if they were 16-bit PCM",
                SpectagWarning,
                stacklevel=2,
            )
    yield ClipTags(_path(source), samples / SAMPLE_RATE, (), tuple(notes))


def _inputs_or_error(source: Source | FileError, front_end: FrontEnd) -> Iterator[Window | ClipTags | FileError]:
    """The same, whatever happens: one file in a million must not cost the others."""
    if isinstance(source, FileError):
        yield source
        return
    try:
        yield from _inputs(source, front_end)
    except AudioError as error:
        yield FileError(_path(source), error.reason)
    except SpectagError as error:
        yield FileError(_path(source), str(error))
    except Exception as error:
        yield FileError(_path(source), f"cannot be read: {type(error).__name__}: {error}")


def _blocks(source: Source) -> Iterator[NDArray[np.float32]]:
    if not isinstance(source, IN_MEMORY):
        yield from read.blocks(source)
        return
    waveform = _waveform(source)
    for start in range(0, len(waveform), BLOCK):
        yield waveform[start : start + BLOCK]


def _waveform(source: Samples | tuple[Samples, float]) -> NDArray[np.float32]:
    samples, rate = source if isinstance(source, tuple) and len(source) == 2 else (source, None)
    if isinstance(samples, Tensor):
        samples = samples.detach().cpu()
        samples = (samples.float() if samples.is_floating_point() else samples).numpy()
    if not isinstance(samples, np.ndarray):
        raise InputError("expected a 16 kHz mono array or tensor [N], or a tuple of two, (samples, rate)")
    if rate is None and samples.ndim != 1:
        raise InputError(
            f"expected 16 kHz mono samples [N], got shape {list(samples.shape)}: pass (samples, rate) with samples "
            "[N, channels]"
        )
    return read.resample(samples, SAMPLE_RATE if rate is None else rate)


def _path(source: Source) -> str | None:
    """The path as it was given, or the name of a named stream."""
    if isinstance(source, (read.Segment, read.Member)):
        return read.describe(source)
    name = getattr(source, "name", None) if hasattr(source, "read") else source
    return os.fsdecode(name) if isinstance(name, (str, os.PathLike)) else None


def _computed(
    stream: Iterable[Window | ClipTags | FileError], compute: Compute, batch_size: int
) -> Iterator[Scored | ClipTags | FileError]:
    """The stream with the inputs replaced by their rows of results, computed in batches; the order stays."""
    held: list[Window | ClipTags | FileError] = []
    inputs: list[Tensor] = []  # those among the held

    def flush() -> Iterator[Scored | ClipTags | FileError]:
        rows = iter(compute(torch.stack(inputs)) if inputs else ())
        for item in held:
            yield (next(rows), item[1]) if isinstance(item, tuple) else item
        held.clear()
        inputs.clear()

    for item in stream:
        held.append(item)
        if isinstance(item, tuple):
            inputs.append(item[0])
        # A row of broken files must not pile up behind a batch that is nearly full.
        if len(inputs) == batch_size or len(held) >= 4 * batch_size or not inputs:
            yield from flush()
    yield from flush()


def _merged(stream: Iterable[Scored | ClipTags | FileError]) -> Iterator[tuple[Row, ClipTags] | FileError]:
    """One result per clip."""
    rows: list[Row] = []
    weights: list[float] = []
    for item in stream:
        if isinstance(item, tuple):
            rows.append(item[0])
            weights.append(item[1])
            continue
        if isinstance(item, FileError):
            yield item
        else:
            row = merge(rows, weights)
            if np.isfinite(row).all():
                yield row, item
            else:
                yield FileError(item.path, "the network returned NaN or infinite values: try the precision fp32")
        rows, weights = [], []
