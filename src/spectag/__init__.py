"""spectag: tag, train, reproduce and deploy the Audio Spectrogram Transformer.

The names below are imported when they are first asked for, so that ``import spectag`` costs no work and no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from spectag import errors
from spectag.version import __version__

if TYPE_CHECKING:
    from spectag.audio.fbank import compute_inputs as compute_inputs, fbank as fbank
    from spectag.audio.find import find_recordings as find_recordings
    from spectag.audio.front_end import FrontEnd as FrontEnd
    from spectag.audio.read import Recording as Recording, read as read
    from spectag.audio.source import Segment as Segment
    from spectag.engines.base import Engine as Engine
    from spectag.engines.factory import make_engine as make_engine
    from spectag.errors import (
        AudioError as AudioError,
        DataError as DataError,
        FileError as FileError,
        InputError as InputError,
        ModelError as ModelError,
        SpectagError as SpectagError,
    )
    from spectag.labels import LabelSet as LabelSet
    from spectag.model.bundle import Bundle as Bundle
    from spectag.model.card import Card as Card
    from spectag.model.config import ASTConfig as ASTConfig
    from spectag.model.ensemble import Ensemble as Ensemble
    from spectag.model.loading import load as load, read_checkpoint as read_checkpoint
    from spectag.model.network import AST as AST
    from spectag.tag.detector import Detector as Detector
    from spectag.tag.events import EventRule as EventRule
    from spectag.tag.listener import Listener as Listener, Moment as Moment
    from spectag.tag.results import (
        ClipFeatures as ClipFeatures,
        ClipScores as ClipScores,
        ClipTags as ClipTags,
        Event as Event,
        Tag as Tag,
        Timeline as Timeline,
    )
    from spectag.tag.tagger import Tagger as Tagger

_MODULES = {
    "spectag.audio.fbank": ("compute_inputs", "fbank"),
    "spectag.audio.find": ("find_recordings",),
    "spectag.audio.front_end": ("FrontEnd",),
    "spectag.audio.read": ("Recording", "read"),
    "spectag.audio.source": ("Segment",),
    "spectag.engines.base": ("Engine",),
    "spectag.engines.factory": ("make_engine",),
    "spectag.errors": ("AudioError", "DataError", "FileError", "InputError", "ModelError", "SpectagError"),
    "spectag.labels": ("LabelSet",),
    "spectag.model.bundle": ("Bundle",),
    "spectag.model.card": ("Card",),
    "spectag.model.config": ("ASTConfig",),
    "spectag.model.ensemble": ("Ensemble",),
    "spectag.model.loading": ("load", "read_checkpoint"),
    "spectag.model.network": ("AST",),
    "spectag.tag.detector": ("Detector",),
    "spectag.tag.events": ("EventRule",),
    "spectag.tag.listener": ("Listener", "Moment"),
    "spectag.tag.results": ("ClipFeatures", "ClipScores", "ClipTags", "Event", "Tag", "Timeline"),
    "spectag.tag.tagger": ("Tagger",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = ["__version__", "errors", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'spectag' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
