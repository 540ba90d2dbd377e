"""Which layers lose most in int8: each is computed with rounded weights and activations alone, and scores compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spectag.engines.factory import make_engine
from spectag.export.agreement import Reference
from spectag.export.samples import choose_evenly
from spectag.model.bundle import Bundle
from spectag.model.ensemble import Ensemble
from spectag.model.network import AST

MOST_WINDOWS = 16  # that are computed for each layer


def rank_layers(model: Bundle | Ensemble, reference: Reference, patches: bool = True) -> list[tuple[str, float]]:
    """Rank the layers that int8 rounds, those that change scores most first.

    Args:
        model: that is exported.
        reference: what it says about samples.
        patches: whether the projection of patches is rounded, too. ONNX Runtime leaves it in float.

    Returns:
        names, and the mean over windows of the largest change of a score.

    >>> from spectag.export.agreement import make_reference
    >>> from spectag.export.samples import read_samples
    >>> bundle = spectag.load("esc10")
    >>> samples, _ = read_samples([np.zeros(16_000, np.float32)], bundle.front_end)
    >>> len(rank_layers(bundle, make_reference(bundle.card, spectag.make_engine(bundle), samples)))
    26
    """
    windows = [window for sample in reference.samples for window in sample.inputs]
    scores = [rows[0] for sample in reference.windows for rows in sample]
    places = choose_evenly(len(windows), MOST_WINDOWS)
    inputs, wanted = torch.stack([windows[place] for place in places]), np.stack([scores[place] for place in places])
    members = model.members if isinstance(model, Ensemble) else (model,)
    engine = make_engine(model)
    found = []
    for number, member in enumerate(members):
        prefix = f"member-{number}." if len(members) > 1 else ""
        for name, layer, entrance in list_layers(member.network):
            if isinstance(layer, nn.Conv2d) and not patches:
                continue
            with rounded(layer, entrance):
                found.append((prefix + name, float(np.abs(engine.scores(inputs) - wanted).max(1).mean())))
    return sorted(found, key=lambda pair: -pair[1])


def list_layers(network: AST) -> Iterator[tuple[str, nn.Linear | nn.Conv2d, nn.Module]]:
    """The matrix products of a network with their names, and the module that gets the layer's input.

    >>> [name for name, _, _ in list_layers(spectag.load("esc10").network)][:2]
    ['patch_embed', 'blocks.0.attn.qkv']
    """
    yield "patch_embed", network.patch_embed.proj, network.patch_embed
    modules = dict(network.named_modules())
    for name, layer in modules.items():
        if isinstance(layer, nn.Linear) and not name.startswith("frame_head"):
            # The last layer multiplies with parts of the matrix, so the layer itself is not called.
            yield name, layer, modules[name.removesuffix(".qkv")] if name.endswith(".qkv") else layer


@contextmanager
def rounded(layer: nn.Linear | nn.Conv2d, entrance: nn.Module) -> Iterator[None]:
    """Let a layer compute as in int8: weights with a scale for each output, activations with one for all.

    >>> layer = torch.nn.Linear(2, 1, bias=False)
    >>> layer.weight.data = torch.tensor([[1.0, 0.5]])
    >>> with rounded(layer, layer):
    ...     layer.weight
    Parameter containing:
    tensor([[1.0000, 0.5039]])
    """

    def enter(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        return (_round_activations(arguments[0]), *arguments[1:])

    weight = layer.weight
    largest = weight.detach().abs().flatten(1).amax(1).clamp_min(1e-12)
    scale = (largest / 127).view(-1, *[1] * (weight.ndim - 1))
    hook = entrance.register_forward_pre_hook(enter)
    layer.weight = nn.Parameter((weight.detach() / scale).round() * scale, requires_grad=False)
    try:
        yield
    finally:
        layer.weight = weight
        hook.remove()


def _round_activations(x: Tensor) -> Tensor:
    low, high = x.min().clamp_max(0), x.max().clamp_min(0)
    scale = ((high - low) / 255).clamp_min(1e-12)
    zero = (-low / scale).round()
    return ((x / scale + zero).round().clamp(0, 255) - zero) * scale


def name_layers(ranked: Sequence[tuple[str, float]], most: int) -> str:
    """Name the first of ranked layers with what they change.

    >>> name_layers([("head.linear", 0.1), ("blocks.0.mlp.fc1", 0.01)], 1)
    'head.linear (0.1)'
    """
    return ", ".join(f"{name} ({change:.2g})" for name, change in ranked[:most])
