"""The geometry of a network: its sizes, without its weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from spectag.audio.front_end import FRAME, HOP, MOST_BINS, MOST_FRAMES
from spectag.errors import ShapeMismatch

# The largest sizes that a file may ask for, so that a hostile one cannot take all memory. The sizes that are not listed
# are checked against the file's tensors.
MOST = {"mel_bins": MOST_BINS, "frames": MOST_FRAMES, "patch": MOST_FRAMES, "stride": MOST_FRAMES}


@dataclass(frozen=True)
class ASTConfig:
    """The geometry of an Audio Spectrogram Transformer. The defaults are the paper's network of 87 million parameters.

    Pairs are (frequency, time), in mel bins and in frames of 10 ms.

    Args:
        width: embedding width D, a multiple of heads. DeiT-Ti has 192, DeiT-S 384 and DeiT-B 768.
        depth: encoder layers.
        heads: attention heads.
        mlp_ratio: hidden width of the MLP, divided by D.
        patch: size of a patch.
        stride: distance between neighbouring patches. Patches overlap where it is smaller than the patch (paper:
            10, 10).
        mel_bins: F of the inputs.
        frames: T that the positional embedding is laid out for. The network adapts it to other lengths when it runs.
        labels: outputs C of the head.
        tokens: class tokens whose outputs are averaged: 2 (class and distillation, as in DeiT and AST) or 1.
        norm_eps: epsilon of every LayerNorm.
        frame_head: whether there is a second head, which tells when each label is heard: one score per column of
            patches, see :meth:`spectag.AST.forward_frames`.

    Raises:
        ShapeMismatch: an impossible combination, or a size beyond ``MOST``; the message names the field.

    >>> config = ASTConfig(frames=998)
    >>> config.grid  # patches along (frequency, time)
    (12, 99)
    """

    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp_ratio: float = 4.0
    patch: tuple[int, int] = (16, 16)
    stride: tuple[int, int] = (10, 10)
    mel_bins: int = 128
    frames: int = 1024
    labels: int = 527
    tokens: int = 2
    norm_eps: float = 1e-6
    frame_head: bool = False

    def __post_init__(self) -> None:
        for name in ("patch", "stride"):
            pair = tuple(getattr(self, name))
            if len(pair) != 2 or not all(isinstance(n, int) and n > 0 for n in pair):
                raise ShapeMismatch(f"{name} must be two positive whole numbers (frequency, time); got {pair!r}")
            object.__setattr__(self, name, pair)
        for name in ("width", "depth", "heads", "mel_bins", "frames", "labels"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ShapeMismatch(f"{name} must be a positive whole number; got {value!r}")
        for name, most in MOST.items():
            value = getattr(self, name)
            if (max(value) if isinstance(value, tuple) else value) > most:
                raise ShapeMismatch(f"{name} must be at most {most}; got {value!r}")
        if self.width % self.heads:
            raise ShapeMismatch(f"width must be a multiple of heads; got width {self.width}, heads {self.heads}")
        if self.tokens not in (1, 2):
            raise ShapeMismatch(f"tokens must be 1 (class) or 2 (class and distillation); got {self.tokens!r}")
        if not isinstance(self.frame_head, bool):
            raise ShapeMismatch(f"frame_head must be true or false; got {self.frame_head!r}")
        self.grid_for(self.frames)

    @property
    def grid(self) -> tuple[int, int]:
        """Patches along (frequency, time) at the configured length."""
        return self.grid_for(self.frames)

    @property
    def frame_start(self) -> float:
        """Where the first frame score begins, in frames of 10 ms. Each is about ``stride`` frames around its patches.

        A frame of the inputs is 25 ms long, so its middle is 7.5 ms behind that of the 10 ms that it stands for.

        >>> ASTConfig(patch=(16, 16), stride=(10, 10)).frame_start
        3.75
        """
        return (self.patch[1] - self.stride[1]) / 2 + (FRAME / HOP - 1) / 2

    @property
    def hidden(self) -> int:
        """Hidden width of the MLP.

        >>> ASTConfig(width=192, heads=3, mlp_ratio=4.0).hidden
        768
        """
        return round(self.width * self.mlp_ratio)

    def grid_for(self, frames: int) -> tuple[int, int]:
        """Patches along (frequency, time) for T frames: ``(T - patch) // stride + 1`` along each axis.

        Raises:
            ShapeMismatch: an axis is shorter than one patch.

        >>> ASTConfig().grid_for(128)
        (12, 12)
        """
        if self.mel_bins < self.patch[0]:
            raise ShapeMismatch(f"mel_bins {self.mel_bins} is smaller than one patch of {self.patch[0]} bins")
        if frames < self.patch[1]:
            raise ShapeMismatch(
                f"{frames} frames are shorter than one patch of {self.patch[1]} frames: pad the fbank with zeros"
            )
        return (
            (self.mel_bins - self.patch[0]) // self.stride[0] + 1,
            (frames - self.patch[1]) // self.stride[1] + 1,
        )

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON.

        >>> ASTConfig().to_dict()["stride"]
        (10, 10)
        """
        return asdict(self)
