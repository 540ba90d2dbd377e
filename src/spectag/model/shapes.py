"""The shapes of a network's tensors, by arithmetic: a geometry that does not fit a file costs no memory."""

from __future__ import annotations

from pathlib import Path

from spectag.errors import UnreadableModel
from spectag.model.config import ASTConfig

Shape = tuple[int, ...]
Shapes = dict[str, Shape]


def network_shapes(config: ASTConfig) -> Shapes:
    """The shapes of all tensors of :class:`spectag.AST`, by name.

    >>> network_shapes(spectag.ASTConfig(width=192))["head.linear.weight"]
    (527, 192)
    """
    f, t = config.grid
    d = config.width
    norm: dict[str, Shape] = {"weight": (d,), "bias": (d,)}
    modules: dict[str, dict[str, Shape]] = {
        "patch_embed.proj": {"weight": (d, 1, *config.patch), "bias": (d,)},
        "norm": norm,
        "head.norm": norm,
        "head.linear": {"weight": (config.labels, d), "bias": (config.labels,)},
    }
    if config.frame_head:
        modules |= {name.replace("head", "frame_head"): modules[name] for name in ("head.norm", "head.linear")}
    for layer in range(config.depth):
        modules |= {
            f"blocks.{layer}.norm1": norm,
            f"blocks.{layer}.attn.qkv": {"weight": (3 * d, d), "bias": (3 * d,)},
            f"blocks.{layer}.attn.proj": {"weight": (d, d), "bias": (d,)},
            f"blocks.{layer}.norm2": norm,
            f"blocks.{layer}.mlp.fc1": {"weight": (config.hidden, d), "bias": (config.hidden,)},
            f"blocks.{layer}.mlp.fc2": {"weight": (d, config.hidden), "bias": (d,)},
        }
    shapes: Shapes = {"tokens": (1, config.tokens, d), "pos_embed": (1, config.tokens + f * t, d)}
    return shapes | {f"{name}.{kind}": shape for name, kinds in modules.items() for kind, shape in kinds.items()}


def unreadable(path: Path, error: Exception) -> UnreadableModel:
    """Make the error for weights that a library could not read, in one line.

    >>> str(unreadable(Path("a.pth"), EOFError("no more bytes")))
    'a.pth: cannot read the weights, the file is truncated or damaged: no more bytes'
    """
    reason = str(error).strip().splitlines() or [type(error).__name__]
    return UnreadableModel(f"{path}: cannot read the weights, the file is truncated or damaged: {reason[0][:200]}")
