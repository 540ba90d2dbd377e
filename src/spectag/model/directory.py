"""The files of a bundle: a Hugging Face AST directory, and ``spectag.json`` for what that has no field for.

==========================  ========================================================================================
``config.json``             geometry, labels, problem type, as ``transformers`` writes it for an AST; and a mark,
                            ``"spectag": 1``, that ``spectag.json`` belongs to it
``preprocessor_config.json``  dataset statistics and length, as ``transformers`` writes it for its AST feature extractor
``model.safetensors``       weights under the names of the Hub's ASTs, which every version of ``transformers`` reads
``spectag.json``            format, window, activation, label ids, provenance, digest of the weights
==========================  ========================================================================================
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

from spectag.audio.front_end import FrontEnd
from spectag.choices import Activation, WindowFunction
from spectag.errors import (
    InputError,
    LabelMismatch,
    NewerBundle,
    NotAModel,
    SaveError,
    ShapeMismatch,
    UnreadableModel,
)
from spectag.labels import LabelSet
from spectag.model.card import Card
from spectag.model.config import ASTConfig
from spectag.model.fields import CONFIG, EXTRA, MARK, PREPROCESSOR, PROCESSOR, WEIGHTS, Fields, write_json
from spectag.version import __version__

FORMAT = 1  # of spectag.json
DIGEST = "weights_sha256"  # field of spectag.json; bundles from before there was one lack it

MODEL_TYPE = "audio-spectrogram-transformer"
OWN_MODEL_TYPE = "spectag-ast"  # a geometry that transformers cannot express and must not guess
ARCHITECTURE = {MODEL_TYPE: "ASTForAudioClassification", OWN_MODEL_TYPE: "SpectagAST"}
EXTRACTOR = "ASTFeatureExtractor"
PROBLEM_TYPES: dict[str, Activation] = {
    "multi_label_classification": "sigmoid",
    "single_label_classification": "softmax",
}
# This package's field, transformers' field, transformers' default.
GEOMETRY: tuple[tuple[str, str, int], ...] = (
    ("width", "hidden_size", 768),
    ("depth", "num_hidden_layers", 12),
    ("heads", "num_attention_heads", 12),
    ("mel_bins", "num_mel_bins", 128),
    ("frames", "max_length", 1024),
)


def default_activation(labels: int) -> tuple[Activation, str]:
    """What a checkpoint that does not say so is scored with, and why."""
    if labels == 527:
        return "sigmoid", "default for AudioSet's 527 labels"
    return "softmax", f"default for {labels} labels"


def read(directory: Path, outputs: int | None) -> Card:
    """Read and validate everything but the weights.

    Args:
        directory: with ``config.json``.
        outputs: rows of the head in the weights, which the labels must fit.

    Raises:
        NewerBundle, NotAModel, UnreadableModel, ShapeMismatch, LabelMismatch: the message names file and field.
    """
    extra = Fields.read(directory / EXTRA) if (directory / EXTRA).exists() else None
    if extra is not None and extra.integer("format", None) > FORMAT:
        raise NewerBundle(
            f"{extra.path}: format {extra.data['format']} is newer than {FORMAT}, the newest that this spectag reads: "
            "pip install --upgrade spectag"
        )
    config = Fields.read(directory / CONFIG)
    if extra is None and MARK in config.data:
        raise NotAModel(
            f"{directory}: {EXTRA} is missing, which holds the window and the activation: restore it, or remove "
            f"{MARK!r} from {CONFIG} to read what is left as transformers does"
        )
    labels = _labels(config, extra, outputs)
    geometry = _geometry(config, len(labels))
    activation, reason = _activation(config, extra, len(labels))
    return Card(
        config=geometry,
        front_end=_front_end(directory, extra, geometry),
        labels=labels,
        activation=activation,
        activation_from=reason,
        format="transformers" if extra is None else f"spectag bundle, format {extra.data['format']}",
        provenance={} if extra is None else dict(extra.mapping("provenance") or {}),
    )


def check_digest(directory: Path) -> None:
    """Raises UnreadableModel where ``spectag.json`` was written with other weights than those beside it."""
    if not (directory / EXTRA).exists():
        return
    wanted = Fields.read(directory / EXTRA).data.get(DIGEST)
    if wanted is not None and wanted != _digest(directory / WEIGHTS):
        raise UnreadableModel(
            f"{directory}: {WEIGHTS} and {EXTRA} do not belong together (saving was interrupted, or one was replaced): "
            "save or convert again"
        )


def documents(card: Card) -> dict[str, dict[str, Any]]:
    """The JSON files that describe a bundle, by name: :func:`read` the other way."""
    c = card.config
    model_type = MODEL_TYPE if c.patch[0] == c.patch[1] and c.tokens == 2 else OWN_MODEL_TYPE
    problem_types = {activation: name for name, activation in PROBLEM_TYPES.items()}
    config = {
        "architectures": [ARCHITECTURE[model_type]],
        "model_type": model_type,
        **{theirs: getattr(c, ours) for ours, theirs, _ in GEOMETRY},
        "intermediate_size": c.hidden,
        "hidden_act": "gelu",
        "qkv_bias": True,
        "layer_norm_eps": c.norm_eps,
        "patch_size": c.patch[0] if c.patch[0] == c.patch[1] else list(c.patch),
        "frequency_stride": c.stride[0],
        "time_stride": c.stride[1],
        "problem_type": problem_types[card.activation],
        "id2label": {str(n): name for n, name in enumerate(card.labels.names)},
        "label2id": {name: n for n, name in enumerate(card.labels.names)},
        "dtype": "float32",  # to compute in, whatever the file stores
        MARK: FORMAT,
    }
    if model_type == OWN_MODEL_TYPE:
        config["class_tokens"] = c.tokens
    preprocessor = {
        "feature_extractor_type": EXTRACTOR,
        "do_normalize": True,
        "feature_size": 1,
        "max_length": card.front_end.frames,
        "mean": card.front_end.mean,
        "std": card.front_end.std,
        "num_mel_bins": card.front_end.mel_bins,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": False,
        "sampling_rate": card.front_end.sample_rate,
    }
    extra = {
        "format": FORMAT,
        "written_by": f"spectag {__version__}",
        "window": card.front_end.window,
        "activation": card.activation,
        "label_ids": None if card.labels.ids is None else list(card.labels.ids),
        "provenance": card.provenance,
    }
    return {CONFIG: config, PREPROCESSOR: preprocessor, EXTRA: extra}


def write_bundle(
    directory: Path, documents: Mapping[str, Mapping[str, Any]], write_weights: Callable[[Path], None]
) -> None:
    """Write all files beside the directory's own, then put them in their places: a failure leaves the old ones.

    Renaming four files is not one step. ``spectag.json`` goes first and the weights, whose digest it holds, last: where
    the machine stops in between, the two do not fit, and loading says so (:func:`check_digest`).

    Args:
        directory: made where it does not exist; other files in it stay.
        documents: what :func:`documents` gives.
        write_weights: writes the weights to the path that it is given.

    Raises:
        SaveError: a document holds more than plain values, or the disk is full, say; whether anything was replaced is
            in the message.
    """
    for document in documents.values():
        _require_plain(document, directory)
    existed = directory.exists()
    replaced = 0
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=directory) as scratch:
            write_weights(Path(scratch, WEIGHTS))
            digest = {DIGEST: _digest(Path(scratch, WEIGHTS))}
            for name, document in documents.items():
                write_json(Path(scratch, name), {**document, **(digest if name == EXTRA else {})})
            names = [EXTRA, *(name for name in documents if name != EXTRA), WEIGHTS]
            for name in names:
                with Path(scratch, name).open("rb+") as file:
                    os.fsync(file.fileno())
            for name in names:
                Path(scratch, name).replace(directory / name)
                replaced += 1
    except (OSError, SaveError) as error:
        if not existed:
            shutil.rmtree(directory, ignore_errors=True)
        reason = getattr(error, "strerror", None) or str(error)
        kept = "what was there before is intact" if existed else "nothing was written"
        if existed and replaced:
            kept = f"{replaced} of {len(names)} files were replaced already, they do not fit the others: save again"
        raise SaveError(f"{directory}: cannot save the bundle: {reason}; {kept}") from error


def _require_plain(document: Mapping[str, Any], directory: Path) -> None:
    for name, value in document.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise SaveError(f"{directory}: {name} holds more than plain values: {error}") from error


def _digest(path: Path) -> str:
    """SHA-256, in hexadecimal: a third of a second for a base-size network."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()


def _labels(config: Fields, extra: Fields | None, outputs: int | None) -> LabelSet:
    table = config.mapping("id2label")
    if table is None:
        if outputs is None:
            raise LabelMismatch(f"{config.path}: id2label is missing: expected the name of every output")
        return LabelSet.for_outputs(outputs)
    names = [table.get(str(n)) for n in range(len(table))]
    if None in names:
        raise LabelMismatch(
            f"{config.path}: id2label: expected the numbers 0 to {len(table) - 1}, {names.index(None)} is missing"
        )
    if outputs is not None and outputs != len(names):
        raise LabelMismatch(f"{config.path}: id2label: {len(names)} labels do not fit a head of {outputs} outputs")
    ids = None if extra is None else extra.data.get("label_ids")
    try:
        if extra is None:
            return LabelSet.named(names)  # type: ignore[arg-type]  # LabelSet checks
        return LabelSet(tuple(names), None if ids is None else tuple(ids))  # type: ignore[arg-type]
    except (InputError, TypeError) as error:
        raise LabelMismatch(f"{config.path}: id2label, or label_ids in {EXTRA}: {error}") from error


def _geometry(config: Fields, labels: int) -> ASTConfig:
    kind = config.data.get("model_type")
    if kind not in ARCHITECTURE:
        raise NotAModel(f"{config.path}: model_type: expected {MODEL_TYPE}, got {kind!r}")
    if config.data.get("hidden_act", "gelu") != "gelu":
        raise NotAModel(f"{config.path}: hidden_act: only gelu is known, got {config.data['hidden_act']!r}")
    sizes = {ours: config.integer(theirs, default) for ours, theirs, default in GEOMETRY}
    patch = config.data.get("patch_size", 16)
    pair = patch if isinstance(patch, list) and len(patch) == 2 else [patch, patch]
    hidden = config.integer("intermediate_size", 3072)
    try:
        return ASTConfig(
            **sizes,
            mlp_ratio=hidden / sizes["width"],
            patch=tuple(config.whole("patch_size", n) for n in pair),  # type: ignore[arg-type]  # two
            stride=(config.integer("frequency_stride", 10), config.integer("time_stride", 10)),
            labels=labels,
            tokens=config.integer("class_tokens", 2) if kind == OWN_MODEL_TYPE else 2,
            norm_eps=config.number("layer_norm_eps", 1e-12),
        )
    except ShapeMismatch as error:
        raise ShapeMismatch(str(error) if str(config.path) in str(error) else f"{config.path}: {error}") from error


def _front_end(directory: Path, extra: Fields | None, geometry: ASTConfig) -> FrontEnd:
    if (directory / PREPROCESSOR).exists():
        fields = Fields.read(directory / PREPROCESSOR)
    elif (directory / PROCESSOR).exists():
        processor = Fields.read(directory / PROCESSOR)
        fields = Fields(processor.path, processor.mapping("feature_extractor") or {})
    else:
        raise NotAModel(f"{directory}: {PREPROCESSOR} is missing: the front end is unknown")
    kind = fields.data.get("feature_extractor_type", EXTRACTOR)
    if kind != EXTRACTOR:
        raise NotAModel(f"{fields.path}: feature_extractor_type: expected {EXTRACTOR}, got {kind!r}")
    # transformers knows the released code's window only.
    window = "hanning" if extra is None else extra.choice("window", get_args(WindowFunction))
    mean, std = fields.number("mean", FrontEnd.mean), fields.number("std", FrontEnd.std)  # transformers' defaults too
    if fields.data.get("do_normalize", True) is False:
        mean, std = 0.0, 0.5  # (x - 0) / (2 * 0.5) = x
    try:
        front_end = FrontEnd(
            window=window,  # type: ignore[arg-type]  # one of get_args(WindowFunction)
            mel_bins=fields.integer("num_mel_bins", 128),
            mean=mean,
            std=std,
            frames=fields.integer("max_length", 1024),
            sample_rate=fields.integer("sampling_rate", 16_000),
        )
    except InputError as error:
        raise ShapeMismatch(f"{fields.path}: {error}") from error
    for ours, theirs in (("mel_bins", "num_mel_bins"), ("frames", "max_length")):
        if getattr(front_end, ours) != getattr(geometry, ours):
            raise ShapeMismatch(
                f"{fields.path}: {theirs} is {getattr(front_end, ours)}, but {getattr(geometry, ours)} in {CONFIG}"
            )
    return front_end


def _activation(config: Fields, extra: Fields | None, labels: int) -> tuple[Activation, str]:
    if extra is not None:
        return extra.choice("activation", get_args(Activation)), EXTRA  # type: ignore[return-value]
    problem = config.data.get("problem_type")
    if problem in PROBLEM_TYPES:
        return PROBLEM_TYPES[problem], f"problem_type {problem} in {CONFIG}"
    return default_activation(labels)
