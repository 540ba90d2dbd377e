"""Key tables: the names that one kind of file gives to the tensors of this network."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from spectag.errors import KeyMismatch, ShapeMismatch
from spectag.model.shapes import Shape, Shapes

PARAMETERS = ("tokens", "pos_embed")  # tensors of the network itself; all others are a module's weight and bias
HEAD = "head."  # what the modules of the classification head begin with
FRAME_HEAD = {"frame_head.norm": "frame_classifier.layernorm", "frame_head.linear": "frame_classifier.dense"}


@dataclass(frozen=True)
class TensorRow:
    """One tensor of this network, and the tensors of a file that it is joined from: ``ours = cat(theirs, axis)``.

    >>> TensorRow("tokens", ("cls_token", "dist_token"), axis=1).theirs
    ('cls_token', 'dist_token')
    """

    ours: str
    theirs: tuple[str, ...]
    axis: int


@dataclass(frozen=True)
class KeyTable:
    """The names of one kind of file.

    Args:
        kind: what messages call these names.
        names: from this package's name of a parameter or module to the file's. Where a file keeps apart what is one
            tensor here, its names stand in the order in which they are joined, separated by spaces: the class tokens
            along axis 1; query, key and value along axis 0. A ``*`` stands for the number of the layer.
        dropped: tensors that such files may hold and that nothing here reads.
        pretraining: tensors beside an encoder that learned without labels. Only files without a head hold them.
        root: what programs that save an encoder alone leave out in front of its names.

    >>> table = KeyTable("toy", {"blocks.*.norm1": "layers.*.ln"})
    >>> table.rows(depth=1, tokens=2)[0]
    TensorRow(ours='blocks.0.norm1.weight', theirs=('layers.0.ln.weight',), axis=0)
    """

    kind: str
    names: Mapping[str, str]
    dropped: frozenset[str] = frozenset()
    pretraining: frozenset[str] = frozenset()
    root: str = ""

    def rows(self, depth: int, tokens: int) -> list[TensorRow]:
        """Spell out the table for a number of layers and class tokens: one row for each tensor of the network."""
        rows = []
        for ours, names in self.names.items():
            theirs = tuple(names.split())
            if ours in PARAMETERS:
                rows.append(TensorRow(ours, theirs[:tokens] if ours == "tokens" else theirs, axis=1))
                continue
            for layer in range(depth if "*" in ours else 1):
                for kind in ("weight", "bias"):
                    spelled = [f"{name}.{kind}".replace("*", str(layer)) for name in (ours, *theirs)]
                    rows.append(TensorRow(spelled[0], tuple(spelled[1:]), axis=0))
        return rows

    def fitting(self, found: Collection[str]) -> KeyTable:
        """This table, or its part without the head where a file has not one tensor of it.

        >>> table = KeyTable("toy", {"norm": "ln", "head.linear": "fc"})
        >>> list(table.fitting({"ln.weight", "ln.bias"}).names)
        ['norm']
        """
        heads = [names for ours, names in self.names.items() if ours.startswith(HEAD)]
        if any(f"{name}.{kind}" in found for name in heads for kind in ("weight", "bias")):
            return self
        encoder = {ours: names for ours, names in self.names.items() if not ours.startswith(HEAD)}
        return replace(self, names=encoder, dropped=self.dropped | self.pretraining)

    def with_frame_head(self, present: bool) -> KeyTable:
        """This table, with the names of a frame head where there is one. Only bundles have one.

        >>> list(KeyTable("toy", {"norm": "ln"}).with_frame_head(True).names)
        ['norm', 'frame_head.norm', 'frame_head.linear']
        """
        return replace(self, names={**self.names, **FRAME_HEAD}) if present else self

    def lists(self, key: str) -> bool:
        """Whether this is the name of a tensor in the table, of whatever layer.

        >>> KeyTable("toy", {"blocks.*.norm1": "layers.*.ln"}).lists("layers.11.ln.bias")
        True
        """
        name = key.removesuffix(".weight").removesuffix(".bias")
        listed = {name for names in self.names.values() for name in names.split()}
        return name in listed or re.sub(r"(?<=\.)\d+(?=\.)", "*", name, count=1) in listed

    def count_layers(self, keys: Collection[str]) -> int:
        """Count the encoder layers: one more than the highest layer number among the keys, at most one per key."""
        before = next(names for ours, names in self.names.items() if "*" in ours).split("*")[0]
        numbers = (key[len(before) :].split(".")[0] for key in keys if key.startswith(before))
        # A number beyond the count of keys cannot be a layer: its tensors are then reported as unexpected.
        return max((int(n) + 1 for n in numbers if n.isdecimal() and len(n) < 6 and int(n) < len(keys)), default=0)

    def expected(self, ours: Mapping[str, Shape], depth: int, tokens: int) -> Shapes:
        """The shapes that a file must hold, by its own names, for these shapes of ours."""
        shapes: Shapes = {}
        for row in self.rows(depth, tokens):
            shape = list(ours[row.ours])
            if len(row.theirs) > 1:
                shape[row.axis] //= len(row.theirs)
            shapes |= dict.fromkeys(row.theirs, tuple(shape))
        return shapes

    def check_keys(self, found: Collection[str], wanted: Collection[str], source: str) -> None:
        """Check that every wanted tensor is there, and no other one but those that are dropped on purpose.

        Raises:
            KeyMismatch: tensors are missing or unexpected; the message names them.
        """
        missing = [key for key in wanted if key not in found]
        unexpected = [key for key in found if key not in wanted and key not in self.dropped]
        parts = [
            f"{what} {list_some(keys)}" for what, keys in (("missing", missing), ("unexpected", unexpected)) if keys
        ]
        if parts:
            raise KeyMismatch(f"{source}: not the tensors of this network: {'; '.join(parts)}")

    def check_shapes(self, found: Mapping[str, Shape], wanted: Mapping[str, Shape], source: str) -> None:
        """Check that the tensors are the wanted ones, each of its shape.

        Raises:
            KeyMismatch: tensors are missing or unexpected.
            ShapeMismatch: a tensor has another shape.
        """
        self.check_keys(found, wanted, source)
        for key, shape in wanted.items():
            if tuple(found[key]) != shape:
                raise ShapeMismatch(f"{source}: {key}: expected shape {list(shape)}, got {list(found[key])}")


def list_some(keys: Collection[str], count: int = 3) -> str:
    """List the first few keys for a message.

    >>> list_some(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = f" and {len(keys) - count} more" if len(keys) > count else ""
    return ", ".join(list(keys)[:count]) + more if keys else "none"
