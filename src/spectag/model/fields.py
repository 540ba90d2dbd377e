"""The JSON files of a model: their names; read with suspicion of every field, written for people and strict readers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spectag.errors import ModelError, NotAModel, ShapeMismatch, UnreadableModel

CONFIG, PREPROCESSOR, WEIGHTS, EXTRA = "config.json", "preprocessor_config.json", "model.safetensors", "spectag.json"
PROCESSOR = "processor_config.json"  # where some versions of transformers nest the preprocessor
MARK = "spectag"  # field of config.json that says so: without its spectag.json the bundle would be read wrongly

LARGEST = 2**31 - 1  # of a whole number in JSON
LARGEST_JSON = 64 * 2**20  # bytes; AudioSet's config.json has 3e4


@dataclass(frozen=True)
class Fields:
    """The fields of one JSON file, read with their types checked; messages name the file and the field."""

    path: Path
    data: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Fields:
        """Raises UnreadableModel (not there, not JSON) or NotAModel (not an object)."""
        try:
            if path.stat().st_size > LARGEST_JSON:
                raise UnreadableModel(f"{path}: larger than {LARGEST_JSON // 2**20} MiB: not a configuration")
            data = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
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


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write one document of plain values, readable by people."""
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def is_marked(config: Path) -> bool:
    """Whether a ``config.json`` is a bundle's, which is not complete without its ``spectag.json``.

    Raises:
        UnreadableModel, NotAModel: not JSON, or not an object.
    """
    return MARK in Fields.read(config).data
