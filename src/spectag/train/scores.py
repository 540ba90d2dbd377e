"""Score files: what a model made of the clips of a data set, with their labels; and the mean of several of them.

The paper's ensembles are means of scores over models. Ensemble-S is a recipe trained with three seeds, Ensemble-M those
and three more trained with patch strides of 12, 14 and 16::

    spectag train audioset-full --data AUDIOSET --init DEIT --out runs/s --seeds 3
    spectag train audioset-full --data AUDIOSET --init DEIT --out runs/p12 --set model.stride=12     # likewise 14, 16
    spectag ensemble runs/s/seed*/scores.npz -o ensemble-s.npz
    spectag ensemble ensemble-s.npz runs/p*/scores.npz                   # Ensemble-M: six models, a sixth each

A run leaves the scores of the clips that it reports on in ``scores.npz``; ``spectag score`` writes those of any model
and data set: ``spectag score runs/p12/bundle --data AUDIOSET --split eval -o p12.npz``.

A score file is an ``.npz`` without pickles:

==============  ====================  ==========================================================================
``format``      int                   1
``ids``         text ``[N]``          the clips' ids in their data set, no two alike
``targets``     uint8 ``[N, C]``      1 where the label applies, else 0
``scores``      float32 ``[N, C]``    0..1, after the model's activation
``labels``      text ``[C]``          the data set's classes, in its order, so that different models' files fit
``activation``  text                  ``sigmoid``, ``softmax``, or ``mixed`` for a mean of both
``model``       text                  where the scores come from
``members``     int                   how many models the scores are the mean of
==============  ====================  ==========================================================================
"""

from __future__ import annotations

import hashlib
import os
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from spectag.data.manifest import Manifest
from spectag.errors import DataError, InputError, SaveError, SpectagWarning
from spectag.labels import LabelSet, align
from spectag.train.examples import targets
from spectag.train.metrics import Metrics, metrics

Activation = Literal["sigmoid", "softmax", "mixed"]

SUFFIX = ".npz"
FORMAT = 1
LARGEST = 2**33  # bytes of all arrays, unpacked; those of AudioSet's two million clips are 6e9
UNREADABLE = (OSError, ValueError, EOFError, MemoryError, NotImplementedError, RuntimeError, zlib.error)
# Field: its type as NumPy names it (or only its kind), as people do, and its axes.
FIELDS = {
    "format": ("i", "a whole number", 0),
    "ids": ("U", "text", 1),
    "targets": ("uint8", "uint8", 2),
    "scores": ("float32", "float32", 2),
    "labels": ("U", "text", 1),
    "activation": ("U", "text", 0),
    "model": ("U", "text", 0),
    "members": ("i", "a whole number", 0),
}


@dataclass(frozen=True)
class ScoreTable:
    """Scores of N clips for C classes, beside the truth.

    Args:
        ids: what the clips are called, N.
        targets: ``[N, C]``, 0 or 1.
        scores: ``[N, C]``, 0..1.
        labels: names of the classes, C.
        activation: ``softmax`` (scores compete) or ``sigmoid`` (they do not); ``mixed``: a mean of both.
        model: where the scores come from.
        members: how many models' mean they are; :func:`average` lets each of these weigh the same.
        source: what messages call the table; not saved.

    Raises:
        InputError: shapes that do not fit each other.
    """

    ids: Sequence[str]
    targets: NDArray[Any]
    scores: NDArray[Any]
    labels: Sequence[str]
    activation: Activation
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

    def metrics(self) -> Metrics:
        """The figures of the scores. Raises as :func:`spectag.train.metrics.metrics`."""
        return metrics(self.targets, self.scores)

    @property
    def single(self) -> bool:
        """Every clip has exactly one class."""
        return len(self.ids) > 0 and bool((self.targets.sum(1) == 1).all())

    def confusion(self) -> NDArray[np.int64]:
        """Clips per true and predicted class, ``[C, C]``; for single-label sets."""
        counts = np.zeros((len(self.labels),) * 2, np.int64)
        np.add.at(counts, (self.targets.argmax(1), self.scores.argmax(1)), 1)
        return counts

    def losses(self) -> NDArray[np.float64]:
        """Cross-entropy per clip, ``[N]``: of the true class where scores compete, else the mean over the classes."""
        scores = np.clip(self.scores.astype(np.float64), 1e-7, 1 - 1e-7)
        if self.activation == "softmax":
            parts = self.targets * np.log(scores)
            return np.asarray(-parts.sum(1), np.float64)
        parts = np.where(self.targets > 0, np.log(scores), np.log1p(-scores))
        return np.asarray(-parts.mean(1), np.float64)


def tabulate(
    manifest: Manifest, scores: Iterable[object], labels: LabelSet, *, model: str, activation: Activation
) -> tuple[ScoreTable, tuple[str, ...]]:
    """A table of scores for the classes of a data set, and the message of each clip that has none.

    Args:
        manifest: N clips.
        scores: one row ``[C]`` per clip, in the manifest's order, or what the clip met instead.
        labels: the model's classes, in the order of the scores.
        model, activation: see :class:`ScoreTable`.

    Raises:
        LabelMismatch: the data set has classes that the model does not know; the message names them.
        DataError: not one clip could be scored.
    """
    columns = align(manifest.labels, labels)
    rows, kept, failed = [], [], []
    for position, (_, row) in enumerate(zip(manifest.clips, scores, strict=True)):
        if isinstance(row, np.ndarray):
            rows.append(row[columns])
            kept.append(position)
        else:
            failed.append(str(row))
    if not rows:
        raise DataError(f"not one of {len(manifest)} clips could be scored; the first error: {failed[0]}")
    ids = tuple(manifest.clips[position].id for position in kept)
    truth = targets(manifest).numpy()[kept]
    return ScoreTable(ids, truth, np.stack(rows), manifest.labels.names, activation, model), tuple(failed)


def average(tables: Sequence[ScoreTable]) -> ScoreTable:
    """The mean of several models' scores of the same clips, which may be in different orders.

    Each model weighs the same: a table that is already the mean of three counts three times.

    Returns:
        a table in the order of the first.

    Raises:
        InputError: no tables.
        DataError: labels, clips or targets differ; the message names the table, how many and one of them.

    Warns:
        SpectagWarning: two tables hold the same scores, which therefore count twice.
    """
    if not tables:
        raise InputError("average: expected at least one table of scores, got none")
    first = tables[0]
    total = np.zeros(first.scores.shape)  # float64
    seen: dict[bytes, ScoreTable] = {}
    for table in tables:
        scores = table.scores[_places(first, table)]
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


def write(table: ScoreTable, path: Path) -> None:
    """Write a score file; what was there before stays until the new one is whole.

    Raises:
        InputError: the name does not end in ``.npz``.
        DataError: the table holds what :func:`read` would refuse.
        SaveError: the disk is full, say.
    """
    if path.suffix.lower() != SUFFIX:
        raise InputError(f"{path}: scores are written as {SUFFIX}: name a file that ends so")
    _require_sound(table)
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            np.savez_compressed(
                file,
                format=np.int64(FORMAT),
                ids=np.array(table.ids, dtype=np.str_),
                targets=table.targets.astype(np.uint8),
                scores=table.scores.astype(np.float32),
                labels=np.array(table.labels, dtype=np.str_),
                activation=np.str_(table.activation),
                model=np.str_(table.model),
                members=np.int64(table.members),
            )
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise SaveError(f"{path}: could not be written ({error.strerror}); free some space and try again") from error


def read(path: Path) -> ScoreTable:
    """Read a score file without trusting it.

    Raises:
        DataError: not there, not such a file, or a field missing or of the wrong shape, type or range; the message
            names file and field.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; spectag score writes such files")
    try:
        data = _fields(path)
        table = ScoreTable(
            **{name: data[name] for name in ("targets", "scores", "activation", "model", "members")},
            ids=tuple(data["ids"]),
            labels=tuple(data["labels"]),
            source=str(path),
        )
    except InputError as error:
        raise DataError(str(error)) from error
    except (*UNREADABLE, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: no score file, or damaged: {error}; spectag score writes such files") from error
    _require_sound(table)
    return table


def _fields(path: Path) -> dict[str, Any]:
    """The fields with their types checked, plain values but for the matrices."""
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > LARGEST:
        raise DataError(f"{path}: unpacks to {size} bytes: expected a score file, at most {LARGEST}")
    data: dict[str, Any] = {}
    with np.load(path, allow_pickle=False) as arrays:
        for name, (kind, words, axes) in FIELDS.items():
            if name not in arrays.files:
                raise DataError(f"{path}: {name} is missing: no score file; spectag score writes such files")
            array = arrays[name]
            if not isinstance(array, np.ndarray):  # bytes: what is stored there is none
                raise DataError(f"{path}: {name}: expected {words} with {axes} axes, got no array")
            if kind not in (array.dtype.kind, array.dtype.name) or array.ndim != axes:
                got = f"{array.dtype} {list(array.shape)}"
                raise DataError(f"{path}: {name}: expected {words} with {axes} axes, got {got}")
            data[name] = array if axes == 2 else array.tolist()
            if name == "format" and data[name] > FORMAT:
                raise DataError(f"{path}: format {data[name]} is newer than {FORMAT}: pip install --upgrade spectag")
    return data


def _require_sound(table: ScoreTable) -> None:
    """What the shapes do not say. Raises DataError."""

    def refuse(name: str, expected: str, got: object) -> None:
        raise DataError(f"{table.source}: {name}: expected {expected}, got {got}")

    for name, values in (("ids", table.ids), ("labels", table.labels)):
        if not len(values):
            refuse(name, "at least one", "none")
        if len(set(values)) != len(values):
            refuse(name, "each once", f"{next(v for v, n in Counter(values).items() if n > 1)!r} twice")
    good = (table.scores >= 0) & (table.scores <= 1)  # not so for NaN
    if not good.all():
        row, column = np.argwhere(~good)[0]
        refuse(f"scores of {table.ids[row]}", "0 to 1", table.scores[row, column])
    if not np.isin(table.targets, (0, 1)).all():
        refuse("targets", "0 or 1", table.targets.max())
    if table.activation not in get_args(Activation):
        refuse("activation", ", ".join(get_args(Activation)), repr(table.activation)[:40])
    if table.members < 1:
        refuse("members", "at least 1", table.members)


def _places(first: ScoreTable, table: ScoreTable) -> list[int]:
    """For each clip of the first table its row in another, which must hold the same clips, labels and targets."""
    where = f"{table.source}: differs from {first.source}"
    if list(table.labels) != list(first.labels):
        ours, theirs = set(first.labels), set(table.labels)
        odd = sorted(ours ^ theirs)
        what = f"{len(odd)} labels are in one only, such as {odd[0]!r}" if odd else "the labels' order"
        raise DataError(f"{where}: {what}: score all models on one data set")
    places = {name: place for place, name in enumerate(table.ids)}
    strange = sorted(places.keys() ^ set(first.ids))
    if strange:
        owner = table.source if strange[0] in places else first.source
        raise DataError(
            f"{where}: {len(strange)} clips are in one only, such as {strange[0]} in {owner}: score all models on one "
            "part of the data set"
        )
    rows = [places[name] for name in first.ids]
    wrong = np.flatnonzero((table.targets[rows] != first.targets).any(1))
    if len(wrong):
        raise DataError(f"{where}: the targets of {len(wrong)} clips, such as {first.ids[wrong[0]]}: score again")
    return rows
