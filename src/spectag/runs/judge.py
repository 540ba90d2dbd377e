"""Scores the held-out clips of a run, again and again, and compares the scores with their labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from spectag.audio.source import Source
from spectag.data.manifest import Manifest
from spectag.errors import FileError
from spectag.model.bundle import Bundle
from spectag.runs.processes import gathered
from spectag.score.evaluate import Evaluation, evaluate_scores
from spectag.score.table import ScoreRow
from spectag.train.examples import Waveforms

Waveform: TypeAlias = "NDArray[np.float32]"  # [N], mono, 16 kHz, full scale = 1.0
# Scores clips with a bundle, in order: recordings, or waveforms that are decoded already. The command line passes one
# in, so that a run is scored by the very code that tags recordings.
Scorer: TypeAlias = "Callable[[Bundle, Iterable[Source | Waveform]], Iterable[ScoreRow | FileError]]"


class Judge:
    """Scores manifests with bundles. It decodes each clip once, and shares the clips between the processes of a run.

    Args:
        scorer: see :data:`Scorer`.
        cache_bytes: memory for decoded waveforms; clips that do not fit are decoded each time.
        rank, world: the number of this process, from 0, and of all processes. Every process must ask for the same
            evaluations in the same order.
    """

    def __init__(self, scorer: Scorer, cache_bytes: float, rank: int = 0, world: int = 1) -> None:
        self._scorer, self._left = scorer, cache_bytes
        self._rank, self._world = rank, world
        self._decoded: dict[int, Waveforms] = {}

    def __call__(self, bundle: Bundle, manifest: Manifest) -> Evaluation:
        """Evaluate a bundle on a manifest. Every process gets the same result.

        Raises:
            LabelMismatch, DataError: as :func:`spectag.score.evaluate.evaluate_scores`.
        """
        rows = list(self._scorer(bundle, self.read(manifest).sources()))
        if self._world > 1:
            shares = gathered(rows)
            rows = [shares[i % self._world][i // self._world] for i in range(len(manifest))]
        return evaluate_scores(manifest, rows, bundle.labels, bundle.activation)

    def read(self, manifest: Manifest) -> Waveforms:
        """Decode this process's share of a manifest, unless that was done before, and keep it."""
        share = self._decoded.get(id(manifest))
        if share is None:
            share = self._decoded[id(manifest)] = Waveforms(manifest.clips[self._rank :: self._world], self._left)
            share.preload()  # a clip that cannot be read is reported by the scorer
            self._left -= sum(x.nbytes for x in share.sources() if isinstance(x, np.ndarray))
        return share
