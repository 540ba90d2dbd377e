"""The bundle: a checkpoint that describes itself, and :func:`load`, which makes one of any known source."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spectag.audio.front_end import FrontEnd
from spectag.choices import Activation, Channels, Statistics, WindowFunction
from spectag.errors import (
    InputError,
    LabelMismatch,
    NotAModel,
    SaveError,
    ShapeMismatch,
    SpectagWarning,
)
from spectag.labels import LabelSet
from spectag.model import convert, directory, fields, published, tensors
from spectag.model.adapt import State
from spectag.model.card import Card
from spectag.model.config import ASTConfig
from spectag.model.network import AST
from spectag.model.shapes import network_shapes
from spectag.model.source import resolve

ENSEMBLE = "ensemble.json"  # in a folder of bundles that are one model: see spectag.model.ensemble


@dataclass(frozen=True, eq=False)
class Bundle:
    """A network and everything that is needed to use it as it was trained.

    Args:
        card: the facts: front end, labels, activation, provenance.
        network: the weights. It is put into eval mode.

    Raises:
        ShapeMismatch: the network's geometry is not the card's.

    >>> config = spectag.ASTConfig(width=16, depth=1, heads=1, frames=100, labels=2)
    >>> card = Card(config, FrontEnd(frames=100), LabelSet(("owl", "fox")), "softmax")
    >>> bundle = Bundle(card, AST(config))
    >>> bundle.labels.names
    ('owl', 'fox')
    """

    card: Card
    network: AST

    def __post_init__(self) -> None:
        if self.network.config != self.card.config:
            raise ShapeMismatch(
                f"the card describes {self.card.config}, but the network is {self.network.config}: make them equal"
            )
        self.network.eval()

    @property
    def front_end(self) -> FrontEnd:
        """Turns waveforms into the network's inputs."""
        return self.card.front_end

    @property
    def labels(self) -> LabelSet:
        """Names of the outputs, in order."""
        return self.card.labels

    @property
    def activation(self) -> Activation:
        """Turns logits into scores."""
        return self.card.activation

    @property
    def provenance(self) -> dict[str, Any]:
        """Where the weights come from, as plain values."""
        return self.card.provenance

    def scores(self, logits: Tensor) -> Tensor:
        """Logits ``[B, C]`` -> scores ``[B, C]``, float32, 0..1, by the bundle's activation."""
        logits = logits.float()
        return logits.sigmoid() if self.activation == "sigmoid" else logits.softmax(-1)

    def save(self, directory: str | os.PathLike[str], *, dtype: torch.dtype = torch.float32) -> Path:
        """Write a bundle directory, which ``transformers`` reads as well (see :mod:`spectag.model.directory`).

        Other files in the directory stay. All files are written before the first is replaced.

        Args:
            directory: made where it does not exist.
            dtype: of the weights in the file, float16 halves it; loading always gives float32.

        Raises:
            SaveError: the disk is full, say, or dtype cannot hold the weights; what was there before is intact, unless
                the message says that files were replaced already.
            NonFiniteWeights: NaN or infinite weights are not saved.
        """
        return _save(self, Path(directory), dtype)

    def describe(self) -> dict[str, Any]:
        """All facts as plain data, see :meth:`spectag.model.card.Card.describe`."""
        return self.card.describe()


def load(
    source: str | os.PathLike[str],
    *,
    stride: tuple[int, int] | None = None,
    frames: int | None = None,
    heads: int | None = None,
    statistics: Statistics | None = None,
    labels: LabelSet | None = None,
    num_labels: int | None = None,
    channels: Channels = "mean",
    window: WindowFunction | None = None,
    activation: Activation | None = None,
) -> Bundle:
    """Load a checkpoint from wherever it is, strictly: every tensor fits, or nothing is loaded.

    One network, that is; :func:`spectag.model.ensemble.load` (``spectag.load``) also takes the folder of an ensemble.

    Args:
        source: what is found first of

            - a bundle directory, or an AST directory as ``transformers`` writes it;
            - a ``.pth`` (or ``.safetensors``) as the published code saves it: geometry from the tensors;
            - a DeiT or ViT state dict with timm's names: initial weights, adapted, with an untrained head;
            - the name of a bundled model (``esc10``);
            - ``audioset``, ``speech-commands``: the published ASTs on the Hugging Face Hub;
            - any Hub id ``owner/name`` of an AST with ``model.safetensors``, through the Hugging Face cache.
        stride: (frequency, time) in mel bins and frames, where a file's tensors leave it open.
        frames: length in frames of 10 ms, likewise; for initial weights the length to adapt to.
        heads: attention heads of a weight file; default: 64-wide ones, as every published model.
        statistics: data set whose fbank mean and standard deviation a weight file was trained with;
            default: by the number of labels, else AudioSet.
        labels: names of the outputs, instead of those that the source has.
        num_labels: outputs of the fresh head of initial weights, when ``labels`` is not given.
        channels: how the kernel of initial weights becomes one-channel: ``mean`` (paper) or ``sum`` (released code).
        window: instead of the one that the source says (files: Hann; initial weights: Hamming).
        activation: instead of the one that the source says.

    Returns:
        The bundle on the CPU, in float32 and eval mode.

    Raises:
        ModelError: one of its subclasses, see :mod:`spectag.errors`.
        InputError: an option that does not apply to the source, or a source that is no path or name.

    Warns:
        SpectagWarning: the geometry is a guess, or the head is freshly drawn.
    """
    found = resolve(source)
    given = {"stride": stride, "frames": frames, "heads": heads, "statistics": statistics, "num_labels": num_labels}
    with torch.inference_mode(mode=False):  # tensors born in that mode could never be trained
        if found.path.is_dir():
            for name, value in given.items():
                if value is not None:
                    raise InputError(f"{source}: {name}= is for weight files; a directory says so itself")
            if channels != published.Options.channels:
                raise InputError(f"{source}: channels= is for initial weights; a directory holds trained ones")
            card, state = _read_directory(found.path)
        else:
            options = published.Options(stride, frames, heads, statistics, labels, num_labels, channels)
            card, state = published.read(found.path, options)
        network = build(card.config, state)
    if card.untrained:
        warnings.warn(
            f"{source}: the classification head of {found.name} is freshly drawn: train it before tagging",
            SpectagWarning,
            stacklevel=2,
        )
    if labels is not None:
        card = _relabel(card, labels, str(source))
    if window is not None:
        card = replace(card, front_end=replace(card.front_end, window=window))
    if activation is not None:
        card = replace(card, activation=activation, activation_from="given by the caller")
    origin = {"source": found.name, "format": card.format, "activation_from": card.activation_from}
    return Bundle(replace(card, source=str(source), provenance=card.provenance or origin), network)


def build(config: ASTConfig, state: State) -> AST:
    """A network in eval mode around checked tensors (this package's names), which it takes over without a copy."""
    with torch.device("meta"):  # no weights are drawn only to be overwritten
        network = AST(config)
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval()


def _relabel(card: Card, labels: LabelSet, source: str) -> Card:
    if len(labels) != card.config.labels:
        raise LabelMismatch(f"{source}: {len(labels)} labels do not fit a head of {card.config.labels} outputs")
    return replace(card, labels=labels)


def _read_directory(path: Path) -> tuple[Card, State]:
    weights = path / fields.WEIGHTS
    if (path / ENSEMBLE).is_file():
        raise NotAModel(f"{path}: is an ensemble, and one network is needed here: name one of its members' folders")
    for needed in (path / fields.CONFIG, weights):
        if not needed.is_file():
            raise NotAModel(f"{path}: {needed.name} is missing: not a bundle or AST directory (pickles are not read)")
    found = tensors.header(weights)
    layout = convert.require_layout(found, str(weights))
    if layout not in ("transformers", "transformers-5"):
        raise NotAModel(
            f"{weights}: the tensors have {layout} names, a directory holds those of transformers: "
            "load the file alone, and save what it gives"
        )
    head = found.get("classifier.dense.weight")
    card = directory.read(path, head[0] if head else None)
    config = card.config
    if config.depth > len(found):  # before the table is spelled out for so many layers
        raise ShapeMismatch(f"{path / fields.CONFIG}: num_hidden_layers: {config.depth} are not in {weights.name}")
    wanted = convert.expected(layout, network_shapes(config), config.depth, config.tokens)
    convert.check(found, wanted, layout, str(weights))
    state = tensors.read_safetensors(weights)
    directory.check_digest(path)
    return card, convert.to_ours(state, layout, config.depth, config.tokens)


def _save(bundle: Bundle, path: Path, dtype: torch.dtype) -> Path:
    config = bundle.network.config
    state = {key: value.detach().to("cpu") for key, value in bundle.network.state_dict().items()}
    tensors.require_finite(state, str(path))
    state = {key: value.to(dtype) for key, value in state.items()}
    if not all(tensors.all_finite(value) for value in state.values()):
        raise SaveError(f"{path}: the weights do not fit {dtype}: save as float32")
    theirs = convert.from_ours(state, "transformers", config.depth, config.tokens)
    directory.write_bundle(path, directory.documents(bundle.card), lambda file: tensors.write_safetensors(theirs, file))
    return path
