"""AST directories as ``transformers`` writes them: ``config.json``, ``preprocessor_config.json`` and weights.

No torch is needed to read what they say, only to read the weights.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from spectag.audio.front_end import FrontEnd
from spectag.choices import Activation
from spectag.errors import GuessWarning, InputError, LabelMismatch, NotAModel, ShapeMismatch
from spectag.labels import LabelSet
from spectag.model.card import Card, default_activation, warn_of_softmax
from spectag.model.config import ASTConfig
from spectag.model.fields import CONFIG, PREPROCESSOR, PROCESSOR, Fields
from spectag.model.given import Given, fresh_labels
from spectag.model.keys import KeyTable

AST = "audio_spectrogram_transformer"
LAYER, LAYER_5 = f"{AST}.encoder.layer.*", f"{AST}.layers.*"

# The names of the Hub's checkpoints. Every version of transformers reads them, so they are also those of our bundles.
TRANSFORMERS = KeyTable(
    "transformers'",
    {
        "tokens": f"{AST}.embeddings.cls_token {AST}.embeddings.distillation_token",
        "pos_embed": f"{AST}.embeddings.position_embeddings",
        "patch_embed.proj": f"{AST}.embeddings.patch_embeddings.projection",
        "blocks.*.norm1": f"{LAYER}.layernorm_before",
        "blocks.*.attn.qkv": " ".join(f"{LAYER}.attention.attention.{part}" for part in ("query", "key", "value")),
        "blocks.*.attn.proj": f"{LAYER}.attention.output.dense",
        "blocks.*.norm2": f"{LAYER}.layernorm_after",
        "blocks.*.mlp.fc1": f"{LAYER}.intermediate.dense",
        "blocks.*.mlp.fc2": f"{LAYER}.output.dense",
        "norm": f"{AST}.layernorm",
        "head.norm": "classifier.layernorm",
        "head.linear": "classifier.dense",
    },
    root=f"{AST}.",
)
# Names that transformers 5 can write as well.
TRANSFORMERS_5 = KeyTable(
    "transformers 5's",
    {
        **TRANSFORMERS.names,
        "blocks.*.norm1": f"{LAYER_5}.layernorm_before",
        "blocks.*.attn.qkv": " ".join(f"{LAYER_5}.attention.{part}_proj" for part in ("q", "k", "v")),
        "blocks.*.attn.proj": f"{LAYER_5}.attention.o_proj",
        "blocks.*.norm2": f"{LAYER_5}.layernorm_after",
        "blocks.*.mlp.fc1": f"{LAYER_5}.mlp.fc1",
        "blocks.*.mlp.fc2": f"{LAYER_5}.mlp.fc2",
    },
    root=f"{AST}.",
)
HEAD_BIAS = "classifier.dense.bias"  # in both; as long as there are outputs

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


def read_huggingface_card(folder: Path, config: Fields, outputs: int | None, given: Given) -> Card:
    """Read everything but the weights of a directory that ``transformers`` wrote.

    Args:
        folder: the directory.
        config: its ``config.json``.
        outputs: outputs of the head in the weights, which the labels must fit; 0 where there is no head, and None where
            that is not known.
        given: options of the caller.

    Raises:
        ModelError: one of its subclasses; the message names file and field.

    Warns:
        GuessWarning: labels or activation are guessed.

    >>> folder = spectag.load("esc10").save("copy")
    >>> read_huggingface_card(folder, Fields.read(folder / "config.json"), outputs=10, given=Given()).activation
    'softmax'
    """
    names = read_names(config, outputs)
    if outputs == 0 and (given.labels or names is None):
        labels = fresh_labels(given, config.path)
    else:
        labels = _guess_labels(config, outputs, given) if names is None else _known_labels(config, names)
    geometry = read_geometry(config, len(labels))
    activation, reason = _read_activation(config, labels, given, trained=outputs != 0)
    return Card(
        config=geometry,
        front_end=read_front_end(folder, geometry),
        labels=labels,
        activation=activation,
        activation_from=reason,
        format="transformers",
    )


def read_names(config: Fields, outputs: int | None) -> tuple[str, ...] | None:
    """The labels in ``config.json``, in the order of the outputs; None where it has none.

    Raises:
        LabelMismatch: an output without a label, or not as many labels as outputs.

    >>> read_names(Fields(Path("config.json"), {"id2label": {"0": "owl", "1": "fox"}}), outputs=2)
    ('owl', 'fox')
    """
    table = config.mapping("id2label")
    if table is None:
        return None
    names = tuple(table.get(str(n)) for n in range(len(table)))
    if None in names:
        raise LabelMismatch(
            f"{config.path}: id2label: expected the numbers 0 to {len(table) - 1}, {names.index(None)} is missing"
        )
    if outputs and outputs != len(names):
        raise LabelMismatch(f"{config.path}: id2label: {len(names)} labels do not fit a head of {outputs} outputs")
    return names  # type: ignore[return-value]  # that each is text is LabelSet's to check


def read_geometry(config: Fields, labels: int, frame_head: bool = False) -> ASTConfig:
    """The geometry in ``config.json``, which has no field for a frame head.

    Raises:
        NotAModel: another architecture.
        ShapeMismatch: an impossible geometry.

    >>> config = Fields(Path("config.json"), {"model_type": "audio-spectrogram-transformer", "hidden_size": 192})
    >>> read_geometry(config, labels=10).width
    192
    """
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
            patch=(config.whole("patch_size", pair[0]), config.whole("patch_size", pair[1])),
            stride=(config.integer("frequency_stride", 10), config.integer("time_stride", 10)),
            labels=labels,
            tokens=config.integer("class_tokens", 2) if kind == OWN_MODEL_TYPE else 2,
            norm_eps=config.number("layer_norm_eps", 1e-12),
            frame_head=frame_head,
        )
    except ShapeMismatch as error:
        raise ShapeMismatch(str(error) if str(config.path) in str(error) else f"{config.path}: {error}") from error


def read_front_end(folder: Path, geometry: ASTConfig) -> FrontEnd:
    """The front end in ``preprocessor_config.json``, with a Hann window, the only one that transformers knows.

    Raises:
        NotAModel: no such file, or that of another kind of model.
        ShapeMismatch: an impossible front end, or one that does not fit the geometry.

    >>> _ = Path("preprocessor_config.json").write_text('{"mean": -6.5}')
    >>> read_front_end(Path("."), ASTConfig()).mean
    -6.5
    """
    if (folder / PREPROCESSOR).exists():
        fields = Fields.read(folder / PREPROCESSOR)
    elif (folder / PROCESSOR).exists():
        processor = Fields.read(folder / PROCESSOR)
        fields = Fields(processor.path, processor.mapping("feature_extractor") or {})
    else:
        raise NotAModel(f"{folder}: {PREPROCESSOR} is missing: the front end is unknown")
    kind = fields.data.get("feature_extractor_type", EXTRACTOR)
    if kind != EXTRACTOR:
        raise NotAModel(f"{fields.path}: feature_extractor_type: expected {EXTRACTOR}, got {kind!r}")
    mean, std = fields.number("mean", FrontEnd.mean), fields.number("std", FrontEnd.std)  # transformers' defaults too
    if fields.data.get("do_normalize", True) is False:
        mean, std = 0.0, 0.5  # (x - 0) / (2 * 0.5) = x
    try:
        front_end = FrontEnd(
            window="hanning",
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


def config_document(card: Card) -> dict[str, Any]:
    """Make the content of ``config.json``, the inverse of :func:`read_names` and :func:`read_geometry`.

    >>> config_document(spectag.load("esc10").card)["hidden_size"]
    128
    """
    c = card.config
    model_type = OWN_MODEL_TYPE if find_obstacles(card) else MODEL_TYPE
    problem_types = {activation: name for name, activation in PROBLEM_TYPES.items()}
    return {
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
        **({"class_tokens": c.tokens} if model_type == OWN_MODEL_TYPE else {}),
    }


def find_obstacles(card: Card) -> list[str]:
    """Why ``transformers`` cannot open the bundle of a model; nothing where it can.

    >>> find_obstacles(spectag.load("esc10").card)
    ['its patches of 128x8 are not square']
    """
    patch, tokens = card.config.patch, card.config.tokens
    obstacles = [] if patch[0] == patch[1] else [f"its patches of {patch[0]}x{patch[1]} are not square"]
    return obstacles + ([] if tokens == 2 else ["it has one class token, not two"])


def compare_with_transformers(card: Card) -> str | None:
    """What ``transformers`` would make of the bundle of a model, in one sentence; None where it does the same.

    >>> compare_with_transformers(spectag.load("esc10").card)
    'transformers cannot open it: its patches of 128x8 are not square'
    """
    if obstacles := find_obstacles(card):
        return f"transformers cannot open it: {' and '.join(obstacles)}"
    if card.front_end.window != "hanning":
        return "transformers opens it, but its scores differ: it knows no Hamming window and uses Hann"
    if card.config.frame_head:
        return "transformers opens it and gives the same scores of clips, but no scores of frames: it ignores that head"
    return None


def preprocessor_document(card: Card) -> dict[str, Any]:
    """Make the content of ``preprocessor_config.json``, the inverse of :func:`read_front_end`.

    >>> preprocessor_document(spectag.load("esc10").card)["sampling_rate"]
    16000
    """
    return {
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


def _known_labels(config: Fields, names: tuple[str, ...]) -> LabelSet:
    try:
        return LabelSet.named(names)
    except InputError as error:
        raise LabelMismatch(f"{config.path}: id2label: {error}") from error


def _guess_labels(config: Fields, outputs: int | None, given: Given) -> LabelSet:
    if outputs is None:
        raise LabelMismatch(f"{config.path}: id2label is missing: expected the name of every output")
    labels = LabelSet.for_outputs(outputs)
    if given.labels is None:
        warnings.warn(
            f"{config.path}: id2label is missing: the labels {labels.names[0]}, ... are a guess from {outputs} "
            "outputs: give labels=",
            GuessWarning,
            stacklevel=2,
        )
    return labels


def _read_activation(config: Fields, labels: LabelSet, given: Given, trained: bool) -> tuple[Activation, str]:
    if config.data.get("problem_type") == "regression":
        raise NotAModel(f"{config.path}: problem_type is regression: this head predicts numbers, and tags need scores")
    if config.data.get("problem_type") is not None:
        problem = config.choice("problem_type", tuple(PROBLEM_TYPES))
        warn_of_softmax(PROBLEM_TYPES[problem], len(labels), f"{config.path}: problem_type")
        return PROBLEM_TYPES[problem], f"problem_type {problem} in {CONFIG}"
    activation, reason = default_activation(len(labels))
    if given.activation is None and trained and not labels.is_published:
        warnings.warn(
            f"{config.path}: problem_type is missing: the activation {activation} is a guess for {len(labels)} "
            f"label{'s' if len(labels) > 1 else ''}: give activation=",
            GuessWarning,
            stacklevel=2,
        )
    return activation, reason
