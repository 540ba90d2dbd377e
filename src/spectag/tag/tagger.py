"""The tagger: recordings in, tags out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain, islice
from threading import Event
from typing import Generic, TypeAlias, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from spectag import ahead
from spectag.audio import read
from spectag.audio.front_end import FRAMES_PER_SECOND
from spectag.audio.read import Recording
from spectag.audio.readers import Readers
from spectag.audio.segments import group_segments, read_group
from spectag.audio.source import Source
from spectag.choices import BATCH_SIZE, DEVICE, LENGTH, MODEL, TOP_K, EngineName, ExportPrecision, Length
from spectag.engines.artefact import Artefact, open_model
from spectag.engines.base import Engine
from spectag.engines.factory import make_engine
from spectag.errors import AudioError, FileError, InputError
from spectag.labels import LabelSet
from spectag.model.bundle import Bundle
from spectag.model.card import Card
from spectag.model.ensemble import Ensemble
from spectag.tag import compute
from spectag.tag.results import ClipFeatures, ClipScores, ClipTags, Tag
from spectag.tag.stream import Collector, Compute, Item, Rows, Watch, collect, read_or_error, read_windows
from spectag.tag.windows import Window, default_hop, weighted_mean

Scores: TypeAlias = "NDArray[np.float32]"  # [C], 0..1
Features: TypeAlias = "NDArray[np.float32]"  # [D]
Clip = TypeVar("Clip")
Make: TypeAlias = "Callable[..., Clip]"  # of a recording, the starts and rows of its windows, their sound, more rows

UNIT = 32  # frames: exact lengths are multiples of it, so that recordings of about the same length share a batch
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
        model: a path, a name, a bundle or an ensemble, see :func:`spectag.load`; or the folder of an exported model.
            With an engine of your own, a card is enough.
        engine: what runs the model: ``torch``, ``openvino`` or ``onnx``, or an engine of your own. None for torch, or
            for what an exported model was exported for.
        device: ``cpu``; with torch also ``cuda``, ``cuda:N`` or ``mps``.
        precision: ``fp32`` or ``bf16``; None for fp32, or that of an exported model.
        batch_size: number of windows that the network computes at once.
        length: ``pad`` to pad a recording that is shorter than the model's window to it, as the released code does;
            ``exact`` to compute only what is there (in steps of 0.32 s), which is faster and changes its scores.
        readers: processes that read the files of methods for many; None to start them where there are several files.

    Raises:
        ModelError: the model cannot be used.
        InputError: an engine, device, precision, length or batch size that does not exist, or a card without an engine.
        MissingExtra: the engine is not installed.

    Attributes:
        card: the facts of the model: front end, labels and activation.
        bundle: the model, which may be an exported one; None where only a card is given.

    >>> tagger = Tagger("esc10")
    >>> [tag.label for tag in tagger.tag(np.sin(np.arange(16_000)), top_k=2).tags]
    ['...', '...']
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Bundle | Ensemble | Artefact | Card = MODEL,
        *,
        engine: Engine | EngineName | None = None,
        device: str = DEVICE,
        precision: ExportPrecision | None = None,
        batch_size: int = BATCH_SIZE,
        length: Length = LENGTH,
        readers: Readers | None = None,
    ) -> None:
        if not isinstance(batch_size, int) or batch_size < 1:
            raise InputError(f"batch_size must be a whole number of at least 1; got {batch_size!r}")
        if length not in get_args(Length):
            raise InputError(f"length must be one of {', '.join(get_args(Length))}; got {length!r}")
        self.batch_size = batch_size
        self._given = readers is not None
        self._readers = readers or Readers()
        self.bundle: Bundle | Ensemble | Artefact | None = None
        if isinstance(model, Card):
            if engine is None or isinstance(engine, str):
                raise InputError("model: a card describes a network and has none: give engine=, or give a bundle")
            self.card = model
        else:
            self.bundle = model if isinstance(model, (Bundle, Ensemble, Artefact)) else open_model(model)
            self.card = self.bundle.card
            if engine is None or isinstance(engine, str):
                engine = make_engine(self.bundle, device, precision, engine)
        self.engine: Engine = engine
        patch = self.card.config.patch[1]
        self._unit = None if length == "pad" else -(-patch // UNIT) * UNIT

    @property
    def labels(self) -> LabelSet:
        """The names of the scores, in order."""
        return self.card.labels

    def tag(
        self, source: Source, top_k: int | None = TOP_K, threshold: float | None = None, hop: float | None = None
    ) -> ClipTags:
        """Tag one recording.

        Args:
            source: see the class.
            top_k: the largest number of tags; None for all.
            threshold: only tags with at least this score, 0..1. None for the model's own thresholds, if it has some
                (``card.thresholds``), otherwise for all tags.
            hop: seconds from one window to the next, up to the length of a window; None for half a window.

        Returns:
            tags in descending order of score, equal ones in the order of the labels. Digital silence throughout has
            none, whatever its scores, and a warning. An unknown sound has none either, unless there is a threshold.

        Raises:
            AudioError: the recording cannot be used.
            InputError: a source, ``top_k`` or ``threshold`` out of its range.

        >>> [tag] = Tagger("esc10").tag(np.sin(np.arange(16_000)), top_k=1).tags
        >>> 0 < tag.score <= 1
        True
        """
        check_choice(top_k, threshold)
        return self._tags(self.score_windows(source, hop), top_k, threshold)

    def tag_many(
        self,
        sources: Iterable[Source | FileError],
        top_k: int | None = TOP_K,
        threshold: float | None = None,
        hop: float | None = None,
        *,
        watch: Watch = lambda _: None,
    ) -> Iterator[ClipTags | FileError]:
        """Tag many recordings: read in the background, batched across files, in the order of the sources.

        Args:
            sources: see the class; for folders pass ``spectag.find_recordings(folders)``. A :class:`spectag.FileError`
                is passed on.
            top_k, threshold, hop: as for :meth:`tag`.
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
        check_choice(top_k, threshold)
        clips = self.score_windows_many(sources, hop, watch=watch)
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

    def score_windows(self, source: Source, hop: float | None = None) -> ClipScores:
        """The scores of one recording, window by window. ``hop`` and errors are those of :meth:`tag`."""
        return self.collect(source, WindowRows(ClipScores), hop=hop)

    def score_windows_many(
        self, sources: Iterable[Source | FileError], hop: float | None = None, *, watch: Watch = lambda _: None
    ) -> Iterator[ClipScores | FileError]:
        """The scores of many recordings, window by window; otherwise as :meth:`tag_many`."""
        return self.collect_many(sources, lambda: WindowRows(ClipScores), hop=hop, watch=watch)

    def collect(
        self,
        source: Source,
        collector: Collector[Clip],
        compute: Compute | None = None,
        hop: float | None = None,
    ) -> Clip:
        """Give the windows of one recording and their rows to a collector, and return what it makes of them.

        Args:
            source: see the class.
            collector: see :class:`spectag.tag.stream.Collector`.
            compute: what runs the network; None for :meth:`compute_scores`.
            hop: seconds from one window to the next, up to the length of a window; None for half a window.

        Raises:
            AudioError, InputError: as :meth:`tag`, also for a hop out of its range.
        """
        [(recording, blocks)] = read_group([source])
        items = read_windows(recording, blocks, self.card.front_end, self.frames(hop), self._unit)
        [clip] = collect(items, compute or self.compute_scores, self.batch_size, lambda: collector)
        if isinstance(clip, FileError):
            raise AudioError(clip.path or "<array>", clip.error)
        return clip

    def collect_many(
        self,
        sources: Iterable[Source | FileError],
        make: Callable[[], Collector[Clip]],
        compute: Compute | None = None,
        hop: float | None = None,
        *,
        watch: Watch = lambda _: None,
    ) -> Iterator[Clip | FileError]:
        """The same for many recordings, with a new collector for each; otherwise as :meth:`tag_many`."""
        if isinstance(sources, (str, os.PathLike, bytes, Mapping, np.ndarray, Tensor)) or hasattr(sources, "read"):
            raise InputError(
                f"expected several recordings, got one {type(sources).__name__}: pass a list of recordings"
            )
        stop = Event()
        tasks = self._tasks(sources, self.frames(hop), stop)
        items = ahead.chain(tasks, workers=self._readers.count, items=WAITING, stop=stop)
        return collect(items, compute or self.compute_scores, self.batch_size, make, watch)

    def frames(self, hop: float | None) -> int:
        """The frames from one window to the next.

        Args:
            hop: in seconds; None for half a window.

        Raises:
            InputError: it is not more than 0, or more than a window.

        >>> Tagger("esc10").frames(0.5)
        50
        """
        window = self.card.front_end
        if hop is None:
            return default_hop(window.frames)
        if not isinstance(hop, (int, float)) or not 0 < hop <= window.seconds:
            raise InputError(f"hop must be more than 0 and at most a window of {window.seconds:g} s; got {hop!r}")
        return min(max(1, round(hop * FRAMES_PER_SECOND)), window.frames)

    def _tasks(
        self, sources: Iterable[Source | FileError], hop: int, stop: Event
    ) -> Iterator[Callable[[], Iterator[Item]]]:
        """One task per source: the reading of it. A single one is not worth a process, unless there is one already.

        Segments of one file that follow each other are one task, and the file is decoded once for them.
        """
        rest = iter(sources)
        head = list(islice(rest, 2))
        blocks = partial(self._readers.blocks, stop=stop) if len(head) > 1 or self._given else None
        groups = group_segments(chain(head, rest))
        return (partial(read_or_error, group, self.card.front_end, hop, blocks, self._unit) for group in groups)

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
        return self.collect(source, WindowRows(ClipFeatures), lambda inputs: (self.engine.embed(inputs),))

    def compute_scores(self, inputs: Tensor) -> tuple[Rows, ...]:
        """See :func:`spectag.tag.compute.compute_scores`."""
        return compute.compute_scores(self.engine, self.card, inputs)

    def compute_frames(self, inputs: Tensor) -> tuple[Rows, ...]:
        """See :func:`spectag.tag.compute.compute_frames`."""
        return compute.compute_frames(self.engine, self.card, inputs)

    def _tags(self, clip: ClipScores, top_k: int | None, threshold: float | None) -> ClipTags:
        distance = None if clip.distances is None else float(weighted_mean(clip.distances[:, None], clip.sound)[0])
        return make_tags(clip.recording, self.card, weighted_mean(clip.scores, clip.sound), top_k, threshold, distance)


def make_tags(
    recording: Recording,
    card: Card,
    scores: Scores,
    top_k: int | None = None,
    threshold: float | None = None,
    distance: float | None = None,
) -> ClipTags:
    """Choose the tags of a recording. Digital silence throughout has none.

    Args:
        recording: complete.
        card: of the model.
        scores: ``[C]``.
        top_k, threshold: as for :meth:`Tagger.tag`.
        distance: from what the model knows, if it tells unknown sounds.

    >>> scores = np.linspace(0.1, 1, 10, dtype=np.float32)
    >>> make_tags(read.open("dawn.wav"), spectag.load("esc10").card, scores, top_k=1).tags
    (Tag(label='Fire crackling', score=1.0),)
    """
    unknown = score = None
    if card.unknown is not None and distance is not None and not recording.silent:
        unknown, score = card.unknown.is_unknown(distance), card.unknown.score(distance)
    limits = np.zeros(len(scores)) if card.thresholds is None else np.array(card.thresholds)
    if threshold is not None:
        limits = np.full(len(scores), threshold)
    elif unknown:
        limits = np.full(len(scores), np.inf)
    best = [] if recording.silent else [i for i in np.argsort(-scores, kind="stable") if float(scores[i]) >= limits[i]]
    return ClipTags(
        recording.path,
        recording.seconds,
        tuple(Tag(card.labels.names[i], float(scores[i])) for i in best[:top_k]),
        tuple(f"{recording.name}: {note}" for note in recording.notes),
        rate=recording.rate or None,
        channels=recording.channels or None,
        unknown=unknown,
        unknown_score=score,
    )


def check_choice(top_k: int | None, threshold: float | None) -> None:
    """Check the choice of tags.

    Raises:
        InputError: ``top_k`` or ``threshold`` is out of its range.

    >>> check_choice(5, 0.5)
    """
    if top_k is not None and (not isinstance(top_k, int) or top_k < 1):
        raise InputError(f"top_k must be a whole number of at least 1, or None for all; got {top_k!r}")
    if threshold is not None and not 0 <= threshold <= 1:
        raise InputError(f"threshold must be 0 to 1, or None for none; got {threshold!r}")


def _scores(clip: ClipScores) -> Scores:
    read.warn(clip.recording)
    return weighted_mean(clip.scores, clip.sound)


class WindowRows(Generic[Clip]):
    """Collects the rows of all windows.

    Args:
        make: makes the result of a recording, the windows' first frames, their rows and how much of each is sound, and
            further rows where there are any.

    >>> Tagger("esc10").collect(np.zeros(160_000, np.float32), WindowRows(ClipScores)).scores.shape
    (7, 10)
    """

    def __init__(self, make: Make[Clip]) -> None:
        self._make = make
        self._starts: list[int] = []
        self._rows: list[tuple[NDArray[np.float32], ...]] = []
        self._sound: list[float] = []

    def add(self, window: Window, *rows: NDArray[np.float32]) -> None:
        self._starts.append(window.start)
        self._rows.append(rows)
        self._sound.append(window.sound)

    def end(self, recording: Recording) -> Clip:
        rows, *more = (np.stack(arrays) for arrays in zip(*self._rows, strict=True))
        return self._make(recording, np.array(self._starts), rows, np.array(self._sound, np.float32), *more)
