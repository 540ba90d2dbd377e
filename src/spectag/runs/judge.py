"""Score the held-out clips of a run after each epoch, and compare the scores with the labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

import numpy as np

from spectag.audio.read import Waveform
from spectag.audio.source import Source
from spectag.data.manifest import Manifest
from spectag.errors import FileError
from spectag.model.bundle import Bundle
from spectag.runs.processes import gathered
from spectag.score.evaluate import Evaluation, evaluate_scores
from spectag.score.table import ScoreRow
from spectag.train.examples import Waveforms

# Scores clips with a bundle, in order. A clip is a recording or a decoded waveform. The command line passes in a scorer
# that uses the tagger, so a run is scored by the same code that tags recordings.
Scorer: TypeAlias = "Callable[[Bundle, Iterable[Source | Waveform]], Iterable[ScoreRow | FileError]]"


class Judge:
    """Evaluates bundles on manifests. Each clip is decoded once, and the processes of a run share the clips.

    Args:
        scorer: see :data:`Scorer`.
        cache_bytes: memory for decoded waveforms. Clips that do not fit are decoded each time.
        rank, world: number of this process, from 0, and number of processes. Every process must make the same
            evaluations in the same order.

    >>> from spectag.data.manifest import Clip
    >>> bundle = spectag.load("esc10")
    >>> clips = Manifest((Clip("1.wav", Path("1.wav"), (0,)),), bundle.labels, "a table of clips")
    >>> judge = Judge(lambda bundle, sources: [np.eye(10, dtype=np.float32)[0]], cache_bytes=0)
    >>> judge(bundle, clips).metrics.accuracy  # this scorer always chooses the first class
    1.0
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
        share = self._decoded.get(id(manifest))
        if share is None:
            share = self._decoded[id(manifest)] = Waveforms(manifest.clips[self._rank :: self._world], self._left)
            share.preload()  # a clip that cannot be read is reported by the scorer
            self._left -= sum(x.nbytes for x in share.sources() if isinstance(x, np.ndarray))
        rows = list(self._scorer(bundle, share.sources()))
        if self._world > 1:
            shares = gathered(rows)
            rows = [shares[i % self._world][i // self._world] for i in range(len(manifest))]
        return evaluate_scores(manifest, rows, bundle.labels, bundle.activation)
