"""Which layers lose most in int8: each is computed with rounded weights and activations alone, and scores compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from spectag.export.agreement import Reference
from spectag.export.samples import choose_evenly
from spectag.model.bundle import Bundle
from spectag.model.ensemble import Ensemble
from spectag.model.network import AST

MOST_WINDOWS = 4  # that are computed for each layer


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
    inputs = torch.stack([windows[place] for place in choose_evenly(len(windows), MOST_WINDOWS)])
    members = model.members if isinstance(model, Ensemble) else (model,)
    found = []
    for number, member in enumerate(members):
        prefix = f"member-{number}." if len(members) > 1 else ""
        for name, change in _measure(member, inputs, patches):
            found.append((prefix + name, change / len(members)))
    return sorted(found, key=lambda pair: -pair[1])


@torch.inference_mode()
def _measure(bundle: Bundle, inputs: Tensor, patches: bool) -> Iterator[tuple[str, float]]:
    """What rounding changes, for each layer. Only what comes after the layer is computed."""
    network, tokens = bundle.network, bundle.card.config.tokens
    entering: list[Tensor] = []  # each block
    keep = [block.register_forward_pre_hook(lambda _, given: entering.append(given[0])) for block in network.blocks]
    wanted = bundle.scores(network(inputs))
    for hook in keep:
        hook.remove()
    depth = len(network.blocks)
    for name, layer, entrance in list_layers(network):
        if isinstance(layer, nn.Conv2d) and not patches:
            continue
        parts = name.split(".")
        with rounded(layer, entrance):
            if parts[0] == "patch_embed":
                logits = network(inputs)
            else:
                first = int(parts[1]) if parts[0] == "blocks" else depth - 1
                x = entering[first]
                for block in network.blocks[first : depth - 1]:
                    x = block(x)
                logits = network.head(network.norm(network.blocks[-1](x, tokens)).mean(1))
        yield name, float((bundle.scores(logits) - wanted).abs().amax(1).mean())


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
