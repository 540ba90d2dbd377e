"""The directory of a bundle: that of a Hugging Face AST, plus ``spectag.json`` with the facts that it has no field for.

============================  ==========================================================================================
``config.json``               geometry, labels and problem type, as ``transformers`` writes them for an AST; and a mark,
                              ``"spectag": 1``, that ``spectag.json`` belongs to it
``preprocessor_config.json``  statistics and length, as ``transformers`` writes them for its AST feature extractor
``model.safetensors``         weights under the names of the Hub's ASTs, which every version of ``transformers`` reads;
                              and those of the frame head, if there is one, which ``transformers`` ignores
``spectag.json``              format, window, activation, label ids, thresholds of tags and events, provenance, digests
                              of the weights and of ``unknown.safetensors``
``unknown.safetensors``       what tells unknown sounds (:mod:`spectag.model.unknown`), if the model can
============================  ==========================================================================================

A bundle with a frame head has format 2 and ``"frame_head": true`` in its ``spectag.json``; other bundles have format 1,
so that every spectag reads them. Versions that know no thresholds and no unknown sounds show all tags of such a bundle.

No torch is needed to read a card.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from spectag.choices import Activation, EventMethod, WindowFunction
from spectag.errors import InputError, LabelMismatch, ModelError, NotAModel, UnreadableModel
from spectag.labels import LabelSet
from spectag.model.card import Card, check_thresholds, warn_of_softmax
from spectag.model.fields import CONFIG, EXTRA, MARK, NOVEL, PREPROCESSOR, UNKNOWN, WEIGHTS, Fields, is_marked
from spectag.model.given import Given
from spectag.model.huggingface import (
    config_document,
    preprocessor_document,
    read_front_end,
    read_geometry,
    read_huggingface_card,
    read_names,
)
from spectag.model.unknown import Unknown, read_unknown
from spectag.version import __version__

FORMAT = 2  # of spectag.json, the newest
WITHOUT_FRAMES = 1  # format of bundles without a frame head, which older versions read as well
FRAME_HEAD = "frame_head"  # field of spectag.json since format 2
THRESHOLDS, EVENT_THRESHOLDS = "thresholds", "event_thresholds"  # fields that only calibrated bundles have
DIGEST = "weights_sha256"  # field of spectag.json; the first bundles lack it


def read_card(folder: Path, outputs: int | None = None, given: Given | None = None) -> Card:
    """Read everything except the weights of a bundle, or of an AST directory as ``transformers`` writes it.

    Args:
        folder: the directory.
        outputs: outputs of the head in the weights, which the labels must fit; 0 where there is no head, and None where
            that is not known.
        given: options of the caller, which are used instead of guesses.

    Raises:
        NewerBundle, NotAModel, UnreadableModel, ShapeMismatch, LabelMismatch: the message names file and field.

    Warns:
        SpectagWarning: labels or activation are guessed.

    >>> path = spectag.load("esc10").save("saved")
    >>> read_card(path).activation
    'softmax'
    """
    if not (folder / CONFIG).is_file():
        raise NotAModel(f"{folder}: {CONFIG} is missing: not a bundle or AST directory")
    if (folder / EXTRA).exists():
        extra = Fields.read(folder / EXTRA)
        extra.require_format(FORMAT)
        return _read_bundle_card(folder, Fields.read(folder / CONFIG), extra, outputs)
    config = Fields.read(folder / CONFIG)
    if is_marked(config):
        raise NotAModel(
            f"{folder}: {EXTRA} is missing, which holds the window and the activation: restore it, or remove "
            f"{MARK!r} from {CONFIG} to read what is left as transformers does"
        )
    return read_huggingface_card(folder, config, outputs, given or Given())


def check_digest(folder: Path) -> None:
    """Check that ``spectag.json`` was written together with the weights next to it.

    Raises:
        UnreadableModel: it was written with other weights.

    >>> check_digest(spectag.load("esc10").save("saved"))
    """
    if not (folder / EXTRA).exists():
        return
    wanted, weights = Fields.read(folder / EXTRA).data.get(DIGEST), folder / WEIGHTS
    if wanted is not None and not (weights.is_file() and wanted == digest_of(weights)):
        raise UnreadableModel(
            f"{folder}: {WEIGHTS} and {EXTRA} do not belong together (saving was interrupted, or one was replaced): "
            "save or convert again"
        )


def digest_of(path: Path) -> str:
    """SHA-256 of a file in hexadecimal. The weights of a base-size network take a third of a second.

    >>> _ = Path("empty").write_bytes(b"")
    >>> digest_of(Path("empty"))[:8]
    'e3b0c442'
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()


def documents(card: Card) -> dict[str, dict[str, Any]]:
    """Make the JSON files of a bundle, by name, but without the digest. This is the inverse of :func:`read_card`.

    >>> documents(spectag.load("esc10").card)["spectag.json"]["window"]
    'hamming'
    """
    format = FORMAT if card.config.frame_head else WITHOUT_FRAMES
    return {
        CONFIG: config_document(card) | {MARK: format},
        PREPROCESSOR: preprocessor_document(card),
        EXTRA: {
            "format": format,
            "written_by": f"spectag {__version__}",
            "window": card.front_end.window,
            "activation": card.activation,
            "label_ids": None if card.labels.ids is None else list(card.labels.ids),
            **({FRAME_HEAD: True} if card.config.frame_head else {}),
            **({THRESHOLDS: list(card.thresholds)} if card.thresholds is not None else {}),
            **_event_thresholds(card),
            "provenance": card.provenance,
        },
    }


def _read_bundle_card(folder: Path, config: Fields, extra: Fields, outputs: int | None) -> Card:
    labels = _read_labels(config, extra, outputs)
    geometry = read_geometry(config, len(labels), extra.flag(FRAME_HEAD))
    window: WindowFunction = extra.choice("window", get_args(WindowFunction))
    activation: Activation = extra.choice("activation", get_args(Activation))
    warn_of_softmax(activation, len(labels), f"{extra.path}: activation")
    return Card(
        config=geometry,
        front_end=replace(read_front_end(folder, geometry), window=window),
        labels=labels,
        activation=activation,
        provenance=dict(extra.mapping("provenance") or {}),
        thresholds=_read_thresholds(extra, len(labels)),
        event_thresholds=_read_event_thresholds(extra, len(labels)),
        unknown=_read_unknown(folder, extra, geometry.width),
        activation_from=EXTRA,
        format=f"spectag bundle, format {extra.data['format']}",
    )


def _read_thresholds(extra: Fields, labels: int) -> tuple[float, ...] | None:
    values = extra.data.get(THRESHOLDS)
    if values is None or isinstance(values, dict):  # the first versions had tables here, which nothing read
        return None
    return _check(extra, THRESHOLDS, values, labels)


def _event_thresholds(card: Card) -> dict[str, Any]:
    if card.event_thresholds is None:
        return {}
    return {EVENT_THRESHOLDS: {method: list(values) for method, values in card.event_thresholds.items()}}


def _read_event_thresholds(extra: Fields, labels: int) -> dict[EventMethod, tuple[float, ...]] | None:
    """Those of the methods that there are; a newer spectag may have others."""
    table = extra.mapping(EVENT_THRESHOLDS)
    if table is None:
        return None
    return {
        method: _check(extra, f"{EVENT_THRESHOLDS}: {method}", table[method], labels)
        for method in get_args(EventMethod)
        if method in table
    }


def _check(extra: Fields, name: str, values: Any, labels: int) -> tuple[float, ...]:
    try:
        return check_thresholds(values if isinstance(values, list) else [values], labels, name)
    except InputError as error:
        raise ModelError(f"{extra.path}: {error}: calibrate again") from error


def _read_unknown(folder: Path, extra: Fields, width: int) -> Unknown | None:
    """What tells unknown sounds, if ``spectag.json`` says that there is such a file and its digest fits."""
    table = extra.mapping(NOVEL)
    if table is None:
        return None
    path, facts = folder / UNKNOWN, Fields(extra.path, table)
    if not path.is_file() or digest_of(path) != table.get("sha256"):
        raise UnreadableModel(
            f"{folder}: {UNKNOWN} and {EXTRA} do not belong together (it is missing, saving was interrupted, or "
            "one was replaced): calibrate again"
        )
    return read_unknown(path, facts.number("rate", None), width)


def _read_labels(config: Fields, extra: Fields, outputs: int | None) -> LabelSet:
    names = read_names(config, outputs)
    if names is None:
        raise LabelMismatch(f"{config.path}: id2label is missing: expected the name of every output")
    ids = extra.data.get("label_ids")
    try:
        return LabelSet(names, None if ids is None else tuple(ids))
    except (InputError, TypeError) as error:
        raise LabelMismatch(f"{config.path}: id2label, or label_ids in {EXTRA}: {error}") from error
