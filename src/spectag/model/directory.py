"""The files of a bundle: a Hugging Face AST directory, and ``spectag.json`` for what that has no field for.

==========================  ========================================================================================
``config.json``             geometry, labels, problem type, as ``transformers`` writes it for an AST
``preprocessor_config.json``  dataset statistics and length, as ``transformers`` writes it for its AST feature extractor
``model.safetensors``       weights under the names of the Hub's ASTs, which every version of ``transformers`` reads
``spectag.json``            format, window, activation, thresholds, label ids, provenance
==========================  ========================================================================================
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from spectag import __version__
from spectag.audio.fbank import FrontEnd, Window
from spectag.errors import (
    InputError,
    LabelMismatch,
    ModelError,
    NewerBundle,
    NotAModel,
    SaveError,
    ShapeMismatch,
    UnreadableModel,
)
from spectag.labels import LabelSet
from spectag.model.network import ASTConfig

Activation = Literal["sigmoid", "softmax"]

CONFIG, PREPROCESSOR, WEIGHTS, EXTRA = "config.json", "preprocessor_config.json", "model.safetensors", "spectag.json"
PROCESSOR = "processor_config.json"  # where some versions of transformers nest the preprocessor
FORMAT = 1  # of spectag.json
LARGEST = 2**31 - 1  # of a whole number in JSON
LARGEST_JSON = 64 * 2**20  # bytes; AudioSet's config.json has 3e4

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


@dataclass(frozen=True)
class Card:
    """All that a bundle knows but its weights. ``activation_from`` says where the activation was found and why."""

    config: ASTConfig
    front_end: FrontEnd
    labels: LabelSet
    activation: Activation
    activation_from: str
    format: str
    thresholds: dict[str, float] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


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
    extra = _Fields.read(directory / EXTRA) if (directory / EXTRA).exists() else None
    if extra is not None and extra.integer("format", None) > FORMAT:
        raise NewerBundle(
            f"{extra.path}: format {extra.data['format']} is newer than {FORMAT}, the newest that this spectag reads: "
            "pip install --upgrade spectag"
        )
    config = _Fields.read(directory / CONFIG)
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
        thresholds=_thresholds(extra),
        provenance={} if extra is None else dict(extra.mapping("provenance") or {}),
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
        "thresholds": card.thresholds,
        "label_ids": None if card.labels.ids is None else list(card.labels.ids),
        "provenance": card.provenance,
    }
    return {CONFIG: config, PREPROCESSOR: preprocessor, EXTRA: extra}


def replace_files(directory: Path, writers: Mapping[str, Callable[[Path], None]]) -> None:
    """Write all files beside the directory's own, then put them in their places: a failure leaves the old ones.

    Raises:
        SaveError: the disk is full, say; nothing was replaced.
    """
    existed = directory.exists()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=directory) as scratch:
            for name, write in writers.items():
                write(Path(scratch, name))
                with Path(scratch, name).open("rb+") as file:
                    os.fsync(file.fileno())
            for name in writers:
                Path(scratch, name).replace(directory / name)
    except (OSError, SaveError) as error:
        if not existed:
            shutil.rmtree(directory, ignore_errors=True)
        reason = getattr(error, "strerror", None) or str(error)
        kept = "what was there before is intact" if existed else "nothing was written"
        raise SaveError(f"{directory}: cannot save the bundle: {reason}; {kept}") from error


def json_writer(document: Mapping[str, Any]) -> Callable[[Path], None]:
    """Writes one document, readable by people."""
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    def write(path: Path) -> None:
        path.write_text(text, encoding="utf-8")

    return write


def _labels(config: _Fields, extra: _Fields | None, outputs: int | None) -> LabelSet:
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


def _geometry(config: _Fields, labels: int) -> ASTConfig:
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


def _front_end(directory: Path, extra: _Fields | None, geometry: ASTConfig) -> FrontEnd:
    if (directory / PREPROCESSOR).exists():
        fields = _Fields.read(directory / PREPROCESSOR)
    elif (directory / PROCESSOR).exists():
        processor = _Fields.read(directory / PROCESSOR)
        fields = _Fields(processor.path, processor.mapping("feature_extractor") or {})
    else:
        raise NotAModel(f"{directory}: {PREPROCESSOR} is missing: the front end is unknown")
    kind = fields.data.get("feature_extractor_type", EXTRACTOR)
    if kind != EXTRACTOR:
        raise NotAModel(f"{fields.path}: feature_extractor_type: expected {EXTRACTOR}, got {kind!r}")
    # transformers knows the released code's window only.
    window = "hanning" if extra is None else extra.choice("window", get_args(Window))
    mean, std = fields.number("mean", -4.2677393), fields.number("std", 4.5689974)
    if fields.data.get("do_normalize", True) is False:
        mean, std = 0.0, 0.5  # (x - 0) / (2 * 0.5) = x
    try:
        front_end = FrontEnd(
            window=window,  # type: ignore[arg-type]  # one of get_args(Window)
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


def _activation(config: _Fields, extra: _Fields | None, labels: int) -> tuple[Activation, str]:
    if extra is not None:
        return extra.choice("activation", get_args(Activation)), EXTRA  # type: ignore[return-value]
    problem = config.data.get("problem_type")
    if problem in PROBLEM_TYPES:
        return PROBLEM_TYPES[problem], f"problem_type {problem} in {CONFIG}"
    return default_activation(labels)


def _thresholds(extra: _Fields | None) -> dict[str, float] | None:
    table = None if extra is None else extra.mapping("thresholds")
    if extra is None or table is None:
        return None
    nested = _Fields(extra.path, dict(table))
    return {name: nested.number(name, None) for name in table}


@dataclass(frozen=True)
class _Fields:
    """The fields of one JSON file, read with their types checked; messages name the file and the field."""

    path: Path
    data: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> _Fields:
        try:
            if path.stat().st_size > LARGEST_JSON:
                raise UnreadableModel(f"{path}: larger than {LARGEST_JSON // 2**20} MiB: not a configuration")
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise UnreadableModel(f"{path}: cannot read it, truncated or not JSON: {error}") from error
        if not isinstance(data, dict):
            raise NotAModel(f"{path}: expected a JSON object, got {type(data).__name__}")
        return cls(path, data)

    def whole(self, name: str, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= LARGEST:
            raise ShapeMismatch(f"{self.path}: {name}: expected a positive whole number, got {str(value)[:40]}")
        return value

    def integer(self, name: str, default: int | None) -> int:
        return self.whole(name, self.data.get(name, default))

    def number(self, name: str, default: float | None) -> float:
        value = self.data.get(name, default)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
            raise ModelError(f"{self.path}: {name}: expected a finite number, got {str(value)[:40]}")
        return float(value)

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        value = self.data.get(name)
        if value not in allowed:
            raise ModelError(f"{self.path}: {name}: expected {' or '.join(allowed)}, got {str(value)[:40]}")
        return str(value)

    def mapping(self, name: str) -> Mapping[str, Any] | None:
        value = self.data.get(name)
        if value is not None and not isinstance(value, dict):
            raise ModelError(f"{self.path}: {name}: expected a table, got {str(value)[:40]}")
        return value
