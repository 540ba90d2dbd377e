"""The outputs of a network for the labelled clips of a data set, window by window."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spectag.cli.output import watched
from spectag.errors import DataError, FileError

if TYPE_CHECKING:
    import torch

    from spectag.audio.read import Recording
    from spectag.data.manifest import Manifest
    from spectag.model.bundle import Bundle
    from spectag.score.scaling import Outputs


@dataclass(frozen=True)
class _Clip:
    """What the network says about one clip, window by window."""

    recording: Recording
    starts: NDArray[np.int64]
    scores: NDArray[np.float32]  # [W, C]
    sound: NDArray[np.float32]  # [W]
    features: NDArray[np.float32]  # [W, D]
    frames: NDArray[np.float32] | None = None  # [W, C], pooled frame scores


@dataclass(frozen=True)
class ClipOutputs:
    """What a network says about N clips, window by window, made by :func:`run_network`.

    Args:
        outputs: logits and targets.
        features: ``[W, D]``.
        frames: the same for scores that are pooled over the frames of each window; None if there is no frame head.
        groups: the group of each clip, N; an empty name for none.
        failed: why each other clip could not be read.

    >>> from spectag.score.scaling import Outputs
    >>> outputs = Outputs.of_clips(np.zeros((1, 2)), np.array([[1, 0]]), "softmax")
    >>> ClipOutputs(outputs, np.zeros((1, 8), np.float32), None, [""], []).failed
    []
    """

    outputs: Outputs
    features: NDArray[np.float32]
    frames: Outputs | None
    groups: list[str]
    failed: list[str]


def run_network(bundle: Bundle, manifest: Manifest, device: str, batch_size: int) -> ClipOutputs:
    """Run a network over all clips of a manifest. Clips that cannot be read are left out.

    Raises:
        LabelMismatch: the data set has classes that the model does not know.
        DataError: none of the clips could be read.

    >>> from spectag.data.manifest import Clip, Manifest
    >>> bundle = spectag.load("esc10")
    >>> run_network(bundle, Manifest((Clip("a", Path("a.wav"), (0,)),), bundle.labels, "a test"), "cpu", 16)
    Traceback (most recent call last):
    spectag.errors.DataError: calibration: none of the 1 clips could be read; the first error: a.wav: ...
    """
    import torch

    from spectag.engines.pytorch import TorchEngine
    from spectag.labels import align
    from spectag.model.frames import pool_frames
    from spectag.score.scaling import Outputs
    from spectag.tag.tagger import Tagger, WindowRows

    columns = align(manifest.labels, bundle.labels)
    engine = TorchEngine(bundle, device)
    has_frames = bundle.card.config.frame_head

    def compute(inputs: torch.Tensor) -> tuple[NDArray[np.float32], ...]:
        scores, features, *frames = engine.score_features(inputs, frames=has_frames)
        return scores, features, *(pool_frames(rows) for rows in frames)

    tagger = Tagger(bundle, engine=engine, batch_size=batch_size)
    sources = [clip.source for clip in manifest.clips]
    results = tagger.collect_many(sources, lambda: WindowRows(_Clip), compute)
    found: list[_Clip] = []
    kept: list[int] = []
    failed: list[str] = []
    for place, result in enumerate(watched(results, len(sources), quiet=False)):
        if isinstance(result, FileError):
            failed.append(str(result))
        else:
            found.append(result)
            kept.append(place)
    if not found:
        what = f"none of the {len(sources)} clips could be read; the first error: {failed[0]}" if failed else "no clips"
        raise DataError(f"calibration: {what}")
    targets = np.zeros((len(kept), len(bundle.labels)), np.int64)
    targets[:, columns] = manifest.targets()[kept]
    known = np.zeros(len(bundle.labels), bool)
    known[columns] = True
    features = np.concatenate([clip.features for clip in found])
    with torch.inference_mode():
        logits = bundle.network.head(torch.from_numpy(features)).double().numpy()
    places = np.repeat(np.arange(len(found)), [len(clip.sound) for clip in found])
    sound = np.concatenate([clip.sound if clip.sound.any() else np.ones_like(clip.sound) for clip in found])
    weights = sound / np.bincount(places, sound)[places]
    outputs = Outputs(logits, places, weights, targets, bundle.activation, known)
    frames = None
    if has_frames:
        pooled = np.concatenate([clip.frames for clip in found if clip.frames is not None]).astype(np.float64)
        pooled = pooled.clip(1e-6, 1 - 1e-6)
        frames = replace(outputs, logits=np.log(pooled / (1 - pooled)), activation="sigmoid")
    return ClipOutputs(outputs, features, frames, [manifest.clips[place].group or "" for place in kept], failed)
