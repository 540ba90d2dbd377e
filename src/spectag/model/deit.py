"""DeiT and ViT state dicts with timm's names: weights learned from images, to start learning sounds from."""

from __future__ import annotations

from dataclasses import replace
from math import isqrt
from pathlib import Path

from spectag.errors import ShapeMismatch
from spectag.model import tensors
from spectag.model.adapt import State
from spectag.model.backbone import make_card, make_config, measure_backbone
from spectag.model.card import UNTRAINED
from spectag.model.checkpoint import Checkpoint
from spectag.model.given import Given, fresh_labels
from spectag.model.keys import KeyTable
from spectag.model.shapes import network_shapes

DEIT = KeyTable(
    "timm's",
    {
        "tokens": "cls_token dist_token",
        "pos_embed": "pos_embed",
        "patch_embed.proj": "patch_embed.proj",
        "blocks.*.norm1": "blocks.*.norm1",
        "blocks.*.attn.qkv": "blocks.*.attn.qkv",
        "blocks.*.attn.proj": "blocks.*.attn.proj",
        "blocks.*.norm2": "blocks.*.norm2",
        "blocks.*.mlp.fc1": "blocks.*.mlp.fc1",
        "blocks.*.mlp.fc2": "blocks.*.mlp.fc2",
        "norm": "norm",
    },
    dropped=frozenset({"head.weight", "head.bias", "head_dist.weight", "head_dist.bias"}),  # for ImageNet's classes
)

STRIDE, FRAMES = (10, 10), 1024  # of the paper, where nothing else is given


def read_deit(path: Path, state: State, given: Given) -> Checkpoint:
    """Read weights that were learned from images. The head for images is left out; nothing is adapted yet.

    Args:
        path: the file, for messages and provenance.
        state: its tensors.
        given: the caller's options for the network that is made of them.

    Raises:
        ModelError: one of its subclasses; the message names the file.

    >>> config = spectag.ASTConfig(width=16, depth=1, heads=1, stride=(16, 16), frames=128)
    >>> state = tensors.from_ours(spectag.AST(config).state_dict(), DEIT.rows(depth=1, tokens=2))
    >>> checkpoint = read_deit(Path("deit.pth"), state, Given(frames=512))
    >>> checkpoint.grid, checkpoint.card.config.grid  # of the images, and of the network that it becomes
    ((8, 8), (12, 50))
    """
    found = {key: tuple(value.shape) for key, value in state.items()}
    backbone = measure_backbone(found, DEIT, tokens=2 if "dist_token" in found else 1, path=path)
    if backbone.channels not in (1, 3):
        raise ShapeMismatch(f"{path}: patch_embed.proj.weight: expected 3 colour channels, got {backbone.channels}")
    side = isqrt(backbone.patches)
    if side * side != backbone.patches:
        raise ShapeMismatch(
            f"{path}: pos_embed: expected {backbone.tokens} + n * n positions, got {backbone.positions}"
        )
    labels = fresh_labels(given, path)
    config = make_config(
        backbone,
        stride=given.stride or STRIDE,
        frames=given.frames or FRAMES,
        labels=len(labels),
        heads=given.heads,
        path=path,
    )
    image = network_shapes(config)
    image["patch_embed.proj.weight"] = (backbone.width, backbone.channels, *backbone.patch)
    image["pos_embed"] = (1, backbone.positions, backbone.width)
    DEIT.check_shapes(found, DEIT.expected(image, config.depth, config.tokens), str(path))
    card = make_card(config, labels, "hamming", given, "initial weights (DeiT/ViT), untrained head", path)
    origin = {"initial_weights": {"image_grid": [side, side], "channels": given.channels or "mean"}}
    card = replace(card, provenance={**card.provenance, **UNTRAINED, **origin})
    return Checkpoint(card, tensors.to_ours(state, DEIT.rows(config.depth, config.tokens)), (side, side))
