"""The sections of a recipe: network, front end, augmentation, teacher, schedule, splits and labels."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from spectag.choices import Channels, Positions, WindowFunction


def _both(value: Any) -> Any:
    return (value, value) if isinstance(value, int) and not isinstance(value, bool) else value


Pair = Annotated[tuple[int, int], BeforeValidator(_both)]  # a single number stands for both
# Keys of the section ``model`` that null leaves to a checkpoint, and the fields of ASTConfig that they stand for.
SIZES = {name: name for name in ("width", "depth", "heads", "mlp_ratio", "patch", "stride", "tokens")}
SIZES["frames"] = "frame_head"


class Section(BaseModel):
    """A section of a recipe. It is immutable, and an unknown key is an error.

    >>> sorted(kind.__name__ for kind in Section.__subclasses__())[:2]
    ['AugmentRecipe', 'FrontEndRecipe']
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelRecipe(Section):
    """Geometry of the network, see :class:`spectag.model.config.ASTConfig`. Pairs are (frequency, time).

    A key that is null takes the value of the initial checkpoint or, without a checkpoint, of the paper's network. A
    checkpoint is adapted to another ``patch``, ``stride`` or ``front_end.frames``. The other sizes cannot be changed.

    Args:
        width: size of the embedding.
        depth: number of encoder layers.
        heads: number of attention heads per layer. ``width`` must be a multiple of it.
        mlp_ratio: hidden size of the MLP in a layer, as a multiple of ``width``.
        patch: size of a patch in mel bins and frames.
        stride: distance between patches in mel bins and frames. Patches overlap if it is smaller than ``patch``.
        tokens: number of class tokens: 1, or 2 as in DeiT and the paper.
        frames: whether there is a second head, which learns when each label is heard. It learns from labels of whole
            clips, too; from times, if the data set has them (``labels.events``).
        drop_path: probability of skipping a branch of the last layer during training. It grows linearly from 0 in the
            first layer.
        initial: how the weights are initialised without a checkpoint: ``random`` as in ViT, or ``structured`` with
            sinusoidal positions and mimetic attention.
        positions: how the positional embedding of a checkpoint is adapted to another grid: ``bilinear`` interpolation
            (paper), ``nearest``, or ``fresh`` for new random values.
        channels: how a patch kernel for colour images becomes one for spectrograms: ``mean`` of the channels (paper) or
            their ``sum`` (released code).
    """

    width: int | None = Field(None, ge=1)
    depth: int | None = Field(None, ge=1)
    heads: int | None = Field(None, ge=1)
    mlp_ratio: float | None = Field(None, gt=0)
    patch: Pair | None = None
    stride: Pair | None = None
    tokens: Literal[1, 2] | None = None
    frames: bool | None = None
    drop_path: float = Field(0.0, ge=0, lt=1)
    initial: Literal["random", "structured"] = "random"
    positions: Positions = "bilinear"
    channels: Channels = "mean"

    def given(self) -> dict[str, Any]:
        """Return the sizes that are not null.

        >>> ModelRecipe(depth=6).given()
        {'depth': 6}
        """
        named = {name: getattr(self, key) for key, name in SIZES.items()}
        return {name: value for name, value in named.items() if value is not None}


class FrontEndRecipe(Section):
    """Front end, see :class:`spectag.audio.front_end.FrontEnd`.

    A key that is null takes the value of the initial checkpoint. Without a checkpoint it is a Hamming window, 128 mel
    bins and 1024 frames, and ``mean`` and ``std`` are measured on the training clips.

    Args:
        window: window function of the frames, ``hamming`` or ``hanning``.
        mel_bins: number of mel bands.
        frames: length of the network's input in frames of 10 ms.
        mean, std: mean and standard deviation of the log-mel energies. The inputs are normalised with them.

    >>> FrontEndRecipe(frames=512).window is None
    True
    """

    window: WindowFunction | None = None
    mel_bins: int | None = Field(None, ge=1)
    frames: int | None = Field(None, ge=1)
    mean: float | None = None
    std: float | None = Field(None, gt=0)


class AugmentRecipe(Section):
    """Augmentation of training clips, in the order in which it is applied. Everything is off by default.

    See :mod:`spectag.train.augment`.

    Args:
        excerpt: take a random excerpt of each clip, which wraps around if the clip is too short. If this is off, the
            beginning of the clip is taken, as in the paper.
        speed: highest factor by which the excerpt is played faster or slower, which changes its pitch; 1 for none.
        gain_db: largest change of the level, up or down, in decibels.
        mix_rate: probability of mixing the clip with another one.
        mix_alpha: the share of the first clip is drawn from Beta(mix_alpha, mix_alpha). Small values give unequal
            shares.
        mix_law: ``linear`` (mixup, the paper), ``between`` (between-class mixing, which equalises the levels first), or
            ``overlay`` (several clips at random levels, with the labels of all of them).
        mix_most: with ``overlay``, the highest number of clips in a mixture.
        mix_db: with ``overlay``, how much louder or quieter than the first clip the others are at most, in decibels.
        pause_rate: probability of padding a clip that is shorter than the network's window with silence, so that an
            excerpt has pauses of random length or holds the sound once.
        room_rate: probability of adding the echoes of a random room.
        background_rate: probability of adding noise, from white to brown.
        filter_db: highest gain of a random filter, in decibels. Unlike ``equalise_db`` it acts on the sound itself, so
            a teacher hears it, too.
        short_rate: probability of ending a clip early and padding it, as spectag pads short recordings when it tags
            them.
        equalise_db: highest gain of a random smooth equaliser curve, in decibels.
        time_mask, freq_mask: longest band of frames and of mel bins to mask (SpecAugment); 0 for none.
        noise_and_roll: add a little noise and shift the frames by up to 10, after normalising (released code).
        patch_drop: fraction of patches to drop at random (PaSST, unstructured).
        row_drop, column_drop: fraction of rows (frequency) and columns (time) of patches to drop at random (PaSST,
            structured).

    >>> AugmentRecipe(time_mask=192).mix_rate
    0.0
    """

    excerpt: bool = False
    speed: float = Field(1.0, ge=1, le=2)
    gain_db: float = Field(0.0, ge=0, le=60)
    mix_rate: float = Field(0.0, ge=0, le=1)
    mix_alpha: float = Field(10.0, gt=0)
    mix_law: Literal["linear", "between", "overlay"] = "linear"
    mix_most: int = Field(2, ge=2, le=8)
    mix_db: float = Field(10.0, ge=0, le=60)
    pause_rate: float = Field(0.0, ge=0, le=1)
    room_rate: float = Field(0.0, ge=0, le=1)
    background_rate: float = Field(0.0, ge=0, le=1)
    filter_db: float = Field(0.0, ge=0, le=60)
    short_rate: float = Field(0.0, ge=0, le=1)
    equalise_db: float = Field(0.0, ge=0, le=60)
    time_mask: int = Field(0, ge=0)
    freq_mask: int = Field(0, ge=0)
    noise_and_roll: bool = False
    patch_drop: float = Field(0.0, ge=0, lt=1)
    row_drop: float = Field(0.0, ge=0, lt=1)
    column_drop: float = Field(0.0, ge=0, lt=1)

    @property
    def varies_sound(self) -> bool:
        """Whether the sound of a clip is another one at each draw. Otherwise only its spectrogram may be."""
        steps = (self.mix_rate, self.short_rate, self.room_rate, self.background_rate, self.filter_db, self.gain_db)
        return self.excerpt or any(steps)


class TeacherRecipe(Section):
    """A teacher, whose scores a network learns instead of labels (distillation, Hinton et al. 2015).

    See :mod:`spectag.train.teachers`.

    Args:
        model: the teacher: a model by name, a bundle, an ensemble, a Hub id, a score file (``.npz``), or
            ``module:function``; null to learn from labels.
        temperature: divides the logits of teacher and student before they are compared. Above 1, classes with low
            scores count more.
        logits: weight of the mean squared difference of the logits, which is added to the loss.
        features: weight of the difference between how alike teacher and student find the clips of a batch (1 - CKA,
            Kornblith et al. 2019). The teacher must have features.

    >>> TeacherRecipe(model="esc10").temperature
    1.0
    """

    model: str | None = None
    temperature: float = Field(1.0, gt=0, le=100)
    logits: float = Field(0.0, ge=0)
    features: float = Field(0.0, ge=0)


class ScheduleRecipe(Section):
    """The learning rate over time, as a factor of ``lr``.

    Args:
        kind: ``milestones`` (paper: the rate is multiplied by ``gamma`` after each listed epoch), ``cosine`` (the rate
            falls to zero at the end) or ``constant``.
        warmup_steps: number of steps at the beginning during which the rate grows linearly from 0.
        warmup_every: number of steps between two increases while it grows.
        milestones: epochs after which the rate is multiplied by ``gamma``.
        repeat: number of epochs between further milestones after the last one listed; 0 for none.
        gamma: see ``milestones``.

    >>> ScheduleRecipe(milestones=(2, 3)).gamma
    0.5
    """

    kind: Literal["milestones", "cosine", "constant"] = "milestones"
    warmup_steps: int = Field(0, ge=0)
    warmup_every: int = Field(1, ge=1)
    milestones: tuple[int, ...] = ()
    repeat: int = Field(0, ge=0)
    gamma: float = Field(0.5, gt=0, le=1)


class SplitsRecipe(Section):
    """The purpose of the splits of a data set. Names that the data set does not have are ignored.

    Args:
        train: names of the splits to learn from.
        validation: names of the splits that are scored during training and may choose an epoch.
        test: names of the splits that results are reported on. They never choose anything.

    >>> SplitsRecipe(test=("eval",)).train
    ('train',)
    """

    train: tuple[str, ...] = ("train",)
    validation: tuple[str, ...] = ("validation",)
    test: tuple[str, ...] = ("test",)


class LabelsRecipe(Section):
    """How the labels in the tables of a data set are read.

    Args:
        separator: what alone separates several labels in a cell, such as ``" "`` or ``"+"``; empty for nothing. Null
            for ``|`` and ``;``, and for a comma in columns called ``labels`` or ``tags``.
        events: what times in a row mean, such as ``onset`` and ``offset``. If it is true, they say when a label is
            heard, and all rows of a file are about one clip. Otherwise each row is a clip of its own, cut out of the
            file.

    >>> LabelsRecipe().separator is None
    True
    """

    separator: str | None = None
    events: bool = False
