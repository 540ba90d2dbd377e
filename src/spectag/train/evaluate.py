"""Score the clips of a manifest with a model, and compare with its labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spectag.audio.read import Source
from spectag.choices import Activation
from spectag.data.manifest import Manifest
from spectag.labels import LabelSet
from spectag.model.bundle import Bundle
from spectag.train.examples import Waveforms
from spectag.train.metrics import Metrics
from spectag.train.processes import gathered
from spectag.train.scores import ScoreTable, tabulate

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
        table: the scores themselves.
    """

    metrics: Metrics
    labels: LabelSet
    model_labels: int
    failed: tuple[str, ...]
    table: ScoreTable

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; figures per class under the labels' names."""
        figures = self.metrics.to_dict()
        for name in ("ap", "auc"):
            figures[name] = dict(zip(self.labels.names, figures[name], strict=True))
        return {**figures, "model_labels": self.model_labels, "failed": list(self.failed)}


def evaluate(manifest: Manifest, scores: Iterable[object], labels: LabelSet, activation: Activation) -> Evaluation:
    """Compare scores with the labels of a manifest.

    Args:
        manifest: N clips.
        scores: one row ``[C]`` per clip, in the manifest's order, or what the clip met instead.
        labels: the model's classes, in the order of the scores. Those that the data set does not have are left out,
            also where the highest score decides.
        activation: the model's.

    Raises:
        LabelMismatch: the data set has classes that the model does not know; the message names them.
        DataError: not one clip could be scored.
    """
    table, failed = tabulate(manifest, scores, labels, model="", activation=activation)
    return Evaluation(table.metrics(), manifest.labels, len(labels), failed, table)


class Judge:
    """Scores manifests with bundles, each clip once, shared between the processes of a run; decodes each clip once.

    Args:
        scorer: see :data:`Scorer`.
        cache_bytes: memory for decoded waveforms.
        rank, world: which process of how many; all must ask for the same evaluations in the same order.
    """

    def __init__(self, scorer: Scorer, cache_bytes: float, rank: int = 0, world: int = 1) -> None:
        self._scorer, self._left = scorer, cache_bytes
        self._rank, self._world = rank, world
        self._heard: dict[int, Waveforms] = {}

    def __call__(self, bundle: Bundle, manifest: Manifest) -> Evaluation:
        """The figures of a bundle on a manifest, the same in every process. Raises as :func:`evaluate`."""
        mine = self._heard.get(id(manifest))
        if mine is None:
            mine = self._heard[id(manifest)] = Waveforms(manifest.clips[self._rank :: self._world], self._left)
            mine.preload()  # what cannot be read is reported with the figures
            self._left -= sum(x.nbytes for x in mine.sources() if isinstance(x, np.ndarray))
        rows = list(self._scorer(bundle, mine.sources()))
        if self._world > 1:
            shares = gathered(rows)
            rows = [shares[i % self._world][i // self._world] for i in range(len(manifest))]
        return evaluate(manifest, rows, bundle.labels, bundle.activation)
