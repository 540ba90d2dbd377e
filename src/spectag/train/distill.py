"""The loss of a student: how far its logits are from the scores of its teacher.

Hinton et al. 2015, "Distilling the Knowledge in a Neural Network". Where several labels may be heard at a time, each
label is a choice of its own between two answers.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from spectag.train.sections import TeacherRecipe

LEAST = 1e-5  # scores are kept this far from 0 and 1, so that logits stay finite


class DistillLoss:
    """``T^2 * H(teacher / T, student / T) + logits * mean((teacher - student)^2)``, over the logits of both.

    ``H`` is the cross-entropy: of each label with its absence (``bce``), or of all labels with each other (``ce``).
    ``T^2`` keeps the gradients as large as those without a temperature. For ``ce``, the mean of the logits of a clip
    says nothing, so it is subtracted before they are compared.

    Args:
        recipe: the temperature, and the weight of the second part.
        exclusive: whether exactly one label is heard (``ce``).

    >>> loss = DistillLoss(TeacherRecipe(temperature=2.0), exclusive=False)
    >>> loss(torch.zeros(1, 2), torch.full((1, 2), 0.5))  # 4 * log(2)
    tensor(2.7726)
    """

    def __init__(self, recipe: TeacherRecipe, exclusive: bool) -> None:
        self.recipe = recipe
        self.exclusive = exclusive

    def __call__(self, logits: Tensor, scores: Tensor) -> Tensor:
        """Compute the mean loss of logits ``[B, C]`` and the teacher's scores ``[B, C]``."""
        t = self.recipe.temperature
        scores = scores.clamp(LEAST, 1 - LEAST)
        if self.exclusive:
            wanted = scores.log()
            loss = functional.cross_entropy(logits / t, (wanted / t).softmax(1))
            logits, wanted = (x - x.mean(1, keepdim=True) for x in (logits, wanted))
        else:
            wanted = scores.logit()
            loss = functional.binary_cross_entropy_with_logits(logits / t, (wanted / t).sigmoid())
        loss = t**2 * loss
        if self.recipe.logits:
            loss = loss + self.recipe.logits * functional.mse_loss(logits, wanted)
        return loss


def compare_features(student: Tensor, teacher: Tensor) -> Tensor:
    """How differently student and teacher find the clips of a batch alike, 0 (the same) to 1.

    ``1 - CKA``, the centred kernel alignment of Kornblith et al. 2019 with linear kernels: with features ``S``, ``T``
    minus their means, ``CKA = <S S^T, T T^T> / (|S S^T| |T T^T|)``. Their sizes may differ. Neither scale nor rotation
    of the features counts.

    Args:
        student: features ``[B, D]``.
        teacher: features ``[B, E]``.

    >>> compare_features(torch.eye(2), 3 * torch.eye(2))
    tensor(0.)
    """
    ours, theirs = (_alike(x.float()) for x in (student, teacher))
    alike: Tensor = (ours * theirs).sum() / (ours.norm() * theirs.norm()).clamp(min=1e-12)
    return 1 - alike


def _alike(features: Tensor) -> Tensor:
    centred = features - features.mean(0)
    return centred @ centred.T
