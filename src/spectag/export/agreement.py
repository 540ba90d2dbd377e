"""How well an exported graph agrees with its model, on real clips. The model runs in PyTorch, in fp32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spectag.data.manifest import Manifest
from spectag.engines.artefact import Artefact
from spectag.engines.base import Engine
from spectag.engines.names import SCORES
from spectag.export.samples import Sample
from spectag.model.card import Card
from spectag.score.evaluate import evaluate_scores
from spectag.tag.compute import score_features

MAX_LOSS = 0.005
FORMAT = 1  # of agreement.json
BATCH = 8  # windows that are computed together
EXACT = "fp32 in PyTorch"


@dataclass(frozen=True)
class Agreement:
    """The figures of a comparison, made by :func:`measure_agreement`.

    Args:
        clips: that were compared.
        windows: of these clips, a few of each.
        largest: difference of a score of a window.
        mean: difference of the scores of a window.
        mean_largest: mean over clips of the largest difference of a score of the clip.
        top1: fraction of clips whose highest score has the same label.
        rank_correlation: mean over clips of Spearman's correlation of the scores; None for a single label.
        features: smallest cosine of the angle between the features of a window and those of the model.
        frames: largest difference of a frame score; None where the model has none.
        front_end: largest difference of a score that comes from the graph's own front end; None where it has none.
        accuracy, mean_ap: of the model and of the graph, where labels are known; otherwise None.

    >>> Agreement(1, 1, 0.5, 0.25, 0.5, 1.0, None, 1.0).loss
    0.5
    """

    clips: int
    windows: int
    largest: float
    mean: float
    mean_largest: float
    top1: float
    rank_correlation: float | None
    features: float
    frames: float | None = None
    front_end: float | None = None
    accuracy: tuple[float, float] | None = None
    mean_ap: tuple[float, float] | None = None

    @property
    def loss(self) -> float:
        """What the graph loses against the model, 0..1.

        Where labels are known it is what accuracy or mAP lose, whichever loses more. Otherwise it is how far the worst
        score of a clip is off, on average.
        """
        pairs = [pair for pair in (self.accuracy, self.mean_ap) if pair is not None]
        return max(0.0, *(before - after for before, after in pairs)) if pairs else self.mean_largest

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for ``agreement.json``."""
        return {"format": FORMAT, "compared_with": EXACT, "loss": self.loss, **asdict(self)}

    def lines(self) -> list[tuple[str, str]]:
        """Names and figures for people."""
        found = [
            ("clips", f"{self.clips} ({self.windows} windows)"),
            ("largest difference of a score", f"{self.largest:.2g}"),
            ("mean difference", f"{self.mean:.2g}"),
            ("largest in a clip, on average", f"{self.mean_largest:.2g}"),
            ("same first label", f"{self.top1:.1%}"),
        ]
        optional = {
            "rank correlation": None if self.rank_correlation is None else f"{self.rank_correlation:.5f}",
            "smallest cosine of features": f"{self.features:.5f}",
            "largest difference of a frame score": None if self.frames is None else f"{self.frames:.2g}",
            "the same with the graph's front end": None if self.front_end is None else f"{self.front_end:.2g}",
            "accuracy of model, of graph": _pair(self.accuracy),
            "mAP of model, of graph": _pair(self.mean_ap),
        }
        return found + [(name, text) for name, text in optional.items() if text is not None]


def _pair(values: tuple[float, float] | None) -> str | None:
    return None if values is None else f"{values[0]:.4f}, {values[1]:.4f}"


@dataclass(frozen=True, eq=False)
class Reference:
    """What the model says about samples: computed once, compared with any number of graphs.

    Args:
        card: of the model.
        samples: that could be read.
        windows: for each sample and window the scores ``[C]``, frame scores (the scores again where there are none) and
            features ``[D]``.

    >>> from spectag.export.samples import read_samples
    >>> bundle = spectag.load("esc10")
    >>> samples, _ = read_samples([np.zeros(16_000, np.float32)], bundle.front_end)
    >>> len(make_reference(bundle.card, spectag.make_engine(bundle), samples).windows)
    1
    """

    card: Card
    samples: Sequence[Sample]
    windows: Sequence[Sequence[tuple[NDArray[np.float32], ...]]]


def make_reference(card: Card, engine: Engine, samples: Sequence[Sample]) -> Reference:
    """Compute what a model says about samples.

    Args:
        card: of the model.
        engine: runs it in PyTorch, in fp32.
        samples: of real clips.

    >>> bundle = spectag.load("esc10")
    >>> make_reference(bundle.card, spectag.make_engine(bundle), []).windows
    []
    """
    return Reference(card, samples, _compute(card, engine, samples))


def measure_agreement(
    reference: Reference, engine: Engine, artefact: Artefact | None = None, manifest: Manifest | None = None
) -> Agreement:
    """Compare what an engine says with what the model says.

    Args:
        reference: what the model says.
        engine: runs the graph.
        artefact: whose own front end is compared as well, if it has one.
        manifest: of the samples, with their labels.

    Raises:
        DataError, LabelMismatch: the labels are not those of the model.

    >>> from spectag.export.samples import read_samples
    >>> bundle = spectag.load("esc10")
    >>> samples, _ = read_samples([np.zeros(16_000, np.float32)], bundle.front_end)
    >>> reference = make_reference(bundle.card, spectag.make_engine(bundle), samples)
    >>> measure_agreement(reference, spectag.make_engine(bundle, engine="onnx")).top1
    1.0
    """
    card, samples = reference.card, reference.samples
    found = _compute(card, engine, samples)
    ours, theirs = (list(chain.from_iterable(windows)) for windows in (reference.windows, found))
    pairs = list(zip(ours, theirs, strict=True))  # of all windows
    differences = np.array([np.abs(a[0] - b[0]) for a, b in pairs])  # [W, C]
    before, after = (_clips(samples, windows) for windows in (reference.windows, found))  # [N, C]
    figures: dict[str, Any] = {}
    if card.config.frame_head:
        figures["frames"] = max(float(np.abs(a[1] - b[1]).max()) for a, b in pairs)
    if artefact is not None and artefact.front_end:
        figures["front_end"] = _compare_front_end(reference, artefact)
    if manifest is not None:
        tables = [
            evaluate_scores(manifest, list(scores), card.labels, card.activation).metrics for scores in (before, after)
        ]
        for name in ("accuracy", "mean_ap"):
            values = tuple(getattr(table, name) for table in tables)
            figures[name] = None if None in values else values
    return Agreement(
        clips=len(samples),
        windows=len(pairs),
        largest=float(differences.max()),
        mean=float(differences.mean()),
        mean_largest=float(np.abs(before - after).max(1).mean()),
        top1=float((before.argmax(1) == after.argmax(1)).mean()),
        rank_correlation=correlate_ranks(before, after) if len(card.labels) > 1 else None,
        features=min(_cosine(a[2], b[2]) for a, b in pairs),
        **figures,
    )


def correlate_ranks(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """The mean over rows of Spearman's rank correlation of scores ``[N, C]``, with equal scores at their mean rank.

    >>> correlate_ranks(np.array([[0.1, 0.2, 0.3]]), np.array([[0.0, 0.5, 0.6]]))
    1.0
    """
    return float(np.mean([_correlation(_ranks(x), _ranks(y)) for x, y in zip(a, b, strict=True)]))


def _ranks(row: NDArray[np.float32]) -> NDArray[np.float64]:
    _, place, count = np.unique(row, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(count) - (count - 1) / 2)[place]
    return ranks


def _correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    x, y = x - x.mean(), y - y.mean()
    size = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / size) if size else float(np.array_equal(x, y))


def _cosine(x: NDArray[np.float32], y: NDArray[np.float32]) -> float:
    x64, y64 = x.astype(np.float64), y.astype(np.float64)
    size = np.linalg.norm(x64) * np.linalg.norm(y64)
    return float(x64 @ y64 / size) if size else float(np.array_equal(x, y))


def _compute(card: Card, engine: Engine, samples: Sequence[Sample]) -> list[list[tuple[NDArray[np.float32], ...]]]:
    inputs = [window for sample in samples for window in sample.inputs]
    rows: list[tuple[NDArray[np.float32], ...]] = []
    for start in range(0, len(inputs), BATCH):
        batch = torch.stack(inputs[start : start + BATCH])
        if card.config.frame_head and hasattr(engine, "score_features"):
            scores, features, frames = engine.score_features(batch, frames=True)
        else:
            scores, features = score_features(engine, batch)
            frames = engine.score_frames(batch)[1] if card.config.frame_head else scores  # type: ignore[attr-defined]
        rows += list(zip(scores, frames, features, strict=True))
    ends = np.cumsum([len(sample.inputs) for sample in samples])
    return [rows[end - len(sample.inputs) : end] for end, sample in zip(ends, samples, strict=True)]


def _clips(
    samples: Sequence[Sample], windows: Sequence[Sequence[tuple[NDArray[np.float32], ...]]]
) -> NDArray[np.float32]:
    return np.stack([s.mean([row[0] for row in rows]) for s, rows in zip(samples, windows, strict=True)])


def _compare_front_end(reference: Reference, artefact: Artefact) -> float:
    """The largest difference of a score of a window, if the graph makes the inputs itself."""
    run = artefact.make_engine(waveforms=True).run
    waveforms = [waveform for sample in reference.samples for waveform in sample.waveforms]
    wanted = [rows[0] for windows in reference.windows for rows in windows]
    found = (run(waveform[None])[SCORES][0] for waveform in waveforms)
    return max(float(np.abs(a - b).max()) for a, b in zip(wanted, found, strict=True))
