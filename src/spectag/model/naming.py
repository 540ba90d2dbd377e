"""What a file calls the tensors of this network: its key table, behind whatever other programs put before the names."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from spectag.errors import KeyMismatch, NotAModel, ShapeMismatch
from spectag.model.adapt import State
from spectag.model.deit import DEIT
from spectag.model.huggingface import TRANSFORMERS, TRANSFORMERS_5
from spectag.model.keys import KeyTable, list_some
from spectag.model.official import OFFICIAL

TABLES = (OFFICIAL, DEIT, TRANSFORMERS, TRANSFORMERS_5)
# What torch puts between the parts of a name where a module is wrapped: by DataParallel, DistributedDataParallel and
# AveragedModel; by compile; by FSDP; by activation checkpointing.
WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})

OWN = frozenset({"tokens", "patch_embed.proj.weight", "head.linear.weight"})  # among the names of this package


@dataclass(frozen=True)
class Naming:
    """How a file's names follow from those of a table.

    Args:
        table: the table.
        prefix: what all names of the file begin with, for example ``model.``.
        root: what the file leaves out in front of the table's names.

    >>> Naming(OFFICIAL, "net.", "").spell("module.net.v.cls_token")
    'v.cls_token'
    """

    table: KeyTable
    prefix: str
    root: str

    def spell(self, key: str) -> str:
        """The table's name for a name of the file."""
        return self.root + _unwrap(key).removeprefix(self.prefix)


def find_naming(keys: Collection[str]) -> Naming | None:
    """Find out what a file's names are. None where they are those of no table.

    The shortest prefix wins, so that ``v.`` of the authors' names is not taken for one.

    >>> find_naming([f"model.{name}.bias" for name in TRANSFORMERS.names.values()]) is None  # not enough of a table
    True
    """
    names = [_unwrap(key) for key in keys]
    levels = zip(*(name.split(".")[:-1] for name in names), strict=False)
    shared = [parts[0] for parts in takewhile(lambda parts: len(set(parts)) == 1, levels)]
    for count in range(len(shared) + 1):
        prefix = "".join(f"{part}." for part in shared[:count])
        short = {name.removeprefix(prefix) for name in names}
        for root in sorted({table.root for table in TABLES}):
            if table := recognise_table({root + name for name in short}):
                return Naming(table, prefix, root)
    return None


def recognise_table(keys: Collection[str]) -> KeyTable | None:
    """The table that most of these keys are in.

    None where less than half of a table is there. Only one layer counts, so that a missing tensor is an error of its
    own rather than an unknown file.

    >>> recognise_table(["v.cls_token"]) is None
    True
    """
    tables = [(table, {key for row in table.rows(depth=1, tokens=2) for key in row.theirs}) for table in TABLES]
    best, names = max(tables, key=lambda pair: len(pair[1].intersection(keys)))
    return best if 2 * len(names.intersection(keys)) >= len(names) else None


def rename(state: State, path: Path) -> tuple[KeyTable, State]:
    """Give the tensors of a file the names of its table, and leave out the integers beside the weights.

    Such integers are counters of batches or of averaged states, for example. Those of a pretraining stay.

    Raises:
        NotAModel: the names are those of no table.
        ShapeMismatch: a weight is not floating point.
        KeyMismatch: two tensors have one name.

    >>> names = [key for row in DEIT.rows(depth=1, tokens=1) for key in row.theirs]
    >>> state = {f"model.{name}": torch.zeros(1) for name in names} | {"n_averaged": torch.tensor(3)}
    >>> table, renamed = rename(state, Path("a.pth"))
    >>> table.kind, list(renamed)[0], len(renamed) == len(names)
    ("timm's", 'cls_token', True)
    """
    if state.keys() >= OWN:
        raise NotAModel(f"{path}: the state of a run of spectag, away from its folder: give the run or its bundle")
    naming = find_naming([key for key, value in state.items() if value.is_floating_point()])
    if naming is None:
        raise NotAModel(
            f"{path}: not the weights of an Audio Spectrogram Transformer or a DeiT/ViT; holds {list_some(state)}"
        )
    table = naming.table
    renamed: State = {}
    for key, value in state.items():
        name = naming.spell(key)
        if not value.is_floating_point() and name not in table.pretraining:
            if table.lists(name):
                raise ShapeMismatch(f"{path}: {key}: expected floating point, got {value.dtype}")
            continue
        if name in renamed:
            raise KeyMismatch(f"{path}: {key}: another tensor is called {name}, too: save the state of one network")
        renamed[name] = value
    return table, renamed


def _unwrap(key: str) -> str:
    return ".".join(part for part in key.split(".") if part not in WRAPPERS)
