"""The JSON files of a model: their names, and functions that read and write them. Every field is checked."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from spectag.errors import ModelError, NewerBundle, NotAModel, ShapeMismatch, UnreadableModel

CONFIG, PREPROCESSOR, WEIGHTS, EXTRA = "config.json", "preprocessor_config.json", "model.safetensors", "spectag.json"
PROCESSOR = "processor_config.json"  # where some versions of transformers nest the preprocessor
UNKNOWN = "unknown.safetensors"  # in a bundle that tells unknown sounds
NOVEL = "unknown"  # field of its spectag.json
ENSEMBLE = "ensemble.json"  # in a folder of bundles that are used as one model
ENGINE = "engine.json"  # in an exported model
MARK = "spectag"  # field of a bundle's config.json: without its spectag.json the bundle would be read wrongly

LARGEST = 2**31 - 1  # largest whole number that is accepted
LARGEST_JSON = 64 * 2**20  # bytes; AudioSet's config.json has 3e4

Word = TypeVar("Word", bound=str)


@dataclass(frozen=True)
class Fields:
    """The fields of one JSON file, read with their types checked. Messages name the file and the field.

    >>> fields = Fields(Path("config.json"), {"hidden_size": 768, "layer_norm_eps": "tiny"})
    >>> fields.integer("hidden_size", None), fields.integer("num_hidden_layers", 12)
    (768, 12)
    >>> fields.number("layer_norm_eps", None)
    Traceback (most recent call last):
    spectag.errors.ModelError: config.json: layer_norm_eps: expected a finite number, got tiny
    """

    path: Path
    data: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Fields:
        """Read a file.

        Raises:
            UnreadableModel: the file does not exist, is too large, or is not JSON.
            NotAModel: it holds something other than an object.
        """
        try:
            if path.stat().st_size > LARGEST_JSON:
                raise UnreadableModel(f"{path}: larger than {LARGEST_JSON // 2**20} MiB: not a configuration")
            data = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
        except json.JSONDecodeError as error:
            place = f"line {error.lineno}, column {error.colno}"
            raise UnreadableModel(f"{path}: cannot read it, truncated or not JSON in {place}: restore it") from error
        except (OSError, ValueError, RecursionError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UnreadableModel(f"{path}: cannot read it, truncated or not JSON: {reason}") from error
        if not isinstance(data, dict):
            raise NotAModel(f"{path}: expected a JSON object, got {type(data).__name__}")
        return cls(path, data)

    def require_format(self, newest: int) -> int:
        """Return the field ``format``, if this spectag knows it.

        Args:
            newest: the newest format that it reads.

        Raises:
            ShapeMismatch: the field is missing or not a positive whole number.
            NewerBundle: a newer spectag wrote the file.
        """
        found = self.integer("format", None)
        if found > newest:
            raise NewerBundle(
                f"{self.path}: format {found} is newer than {newest}, the newest that this spectag reads: "
                "pip install --upgrade spectag"
            )
        return found

    def whole(self, name: str, value: Any) -> int:
        """Check that a value is a positive whole number. Raises ShapeMismatch."""
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= LARGEST:
            raise ShapeMismatch(f"{self.path}: {name}: expected a positive whole number, got {str(value)[:40]}")
        return value

    def integer(self, name: str, default: int | None) -> int:
        """Return a field that holds a positive whole number. Raises ShapeMismatch."""
        return self.whole(name, self.data.get(name, default))

    def number(self, name: str, default: float | None) -> float:
        """Return a field that holds a finite number. Raises ModelError."""
        value = self.data.get(name, default)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
            raise ModelError(f"{self.path}: {name}: expected a finite number, got {str(value)[:40]}")
        return float(value)

    def choice(self, name: str, allowed: tuple[Word, ...]) -> Word:
        """Return a field that holds one of some words. Raises ModelError."""
        value = self.data.get(name)
        if value not in allowed:
            raise ModelError(f"{self.path}: {name}: expected {' or '.join(allowed)}, got {str(value)[:40]}")
        return allowed[allowed.index(value)]

    def flag(self, name: str) -> bool:
        """Return a field that holds true or false; false where there is none. Raises ModelError."""
        value = self.data.get(name, False)
        if not isinstance(value, bool):
            raise ModelError(f"{self.path}: {name}: expected true or false, got {str(value)[:40]}")
        return value

    def mapping(self, name: str) -> Mapping[str, Any] | None:
        """Return a field that holds a table, or None where there is none. Raises ModelError."""
        value = self.data.get(name)
        if value is not None and not isinstance(value, dict):
            raise ModelError(f"{self.path}: {name}: expected a table, got {str(value)[:40]}")
        return value


def to_json(document: Mapping[str, Any]) -> str:
    """Turn plain values into the text of a JSON file.

    Raises:
        ValueError, TypeError, RecursionError: a value is not plain: NaN, infinite, or of another type.

    >>> to_json({"format": 1})
    '{\\n  "format": 1\\n}\\n'
    """
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def is_marked(config: Fields) -> bool:
    """Whether a ``config.json`` belongs to a bundle, which is not complete without its ``spectag.json``.

    >>> is_marked(Fields(Path("config.json"), {"model_type": "audio-spectrogram-transformer", "spectag": 1}))
    True
    """
    return MARK in config.data


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number in JSON")
