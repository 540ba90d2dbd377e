"""The figures of a model on the labelled clips of a manifest."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from spectag.choices import THRESHOLD, Activation
from spectag.data.manifest import Manifest
from spectag.errors import FileError
from spectag.labels import LabelSet
from spectag.score.intervals import Intervals
from spectag.score.metrics import Metrics, Thresholds, check_thresholds
from spectag.score.table import ScoreRow, ScoreTable, make_table, order_labels


@dataclass(frozen=True)
class Evaluation:
    """The figures of a model on some clips, made by :func:`evaluate_scores`.

    Args:
        metrics: over the clips that could be scored, and over all classes of the model.
        failed: one message for each clip that could not be scored.
        table: the scores themselves.

    >>> table = ScoreTable(["a", "b"], np.eye(2), np.eye(2), ["cat", "dog"], "softmax")
    >>> Evaluation(table.compute_metrics(), (), table).to_dict()["ap"]
    {'cat': 1.0, 'dog': 1.0}
    """

    metrics: Metrics
    failed: tuple[str, ...]
    table: ScoreTable

    def to_dict(self, intervals: Intervals | None = None) -> dict[str, Any]:
        """Plain values for JSON: those of :func:`describe_table`, and the messages of the failed clips."""
        return {**describe_table(self.table, self.metrics, intervals), "failed": list(self.failed)}


def evaluate_scores(
    manifest: Manifest,
    rows: Iterable[ScoreRow | FileError],
    labels: LabelSet,
    activation: Activation,
    thresholds: Thresholds = THRESHOLD,
) -> Evaluation:
    """Compare the scores of a model with the labels of a manifest.

    Args:
        manifest: N clips.
        rows: for each clip, in the manifest's order, its scores ``[M]``, or why it could not be scored.
        labels: the M classes of the model, in the order of the scores. Those that the data set lacks count as answers,
            too.
        activation: the model's.
        thresholds: of F1: one, or one for each class of the model, in the order of ``labels``.

    Raises:
        LabelMismatch: the data set has classes that the model does not know; the message names them.
        DataError: none of the clips could be scored.
        InputError: thresholds that do not fit.

    >>> from spectag.data.manifest import Clip, Manifest
    >>> animals = spectag.LabelSet(("cat", "dog"))
    >>> clips = (Clip("a.wav", Path("a.wav"), (0,)), Clip("b.wav", Path("b.wav"), (1,)))
    >>> rows = [np.array([0.9, 0.1], np.float32), np.array([0.6, 0.4], np.float32)]
    >>> evaluate_scores(Manifest(clips, animals, "folders"), rows, animals, "softmax").metrics.accuracy
    0.5
    """
    table, failed = make_table(manifest, rows, labels, model="", activation=activation)
    limits = check_thresholds(thresholds, len(labels))
    if limits.ndim:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the table has said it
            limits = limits[order_labels(manifest.labels, labels)]
    return Evaluation(table.compute_metrics(limits), failed, table)


def describe_table(table: ScoreTable, metrics: Metrics, intervals: Intervals | None = None) -> dict[str, Any]:
    """Figures as plain values, for JSON.

    Returns:
        the fields of :class:`spectag.score.metrics.Metrics`; ``model_labels``, the number of classes of the model;
        ``not_in_data``, the names of those that the data set lacks; and, where there are intervals, what
        :meth:`spectag.score.intervals.Intervals.to_dict` returns. Figures and thresholds per class are by name:
        ``ap``, ``auc`` and ``f1`` for the classes of the data set, thresholds for all.

    >>> table = ScoreTable(["a"], np.array([[1, 0]]), np.array([[0.9, 0.1]]), ["cat", "dog"], "softmax", data_classes=1)
    >>> found = describe_table(table, table.compute_metrics())
    >>> found["f1"], found["not_in_data"]
    ({'cat': 1.0}, ['dog'])
    """
    figures = metrics.to_dict()
    for name in ("ap", "auc", "f1"):
        figures[name] = dict(zip(table.data_labels, figures[name], strict=False))
    if isinstance(metrics.thresholds, tuple):
        figures["thresholds"] = dict(zip(table.labels, metrics.thresholds, strict=True))
    figures |= {"model_labels": len(table.labels), "not_in_data": list(table.other_labels)}
    return {**figures, **(intervals.to_dict() if intervals else {})}
