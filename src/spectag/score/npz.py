"""Score files: a table of scores as an ``.npz`` file without pickles.

================  ====================  ========================================================================
``format``        int                   1
``ids``           text ``[N]``          the ids of the clips in their data set, all different
``targets``       uint8 ``[N, C]``      1 for a label that applies, 0 for one that does not
``scores``        float32 ``[N, C]``    0..1, after the model's activation
``labels``        text ``[C]``          the classes of the data set, in its order, then the model's other classes
``activation``    text                  ``sigmoid``, ``softmax``, or ``mixed`` for a mean of both
``model``         text                  where the scores come from
``members``       int                   the number of models that the scores are the mean of
``data_classes``  int                   how many of the labels are those of the data set
``groups``        text ``[N]``          names of groups of clips; an empty one for a clip on its own
================  ====================  ========================================================================

The last two may be missing. Without ``groups``, each clip is on its own. A file without ``data_classes`` is from an
earlier spectag, which left out the classes that the data set lacks.
"""

from __future__ import annotations

import warnings
import zipfile
import zlib
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import numpy as np

from spectag.errors import DataError, InputError, SpectagWarning
from spectag.files import replacing
from spectag.score.table import ScoreTable, TableActivation

SUFFIX = ".npz"
FORMAT = 1
LARGEST = 2**33  # bytes of all arrays, unpacked; those of AudioSet's two million clips take 6e9
UNREADABLE = (
    *(OSError, ValueError, EOFError, MemoryError, NotImplementedError, RuntimeError),
    *(zlib.error, zipfile.BadZipFile),
)
# For each field its type or kind in NumPy's terms, the same in words, and its number of axes.
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
OPTIONAL = {"data_classes": ("i", "a whole number", 0), "groups": ("U", "text", 1)}


def write_scores(path: Path, table: ScoreTable) -> None:
    """Replace a score file.

    Raises:
        InputError: the name does not end in ``.npz``.
        DataError: :func:`read_scores` would refuse the table.
        SaveError: the file could not be written, for example because the disk is full.

    >>> write_scores(Path("a.npz"), ScoreTable(["a"], np.ones((1, 1)), np.ones((1, 1)), ["cat"], "softmax"))
    >>> read_scores(Path("a.npz")).ids
    ('a',)
    """
    if path.suffix.lower() != SUFFIX:
        raise InputError(f"{path}: expected the name of a score file, ending in {SUFFIX}")
    _require_valid(table)
    with replacing(path) as partial, partial.open("wb") as file:
        groups: dict[str, Any] = {} if table.groups is None else {"groups": np.array(table.groups, dtype=np.str_)}
        np.savez_compressed(
            file,
            **groups,
            data_classes=np.int64(len(table.data_labels)),
            format=np.int64(FORMAT),
            ids=np.array(table.ids, dtype=np.str_),
            targets=table.targets.astype(np.uint8),
            scores=table.scores.astype(np.float32),
            labels=np.array(table.labels, dtype=np.str_),
            activation=np.str_(table.activation),
            model=np.str_(table.model),
            members=np.int64(table.members),
        )


def read_scores(path: Path) -> ScoreTable:
    """Read a score file without trusting it.

    Raises:
        DataError: the file does not exist, is not a score file, or has a field that is missing or of the wrong shape,
            type or range; the message names the file and the field.

    Warns:
        SpectagWarning: an accuracy from the file may be too high, since classes were left out of it.

    >>> read_scores(Path("a-file-that-does-not-exist.npz"))
    Traceback (most recent call last):
    spectag.errors.DataError: a-file-that-does-not-exist.npz: no such file: write it with spectag score
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file: write it with spectag score")
    try:
        data = _read_fields(path)
        table = ScoreTable(
            **{name: data[name] for name in ("targets", "scores", "activation", "model", "members")},
            ids=tuple(data["ids"]),
            labels=tuple(data["labels"]),
            source=str(path),
            data_classes=data.get("data_classes"),
            groups=tuple(data["groups"]) if "groups" in data else None,
        )
    except InputError as error:
        raise DataError(str(error)) from error
    except UNREADABLE as error:
        raise DataError(
            f"{path}: expected a score file, got another kind of file or a damaged one ({error}): "
            "write it again with spectag score"
        ) from error
    _require_valid(table)
    complete = table.activation == "softmax" and bool((table.scores.sum(1) > 0.999).all())
    if table.data_classes is None and table.single_label and not complete:
        message = (
            f"{path}: an earlier spectag wrote it, without the classes that the data set lacks: if the model has any, "
            "the accuracy is too high: write the file again with spectag score"
        )
        warnings.warn(message, SpectagWarning, stacklevel=2)
    return table


def _read_fields(path: Path) -> dict[str, Any]:
    """The fields, with their types checked: matrices as arrays, all others as plain values."""
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > LARGEST:
        raise DataError(f"{path}: expected a score file of at most {LARGEST} bytes unpacked, got {size}")
    data: dict[str, Any] = {}
    with np.load(path, allow_pickle=False) as arrays:
        for name, (kind, words, axes) in (FIELDS | OPTIONAL).items():
            if name not in arrays.files:
                if name in OPTIONAL:
                    continue
                raise DataError(f"{path}: {name} is missing: expected a score file, as spectag score writes it")
            array = arrays[name]
            if not isinstance(array, np.ndarray):  # NumPy returns bytes for an entry that is not an array
                raise DataError(f"{path}: {name}: expected {words} with {axes} axes, got no array")
            if kind not in (array.dtype.kind, array.dtype.name) or array.ndim != axes:
                got = f"{array.dtype} {list(array.shape)}"
                raise DataError(f"{path}: {name}: expected {words} with {axes} axes, got {got}")
            data[name] = array if axes == 2 else array.tolist()
            if name == "format" and data[name] > FORMAT:
                raise DataError(
                    f"{path}: format {data[name]} is newer than {FORMAT}, the newest that this spectag reads: "
                    "pip install --upgrade spectag"
                )
    return data


def _require_valid(table: ScoreTable) -> None:
    """Check what the shapes do not show. Raises DataError."""

    def refuse(name: str, expected: str, got: object) -> None:
        raise DataError(f"{table.source}: {name}: expected {expected}, got {got}")

    for name, values in (("ids", table.ids), ("labels", table.labels)):
        if not len(values):
            refuse(name, "at least one", "none")
        if len(set(values)) != len(values):
            refuse(name, "each once", f"{next(v for v, n in Counter(values).items() if n > 1)!r} twice")
    good = (table.scores >= 0) & (table.scores <= 1)  # False for NaN
    if not good.all():
        row, column = np.argwhere(~good)[0]
        refuse(f"scores of {table.ids[row]}", "0 to 1", table.scores[row, column])
    if not np.isin(table.targets, (0, 1)).all():
        refuse("targets", "0 or 1", table.targets.max())
    if table.activation not in get_args(TableActivation):
        refuse("activation", ", ".join(get_args(TableActivation)), repr(table.activation)[:40])
    if table.members < 1:
        refuse("members", "at least 1", table.members)
