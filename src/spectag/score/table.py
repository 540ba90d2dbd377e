"""Score tables: the scores of models for the clips of a data set, with the labels of the clips; and their means.

The paper's ensembles are means of the scores of several models. Ensemble-S is one recipe trained with three seeds.
Ensemble-M adds three models with patch strides of 12, 14 and 16::

    spectag train audioset-full --data AUDIOSET --init DEIT --out runs/s --seeds 3
    spectag train audioset-full --data AUDIOSET --init DEIT --out runs/p12 --set model.stride=12     # and 14, 16
    spectag ensemble runs/s/seed*/scores.npz -o ensemble-s.npz
    spectag ensemble ensemble-s.npz runs/p*/scores.npz                   # Ensemble-M: six models of equal weight

A training run writes the scores of its held-out clips to ``scores.npz``. ``spectag score`` writes the scores of any
model on any labelled data set: ``spectag score runs/p12/bundle --data AUDIOSET --split eval -o p12.npz``. See
:mod:`spectag.score.npz` for the format.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spectag.choices import THRESHOLD, Activation
from spectag.data.manifest import Manifest
from spectag.errors import DataError, FileError, InputError, SpectagWarning
from spectag.labels import LabelSet, align, name_some
from spectag.score.intervals import Intervals, compute_intervals
from spectag.score.metrics import Metrics, Thresholds, compute_metrics, has_one_label_each

ScoreRow: TypeAlias = "NDArray[np.float32]"  # [C], 0..1: the scores of one clip
TableActivation = Literal[Activation, "mixed"]


@dataclass(frozen=True)
class ScoreTable:
    """Scores of N clips for C classes, and the true labels.

    Args:
        ids: the name of each clip, N.
        targets: ``[N, C]``, 0 or 1. A row of zeros is a negative, a clip without labels.
        scores: ``[N, C]``, 0..1.
        labels: names of the classes, C: first those of the data set, then all others that the model answers with.
        activation: ``softmax`` if the scores of a clip sum to 1, ``sigmoid`` if they are independent, ``mixed`` for a
            mean of both.
        model: where the scores come from.
        members: the number of models that the scores are the mean of; :func:`average_tables` gives each the same
            weight.
        source: the name of the table in messages. It is not saved.
        groups: the name of each clip's group, N, see :class:`spectag.data.manifest.Clip`; an empty name for a clip that
            is a group of its own. None if every clip is.
        data_classes: how many of the labels are those of the data set; None for all.

    Raises:
        InputError: the shapes do not fit each other, or a class that the data set lacks has clips.

    >>> table = ScoreTable(["a", "b"], np.eye(2), np.array([[0.9, 0.1], [0.6, 0.4]]), ["cat", "dog"], "softmax")
    >>> table.single_label
    True
    """

    ids: Sequence[str]
    targets: NDArray[Any]
    scores: NDArray[Any]
    labels: Sequence[str]
    activation: TableActivation
    model: str = ""
    members: int = 1
    source: str = "scores"
    groups: Sequence[str] | None = None
    data_classes: int | None = None

    def __post_init__(self) -> None:
        shape = (len(self.ids), len(self.labels))
        if self.targets.shape != shape or self.scores.shape != shape:
            raise InputError(
                f"{self.source}: expected targets and scores {list(shape)} for {shape[0]} clips and {shape[1]} "
                f"classes, got {list(self.targets.shape)} and {list(self.scores.shape)}"
            )
        if self.groups is not None and len(self.groups) != len(self.ids):
            raise InputError(f"{self.source}: groups: expected {len(self.ids)}, one per clip, got {len(self.groups)}")
        known = len(self.labels) if self.data_classes is None else self.data_classes
        if not 0 < known <= len(self.labels) or self.targets[:, known:].any():
            raise InputError(
                f"{self.source}: data_classes: expected 1 to {len(self.labels)}, and no clips of the classes after "
                f"them; got {known}"
            )

    @property
    def data_labels(self) -> Sequence[str]:
        """The classes of the data set."""
        return self.labels[: self.data_classes]

    @property
    def other_labels(self) -> Sequence[str]:
        """The classes that the model answers with and the data set lacks."""
        return [] if self.data_classes is None else self.labels[self.data_classes :]

    def compute_metrics(self, thresholds: Thresholds = THRESHOLD) -> Metrics:
        """The figures of the scores.

        Args:
            thresholds: of F1, one or ``[C]``.

        Raises:
            InputError: as :func:`spectag.score.metrics.compute_metrics`.

        >>> scores = np.array([[0.9, 0.1], [0.6, 0.4]])
        >>> ScoreTable(["a", "b"], np.eye(2), scores, ["cat", "dog"], "softmax").compute_metrics().accuracy
        0.5
        """
        return compute_metrics(self.targets, self.scores, thresholds)

    def compute_intervals(self, metrics: Metrics, resamples: int | None = None) -> Intervals:
        """95 % intervals of these figures of the table, by a bootstrap over the clips, or over their groups.

        Raises:
            InputError: as :func:`spectag.score.intervals.compute_intervals`.

        >>> scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]])
        >>> table = ScoreTable(["a", "b", "c"], np.eye(2)[[0, 1, 1]], scores, ["cat", "dog"], "softmax")
        >>> table.compute_intervals(table.compute_metrics()).units
        3
        """
        return compute_intervals(metrics, self.targets, self.scores, self.groups, resamples=resamples)

    @property
    def single_label(self) -> bool:
        """Whether there are clips and several classes, and each clip has exactly one label."""
        return has_one_label_each(self.targets)

    def confusion_matrix(self) -> NDArray[np.int64]:
        """Number of clips by true class (row) and class of the highest score (column), ``[C, C]``.

        It is meaningful where each clip has exactly one label.

        >>> scores = np.array([[0.9, 0.1], [0.6, 0.4]])
        >>> ScoreTable(["a", "b"], np.eye(2), scores, ["cat", "dog"], "softmax").confusion_matrix().tolist()
        [[1, 0], [1, 0]]
        """
        counts = np.zeros((len(self.labels),) * 2, np.int64)
        np.add.at(counts, (self.targets.argmax(1), self.scores.argmax(1)), 1)
        return counts

    def losses(self) -> NDArray[np.float64]:
        """Cross-entropy of each clip, ``[N]``.

        With softmax and one label per clip it is ``-log(score of the true class)``, otherwise the mean over the classes
        of the binary cross-entropy, which negatives have as well.

        >>> ScoreTable(["a"], np.array([[1, 0]]), np.array([[0.5, 0.5]]), ["cat", "dog"], "softmax").losses().round(4)
        array([0.6931])
        """
        scores = np.clip(self.scores.astype(np.float64), 1e-7, 1 - 1e-7)
        if self.activation == "softmax" and self.single_label:
            parts = self.targets * np.log(scores)
            return np.asarray(-parts.sum(1), np.float64)
        parts = np.where(self.targets > 0, np.log(scores), np.log1p(-scores))
        return np.asarray(-parts.mean(1), np.float64)


def make_table(
    manifest: Manifest,
    rows: Iterable[ScoreRow | FileError],
    labels: LabelSet,
    *,
    model: str,
    activation: Activation,
    members: int = 1,
) -> tuple[ScoreTable, tuple[str, ...]]:
    """Make a table of the scores of a model and the labels of a manifest.

    Args:
        manifest: N clips with C classes.
        rows: for each clip, in the manifest's order, its scores ``[M]``, or why it could not be scored.
        labels: the M classes of the model, in the order of the scores.
        model, activation, members: see :class:`ScoreTable`.

    Returns:
        a table of the clips that could be scored, with all M classes: those of the data set first, in its order and by
        its names, then the others. And a message for each other clip.

    Raises:
        LabelMismatch: the data set has classes that the model does not know; the message names them.
        DataError: none of the clips could be scored.

    Warns:
        SpectagWarning: as :func:`spectag.labels.align`.

    >>> from spectag.data.manifest import Clip, Manifest
    >>> manifest = Manifest((Clip("a.wav", Path("a.wav"), (0,)),), spectag.LabelSet(("dog",)), "folders")
    >>> known = spectag.LabelSet(("cat", "dog"))
    >>> rows = [np.array([0.25, 0.75], np.float32)]
    >>> table, failed = make_table(manifest, rows, known, model="m", activation="softmax")
    >>> table.labels, table.scores.tolist(), failed
    (('dog', 'cat'), [[0.75, 0.25]], ())
    """
    order = order_labels(manifest.labels, labels)
    others = order[len(manifest.labels) :]
    clips, scores, failed, kept = [], [], [], []
    for position, (clip, row) in enumerate(zip(manifest.clips, rows, strict=True)):
        if isinstance(row, FileError):
            failed.append(str(row))
        else:
            clips.append(clip)
            kept.append(position)
            scores.append(row[order])
    if not clips:
        raise DataError(f"none of the {len(manifest)} clips could be scored; the first error: {failed[0]}")
    table = ScoreTable(
        ids=tuple(clip.id for clip in clips),
        targets=np.pad(manifest.targets()[kept], ((0, 0), (0, len(others)))),
        scores=np.stack(scores),
        labels=(*manifest.labels.names, *(labels.names[place] for place in others)),
        activation=activation,
        model=model,
        members=members,
        groups=tuple(clip.group or "" for clip in clips) if any(clip.group for clip in clips) else None,
        data_classes=len(manifest.labels),
    )
    return table, tuple(failed)


def order_labels(wanted: LabelSet, known: LabelSet) -> list[int]:
    """The places of a model's classes in a table: those of the data set first, in its order, then the others.

    Raises and warns as :func:`spectag.labels.align`.

    >>> order_labels(spectag.LabelSet(("dog",)), spectag.LabelSet(("cat", "dog")))
    [1, 0]
    """
    columns = align(wanted, known)
    return columns + sorted(set(range(len(known))) - set(columns))


def average_tables(tables: Sequence[ScoreTable]) -> ScoreTable:
    """The mean of several models' scores of the same clips, which may be in different orders.

    Each model has the same weight: a table that is the mean of three models counts three times. The models may differ
    in the classes that the data set lacks; the score of a class that a model does not know counts as 0.

    Returns:
        a table in the order of the first.

    Raises:
        InputError: no tables.
        DataError: the data set's labels, clips or targets differ; the message names the table and one of the
            differences.

    Warns:
        SpectagWarning: two tables hold the same scores, which therefore count twice; or a table lacks classes.

    >>> one, two = (
    ...     ScoreTable(["a", "b"], np.eye(2), np.full((2, 2), score), ["cat", "dog"], "softmax")
    ...     for score in (0.25, 0.75)
    ... )
    >>> average_tables([one, two]).scores.tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """
    if not tables:
        raise InputError("average_tables: expected at least one table of scores, got none")
    first = tables[0]
    others = dict.fromkeys(name for table in tables for name in table.other_labels)
    labels = (*first.data_labels, *others)
    total = np.zeros((len(first.ids), len(labels)))  # float64
    seen: dict[bytes, ScoreTable] = {}
    places = {name: place for place, name in enumerate(labels)}
    groups: Sequence[str] | None = None
    for table, rows in zip(tables, [_matching_rows(first, table) for table in tables], strict=True):
        scores = table.scores[rows]
        total[:, [places[name] for name in table.labels]] += table.members * scores
        if groups is None and table.groups is not None:
            groups = tuple(table.groups[row] for row in rows)
        before = seen.setdefault(hashlib.sha256(scores.tobytes()).digest(), table)
        if before is not table:
            message = f"{table.source}: holds the same scores as {before.source}, which therefore count twice"
            warnings.warn(message, SpectagWarning, stacklevel=2)
        if lacking := [name for name in others if name not in table.other_labels]:
            message = f"{table.source}: has no scores for classes that other models know, which count as 0 in the mean"
            warnings.warn(f"{message}: {name_some(lacking)}", SpectagWarning, stacklevel=2)
    members = sum(table.members for table in tables)
    activations = {table.activation for table in tables}
    return replace(
        first,
        labels=labels,
        targets=np.pad(first.targets[:, : len(first.data_labels)], ((0, 0), (0, len(others)))),
        data_classes=len(first.data_labels),
        groups=groups,
        scores=(total / members).astype(np.float32),
        model=", ".join(table.model or table.source for table in tables),
        activation=first.activation if len(activations) == 1 else "mixed",
        members=members,
        source=f"ensemble of {members}",
    )


def concatenate_tables(tables: Sequence[ScoreTable]) -> ScoreTable:
    """Scores for different clips of one data set as one table, such as those of the folds of a cross-validation.

    Returns:
        a table of all clips, which is otherwise like the first.

    Raises:
        InputError: no tables.
        DataError: their labels differ.

    >>> one = ScoreTable(["a"], np.array([[1, 0]]), np.array([[0.9, 0.1]]), ["cat", "dog"], "softmax")
    >>> concatenate_tables([one, replace(one, ids=["b"])]).ids
    ('a', 'b')
    """
    if not tables:
        raise InputError("concatenate_tables: expected at least one table of scores, got none")
    first = tables[0]
    for table in tables:
        _require_same_labels(first, table)
    grouped = any(table.groups is not None for table in tables)
    groups = tuple(name for table in tables for name in table.groups or [""] * len(table.ids))
    return replace(
        first,
        ids=tuple(name for table in tables for name in table.ids),
        targets=np.concatenate([table.targets for table in tables]),
        scores=np.concatenate([table.scores for table in tables]),
        groups=groups if grouped else None,
    )


def _require_same_labels(first: ScoreTable, table: ScoreTable) -> None:
    """Raise DataError unless both are scores on the same data set."""
    if list(table.data_labels) == list(first.data_labels):
        return
    odd = sorted(set(first.data_labels) ^ set(table.data_labels))
    what = f"{len(odd)} of the labels, for example {odd[0]!r}" if odd else "the order of the labels"
    raise DataError(f"{table.source}: differs from {first.source} in {what}: score all models on the same data set")


def _matching_rows(first: ScoreTable, table: ScoreTable) -> list[int]:
    """For each clip of the first table its row in the other, which must have the same clips, labels and targets."""
    where = f"{table.source}: differs from {first.source} in"
    _require_same_labels(first, table)
    places = {name: place for place, name in enumerate(table.ids)}
    odd = sorted(places.keys() ^ set(first.ids))
    if odd:
        owner = table.source if odd[0] in places else first.source
        raise DataError(
            f"{where} {len(odd)} of the clips, for example {odd[0]}, which only {owner} has: score all models on the "
            "same split of the data set"
        )
    rows = [places[name] for name in first.ids]
    classes = len(first.data_labels)
    wrong = np.flatnonzero((table.targets[rows, :classes] != first.targets[:, :classes]).any(1))
    if len(wrong):
        raise DataError(
            f"{where} the targets of {len(wrong)} of the clips, for example {first.ids[wrong[0]]}: "
            "score all models again"
        )
    return rows
