"""What a job does: the model and the options that decide its results. Only equal runs may share a journal."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from spectag.errors import SaveError
from spectag.labels import LabelSet
from spectag.version import __version__

if TYPE_CHECKING:
    from spectag.engines.artefact import Artefact
    from spectag.model.bundle import Bundle
    from spectag.model.card import Card
    from spectag.model.ensemble import Ensemble

Plain: TypeAlias = "str | int | float | bool | None"

_NOT_RESULTS = ("provenance", "activation_from", "format", "source")  # fields of a card that no score depends on


@dataclass(frozen=True)
class Run:
    """The fingerprint of a job.

    Args:
        model: digest of the model, see :func:`digest_of_model`.
        options: those that decide the results, by the names that the command line gives them.
        shard: which part of the files, as ``1/4``; None for all of them.
        version: of spectag.

    >>> Run("5f1c", {"top-k": 5}).to_dict()
    {'model': '5f1c', 'options': {'top-k': 5}, 'shard': None, 'version': '...'}
    """

    model: str
    options: Mapping[str, Plain] = field(default_factory=dict)
    shard: str | None = None
    version: str = __version__

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a journal."""
        return {"model": self.model, "options": dict(self.options), "shard": self.shard, "version": self.version}

    @classmethod
    def from_dict(cls, values: Any) -> Run:
        """Read what :meth:`to_dict` wrote. Raises KeyError or TypeError for anything else."""
        options = {str(name): value for name, value in values["options"].items()}
        shard = None if values["shard"] is None else str(values["shard"])
        return cls(str(values["model"]), options, shard, str(values["version"]))

    def require_same(self, other: Run, path: str, advice: str) -> None:
        """Check that another run gives the same results.

        Args:
            other: what is asked for now; ``self`` is what was done.
            path: of the file with what was done, for the message.
            advice: what to do, for the message.

        Raises:
            SaveError: it does not; the message names the first difference.

        >>> Run("5f1c", {"top-k": 5}).require_same(Run("5f1c", {"top-k": 3}), "a.jsonl", "begin again")
        Traceback (most recent call last):
        spectag.errors.SaveError: a.jsonl: was made with --top-k 5, not with --top-k 3: begin again
        """
        was, now = self._described(), other._described()
        for name in dict.fromkeys([*was, *now]):
            if was.get(name) != now.get(name):
                made, asked = was.get(name, f"no {name}"), now.get(name, f"no {name}")
                raise SaveError(f"{path}: was made with {made}, not with {asked}: {advice}")

    def _described(self) -> dict[str, str]:
        """Each fact in words, by its name; those that do not matter are left out."""
        options = {
            f"--{name}": f"--{name} {value}".removesuffix(" True")
            for name, value in self.options.items()
            if value is not None and value is not False
        }
        shard = {} if self.shard is None else {"--shard": f"--shard {self.shard}"}
        return {"version": f"spectag {self.version}", "model": f"the model {self.model[:12]}", **options, **shard}


def digest_of_model(model: Bundle | Ensemble | Artefact | Card) -> str:
    """A digest of all that scores depend on: weights, front end, labels and activation. Names and paths do not count.

    Args:
        model: a card, where another engine runs the network, has no weights; they are not covered then.

    >>> digest_of_model(spectag.load("esc10")) == digest_of_model(spectag.load("esc10"))
    True
    """
    digest = hashlib.sha256()
    for member in getattr(model, "members", (model,)):
        card = getattr(member, "card", member)
        for item in sorted(fields(card), key=lambda item: item.name):
            if item.name not in _NOT_RESULTS and (value := getattr(card, item.name)) is not None:
                digest.update(item.name.encode())
                _feed(digest, value)
        digest.update(getattr(member, "digest", "").encode())  # of the graph of an exported model
        network = getattr(member, "network", None)
        for name, tensor in sorted(network.state_dict().items()) if network is not None else ():
            digest.update(name.encode())
            _feed(digest, tensor.detach().cpu().numpy())
    return digest.hexdigest()


def _feed(digest: hashlib._Hash, value: Any) -> None:
    """Add a value to a digest: an array, an object with fields, or a plain value."""
    if isinstance(value, np.ndarray):
        digest.update(f"{value.dtype} {value.shape}\n".encode())
        digest.update(np.ascontiguousarray(value).data.cast("B") if value.size else b"")
    elif isinstance(value, LabelSet):
        digest.update(repr(value.names).encode())
    elif is_dataclass(value) and not isinstance(value, type):
        for item in fields(value):
            digest.update(item.name.encode())
            _feed(digest, getattr(value, item.name))
    else:
        digest.update(f"{value!r}\n".encode())
