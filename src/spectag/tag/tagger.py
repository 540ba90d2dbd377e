"""The tagger: recordings in, tags out.

All methods use the same chain. A recording is decoded, resampled and turned into a spectrogram once::

    source -> Recording -> blocks -> fbank -> windows -> inputs         for many files: in threads, ahead of the network
           -> batches of windows of one or several recordings -> engine -> ClipScores -> tags
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from typing import TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spectag import ahead
from spectag.audio import read
from spectag.audio.fbank import fbank_blocks, normalise, pad_or_cut
from spectag.audio.front_end import FrontEnd
from spectag.audio.read import Recording
from spectag.audio.readers import Readers
from spectag.audio.source import Source
from spectag.choices import BATCH_SIZE, DEVICE, MODEL, PRECISION, TOP_K, Precision
from spectag.engines.base import Engine
from spectag.engines.factory import make_engine
from spectag.errors import AudioError, FileError, InputError, SpectagError
from spectag.labels import LabelSet
from spectag.model.bundle import Bundle
from spectag.model.card import Card
from spectag.model.ensemble import Ensemble
from spectag.model.loading import load
from spectag.tag.results import ClipFeatures, ClipScores, ClipTags, Tag
from spectag.tag.windows import Window, cut_windows, weighted_mean

Scores: TypeAlias = "NDArray[np.float32]"  # [C], 0..1
Features: TypeAlias = "NDArray[np.float32]"  # [D]
Rows: TypeAlias = "NDArray[np.float32]"  # [W, C] scores, or [W, D] features
Compute: TypeAlias = "Callable[[Tensor], Rows]"  # inputs [B, T, F] -> one row per window
Clip = TypeVar("Clip")
Watch: TypeAlias = Callable[[Recording], None]
Make: TypeAlias = "Callable[[Recording, NDArray[np.int64], Rows, NDArray[np.float32]], Clip]"

LOUDEST = 8.0  # times full scale: mastering and resampling exceed 1 by less, unscaled PCM by far more
WAITING = 8  # windows that one file may have read ahead: 0.5 MB each at 10 s


class Tagger:
    """Names the sounds in recordings of any length.

    A source is a path, the bytes of a file, a binary file object, a :class:`spectag.Segment` of any of these, samples
    (a 16 kHz mono array or tensor ``[N]``), ``(samples, rate)``, or an audio dictionary of `datasets`; see
    :func:`spectag.audio.read.open`.

    A recording no longer than the network's window is padded to it, as in training. A longer one is covered by windows
    that overlap by half, the last one ending with the recording. The scores of a recording are the mean of those of its
    windows, each weighted by how much of it is sound rather than digital silence.

    Args:
        model: a path, a name, a bundle or an ensemble; see :func:`spectag.load`. With ``engine``, a card is enough.
        engine: what runs the model; None for PyTorch with the ``device`` and ``precision`` below.
        device: ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: ``fp32`` or ``bf16``.
        batch_size: number of windows that the network computes at once.
        readers: processes that read the files of methods for many; None to start them where there are several files.

    Raises:
        ModelError: the model cannot be used.
        InputError: a device, precision or batch size that does not exist, or a card without an engine.

    Attributes:
        card: the facts of the model: front end, labels and activation.
        bundle: the model; None where only a card is given.

    >>> tagger = Tagger("esc10")
    >>> [tag.label for tag in tagger.tag(np.sin(np.arange(16_000)), top_k=2).tags]
    ['...', '...']
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Bundle | Ensemble | Card = MODEL,
        *,
        engine: Engine | None = None,
        device: str = DEVICE,
        precision: Precision = PRECISION,
        batch_size: int = BATCH_SIZE,
        readers: Readers | None = None,
    ) -> None:
        if not isinstance(batch_size, int) or batch_size < 1:
            raise InputError(f"batch_size must be a whole number of at least 1; got {batch_size!r}")
        self.batch_size = batch_size
        self._given = readers is not None
        self._readers = readers or Readers()
        self.bundle: Bundle | Ensemble | None = None
        if isinstance(model, Card):
            if engine is None:
                raise InputError("model: a card describes a network and has none: give engine=, or give a bundle")
            self.card = model
        else:
            self.bundle = model if isinstance(model, (Bundle, Ensemble)) else load(model)
            self.card = self.bundle.card
            engine = make_engine(self.bundle, device, precision) if engine is None else engine
        self.engine: Engine = engine

    @property
    def labels(self) -> LabelSet:
        """The names of the scores, in order."""
        return self.card.labels

    def tag(self, source: Source, top_k: int | None = TOP_K, threshold: float | None = None) -> ClipTags:
        """Tag one recording.

        Args:
            source: see the class.
            top_k: the largest number of tags; None for all.
            threshold: only tags with at least this score, 0..1.

        Returns:
            tags in descending order of score, equal ones in the order of the labels. Digital silence throughout has
            none, whatever its scores, and a warning.

        Raises:
            AudioError: the recording cannot be used.
            InputError: a source, ``top_k`` or ``threshold`` out of its range.

        >>> [tag] = Tagger("esc10").tag(np.sin(np.arange(16_000)), top_k=1).tags
        >>> 0 < tag.score <= 1
        True
        """
        _check_choice(top_k, threshold)
        return self._tags(self.score_windows(source), top_k, threshold)

    def tag_many(
        self,
        sources: Iterable[Source | FileError],
        top_k: int | None = TOP_K,
        threshold: float | None = None,
        *,
        watch: Watch = lambda _: None,
    ) -> Iterator[ClipTags | FileError]:
        """Tag many recordings: read in the background, batched across files, in the order of the sources.

        Args:
            sources: see the class; for folders pass ``spectag.find_recordings(folders)``. A :class:`spectag.FileError`
                is passed on.
            top_k, threshold: as for :meth:`tag`.
            watch: called with a recording each time that more of it was scored; its ``progress`` says how much.

        Yields:
            exactly one result per source: :class:`spectag.ClipTags`, or :class:`spectag.FileError` for a recording that
            cannot be used. It does not stop the others.

        Raises:
            InputError: ``top_k`` or ``threshold`` out of its range, or one recording in place of several.

        >>> [result] = Tagger("esc10").tag_many(["a-file-that-does-not-exist.wav"])
        >>> str(result)
        'a-file-that-does-not-exist.wav: expected a file, found none: check the path'
        """
        _check_choice(top_k, threshold)
        clips = self.score_windows_many(sources, watch=watch)
        return (clip if isinstance(clip, FileError) else self._tags(clip, top_k, threshold) for clip in clips)

    def scores(self, source: Source) -> Scores:
        """The scores of one recording for every label, ``[C]``, 0..1: the weighted mean over its windows.

        Raises as :meth:`tag`. Warns about problems of the recording (:class:`spectag.errors.AudioWarning`).

        >>> Tagger("esc10").scores(np.sin(np.arange(16_000))).shape
        (10,)
        """
        return _scores(self.score_windows(source))

    def scores_many(self, sources: Iterable[Source | FileError]) -> Iterator[Scores | FileError]:
        """The scores of many recordings, ``[C]`` or a :class:`spectag.FileError` each; otherwise as :meth:`tag_many`.

        Warns as :meth:`scores`.
        """
        clips = self.score_windows_many(sources)
        return (clip if isinstance(clip, FileError) else _scores(clip) for clip in clips)

    def score_windows(self, source: Source) -> ClipScores:
        """The scores of one recording, window by window. Raises as :meth:`tag`."""
        return self._compute_one(source, self._run, ClipScores)

    def score_windows_many(
        self, sources: Iterable[Source | FileError], *, watch: Watch = lambda _: None
    ) -> Iterator[ClipScores | FileError]:
        """The scores of many recordings, window by window; otherwise as :meth:`tag_many`."""
        if isinstance(sources, (str, os.PathLike, bytes, Mapping, np.ndarray, Tensor)) or hasattr(sources, "read"):
            raise InputError(
                f"expected several recordings, got one {type(sources).__name__}: pass a list of recordings"
            )
        items = ahead.chain(self._tasks(sources), workers=self._readers.count, items=WAITING)
        return _compute_rows(items, self._run, self.batch_size, ClipScores, watch)

    def _tasks(self, sources: Iterable[Source | FileError]) -> Iterator[Callable[[], Iterator[_Item]]]:
        """One task per source: the reading of it. A single one is not worth a process, unless there is one already."""
        rest = iter(sources)
        head = list(islice(rest, 2))
        processes = self._readers if len(head) > 1 or self._given else None
        return (partial(_read_or_error, source, self.card.front_end, processes) for source in chain(head, rest))

    def embed(self, source: Source) -> Features:
        """Features of one recording, ``[D]``: the mean over its windows, weighted as that of the scores.

        Those of an ensemble are its members' features, concatenated. Raises and warns as :meth:`scores`.

        >>> Tagger("esc10").embed(np.sin(np.arange(16_000))).shape
        (128,)
        """
        clip = self.embed_windows(source)
        read.warn(clip.recording)
        return weighted_mean(clip.features, clip.sound)

    def embed_windows(self, source: Source) -> ClipFeatures:
        """Features of one recording, window by window. Raises as :meth:`tag`."""
        return self._compute_one(source, self.engine.embed, ClipFeatures)

    def _run(self, inputs: Tensor) -> Rows:
        """The engine's scores, one row per window and one column per label."""
        rows = self.engine.scores(inputs)
        if rows.shape != (len(inputs), len(self.labels)):
            raise InputError(
                f"engine: expected scores [{len(inputs)}, {len(self.labels)}] (windows, labels), "
                f"got {list(rows.shape)}: give the model's own card or labels"
            )
        return rows

    def _compute_one(self, source: Source, compute: Compute, make: Make[Clip]) -> Clip:
        [clip] = _compute_rows(_read(source, self.card.front_end), compute, self.batch_size, make)
        if isinstance(clip, FileError):
            raise AudioError(clip.path or "<array>", clip.error)
        return clip

    def _tags(self, clip: ClipScores, top_k: int | None, threshold: float | None) -> ClipTags:
        scores, recording = weighted_mean(clip.scores, clip.sound), clip.recording
        names = self.labels.names
        best = np.argsort(-scores, kind="stable")[: 0 if recording.silent else top_k]
        tags = (Tag(names[i], float(scores[i])) for i in best)
        return ClipTags(
            recording.path,
            recording.seconds,
            tuple(tag for tag in tags if threshold is None or tag.score >= threshold),
            tuple(f"{recording.name}: {note}" for note in recording.notes),
        )


def _check_choice(top_k: int | None, threshold: float | None) -> None:
    if top_k is not None and (not isinstance(top_k, int) or top_k < 1):
        raise InputError(f"top_k must be a whole number of at least 1, or None for all; got {top_k!r}")
    if threshold is not None and not 0 <= threshold <= 1:
        raise InputError(f"threshold must be 0 to 1, or None for none; got {threshold!r}")


def _scores(clip: ClipScores) -> Scores:
    read.warn(clip.recording)
    return weighted_mean(clip.scores, clip.sound)


# source -> windows


@dataclass(frozen=True)
class _Inputs:
    """A window as the network gets it: ``[frames, F]``, normalised."""

    recording: Recording
    window: Window
    inputs: Tensor


_Item: TypeAlias = "_Inputs | Recording | FileError"


def _read(source: Source, front_end: FrontEnd, processes: Readers | None = None) -> Iterator[_Inputs | Recording]:
    """The windows of a recording, then the recording itself, whose facts are complete by then."""
    recording = read.open(source)
    blocks = recording.blocks() if processes is None else processes.blocks(recording)
    heard = False
    for window in cut_windows(fbank_blocks(blocks, front_end), front_end.frames):
        heard = heard or window.sound > 0
        fitted = pad_or_cut(window.fbank, front_end.frames)
        yield _Inputs(recording, window, normalise(fitted, front_end.mean, front_end.std))
    recording.silent = recording.silent or not heard  # a codec may leave less than the network can hear
    if recording.silent:
        recording.notes.append("digital silence throughout, so nothing can be heard: check how it was recorded")
    if recording.peak > LOUDEST:
        recording.notes.append(
            f"samples reach {recording.peak:.0f} times full scale: divide by 32768 if they were 16-bit PCM"
        )
    yield recording


def _read_or_error(source: Source | FileError, front_end: FrontEnd, processes: Readers | None) -> Iterator[_Item]:
    """The same, with any failure as a value: one broken file in a million must not stop the others."""
    if isinstance(source, FileError):
        yield source
        return
    path = read.open(source).path
    try:
        yield from _read(source, front_end, processes)
    except AudioError as error:
        yield FileError(path, error.reason)
    except SpectagError as error:
        yield FileError(path, str(error))
    except Exception as error:
        yield FileError(path, f"cannot be read: {type(error).__name__}: {error}")


# windows -> scores


@dataclass
class _Progress:
    """A recording on its way through the network: its windows and rows so far, and what ended it, once it has ended."""

    starts: list[int] = field(default_factory=list)
    sound: list[float] = field(default_factory=list)
    rows: list[NDArray[np.float32]] = field(default_factory=list)
    end: Recording | FileError | None = None

    def result(self, make: Make[Clip]) -> Clip | FileError:
        assert self.end is not None
        if isinstance(self.end, FileError):
            return self.end
        rows = np.stack(self.rows)
        if not np.isfinite(rows).all():
            return FileError(self.end.path, "the network returned NaN or infinite values: try the precision fp32")
        return make(self.end, np.array(self.starts), rows, np.array(self.sound, np.float32))


def _compute_rows(
    items: Iterable[_Item],
    compute: Compute,
    batch_size: int,
    make: Make[Clip],
    watch: Watch = lambda _: None,
) -> Iterator[Clip | FileError]:
    """One result per recording, in order. Windows are computed in batches, of one recording or of several."""
    clips: deque[_Progress] = deque([_Progress()])  # the last one is still being read
    batch: list[tuple[_Progress, Tensor]] = []

    def flush() -> Iterator[Clip | FileError]:
        if batch:
            for (clip, _), row in zip(batch, compute(torch.stack([inputs for _, inputs in batch])), strict=True):
                clip.rows.append(row)
            batch.clear()
        while clips[0].end is not None:
            yield clips.popleft().result(make)

    for item in items:
        if isinstance(item, _Inputs):
            clips[-1].starts.append(item.window.start)
            clips[-1].sound.append(item.window.sound)
            batch.append((clips[-1], item.inputs))
        else:
            clips[-1].end = item
            clips.append(_Progress())
        # Many broken files in a row must not wait behind a batch that is nearly full.
        if len(batch) == batch_size or len(clips) > 4 * batch_size or not batch:
            yield from flush()
            if isinstance(item, _Inputs):
                watch(item.recording)
    yield from flush()
