"""Scale a network's logits by its weights, so that whatever runs the network gives the scaled scores."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spectag.errors import InputError
from spectag.model.bundle import Bundle
from spectag.model.network import Head


def scale_logits(bundle: Bundle, scale: NDArray[Any], offset: NDArray[Any], *, frames: bool = False) -> Bundle:
    """A copy of a bundle whose logits are ``scale * logits + offset``: the last layer is linear and takes them in.

    Args:
        bundle: is left as it is.
        scale, offset: ``[C]``, finite.
        frames: scale the logits of frames rather than those of clips.

    Raises:
        InputError: not one number for each label, or the bundle has no frame head.

    >>> bundle = spectag.load("esc10")
    >>> sharper = scale_logits(bundle, np.full(10, 2.0), np.zeros(10))
    >>> torch.equal(sharper.network.head.linear.bias, 2 * bundle.network.head.linear.bias)
    True
    """
    scale, offset = np.asarray(scale, np.float64), np.asarray(offset, np.float64)
    labels = len(bundle.labels)
    if scale.shape != (labels,) or offset.shape != (labels,) or not np.isfinite([scale, offset]).all():
        raise InputError(f"scale_logits: expected {labels} finite numbers each, one for each label")
    network = copy.deepcopy(bundle.network)
    head = network.frame_head if frames else network.head
    if not isinstance(head, Head):
        raise InputError("scale_logits: the network has no frame head")
    with torch.no_grad():
        weight, bias = head.linear.weight, head.linear.bias
        a, b = (torch.from_numpy(values).to(weight.device) for values in (scale, offset))
        weight.copy_(weight.double() * a[:, None])
        bias.copy_(bias.double() * a + b)
    return replace(bundle, network=network)
