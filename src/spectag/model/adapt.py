"""From weights of one geometry to weights of another: pure functions from tensors to tensors, state to state.

Paper, section 2.2: what a Vision Transformer learned from images is kept where it can be. The three colour channels
of the patch kernel become one, the positional embedding is cut or interpolated to the spectrogram's grid, the class
tokens stay, the head is drawn anew.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from spectag.choices import Channels, Positions
from spectag.errors import InputError, ShapeMismatch

State = dict[str, Tensor]
Grid = tuple[int, int]

INIT_STD = 0.02  # of freshly drawn weights, as ViT and DeiT

KERNEL = "patch_embed.proj.weight"
POSITIONS = "pos_embed"


def kernel(weight: Tensor, channels: Channels = "mean") -> Tensor:
    """Patch kernel of three channels ``[D, 3, f, t]`` -> of one, ``[D, 1, f, t]``.

    ``mean`` is the paper's, ``sum`` the released code's: the exact response to a grey image in three channels.
    """
    if weight.ndim != 4:
        raise ShapeMismatch(f"patch kernel: expected [D, channels, f, t], got {list(weight.shape)}")
    if channels not in ("mean", "sum"):
        raise InputError(f"channels must be mean or sum; got {channels!r}")
    if weight.shape[1] == 1:
        return weight
    return weight.mean(1, keepdim=True) if channels == "mean" else weight.sum(1, keepdim=True)


def resize_kernel(weight: Tensor, patch: Grid) -> Tensor:
    """Patch kernel ``[D, c, f, t]`` for another patch size: bilinear, scaled to respond alike to a constant patch."""
    old = tuple(weight.shape[-2:])
    if old == tuple(patch):
        return weight
    resized = functional.interpolate(weight.float(), size=patch, mode="bilinear", align_corners=False)
    # Interpolation keeps the mean of the kernel; the response to a constant patch is its sum.
    return (resized * (old[0] * old[1] / (patch[0] * patch[1]))).to(weight.dtype)


def positions(
    weight: Tensor, old: Grid, new: Grid, tokens: int, mode: Literal["bilinear", "nearest"] = "bilinear"
) -> Tensor:
    """Positional embedding for another grid: per axis cut from the centre where shorter, interpolated where longer.

    Time first, then frequency; ``align_corners=False``, no antialiasing: the numbers of the released code.

    Args:
        weight: ``[1, tokens + f * t, D]`` laid out for ``old``, frequency-major; the tokens' own rows are kept.
        old, new: patches along (frequency, time).
        tokens: class tokens at the front.
        mode: ``bilinear`` (paper) or ``nearest`` (its ablation).

    Returns:
        ``[1, tokens + f' * t', D]``.

    Raises:
        ShapeMismatch: weight does not fit ``old``.
    """
    if weight.ndim != 3 or weight.shape[1] != tokens + old[0] * old[1]:
        raise ShapeMismatch(
            f"positional embedding: expected [1, {tokens} + {old[0]} * {old[1]}, D], got {list(weight.shape)}"
        )
    if old == new:
        return weight
    grid = weight[:, tokens:].transpose(1, 2).reshape(1, -1, *old)  # [1, D, f, t]
    for axis in (1, 0):  # time, frequency
        grid = _along(grid, axis + 2, new[axis], mode)
    return torch.cat([weight[:, :tokens], grid.flatten(2).transpose(1, 2)], dim=1)


def _along(grid: Tensor, axis: int, size: int, mode: str) -> Tensor:
    old = grid.shape[axis]
    if size <= old:
        return grid.narrow(axis, old // 2 - size // 2, size)
    shape = list(grid.shape[2:])
    shape[axis - 2] = size
    corners = False if mode == "bilinear" else None
    return functional.interpolate(grid.float(), size=shape, mode=mode, align_corners=corners).to(grid.dtype)


def head(width: int, labels: int, generator: torch.Generator | None = None) -> State:
    """A freshly drawn classification head for C labels."""
    return {
        "head.norm.weight": torch.ones(width),
        "head.norm.bias": torch.zeros(width),
        "head.linear.weight": _draw((labels, width), generator),
        "head.linear.bias": torch.zeros(labels),
    }


def adapt(
    state: State,
    old_grid: Grid,
    new_grid: Grid,
    *,
    tokens: int,
    patch: Grid,
    labels: int | None,
    channels: Channels = "mean",
    mode: Positions = "bilinear",
    generator: torch.Generator | None = None,
) -> State:
    """A whole state (this package's key names) for another geometry; the old state is left as it was.

    Args:
        state: weights, with or without a head.
        old_grid, new_grid: patches along (frequency, time), before and after.
        tokens: class tokens of the state.
        patch: wanted patch size (frequency, time).
        labels: draw a new head for so many labels; None keeps the head.
        channels: how three-channel kernels become one-channel ones.
        mode: positional embedding interpolated (``bilinear``, ``nearest``) or drawn anew (``fresh``).
        generator: draws what is drawn anew.
    """
    out = dict(state)
    out[KERNEL] = resize_kernel(kernel(state[KERNEL], channels), patch)
    if mode == "fresh":
        width = state[POSITIONS].shape[2]
        out[POSITIONS] = _draw((1, tokens + new_grid[0] * new_grid[1], width), generator)
    else:
        out[POSITIONS] = positions(state[POSITIONS], old_grid, new_grid, tokens, mode)
    if labels is not None:
        out = {key: value for key, value in out.items() if not key.startswith("head.")}
        out |= head(state[POSITIONS].shape[2], labels, generator)
    return out


def _draw(shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
    return torch.nn.init.trunc_normal_(torch.empty(shape), std=INIT_STD, generator=generator)
