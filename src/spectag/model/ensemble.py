"""The ensemble: several networks that answer as one, with the mean of their scores.

On disk it is a folder of bundles (:mod:`spectag.model.directory`) and ``ensemble.json``::

    {"format": 1, "written_by": "spectag 0.1.0", "members": ["member-0", "member-1", "member-2"]}

The paper's Ensemble-S is a recipe trained with three seeds, Ensemble-M those and three more trained with patch strides
of 12, 14 and 16::

    spectag train audioset-full --data AUDIOSET --init DEIT --out runs/s --seeds 3
    spectag train audioset-full --data AUDIOSET --init DEIT --out runs/p12 --set model.stride=12     # also 14 and 16
    spectag ensemble runs/s/seed*/bundle -o ensemble-s
    spectag ensemble ensemble-s runs/p12/bundle runs/p14/bundle runs/p16/bundle -o ensemble-m
    spectag evaluate ensemble-m --data AUDIOSET --split eval

Scores that are in files already can be averaged without scoring again: see ``spectag score``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from spectag.audio.front_end import FrontEnd
from spectag.choices import Activation
from spectag.errors import InputError, LabelMismatch, ModelError, NotAModel
from spectag.files import new_folder, write_text
from spectag.labels import LabelSet
from spectag.model.bundle import Bundle
from spectag.model.card import IN_MEMORY, Card
from spectag.model.fields import ENSEMBLE, Fields, to_json
from spectag.version import __version__

FORMAT = 1  # of ensemble.json
MOST_MEMBERS = 1000  # that a file may ask for
MEMBER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # a plain name: neither a path nor a way out of the folder


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Several bundles that are used as one model. Its scores are the mean of theirs.

    The inputs of a recording are computed once, so the members share labels, activation and front end. Their networks
    may differ in size, patches and strides. Features (``Tagger.embed``) are those of all members, concatenated,
    ``[D_0 + D_1 + ...]``.

    Args:
        members: one or more.
        source: the folder that the ensemble was loaded from. Not saved.
        format: what kind of folder that is. Not saved.

    Raises:
        InputError: no members.
        LabelMismatch: labels that differ.
        ModelError: activations or front ends that differ. Both messages name the member and the field.

    >>> bundle = spectag.load("esc10")
    >>> len(Ensemble((bundle, bundle)).labels)
    10
    """

    members: tuple[Bundle, ...]
    source: str = IN_MEMORY
    format: str = IN_MEMORY

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", tuple(self.members))
        if not self.members:
            raise InputError("ensemble: expected at least one member, got none")
        for number, member in enumerate(self.members[1:], start=1):
            _require_alike(self.members[0], member, number)

    @classmethod
    def of(cls, models: Iterable[Bundle | Ensemble]) -> Ensemble:
        """Combine bundles and the members of ensembles into one ensemble, in which every network has the same weight.

        Raises as the class.

        >>> bundle = spectag.load("esc10")
        >>> len(Ensemble.of([bundle, Ensemble((bundle, bundle))]).members)
        3
        """
        members: list[Bundle] = []
        for model in models:
            members.extend(model.members if isinstance(model, Ensemble) else [model])
        return cls(tuple(members))

    @property
    def card(self) -> Card:
        """The facts that all members share: front end, labels and activation.

        Its geometry is that of the first member. The others may differ in all but mel bins, frames and labels. It has a
        frame head only if all members have one and their frames are the same, so that their scores can be averaged.
        """
        first = self.members[0].card
        columns = {(c.frame_head, c.patch[1], c.stride[1]) for c in (member.card.config for member in self.members)}
        config = replace(first.config, frame_head=first.config.frame_head and len(columns) == 1)
        # Thresholds and unknown sounds are those of each member alone.
        common = replace(first, provenance={}, thresholds=None, event_thresholds=None, unknown=None)
        return replace(common, config=config, source=self.source, format=self.format)

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
        """Turns each member's logits into its scores."""
        return self.members[0].activation

    def save(self, directory: str | os.PathLike[str], *, dtype: torch.dtype = torch.float32) -> Path:
        """Write the members' bundles and ``ensemble.json`` into a new folder, completely or not at all.

        Args:
            directory: must not exist, or be empty.
            dtype: of the weights in the files. float16 halves them; loading always gives float32.

        Raises:
            SaveError: the directory is not empty, writing failed, or dtype cannot hold the weights.
            NonFiniteWeights: NaN or infinite weights are not saved.

        >>> bundle = spectag.load("esc10")
        >>> path = Ensemble((bundle, bundle)).save("both")
        >>> sorted(os.listdir(path))
        ['ensemble.json', 'member-0', 'member-1']
        """
        path = Path(directory)
        names = [f"member-{number}" for number in range(len(self.members))]
        with new_folder(path) as folder:
            for name, member in zip(names, self.members, strict=True):
                member.save(folder / name, dtype=dtype)
            document = {"format": FORMAT, "written_by": f"spectag {__version__}", "members": names}
            write_text(folder / ENSEMBLE, to_json(document))
        return path

    def describe(self) -> dict[str, Any]:
        """All facts as plain data, for ``spectag info``.

        >>> bundle = spectag.load("esc10")
        >>> list(Ensemble((bundle, bundle)).describe()["members"])
        ['member-0', 'member-1']
        """
        facts = [member.describe() for member in self.members]
        shared = self.card.describe()
        own = ("parameters", "network", "provenance")
        return {
            **{name: shared[name] for name in ("source", "format")},
            "parameters": sum(fact["parameters"] for fact in facts),
            **{name: shared[name] for name in ("frame_step", "front_end", "labels", "activation")},
            "members": {f"member-{n}": {name: fact[name] for name in own} for n, fact in enumerate(facts)},
        }


def read_members(folder: Path) -> tuple[list[Path], str]:
    """Read which folders the members of an ensemble are in, and what kind of ensemble it is.

    Raises:
        NotAModel, UnreadableModel, NewerBundle: ``ensemble.json`` is damaged, newer, or names something other than
            folders next to it.

    >>> bundle = spectag.load("esc10")
    >>> read_members(Ensemble((bundle,)).save("one"))
    ([PosixPath('one/member-0')], 'spectag ensemble, format 1')
    """
    file = Fields.read(folder / ENSEMBLE)
    format = file.require_format(FORMAT)
    names = file.data.get("members")
    if not isinstance(names, list) or not 0 < len(names) <= MOST_MEMBERS:
        raise NotAModel(f"{file.path}: members: expected a list of 1 to {MOST_MEMBERS} names, got {str(names)[:40]}")
    for name in names:
        if not isinstance(name, str) or not MEMBER.fullmatch(name):
            raise NotAModel(f"{file.path}: members: expected plain names of folders next to it, got {str(name)[:40]!r}")
        if not (folder / name).is_dir():
            raise NotAModel(f"{file.path}: members: the folder {name} is missing: restore it")
    if len(set(names)) != len(names):
        raise NotAModel(f"{file.path}: members: expected each folder once, got {str(names)[:80]}")
    return [folder / name for name in names], f"spectag ensemble, format {format}"


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
