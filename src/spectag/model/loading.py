"""Loading: find the files that the user names, recognise their kind, read them, and make a model of them.

::

    source -> resolve -> a directory -> read_card (directory, huggingface)  ┐
                      -> a file      -> read_official or read_deit          ┴> Checkpoint -> load_bundle -> Bundle

"""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from spectag.choices import Activation, Channels, Statistics, WindowFunction
from spectag.errors import InputError, LabelMismatch, ModelError, NotAModel, ShapeMismatch, SpectagWarning
from spectag.labels import LabelSet
from spectag.model import tensors
from spectag.model.adapt import adapt_state
from spectag.model.bundle import Bundle
from spectag.model.card import UNTRAINED, Card, warn_of_softmax
from spectag.model.checkpoint import Checkpoint
from spectag.model.deit import DEIT, read_deit
from spectag.model.directory import check_digest, read_card
from spectag.model.ensemble import Ensemble, read_members
from spectag.model.fields import CONFIG, ENGINE, ENSEMBLE, EXTRA
from spectag.model.given import Given
from spectag.model.huggingface import HEAD_BIAS, TRANSFORMERS, TRANSFORMERS_5
from spectag.model.naming import rename
from spectag.model.network import build_network
from spectag.model.official import OFFICIAL, read_official
from spectag.model.shapes import network_shapes
from spectag.model.source import Located, resolve
from spectag.model.weights import find_weights

HEAD_SEED = 0  # so that an untrained head is the same at every load

Kind = Literal["ensemble", "directory", "official", "deit"]
DIRECTORY_OPTIONS = {"labels", "window", "activation"}
FILE_OPTIONS = {*DIRECTORY_OPTIONS, "stride", "frames", "heads", "statistics", "num_labels"}
OPTIONS: dict[Kind, set[str]] = {
    "ensemble": set(),
    "directory": DIRECTORY_OPTIONS,
    "official": FILE_OPTIONS,
    "deit": {*FILE_OPTIONS, "channels"},
}


def load(
    source: str | os.PathLike[str],
    *,
    stride: tuple[int, int] | None = None,
    frames: int | None = None,
    heads: int | None = None,
    statistics: Statistics | None = None,
    labels: LabelSet | None = None,
    num_labels: int | None = None,
    channels: Channels | None = None,
    window: WindowFunction | None = None,
    activation: Activation | None = None,
) -> Bundle | Ensemble:
    """Load a model from a file, a directory or the Hub. If any tensor does not fit, nothing is loaded.

    Args:
        source: the first of these that exists:

            - a bundle directory, or an AST directory as ``transformers`` writes it, with safetensors or pickles;
            - the folder of a finished run, or its ``checkpoints/last.ckpt``, which stand for the run's bundle;
            - the folder of an ensemble, which takes no options;
            - a ``.pth`` (or ``.safetensors``) as the authors' code saves it; the geometry follows from the tensors;
            - a DeiT or ViT state dict with timm's names, or an AST or SSAST without a head: initial weights, which are
              adapted and get an untrained head;
            - the name of a bundled model (``esc10``);
            - ``audioset`` or ``speech-commands``: the published ASTs on the Hugging Face Hub;
            - any Hub id ``owner/name`` of an AST with ``model.safetensors``, through the Hugging Face cache.
        stride: distance between patches (frequency, time) in mel bins and frames, if the tensors do not show it.
        frames: length in frames of 10 ms, if the tensors do not show it. Initial weights are adapted to it;
            default 1024.
        heads: attention heads of a weight file. By default each is 64 wide, as in every published model.
        statistics: data set whose fbank mean and standard deviation a weight file was trained with. By default it
            follows from the number of labels; for other numbers it is AudioSet.
        labels: names of the outputs, instead of those of the source.
        num_labels: number of outputs of the new head of initial weights, if ``labels`` is not given.
        channels: how the patch kernel of initial weights gets one channel: by the ``mean`` (paper, the default) or the
            ``sum`` (released code) of the three colour channels.
        window: window function of the front end, instead of that of the source. By default it is Hann for checkpoints
            that do not say so, and Hamming for initial weights.
        activation: what turns logits into scores, instead of that of the source.

    Returns:
        The model on the CPU, in float32 and eval mode.

    Raises:
        ModelError: one of its subclasses, see :mod:`spectag.errors`.
        InputError: an option that does not apply to the source, or a source that is neither a path nor a name.

    Warns:
        SpectagWarning: the geometry, labels, statistics or activation are guessed, or the head is untrained.

    >>> bundle = load("esc10")
    >>> bundle.labels.names[:2]
    ('Dog bark', 'Rain')
    """
    given = Given(stride, frames, heads, statistics, labels, num_labels, channels, window, activation)
    if not is_ensemble(source):
        return load_bundle(source, given)
    _refuse_options(given, "ensemble", str(source))
    folder = Path(source).expanduser()
    folders, format = read_members(folder)
    members = tuple(load_bundle(member) for member in folders)
    try:
        return Ensemble(members, str(source), format)
    except ModelError as error:
        raise type(error)(f"{folder}: {error}") from error


def load_bundle(source: str | os.PathLike[str], given: Given | None = None) -> Bundle:
    """Load one network and no ensemble. Otherwise this is like :func:`load`, whose options are in ``given``.

    Raises:
        NotAModel: the source is the folder of an ensemble. Otherwise as :func:`load`.

    >>> load_bundle("esc10").network.training
    False
    """
    given = given or Given()
    checkpoint = read_checkpoint(source, given)
    card, state = checkpoint.card, checkpoint.state
    with torch.inference_mode(mode=False):  # tensors that are made in that mode could never be trained
        if checkpoint.headless:
            state = adapt_state(
                state,
                checkpoint.grid,
                card.config.grid,
                tokens=card.config.tokens,
                patch=card.config.patch,
                labels=card.config.labels,
                channels=given.channels or "mean",
                generator=torch.Generator().manual_seed(HEAD_SEED),
            )
        network = build_network(card.config, state)
    if card.untrained:
        first = ", ".join(card.labels.names[:2])
        warnings.warn(
            f"{source}: the classification head is freshly drawn: train it before tagging; its {len(card.labels)} "
            f"labels ({first}, ...) say nothing about the weights",
            SpectagWarning,
            stacklevel=2,
        )
    return Bundle(card, network)


def read_checkpoint(source: str | os.PathLike[str], given: Given | None = None) -> Checkpoint:
    """Read the weights of one network and what is known about them, without adapting anything.

    Args:
        source: as for :func:`load`, but no ensemble.
        given: the options of :func:`load`.

    Raises:
        ModelError: one of its subclasses, see :mod:`spectag.errors`.
        InputError: an option that does not apply to the source, or a source that is neither a path nor a name.

    Warns:
        SpectagWarning: the geometry, labels, statistics or activation are guessed.

    >>> checkpoint = read_checkpoint("esc10")
    >>> checkpoint.state["head.linear.weight"].shape
    torch.Size([10, 128])
    """
    given = given or Given()
    located = resolve(source)
    with torch.inference_mode(mode=False):  # tensors that are made in that mode could never be trained
        if located.path.is_dir():
            _refuse_options(given, "directory", str(source))
            checkpoint = _read_directory(located.path, given)
        else:
            checkpoint = _read_file(located.path, given)
    return replace(checkpoint, card=_overrule(checkpoint, given, located, str(source)))


def is_ensemble(source: str | os.PathLike[str]) -> bool:
    """Whether a source is the folder of an ensemble.

    >>> is_ensemble("esc10")
    False
    """
    if not isinstance(source, (str, os.PathLike)) or not os.fspath(source):
        return False
    return (Path(source).expanduser() / ENSEMBLE).is_file()


def _read_directory(folder: Path, given: Given) -> Checkpoint:
    """Read a bundle, or an AST directory as ``transformers`` writes it."""
    if (folder / ENSEMBLE).is_file():
        raise NotAModel(f"{folder}: is an ensemble, and one network is needed here: name one of its members' folders")
    if not (folder / CONFIG).is_file():
        raise NotAModel(f"{folder}: {CONFIG} is missing: not a bundle or AST directory")
    if (folder / ENGINE).is_file():
        raise NotAModel(
            f"{folder}: is an exported model, which tags and is evaluated, but cannot be changed: give the model that "
            "it was made from"
        )
    files = find_weights(folder)
    weights = files[0] if len(files) == 1 else folder
    table, state = rename(tensors.read_all(files), weights)
    if table not in (TRANSFORMERS, TRANSFORMERS_5):
        raise NotAModel(
            f"{weights}: the tensors have {table.kind} names, a directory holds those of transformers: "
            f"move the file away from {CONFIG}, and load it alone"
        )
    if not (folder / EXTRA).exists():  # a bundle has a head
        table = table.fitting(state)
    head = state.get(HEAD_BIAS)
    card = read_card(folder, 0 if head is None else len(head), given)
    config = card.config
    table = table.with_frame_head(config.frame_head)
    if config.depth > len(state):  # checked before the table is spelled out for all layers
        raise ShapeMismatch(f"{folder / CONFIG}: num_hidden_layers: {config.depth} are not in {weights.name}")
    wanted = table.expected(network_shapes(config), config.depth, config.tokens)
    table.check_shapes({key: tuple(value.shape) for key, value in state.items()}, wanted, str(weights))
    check_digest(folder)
    return Checkpoint(card, tensors.to_ours(state, table.rows(config.depth, config.tokens)))


def _read_file(path: Path, given: Given) -> Checkpoint:
    """Read a file that has only weights."""
    table, state = rename(tensors.read_weights(path), path)
    if table is OFFICIAL:
        _refuse_options(given, "official", str(path))
        return read_official(path, state, given)
    if table is DEIT:
        _refuse_options(given, "deit", str(path))
        return read_deit(path, state, given)
    if not (path.parent / CONFIG).is_file() or path not in find_weights(path.parent):
        raise NotAModel(f"{path}: weights of transformers' AST without their {CONFIG}: give the directory with both")
    _refuse_options(given, "directory", str(path))
    return _read_directory(path.parent, given)


def _refuse_options(given: Given, kind: Kind, source: str) -> None:
    """Refuse options that do not apply to this kind of source."""
    for name in given.names():
        if name in OPTIONS[kind]:
            continue
        if kind == "ensemble":
            raise InputError(f"{source}: {name}= is for one network; an ensemble takes no options")
        if name == "channels":
            raise InputError(f"{source}: channels= is for initial weights (DeiT, ViT); an AST's kernel has one channel")
        raise InputError(f"{source}: {name}= is for weight files; a directory contains this information")


def _overrule(checkpoint: Checkpoint, given: Given, located: Located, source: str) -> Card:
    """Replace facts on the card by the options of the caller, and record where the model comes from."""
    card = checkpoint.card
    if given.labels is not None:
        if len(given.labels) != card.config.labels:
            raise LabelMismatch(
                f"{source}: {len(given.labels)} labels do not fit a head of {card.config.labels} outputs"
            )
        card = replace(card, labels=given.labels)
    if given.window is not None:
        card = replace(card, front_end=replace(card.front_end, window=given.window))
    if given.activation is not None:
        warn_of_softmax(given.activation, len(card.labels), f"{source}: activation=")
        if given.activation != card.activation:  # other scores, for which nothing was calibrated
            card = replace(card, thresholds=None, event_thresholds=None)
        card = replace(card, activation=given.activation, activation_from="given by the caller")
    origin = {"source": located.name, "format": card.format, "activation_from": card.activation_from}
    if checkpoint.headless:
        origin |= UNTRAINED
    return replace(card, source=source, provenance=card.provenance or origin)
