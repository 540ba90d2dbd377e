"""The Audio Spectrogram Transformer (Gong et al. 2021, section 2): a pre-norm ViT over patches of a spectrogram.

Module names follow timm's ViT/DeiT, so that published weights need the fewest renamings (``official.py``, ``deit.py``).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from spectag.errors import InputError
from spectag.model.adapt import INIT_STD, State, adapt_positions
from spectag.model.config import ASTConfig

# Tokens from which the bf16 gradient of attention is faster than the fp32 one on a CPU (benchmarks/pieces.py).
LONG = 1000


class Attention(nn.Module):
    """Multi-head self-attention, ``[B, N, D] -> [B, N, D]``.

    >>> Attention(width=16, heads=2)(torch.zeros(1, 5, 16)).shape
    torch.Size([1, 5, 16])
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, first: int | None = None) -> Tensor:
        """Let all tokens attend to all, ``[B, N, D]``; or compute the first tokens' outputs only, ``[B, first, D]``."""
        q, k, v = self._split(x, first)
        y = attend(q, k, v)
        out: Tensor = self.proj(y.transpose(1, 2).flatten(2))
        return out

    def _split(self, x: Tensor, first: int | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries ``[B, heads, first or N, d]``, keys and values ``[B, heads, N, d]``."""
        width = x.shape[2]
        if first is None:
            parts = torch.split(self.qkv(x), width, dim=2)
        else:
            weight, bias = self.qkv.weight, self.qkv.bias
            q = functional.linear(x[:, :first], weight[:width], bias[:width])
            parts = (q, *torch.split(functional.linear(x, weight[width:], bias[width:]), width, dim=2))
        q, k, v = (part.view(*part.shape[:2], self.heads, -1).transpose(1, 2) for part in parts)
        return q, k, v


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention: ``softmax(q k^T / sqrt(d)) v``, each ``[B, heads, N, d]``.

    On a CPU it is computed in fp32 while training on fewer than about a thousand tokens, where the gradient in bf16
    takes longer.

    >>> attend(torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 3, 4), torch.ones(1, 1, 3, 4)).shape
    torch.Size([1, 1, 2, 4])
    """
    if q.dtype == torch.bfloat16 and q.device.type == "cpu" and torch.is_grad_enabled() and k.shape[2] < LONG:
        with torch.autocast("cpu", enabled=False):
            return functional.scaled_dot_product_attention(q.float(), k.float(), v.float()).to(q.dtype)
    return functional.scaled_dot_product_attention(q, k, v)


class MLP(nn.Module):
    """Two linear layers with a GELU between them, ``[B, N, D] -> [B, N, D]``.

    >>> MLP(width=16, hidden=64)(torch.zeros(1, 5, 16)).shape
    torch.Size([1, 5, 16])
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return out


class Block(nn.Module):
    """One pre-norm encoder layer, ``[B, N, D] -> [B, N, D]``.

    While training, each residual branch is skipped for a clip with the probability ``drop_path``.

    >>> Block(ASTConfig(width=16, heads=2))(torch.zeros(1, 5, 16), first=2).shape
    torch.Size([1, 2, 16])
    """

    def __init__(self, config: ASTConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.attn = Attention(config.width, config.heads)
        self.norm2 = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.mlp = MLP(config.width, config.hidden)
        self.drop_path: float = 0.0

    def forward(self, x: Tensor, first: int | None = None) -> Tensor:
        """Compute the outputs of all tokens, ``[B, N, D]``, or of the first only, ``[B, first, D]``, with less work."""
        x = x[:, :first] + self._drop(self.attn(self.norm1(x), first))
        return x + self._drop(self.mlp(self.norm2(x)))

    def _drop(self, branch: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0:
            return branch
        keep = 1 - self.drop_path
        return branch * branch.new_empty(len(branch), 1, 1).bernoulli_(keep).div_(keep)


class Head(nn.Module):
    """LayerNorm and linear layer, ``[B, D] -> [B, C]``, as in the released code. The paper names only the latter.

    >>> Head(ASTConfig(labels=10))(torch.zeros(1, 768)).shape
    torch.Size([1, 10])
    """

    def __init__(self, config: ASTConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.linear = nn.Linear(config.width, config.labels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(self.norm(x))
        return out


class PatchEmbed(nn.Module):
    """Linear projection of every patch, ``[B, T, F] -> [B, f * t, D]``, frequency-major.

    ``proj`` is the convolution whose weights are published. It is computed as a matrix product over copied patches,
    which gives the same numbers and is faster: several times in the gradient in bf16 (``benchmarks/pieces.py``).

    >>> PatchEmbed(ASTConfig())(torch.zeros(1, 1024, 128)).shape
    torch.Size([1, 1212, 768])
    """

    def __init__(self, config: ASTConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, config.width, kernel_size=config.patch, stride=config.stride)

    def forward(self, inputs: Tensor) -> Tensor:
        (bins, frames), (down, along) = self.proj.kernel_size, self.proj.stride
        patches = inputs.unfold(1, frames, along).unfold(2, bins, down)  # [B, t, f, frames, bins], a view
        patches = patches.transpose(1, 2).flatten(1, 2).flatten(2)  # [B, f * t, frames * bins]
        weight = self.proj.weight.squeeze(1).mT.flatten(1)  # [D, frames * bins], in the order of the inputs in memory
        return functional.linear(patches, weight, self.proj.bias)


class AST(nn.Module):
    """The network: inputs ``[B, T, F]`` (normalised, see :class:`spectag.FrontEnd`) -> logits ``[B, C]``.

    T may be any length of at least one patch: the positional embedding is cut or interpolated to it
    (:func:`spectag.model.adapt.adapt_positions`).

    Args:
        config: the geometry. The weights are drawn anew.

    >>> network = AST(ASTConfig(width=16, depth=1, heads=1, labels=3)).eval()
    >>> network(torch.zeros(2, 1024, 128)).shape
    torch.Size([2, 3])
    """

    def __init__(self, config: ASTConfig) -> None:
        super().__init__()
        self.config = config
        f, t = config.grid
        self.patch_embed = PatchEmbed(config)
        self.tokens = nn.Parameter(torch.empty(1, config.tokens, config.width))
        self.pos_embed = nn.Parameter(torch.empty(1, config.tokens + f * t, config.width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.head = Head(config)
        self.frame_head = Head(config) if config.frame_head else None
        self.recompute = False  # recompute activations in the backward pass, to save memory (gradient checkpointing)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw fresh weights as ViT does: truncated normal with standard deviation 0.02, zero biases, unit norms."""
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.ndim == 1:
                nn.init.ones_(parameter)
            else:
                nn.init.trunc_normal_(parameter, std=INIT_STD)

    def set_drop_path(self, rate: float) -> None:
        """Set stochastic depth (training only): it grows linearly from 0 in the first layer to ``rate`` in the last."""
        for layer, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            block.drop_path = rate * layer / max(1, len(self.blocks) - 1)

    def forward(self, inputs: Tensor, *, keep: Tensor | None = None) -> Tensor:
        """Logits ``[B, C]``, before any activation.

        Args:
            inputs: ``[B, T, F]``.
            keep: indices ``[B, K]`` of the patches to keep; the others are dropped (training, Koutini et al. 2022).
                They are counted frequency-major: ``f * t_patches + t``.

        Raises:
            InputError: the inputs are not ``[B, T, F]`` with the configured F.
            ShapeMismatch: T is shorter than one patch.
        """
        out: Tensor = self.head(self.embed(inputs, keep=keep))
        return out

    def embed(self, inputs: Tensor, *, keep: Tensor | None = None) -> Tensor:
        """Features ``[B, D]``: the outputs of the class tokens after the last norm, averaged.

        Arguments and errors are those of :meth:`forward`.
        """
        # Only the class tokens' outputs of the last layer are read, so only they are computed.
        tokens: Tensor = self.norm(self.blocks[-1](self._encode(inputs, keep), self.config.tokens))
        return tokens.mean(1)

    def forward_frames(self, inputs: Tensor, *, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits of the clip ``[B, C]``, as :meth:`forward` computes them, and of its frames ``[B, n, C]``.

        A frame is a column of patches: n is the number of patches along time, and frame ``k`` is about the inputs from
        ``k * stride`` to ``k * stride + patch``. Its features are the outputs of its patches after the last norm,
        averaged over frequency. The scores of frames are sigmoids, whatever the activation of the clip: several labels
        or none may be heard at a time.

        Args:
            inputs: ``[B, T, F]``.
            keep: as for :meth:`forward`. The features of a frame are those of its remaining patches; where there is
                none they are zeros, and the logits say nothing about the frame (:func:`find_seen_frames`).

        Raises:
            InputError: the network has no frame head. Otherwise as :meth:`forward`.

        >>> config = ASTConfig(width=16, depth=1, heads=1, labels=3, patch=(128, 4), stride=(128, 4), frame_head=True)
        >>> clip, frames = AST(config).forward_frames(torch.zeros(2, 256, 128))
        >>> clip.shape, frames.shape
        (torch.Size([2, 3]), torch.Size([2, 64, 3]))
        """
        features, columns = self.embed_frames(inputs, keep=keep)
        assert self.frame_head is not None
        return self.head(features), self.frame_head(columns)

    def embed_frames(self, inputs: Tensor, *, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Features of the clip ``[B, D]``, as :meth:`embed` computes them, and of its frames ``[B, n, D]``.

        Arguments and errors are those of :meth:`forward_frames`.
        """
        if self.frame_head is None:
            raise InputError("the network has no frame head: train it with model.frames=true")
        x = self.norm(self.blocks[-1](self._encode(inputs, keep)))
        tokens, patches = x[:, : self.config.tokens], x[:, self.config.tokens :]
        grid = self.config.grid_for(inputs.shape[1])
        if keep is None:
            columns = patches.unflatten(1, grid).mean(1)
        else:
            place = (keep % grid[1])[..., None].expand_as(patches)
            columns = patches.new_zeros(len(patches), grid[1], patches.shape[2])
            columns = columns.scatter_reduce(1, place, patches, "mean", include_self=False)
        return tokens.mean(1), columns

    def _encode(self, inputs: Tensor, keep: Tensor | None) -> Tensor:
        """``[B, T, F] -> [B, tokens + patches, D]``, the inputs of the last layer."""
        x = self._embed_patches(inputs, keep)
        for block in self.blocks[:-1]:
            x = checkpoint(block, x, use_reentrant=False) if self.recompute and self.training else block(x)
        return x

    def _embed_patches(self, inputs: Tensor, keep: Tensor | None) -> Tensor:
        """``[B, T, F] -> [B, tokens + patches, D]`` with positions added."""
        if inputs.ndim != 3 or inputs.shape[2] != self.config.mel_bins:
            hint = ""
            if inputs.ndim == 3 and inputs.shape[1] == self.config.mel_bins:
                hint = ": transpose the last two axes"
            elif inputs.ndim == 2:
                hint = ": add a batch axis"
            raise InputError(f"expected inputs [B, T, {self.config.mel_bins}], got {list(inputs.shape)}{hint}")
        positions = self.positions(self.config.grid_for(inputs.shape[1]))
        n = self.config.tokens
        patches = self.patch_embed(inputs) + positions[:, n:]
        if keep is not None:
            patches = patches.gather(1, keep[..., None].expand(-1, -1, patches.shape[2]))
        tokens = (self.tokens + positions[:, :n]).expand(len(patches), -1, -1)
        return torch.cat([tokens, patches], dim=1)

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """The positional embedding for a grid of patches, ``[1, tokens + f * t, D]``."""
        if grid == self.config.grid:
            return self.pos_embed
        return adapt_positions(self.pos_embed, self.config.grid, grid, self.config.tokens)


def build_network(config: ASTConfig, state: State) -> AST:
    """Build a network in eval mode around checked tensors, which it takes over without a copy.

    Args:
        config: the geometry.
        state: tensors by name, in their shapes (:func:`spectag.model.shapes.network_shapes`).

    >>> config = ASTConfig(width=16, depth=1, heads=1, frames=100, labels=2)
    >>> network = build_network(config, AST(config).state_dict())
    >>> network.training
    False
    """
    with torch.device("meta"):  # so that no weights are drawn only to be overwritten
        network = AST(config)
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval()


def find_seen_frames(keep: Tensor, frames: int) -> Tensor:
    """Find the frames that at least one patch remains of, ``[B, n]``, as 0 or 1.

    Args:
        keep: indices ``[B, K]`` of the patches to keep, counted along time first, as for :meth:`AST.forward_frames`.
        frames: their number n.

    >>> find_seen_frames(torch.tensor([[0, 2, 3]]), frames=3)  # two rows of three patches
    tensor([[1., 0., 1.]])
    """
    return torch.zeros(len(keep), frames, device=keep.device).scatter_(1, keep % frames, 1.0)


def stacked_parts(name: str) -> int:
    """How many matrices are stacked along the rows of a parameter: 3 in queries, keys and values, else 1.

    Args:
        name: of a parameter of :class:`AST`.

    >>> stacked_parts("blocks.0.attn.qkv.weight"), stacked_parts("blocks.0.mlp.fc1.weight")
    (3, 1)
    """
    return 3 if name.endswith("attn.qkv.weight") else 1
