"""Teachers: whatever scores sounds, so that a network can learn its scores instead of labels (distillation).

A teacher is named by the key ``teacher.model`` of a recipe, or by ``--teacher``:

- a model that spectag loads, or an ensemble;
- ``module:function``, a function of a waveform ``[N]`` (float32, mono) and its rate in Hz that returns scores ``[C]``,
  0..1, or these and features ``[D]``. Its attribute ``labels`` holds the names of the scores;
- a score file (``.npz``), which has the scores of whole clips, see :mod:`spectag.score.npz`.

The first two hear exactly what the student hears, mixtures included ("function matching", Beyer et al. 2022). A network
of another kind, such as a convolutional one, is a function, too (the paper's authors call this CMKD, Gong et al. 2022).
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spectag.audio.fbank import fbank, normalise, pad_or_cut
from spectag.audio.front_end import FRAME, HOP
from spectag.audio.read import SAMPLE_RATE
from spectag.choices import Activation
from spectag.errors import InputError, RecipeError
from spectag.labels import LabelSet
from spectag.model.bundle import Bundle
from spectag.model.ensemble import Ensemble
from spectag.model.loading import load
from spectag.train.examples import Batch
from spectag.train.inputs import pad

FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


class Opinion(NamedTuple):
    """What a teacher says of B sounds: scores ``[B, C]``, 0..1, and features ``[B, D]``, if it has any.

    >>> Opinion(torch.zeros(1, 10)).features is None
    True
    """

    scores: Tensor
    features: Tensor | None = None


class Teacher(Protocol):
    """Scores sounds for a student.

    Args:
        labels: names of the scores.
        activation: ``sigmoid`` if several labels may be heard at a time, ``softmax`` if exactly one is.

    >>> class Undecided:
    ...     labels = spectag.LabelSet(("owl", "fox"))
    ...     activation = "sigmoid"
    ...
    ...     def __call__(self, waveform, frames):
    ...         return Opinion(torch.full((len(waveform), 2), 0.5))
    >>> teacher: Teacher = Undecided()
    """

    labels: LabelSet
    activation: Activation

    def __call__(self, waveform: Tensor, frames: Tensor) -> Opinion:
        """Score sounds.

        Args:
            waveform: ``[B, N]``, mono, 16 kHz, zeros at the end.
            frames: ``[B]``, number of frames of 10 ms of each that are sound. The rest is padding.
        """
        ...


class ModelTeacher:
    """A model as a teacher. Several bundles give the mean of their scores, and no features.

    Sounds longer than the model's window cannot be scored.

    Args:
        model: a bundle or an ensemble.
        device: computes its scores; the waveforms must be there.

    >>> teacher = ModelTeacher(spectag.load("esc10"))
    >>> teacher(torch.zeros(2, 16_000), torch.tensor([98, 98])).scores.shape
    torch.Size([2, 10])
    """

    def __init__(self, model: Bundle | Ensemble, device: torch.device | str = "cpu") -> None:
        self.labels, self.activation = model.labels, model.activation
        self._card = model.card if isinstance(model, Bundle) else model.members[0].card
        members = (model,) if isinstance(model, Bundle) else model.members
        self._networks = [member.network.to(device) for member in members]

    @torch.no_grad()
    def __call__(self, waveform: Tensor, frames: Tensor) -> Opinion:
        front_end = self._card.front_end
        if (length := 1 + (waveform.shape[1] - FRAME) // HOP) > front_end.frames:
            raise RecipeError(
                f"teacher: its window has {front_end.frames} frames, and the student's has {length}: set "
                f"front_end.frames={front_end.frames} or less"
            )
        x = pad(fbank(waveform, window=front_end.window, mel_bins=front_end.mel_bins), frames)
        x = normalise(pad_or_cut(x, front_end.frames), front_end.mean, front_end.std)
        scores = torch.stack([self._activate(network.head(network.embed(x))) for network in self._networks]).mean(0)
        features = self._networks[0].embed(x) if len(self._networks) == 1 else None
        return Opinion(scores, features)

    def _activate(self, logits: Tensor) -> Tensor:
        return logits.sigmoid() if self.activation == "sigmoid" else logits.softmax(1)


class FunctionTeacher:
    """A function as a teacher. It hears one sound at a time, without padding.

    Args:
        function: of a waveform ``[N]``, float32, and its rate in Hz; returns scores ``[C]``, 0..1, or ``(scores,
            features)``.
        labels: names of the scores; None for the function's attribute ``labels``.
        name: of the function, for messages.
        activation: ``softmax`` if its scores sum to 1.

    Raises:
        InputError: its labels are not known; or, when it is called, it returns something else.

    >>> teacher = FunctionTeacher(lambda waveform, rate: [abs(waveform).max()], labels=["loud"])
    >>> teacher(torch.full((1, 800), 0.5), torch.tensor([3])).scores
    tensor([[0.5000]])
    """

    activation: Activation

    def __init__(
        self,
        function: Callable[[NDArray[np.float32], int], Any],
        labels: Sequence[str] | None = None,
        name: str = "the teacher",
        activation: Activation = "sigmoid",
    ) -> None:
        labels = getattr(function, "labels", None) if labels is None else labels
        if labels is None:
            raise InputError(f"{name}: expected an attribute labels with the names of its scores, found none: set it")
        self.labels, self.activation = LabelSet.named(map(str, labels)), activation
        self._function, self._name = function, name

    def __call__(self, waveform: Tensor, frames: Tensor) -> Opinion:
        sounds = waveform.cpu().numpy()
        opinions = [
            self._score(sound[: FRAME + (int(count) - 1) * HOP]) for sound, count in zip(sounds, frames, strict=True)
        ]
        scores = torch.stack([opinion.scores for opinion in opinions]).to(waveform.device)
        features = [opinion.features for opinion in opinions if opinion.features is not None]
        return Opinion(scores, torch.stack(features).to(waveform.device) if features else None)

    def _score(self, waveform: NDArray[np.float32]) -> Opinion:
        found = self._function(waveform, SAMPLE_RATE)
        scores, features = found if isinstance(found, tuple) else (found, None)
        row = torch.as_tensor(np.asarray(scores, np.float32))
        if row.shape != (len(self.labels),) or not bool(((row >= 0) & (row <= 1)).all()):
            some = f"shape {list(row.shape)}" if row.shape != (len(self.labels),) else "others"
            raise InputError(f"{self._name}: expected {len(self.labels)} scores between 0 and 1, got {some}")
        return Opinion(row, None if features is None else torch.as_tensor(np.asarray(features, np.float32)))


def teach(batch: Batch, teacher: Teacher) -> Batch:
    """Put the opinion of a teacher in the place of a batch's labels.

    >>> batch = Batch(torch.zeros(1, 800), torch.tensor([3]), torch.zeros(1, 1), [(0,)], [])
    >>> teach(batch, FunctionTeacher(lambda waveform, rate: [0.25], labels=["owl"])).target
    tensor([[0.2500]])
    """
    opinion = teacher(batch.waveform, batch.frames)
    return batch._replace(target=opinion.scores, features=opinion.features)


def is_score_file(name: str) -> bool:
    """Whether a teacher's name is that of a score file.

    >>> is_score_file("scores.npz")
    True
    """
    return name.lower().endswith(".npz")


def find_teacher(name: str, device: torch.device | str = "cpu") -> Teacher:
    """Load a model or import a function by the name of a teacher.

    A module is also looked for in the current folder.

    Raises:
        ModelError: the model cannot be loaded.
        RecipeError: there is no such module or function, or it has no labels.

    >>> len(find_teacher("esc10").labels)
    10
    """
    if not FUNCTION.fullmatch(name):
        return ModelTeacher(load(name), device)
    module, _, function = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise RecipeError(f"--teacher {name}: expected a function in a module; {error}") from error
    try:
        return FunctionTeacher(found, name=name)
    except InputError as error:
        raise RecipeError(f"--teacher {error}") from error
