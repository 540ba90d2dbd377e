"""spectag: tag, train, reproduce and deploy the Audio Spectrogram Transformer.

The names below are imported when they are first asked for, so that ``import spectag`` costs no work and no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from spectag import errors
from spectag.version import __version__

if TYPE_CHECKING:
    from spectag.audio.fbank import FrontEnd, fbank
    from spectag.audio.read import read
    from spectag.engines.base import Engine
    from spectag.engines.factory import make_engine
    from spectag.errors import AudioError, DataError, FileError, InputError, ModelError, SpectagError
    from spectag.labels import LabelSet
    from spectag.model.bundle import Bundle
    from spectag.model.card import Card
    from spectag.model.config import ASTConfig
    from spectag.model.ensemble import Ensemble
    from spectag.model.loading import load, read_checkpoint
    from spectag.model.network import AST
    from spectag.tag.results import ClipTags, Tag
    from spectag.tag.tagger import Tagger

_HOME = {
    "AST": "spectag.model.network",
    "ASTConfig": "spectag.model.config",
    "AudioError": "spectag.errors",
    "Bundle": "spectag.model.bundle",
    "Card": "spectag.model.card",
    "ClipTags": "spectag.tag.results",
    "DataError": "spectag.errors",
    "Engine": "spectag.engines.base",
    "Ensemble": "spectag.model.ensemble",
    "FileError": "spectag.errors",
    "FrontEnd": "spectag.audio.fbank",
    "InputError": "spectag.errors",
    "LabelSet": "spectag.labels",
    "ModelError": "spectag.errors",
    "SpectagError": "spectag.errors",
    "Tag": "spectag.tag.results",
    "Tagger": "spectag.tag.tagger",
    "fbank": "spectag.audio.fbank",
    "load": "spectag.model.loading",
    "make_engine": "spectag.engines.factory",
    "read": "spectag.audio.read",
    "read_checkpoint": "spectag.model.loading",
}

__all__ = [
    "AST",
    "ASTConfig",
    "AudioError",
    "Bundle",
    "Card",
    "ClipTags",
    "DataError",
    "Engine",
    "Ensemble",
    "FileError",
    "FrontEnd",
    "InputError",
    "LabelSet",
    "ModelError",
    "SpectagError",
    "Tag",
    "Tagger",
    "__version__",
    "errors",
    "fbank",
    "load",
    "make_engine",
    "read",
    "read_checkpoint",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'spectag' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
