"""From weights of one geometry to weights of another: pure functions from tensors to tensors, and from state to state.

Paper, section 2.2: what a Vision Transformer learned from images is kept where it can be. The three colour channels
of the patch kernel become one, the positional embedding is cut or interpolated to the spectrogram's grid, the class
tokens stay, and the head is drawn anew.
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

INIT_STD = 0.02  # of freshly drawn weights, as in ViT and DeiT

KERNEL = "patch_embed.proj.weight"
POSITIONS = "pos_embed"
HEAD, FRAME_HEAD = HEADS = ("head.", "frame_head.")  # what the names of the heads' tensors begin with


def merge_channels(weight: Tensor, channels: Channels = "mean") -> Tensor:
    """Turn a patch kernel of three channels ``[D, 3, f, t]`` into one of one channel ``[D, 1, f, t]``.

    Args:
        weight: the kernel. One of one channel is returned as it is.
        channels: ``mean`` is the paper's way, ``sum`` the released code's. With ``sum`` the kernel responds to one
            channel as it did to a grey image in three.

    Raises:
        ShapeMismatch: not four axes.
        InputError: neither ``mean`` nor ``sum``.

    >>> merge_channels(torch.ones(1, 3, 1, 1), "sum").item()
    3.0
    """
    if weight.ndim != 4:
        raise ShapeMismatch(f"patch kernel: expected [D, channels, f, t], got {list(weight.shape)}")
    if channels not in ("mean", "sum"):
        raise InputError(f"channels must be mean or sum; got {channels!r}")
    if weight.shape[1] == 1:
        return weight
    return weight.mean(1, keepdim=True) if channels == "mean" else weight.sum(1, keepdim=True)


def resize_kernel(weight: Tensor, patch: Grid) -> Tensor:
    """Resize a patch kernel ``[D, c, f, t]`` to another patch size (frequency, time) by bilinear interpolation.

    It is scaled so that its response to a constant patch stays the same. That response is the kernel's sum, whereas
    interpolation keeps the kernel's mean: hence the factor ``f * t / (f' * t')``.

    >>> resize_kernel(torch.ones(1, 1, 2, 2), (4, 4)).sum()
    tensor(4.)
    """
    old = tuple(weight.shape[-2:])
    if old == tuple(patch):
        return weight
    resized = functional.interpolate(weight.float(), size=patch, mode="bilinear", align_corners=False)
    return (resized * (old[0] * old[1] / (patch[0] * patch[1]))).to(weight.dtype)


def adapt_positions(
    weight: Tensor, old: Grid, new: Grid, tokens: int, mode: Literal["bilinear", "nearest"] = "bilinear"
) -> Tensor:
    """Fit a positional embedding to another grid: each axis is cut from the centre, or interpolated to be longer.

    Time comes first, then frequency, with ``align_corners=False`` and no antialiasing, which gives the numbers of the
    released code.

    Args:
        weight: ``[1, tokens + f * t, D]``, frequency-major.
        old, new: patches along (frequency, time).
        tokens: class tokens at the front, whose rows are kept.
        mode: ``bilinear`` (paper) or ``nearest`` (its ablation).

    Returns:
        ``[1, tokens + f' * t', D]``.

    Raises:
        ShapeMismatch: the embedding is not laid out for ``old``.

    >>> adapt_positions(torch.zeros(1, 2 + 24 * 24, 8), (24, 24), (12, 101), tokens=2).shape
    torch.Size([1, 1214, 8])
    """
    if weight.ndim != 3 or weight.shape[1] != tokens + old[0] * old[1]:
        raise ShapeMismatch(
            f"positional embedding: expected [1, {tokens} + {old[0]} * {old[1]}, D], got {list(weight.shape)}"
        )
    if old == new:
        return weight
    grid = weight[:, tokens:].transpose(1, 2).reshape(1, -1, *old)  # [1, D, f, t]
    for axis in (1, 0):  # time, frequency
        grid = _fit_axis(grid, axis + 2, new[axis], mode)
    return torch.cat([weight[:, :tokens], grid.flatten(2).transpose(1, 2)], dim=1)


def draw_head(width: int, labels: int, generator: torch.Generator | None = None, name: str = "head") -> State:
    """Draw a head for C labels: its norm and its linear layer, under this package's names.

    Args:
        width: of the features, D.
        labels: number of outputs C.
        generator: draws the weights.
        name: ``head`` (of the clip) or ``frame_head``.

    >>> draw_head(8, 3)["head.linear.weight"].shape
    torch.Size([3, 8])
    """
    return {
        f"{name}.norm.weight": torch.ones(width),
        f"{name}.norm.bias": torch.zeros(width),
        f"{name}.linear.weight": _draw((labels, width), generator),
        f"{name}.linear.bias": torch.zeros(labels),
    }


def adapt_state(
    state: State,
    old_grid: Grid,
    new_grid: Grid,
    *,
    tokens: int,
    patch: Grid,
    labels: int | None,
    channels: Channels = "mean",
    mode: Positions = "bilinear",
    frame_head: bool = False,
    generator: torch.Generator | None = None,
) -> State:
    """Fit a whole state (this package's names) to another geometry. The old state is left as it was.

    Args:
        state: weights, with or without a head.
        old_grid, new_grid: patches along (frequency, time), before and after.
        tokens: class tokens of the state.
        patch: wanted patch size (frequency, time).
        labels: outputs of freshly drawn heads; None keeps the head.
        channels: how a kernel of three channels becomes one of one, see :func:`merge_channels`.
        mode: whether the positional embedding is interpolated (``bilinear``, ``nearest``) or drawn anew (``fresh``).
        frame_head: whether the new geometry has a frame head. That of the state is kept with the head; where the state
            has none, it is drawn.
        generator: draws what is drawn anew.

    >>> network = spectag.load("esc10").network
    >>> state = adapt_state(network.state_dict(), network.config.grid, (1, 64), tokens=2, patch=(128, 4), labels=7)
    >>> state["pos_embed"].shape, state["head.linear.weight"].shape
    (torch.Size([1, 66, 128]), torch.Size([7, 128]))
    """
    out = dict(state)
    out[KERNEL] = resize_kernel(merge_channels(state[KERNEL], channels), patch)
    if mode == "fresh":
        width = state[POSITIONS].shape[2]
        out[POSITIONS] = _draw((1, tokens + new_grid[0] * new_grid[1], width), generator)
    else:
        out[POSITIONS] = adapt_positions(state[POSITIONS], old_grid, new_grid, tokens, mode)
    width = state[POSITIONS].shape[2]
    if labels is not None:
        out = {key: value for key, value in out.items() if not key.startswith(HEADS)}
        out |= draw_head(width, labels, generator)
    if not frame_head:
        out = {key: value for key, value in out.items() if not key.startswith(FRAME_HEAD)}
    elif f"{FRAME_HEAD}linear.weight" not in out:
        out |= draw_head(width, len(out["head.linear.bias"]), generator, "frame_head")
    return out


def _fit_axis(grid: Tensor, axis: int, size: int, mode: str) -> Tensor:
    old = grid.shape[axis]
    if size <= old:
        return grid.narrow(axis, old // 2 - size // 2, size)
    shape = list(grid.shape[2:])
    shape[axis - 2] = size
    corners = False if mode == "bilinear" else None
    return functional.interpolate(grid.float(), size=shape, mode=mode, align_corners=corners).to(grid.dtype)


def _draw(shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
    return torch.nn.init.trunc_normal_(torch.empty(shape), std=INIT_STD, generator=generator)
