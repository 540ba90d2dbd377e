"""Score the clips of a manifest with a model, and compare with its labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spectag.audio.read import Source
from spectag.data.manifest import Manifest
from spectag.errors import DataError, LabelMismatch
from spectag.labels import LabelSet
from spectag.model.bundle import Bundle
from spectag.train.examples import targets
from spectag.train.metrics import Metrics, metrics

Scores = NDArray[np.float32]
# Scores clips (recordings or 16 kHz waveforms) with a bundle, in order: [C] each, or else what went wrong, as
# something that prints as one line. The command line hands it in, so that training is scored by the very path that
# tags recordings.
Scorer: TypeAlias = "Callable[[Bundle, Iterable[Source | Scores]], Iterable[object]]"


@dataclass(frozen=True)
class Evaluation:
    """Figures of a model on some clips.

    Args:
        metrics: over the clips that could be scored.
        labels: names of the data set's classes, in the order of the figures.
        model_labels: how many classes the model knows.
        failed: the message of each clip that could not.
    """

    metrics: Metrics
    labels: LabelSet
    model_labels: int
    failed: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; figures per class under the labels' names."""
        figures = self.metrics.to_dict()
        for name in ("ap", "auc"):
            figures[name] = dict(zip(self.labels.names, figures[name], strict=True))
        return {**figures, "model_labels": self.model_labels, "failed": list(self.failed)}


def evaluate(manifest: Manifest, scores: Iterable[object], labels: LabelSet) -> Evaluation:
    """Compare scores with the labels of a manifest.

    Args:
        manifest: N clips.
        scores: one row ``[C]`` per clip, in the manifest's order, or what the clip met instead.
        labels: the model's classes, in the order of the scores. Those that the data set does not have are left out,
            also where the highest score decides.

    Raises:
        LabelMismatch: the data set has classes that the model does not know; the message names them.
        DataError: not one clip could be scored.
    """
    columns = align(manifest.labels, labels)
    truth = targets(manifest).numpy()
    rows, kept, failed = [], [], []
    for position, (_, row) in enumerate(zip(manifest.clips, scores, strict=True)):
        if isinstance(row, np.ndarray):
            rows.append(row[columns])
            kept.append(position)
        else:
            failed.append(str(row))
    if not rows:
        raise DataError(f"not one of {len(manifest)} clips could be scored; the first error: {failed[0]}")
    return Evaluation(metrics(truth[kept], np.stack(rows)), manifest.labels, len(labels), tuple(failed))


def align(wanted: LabelSet, known: LabelSet) -> list[int]:
    """For each class of a data set its place among a model's, by name, letter case and ``_`` for a space aside.

    Raises:
        LabelMismatch: classes the model does not know.
    """
    places = {_plain(name): place for place, name in enumerate(known.names)}
    missing = [name for name in wanted.names if _plain(name) not in places]
    if missing:
        raise LabelMismatch(
            f"the model does not know {len(missing)} of the data set's {len(wanted)} classes: {', '.join(missing[:5])}"
            f"{', ...' if len(missing) > 5 else ''}; it knows {', '.join(known.names[:5])}, ... ({len(known)} in all)"
        )
    return [places[_plain(name)] for name in wanted.names]


def _plain(name: str) -> str:
    return name.lower().replace("_", " ").strip()
