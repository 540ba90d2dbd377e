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

from spectag.choices import Activation
from spectag.data.manifest import Manifest
from spectag.errors import DataError, FileError, InputError, SpectagWarning
from spectag.labels import LabelSet, align
from spectag.score.metrics import Metrics, compute_metrics

ScoreRow: TypeAlias = "NDArray[np.float32]"  # [C], 0..1: the scores of one clip
TableActivation = Literal[Activation, "mixed"]


@dataclass(frozen=True)
class ScoreTable:
    """Scores of N clips for C classes, and the true labels.

    Args:
        ids: the name of each clip, N.
        targets: ``[N, C]``, 0 or 1.
        scores: ``[N, C]``, 0..1.
        labels: names of the classes, C.
        activation: ``softmax`` if the scores of a clip sum to 1, ``sigmoid`` if they are independent, ``mixed`` for a
            mean of both.
        model: where the scores come from.
        members: the number of models that the scores are the mean of; :func:`average_tables` gives each the same
            weight.
        source: the name of the table in messages. It is not saved.

    Raises:
        InputError: the shapes do not fit each other.

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

    def __post_init__(self) -> None:
        shape = (len(self.ids), len(self.labels))
        if self.targets.shape != shape or self.scores.shape != shape:
            raise InputError(
                f"{self.source}: expected targets and scores {list(shape)} for {shape[0]} clips and {shape[1]} "
                f"classes, got {list(self.targets.shape)} and {list(self.scores.shape)}"
            )

    def compute_metrics(self) -> Metrics:
        """The figures of the scores.

        Raises:
            InputError: as :func:`spectag.score.metrics.compute_metrics`.

        >>> scores = np.array([[0.9, 0.1], [0.6, 0.4]])
        >>> ScoreTable(["a", "b"], np.eye(2), scores, ["cat", "dog"], "softmax").compute_metrics().accuracy
        0.5
        """
        return compute_metrics(self.targets, self.scores)

    @property
    def single_label(self) -> bool:
        """Whether there are clips, and each has exactly one label."""
        return len(self.ids) > 0 and bool((self.targets.sum(1) == 1).all())

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

        With softmax it is ``-log(score of the true class)``, otherwise the mean over the classes of the binary
        cross-entropy.

        >>> ScoreTable(["a"], np.array([[1, 0]]), np.array([[0.5, 0.5]]), ["cat", "dog"], "softmax").losses().round(4)
        array([0.6931])
        """
        scores = np.clip(self.scores.astype(np.float64), 1e-7, 1 - 1e-7)
        if self.activation == "softmax":
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
        a table of the clips that could be scored and the classes of the data set; and a message for each other clip.

    Raises:
        LabelMismatch: the data set has classes that the model does not know; the message names them.
        DataError: none of the clips could be scored.

    >>> from spectag.data.manifest import Clip, Manifest
    >>> manifest = Manifest((Clip("a.wav", Path("a.wav"), (0,)),), spectag.LabelSet(("dog",)), "folders")
    >>> known = spectag.LabelSet(("cat", "dog"))
    >>> rows = [np.array([0.25, 0.75], np.float32)]
    >>> table, failed = make_table(manifest, rows, known, model="m", activation="softmax")
    >>> table.scores.tolist(), failed
    ([[0.75]], ())
    """
    columns = align(manifest.labels, labels)
    ids, kept, scores, failed = [], [], [], []
    for position, (clip, row) in enumerate(zip(manifest.clips, rows, strict=True)):
        if isinstance(row, FileError):
            failed.append(str(row))
        else:
            ids.append(clip.id)
            kept.append(position)
            scores.append(row[columns])
    if not ids:
        raise DataError(f"none of the {len(manifest)} clips could be scored; the first error: {failed[0]}")
    targets = manifest.targets()[kept]
    table = ScoreTable(tuple(ids), targets, np.stack(scores), manifest.labels.names, activation, model, members)
    return table, tuple(failed)


def average_tables(tables: Sequence[ScoreTable]) -> ScoreTable:
    """The mean of several models' scores of the same clips, which may be in different orders.

    Each model has the same weight: a table that is the mean of three models counts three times.

    Returns:
        a table in the order of the first.

    Raises:
        InputError: no tables.
        DataError: labels, clips or targets differ; the message names the table and one of the differences.

    Warns:
        SpectagWarning: two tables hold the same scores, which therefore count twice.

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
    total = np.zeros(first.scores.shape)  # float64
    seen: dict[bytes, ScoreTable] = {}
    for table in tables:
        scores = table.scores[_matching_rows(first, table)]
        total += table.members * scores
        before = seen.setdefault(hashlib.sha256(scores.tobytes()).digest(), table)
        if before is not table:
            message = f"{table.source}: holds the same scores as {before.source}, which therefore count twice"
            warnings.warn(message, SpectagWarning, stacklevel=2)
    members = sum(table.members for table in tables)
    activations = {table.activation for table in tables}
    return replace(
        first,
        scores=(total / members).astype(np.float32),
        model=", ".join(table.model or table.source for table in tables),
        activation=first.activation if len(activations) == 1 else "mixed",
        members=members,
        source=f"ensemble of {members}",
    )


def _matching_rows(first: ScoreTable, table: ScoreTable) -> list[int]:
    """For each clip of the first table its row in the other, which must have the same clips, labels and targets."""
    where = f"{table.source}: differs from {first.source} in"
    if list(table.labels) != list(first.labels):
        odd = sorted(set(first.labels) ^ set(table.labels))
        what = f"{len(odd)} of the labels, for example {odd[0]!r}" if odd else "the order of the labels"
        raise DataError(f"{where} {what}: score all models on the same data set")
    places = {name: place for place, name in enumerate(table.ids)}
    odd = sorted(places.keys() ^ set(first.ids))
    if odd:
        owner = table.source if odd[0] in places else first.source
        raise DataError(
            f"{where} {len(odd)} of the clips, for example {odd[0]}, which only {owner} has: score all models on the "
            "same split of the data set"
        )
    rows = [places[name] for name in first.ids]
    wrong = np.flatnonzero((table.targets[rows] != first.targets).any(1))
    if len(wrong):
        raise DataError(
            f"{where} the targets of {len(wrong)} of the clips, for example {first.ids[wrong[0]]}: "
            "score all models again"
        )
    return rows
