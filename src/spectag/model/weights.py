"""The weight files of a directory: one file, or several with an index, as safetensors or as pickles.

No torch is needed to find them.
"""

from __future__ import annotations

import re
from pathlib import Path

from spectag.errors import NotAModel
from spectag.model.fields import WEIGHTS, Fields

PICKLED = "pytorch_model.bin"  # of older versions of transformers
INDEX = ".index.json"  # after the name of the weights, where they are in several files
PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # a file beside the index: neither a path nor a way out


def find_weights(folder: Path) -> list[Path]:
    """Find the files that hold the weights of a directory. Safetensors go first, since they say more with less.

    Raises:
        NotAModel, UnreadableModel: there are none, or an index is damaged or names files that are not there.

    >>> [path.name for path in find_weights(spectag.load("esc10").save("saved"))]
    ['model.safetensors']
    """
    for name in (WEIGHTS, PICKLED):
        if (folder / name).is_file():
            return [folder / name]
        if (index := folder / f"{name}{INDEX}").is_file():
            files = [folder / part for part in read_index(index)]
            missing = [file.name for file in files if not file.is_file()]
            if missing:
                raise NotAModel(f"{index}: weight_map: the file {missing[0]} is missing: restore it")
            return files
    raise NotAModel(f"{folder}: {WEIGHTS} is missing, and so is {PICKLED}: not a bundle or AST directory")


def read_index(path: Path) -> list[str]:
    """Read which files an index names.

    Raises:
        NotAModel, UnreadableModel: the index is damaged, or names something other than files beside it.

    >>> _ = Path("model.safetensors.index.json").write_text('{"weight_map": {"a": "1.safetensors"}}')
    >>> read_index(Path("model.safetensors.index.json"))
    ['1.safetensors']
    """
    table = Fields.read(path).mapping("weight_map")
    if not table:
        raise NotAModel(f"{path}: weight_map: expected the file of every tensor, got none")
    for name in table.values():
        if not isinstance(name, str) or not PLAIN.fullmatch(name):
            raise NotAModel(f"{path}: weight_map: expected names of files beside it, got {str(name)[:40]!r}")
    return sorted(set(table.values()))
