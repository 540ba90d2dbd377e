"""The JSON files in which AST's authors list their data sets: ``{"data": [{"wav": path, "labels": "mid,mid"}]}``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spectag.data.folders import read_label_table, read_text, standard_split
from spectag.data.manifest import Manifest
from spectag.data.rows import TableRow, locate, unite_rows
from spectag.errors import DataError
from spectag.labels import LabelSet

_BEGINNING = re.compile(r'\ufeff?\s*(?:#[^\n]*\n)?\s*\{\s*"data"\s*:\s*\[')
_SPLIT = re.compile("train|eval|test|val|dev")


def find_ast_json(root: Path) -> list[Path]:
    """The files of this form in a folder; or the file itself if its name ends with ``.json``.

    >>> _ = Path("train.json").write_text('{"data": [{"wav": "dawn.wav", "labels": "owl"}]}')
    >>> _ = Path("other.json").write_text('{"version": 1}')
    >>> [path.name for path in find_ast_json(Path("."))]
    ['train.json']
    """
    if root.is_file():
        return [root] if root.suffix.lower() == ".json" else []
    return [p for p in sorted(root.glob("*.json")) if p.is_file() and _BEGINNING.match(_head(p))]


def read_ast_json(root: Path) -> Manifest:
    """Read the files that :func:`find_ast_json` finds. If there are several, each is the split in its name.

    The labels are those of ``*class_labels_indices*.csv`` next to them; otherwise those of AudioSet or Speech Commands
    if these include all labels in the files; otherwise the texts in the files, sorted.

    Raises:
        DataError: another structure, an unknown label, a file without a split in its name, or a clip in two splits.

    >>> Path("dawn.wav").touch()
    >>> _ = Path("clips.json").write_text('{"data": [{"wav": "dawn.wav", "labels": "owl,fox"}]}')
    >>> read_ast_json(Path("clips.json")).labels.names
    ('fox', 'owl')
    """
    folder = root.parent if root.is_file() else root
    files = find_ast_json(root)
    rows = [row for file in files for row in _rows(folder, file, None if len(files) == 1 else _split_of(file))]
    used = {label for row in rows for label in row.labels}
    known = (labels for labels in (LabelSet.audioset(), LabelSet.speech_commands()) if used <= set(labels.ids or ()))
    return unite_rows(folder, rows, "AST JSON", read_label_table(folder) or next(known, None))


def _split_of(file: Path) -> str:
    match = _SPLIT.search(file.name.lower())
    if match is None:
        raise DataError(
            f"{file}: expected train, val, test or eval in the name, since there are other such files: "
            "move it, or name one file"
        )
    return standard_split(match[0]) or match[0]


def _rows(folder: Path, file: Path, split: str | None) -> Iterator[TableRow]:
    content = read_text(file).lstrip()
    if content.startswith("#"):
        content = content.partition("\n")[2]
    try:
        table: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: expected JSON; {error}") from error
    entries = table.get("data") if isinstance(table, dict) else None
    if not isinstance(entries, list):
        raise DataError(f'{file}: expected {{"data": [{{"wav": path, "labels": "mid,mid"}}]}}, found no list "data"')
    for number, entry in enumerate(entries):
        where = f"{file}, data[{number}]"
        wav, labels = (entry.get("wav"), entry.get("labels")) if isinstance(entry, dict) else (None, None)
        names = tuple(filter(None, map(str.strip, labels.split(",")))) if isinstance(labels, str) else ()
        if not isinstance(wav, str) or not wav or "\0" in wav or not names:
            raise DataError(f'{where}: expected {{"wav": path, "labels": "mid,mid"}}, got {json.dumps(entry)[:80]}')
        yield TableRow(where, *locate(folder, folder, wav), names, split)


def _head(path: Path) -> str:
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return file.read(4096)
    except OSError:
        return ""
