"""The ensemble: several networks that answer as one, by the mean of their scores; and :func:`load`, for any model.

On disk it is a folder of bundles (:mod:`spectag.model.directory`) and ``ensemble.json``::

    {"format": 1, "written_by": "spectag 0.1.0", "members": ["member-0", "member-1", "member-2"]}

The paper's Ensemble-S is a recipe trained with three seeds, Ensemble-M those and three more trained with patch strides
of 12, 14 and 16::

    spectag train audioset-full --data AUDIOSET --init DEIT --out runs/s --seeds 3
    spectag train audioset-full --data AUDIOSET --init DEIT --out runs/p12 --set model.stride=12     # likewise 14, 16
    spectag ensemble runs/s/seed*/bundle -o ensemble-s
    spectag ensemble ensemble-s runs/p12/bundle runs/p14/bundle runs/p16/bundle -o ensemble-m
    spectag evaluate ensemble-m --data AUDIOSET --split eval

What has already been scored can be averaged without scoring again: see :mod:`spectag.score.table`.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from spectag.audio.front_end import FrontEnd
from spectag.choices import Activation
from spectag.errors import InputError, LabelMismatch, ModelError, NewerBundle, NotAModel, SaveError
from spectag.labels import LabelSet
from spectag.model import bundle
from spectag.model.bundle import ENSEMBLE, Bundle
from spectag.model.card import IN_MEMORY, Card
from spectag.model.fields import Fields, write_json
from spectag.version import __version__

FORMAT = 1  # of ensemble.json
MOST_MEMBERS = 1000  # what a file may ask for
MEMBER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # a plain name: neither a path nor a way out of the folder


@dataclass
class Ensemble:
    """Several bundles used as one model: its scores are the mean of theirs, each by its own network and activation.

    A recording's inputs are computed once, so the members share labels, activation and front end; their networks may
    differ in size, patches and strides. Features (:meth:`spectag.tag.tagger.Tagger.embed`) are those of all members,
    one after the other: ``[D_0 + D_1 + ...]``.

    Args:
        members: one or more.
        source: the folder that the ensemble was loaded from. Not saved.
        format: what kind of folder that is. Not saved.

    Raises:
        InputError: no members.
        LabelMismatch: labels that differ.
        ModelError: activations or front ends that differ. Both messages name the member and the field.
    """

    members: tuple[Bundle, ...]
    source: str = IN_MEMORY
    format: str = IN_MEMORY

    def __post_init__(self) -> None:
        self.members = tuple(self.members)
        if not self.members:
            raise InputError("ensemble: expected at least one member, got none")
        for number, member in enumerate(self.members[1:], start=1):
            _require_alike(self.members[0], member, number)

    @classmethod
    def of(cls, models: Iterable[Bundle | Ensemble]) -> Ensemble:
        """Of bundles and of the members of ensembles: flat, so that every network weighs the same. Raises as above."""
        parts = (model.members if isinstance(model, Ensemble) else (model,) for model in models)
        return cls(tuple(member for part in parts for member in part))

    @property
    def card(self) -> Card:
        """The facts that all members share: front end, labels and activation.

        Its geometry is that of the first member; the others may differ in all but mel bins, frames and labels.
        """
        return replace(self.members[0].card, provenance={}, source=self.source, format=self.format)

    @property
    def front_end(self) -> FrontEnd:
        """Turns waveforms into the inputs of all members."""
        return self.members[0].front_end

    @property
    def labels(self) -> LabelSet:
        """Names of the scores, in order."""
        return self.members[0].labels

    @property
    def activation(self) -> Activation:
        """What turns each member's logits into its scores."""
        return self.members[0].activation

    def save(self, directory: str | os.PathLike[str], *, dtype: torch.dtype = torch.float32) -> Path:
        """Write the members' bundles and ``ensemble.json`` into a new folder, all or nothing.

        Args:
            directory: must not exist, or be empty.
            dtype: of the weights in the files, float16 halves them; loading always gives float32.

        Raises:
            SaveError: there is something already, the disk is full, say, or dtype cannot hold the weights.
            NonFiniteWeights: NaN or infinite weights are not saved.
        """
        path = Path(directory)
        require_new(path)
        names = [f"member-{number}" for number in range(len(self.members))]
        document = {"format": FORMAT, "written_by": f"spectag {__version__}", "members": names}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".saving-", dir=path.parent) as scratch:
                built = Path(scratch, "ensemble")
                for name, member in zip(names, self.members, strict=True):
                    member.save(built / name, dtype=dtype)
                write_json(built / ENSEMBLE, document)
                if path.exists():
                    path.rmdir()
                built.rename(path)
        except (OSError, SaveError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise SaveError(f"{path}: cannot save the ensemble, nothing was written: {reason}") from error
        return path

    def describe(self) -> dict[str, Any]:
        """All that the ensemble knows but the weights, as plain data, for ``spectag info``."""
        facts = [member.describe() for member in self.members]
        shared = self.card.describe()
        own = ("parameters", "network", "provenance")
        return {
            **{name: shared[name] for name in ("source", "format")},
            "parameters": sum(fact["parameters"] for fact in facts),
            **{name: shared[name] for name in ("front_end", "labels", "activation")},
            "members": {f"member-{n}": {name: fact[name] for name in own} for n, fact in enumerate(facts)},
        }


def load(source: str | os.PathLike[str], **options: Any) -> Bundle | Ensemble:
    """Load a model from wherever it is: an :class:`Ensemble` from the folder of one, else a :class:`Bundle`.

    Where only one network will do, :func:`spectag.model.bundle.load` is the same without ensembles.

    Args:
        source: a path, a known name (``esc10``, ``audioset``, ``speech-commands``) or a Hub id, as
            :func:`spectag.model.bundle.load` lists them; or the folder of an ensemble.
        options: those of :func:`spectag.model.bundle.load` (``stride=``, ``labels=``, ``activation=``, ...); none for
            an ensemble.

    Raises:
        ModelError: one of its subclasses, see :mod:`spectag.errors`.
        InputError: an option that does not apply to the source, or a source that is no path or name.

    Warns:
        SpectagWarning: the geometry is a guess, or a head is freshly drawn.
    """
    if not (isinstance(source, (str, os.PathLike)) and is_ensemble(source)):
        return bundle.load(source, **options)
    for name in options:
        raise InputError(f"{source}: {name}= is for one network; the members of an ensemble say so themselves")
    return _read(Path(source).expanduser(), str(source))


def is_ensemble(source: str | os.PathLike[str]) -> bool:
    """Whether a source is the folder of an ensemble; no torch is needed to tell."""
    return os.fspath(source) != "" and (Path(source).expanduser() / ENSEMBLE).is_file()


def require_new(directory: Path) -> None:
    """Raises SaveError where something is there already, but an empty folder."""
    if directory.exists() and not (directory.is_dir() and not any(directory.iterdir())):
        raise SaveError(f"{directory}: there is something already: name a new directory")


def _read(directory: Path, source: str) -> Ensemble:
    file = Fields.read(directory / ENSEMBLE)
    if file.integer("format", None) > FORMAT:
        raise NewerBundle(
            f"{file.path}: format {file.data['format']} is newer than {FORMAT}, the newest that this spectag reads: "
            "pip install --upgrade spectag"
        )
    names = file.data.get("members")
    if not isinstance(names, list) or not 0 < len(names) <= MOST_MEMBERS:
        raise NotAModel(f"{file.path}: members: expected a list of 1 to {MOST_MEMBERS} names, got {str(names)[:40]}")
    for name in names:
        if not isinstance(name, str) or not MEMBER.fullmatch(name):
            raise NotAModel(f"{file.path}: members: expected plain names of folders beside it, got {str(name)[:40]!r}")
        if not (directory / name).is_dir():
            raise NotAModel(f"{file.path}: members: the folder {name} is missing: restore it")
    if len(set(names)) != len(names):
        raise NotAModel(f"{file.path}: members: expected each folder once, got {str(names)[:80]}")
    members = tuple(bundle.load(directory / name) for name in names)
    try:
        return Ensemble(members, source, f"spectag ensemble, format {file.data['format']}")
    except ModelError as error:
        raise type(error)(f"{directory}: {error}") from error


def _require_alike(first: Bundle, other: Bundle, number: int) -> None:
    where = f"member {number} ({other.card.source})"
    advice = "inputs are computed once for all; such models' scores can be averaged: spectag score, spectag ensemble"
    ours, theirs = first.labels.names, other.labels.names
    if len(ours) != len(theirs):
        raise LabelMismatch(f"{where}: labels: expected {len(ours)} as member 0 has, got {len(theirs)}; {advice}")
    pairs: dict[str, tuple[object, object]] = {
        **{f"label {n}": pair for n, pair in enumerate(zip(ours, theirs, strict=True))},
        "activation": (first.activation, other.activation),
        **{f.name: (getattr(first.front_end, f.name), getattr(other.front_end, f.name)) for f in fields(FrontEnd)},
    }
    for name, (wanted, got) in pairs.items():
        if wanted != got:
            kind = LabelMismatch if name.startswith("label ") else ModelError
            raise kind(f"{where}: {name}: expected {wanted} as member 0 has, got {got}; {advice}")
