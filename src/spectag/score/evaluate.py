"""The figures of a model on the labelled clips of a manifest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from spectag.choices import Activation
from spectag.data.manifest import Manifest
from spectag.errors import FileError
from spectag.labels import LabelSet
from spectag.score.metrics import Metrics
from spectag.score.table import ScoreRow, ScoreTable, make_table


@dataclass(frozen=True)
class Evaluation:
    """The figures of a model on some clips, made by :func:`evaluate_scores`.

    Args:
        metrics: over the clips that could be scored.
        labels: the classes of the data set, in the order of the figures per class.
        model_labels: number of classes that the model knows.
        failed: one message for each clip that could not be scored.
        table: the scores themselves.

    >>> table = ScoreTable(["a", "b"], np.eye(2), np.eye(2), ["cat", "dog"], "softmax")
    >>> Evaluation(table.compute_metrics(), spectag.LabelSet(("cat", "dog")), 2, (), table).to_dict()["ap"]
    {'cat': 1.0, 'dog': 1.0}
    """

    metrics: Metrics
    labels: LabelSet
    model_labels: int
    failed: tuple[str, ...]
    table: ScoreTable

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON. ``ap`` and ``auc`` map the name of each class to its figure."""
        figures = self.metrics.to_dict()
        for name in ("ap", "auc"):
            figures[name] = dict(zip(self.labels.names, figures[name], strict=True))
        return {**figures, "model_labels": self.model_labels, "failed": list(self.failed)}


def evaluate_scores(
    manifest: Manifest, rows: Iterable[ScoreRow | FileError], labels: LabelSet, activation: Activation
) -> Evaluation:
    """Compare the scores of a model with the labels of a manifest.

    Args:
        manifest: N clips.
        rows: for each clip, in the manifest's order, its scores ``[M]``, or why it could not be scored.
        labels: the M classes of the model, in the order of the scores. A class that the data set lacks is left out
            before the highest score of a clip is looked for.
        activation: the model's.

    Raises:
        LabelMismatch: the data set has classes that the model does not know; the message names them.
        DataError: none of the clips could be scored.

    >>> from spectag.data.manifest import Clip, Manifest
    >>> animals = spectag.LabelSet(("cat", "dog"))
    >>> clips = (Clip("a.wav", Path("a.wav"), (0,)), Clip("b.wav", Path("b.wav"), (1,)))
    >>> rows = [np.array([0.9, 0.1], np.float32), np.array([0.6, 0.4], np.float32)]
    >>> evaluate_scores(Manifest(clips, animals, "folders"), rows, animals, "softmax").metrics.accuracy
    0.5
    """
    table, failed = make_table(manifest, rows, labels, model="", activation=activation)
    return Evaluation(table.compute_metrics(), manifest.labels, len(labels), failed, table)
