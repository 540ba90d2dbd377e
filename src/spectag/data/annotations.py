"""Published sets that keep their tables apart from the recordings: VGGSound, FSD50K, UrbanSound8K, DESED."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from spectag.data.cut_files import CutFiles
from spectag.data.folders import list_folders, read_lines, standard_split, walk_audio
from spectag.data.manifest import Manifest
from spectag.data.rows import TableRow, unite_rows
from spectag.data.sheets import EXTENSIONS
from spectag.data.tables import names_files, open_table, split_of, unite_tables
from spectag.errors import DataError
from spectag.labels import LabelSet, compose

_VGGSOUND = re.compile(r'[\w-]{11},\d+,(?:"[^"]+"|[^",]+),(?:train|test)\s*')
_METADATA = ("metadata", "meta", "annotations")
_CUT = 10  # seconds of a clip of VGGSound


def find_vggsound(root: Path) -> Path | None:
    """The table of VGGSound in a folder, or the file itself: CSV without a header, ``YTID,START,label,SPLIT``.

    >>> _ = Path("vggsound.csv").write_text("---g-f_I2yQ,1,people marching,test")
    >>> find_vggsound(Path(".")).name
    'vggsound.csv'
    """
    files = sorted(root.glob("*.csv")) if root.is_dir() else [root]
    return next(
        (p for p in files if p.suffix.lower() == ".csv" and p.is_file() and _VGGSOUND.fullmatch(_head(p))), None
    )


def read_vggsound(root: Path) -> Manifest:
    """Read VGGSound. A clip has one label, whose name may contain commas; clips of one video are a group.

    Raises:
        DataError: a line of another form.

    >>> _ = Path("vggsound.csv").write_text('abcdefghijk,30,"dog barking, howling",train')
    >>> Path("abcdefghijk_000030.wav").touch()
    >>> read_vggsound(Path(".")).labels.names
    ('dog barking, howling',)
    """
    table = find_vggsound(root)
    assert table is not None
    return unite_rows(table.parent, _vggsound(table), "VGGSound")


def _vggsound(table: Path) -> Iterator[TableRow]:
    files = CutFiles(walk_audio(table.parent))
    reader = csv.reader(read_lines(table))
    for cells in filter(None, reader):
        where = f"{table}, line {reader.line_num}"
        if len(cells) != 4 or not cells[1].isdecimal() or not cells[2].strip():
            raise DataError(f'{where}: expected YTID,START,"label",SPLIT; got {",".join(cells)[:80]}')
        video, start, label, split = map(str.strip, cells)
        path = files.find(video, int(start), int(start) + _CUT)
        file = path or str(table.parent / f"{video}_{int(start):06}")
        id = Path(file).relative_to(table.parent).as_posix()
        yield TableRow(where, id, file, (compose(label),), standard_split(split) or split, group=video)


def is_fsd50k(root: Path) -> bool:
    """Whether a folder, or one in it, has the tables of FSD50K.

    >>> is_fsd50k(Path("."))
    False
    """
    return _ground_truth(root) is not None


def read_fsd50k(root: Path, separator: str | None = None) -> Manifest:
    """Read FSD50K: its ``dev.csv`` with the splits ``train`` and ``val``, and its ``eval.csv`` as the test split.

    Raises:
        DataError: a table of another form.

    >>> folder = Path("FSD50K.ground_truth")
    >>> folder.mkdir()
    >>> _ = (folder / "vocabulary.csv").write_text("0,Bark,/m/05tny_")
    >>> _ = (folder / "dev.csv").write_text("fname,labels,mids,split\\n1,Bark,/m/05tny_,val")
    >>> Path("1.wav").touch()
    >>> [(clip.id, clip.split) for clip in read_fsd50k(Path(".")).clips]
    [('1.wav', 'validation')]
    """
    folder = _ground_truth(root)
    assert folder is not None
    rows = [cells for cells in csv.reader(read_lines(folder / "vocabulary.csv")) if cells]
    if not all(len(cells) == 3 for cells in rows):
        raise DataError(f"{folder / 'vocabulary.csv'}: expected lines index,name,mid")
    labels = LabelSet(tuple(cells[1] for cells in rows), tuple(cells[2] for cells in rows))
    splits = {"dev": "train", "eval": "test"}
    tables = [open_table(p, split) for name, split in splits.items() if (p := folder / f"{name}.csv").is_file()]
    return unite_tables(root, tables, "FSD50K", separator, labels)


def _ground_truth(root: Path) -> Path | None:
    def has_tables(folder: Path) -> bool:
        return (folder / "vocabulary.csv").is_file() and any((folder / f"{n}.csv").is_file() for n in ("dev", "eval"))

    return (
        next((folder for folder in (root, *list_folders(root)) if has_tables(folder)), None) if root.is_dir() else None
    )


def find_annotations(root: Path) -> list[tuple[Path, str | None]]:
    """The tables of clips in ``metadata/`` and folders below, if there is a folder of audio beside it.

    Returns:
        the tables; each with its split if there are several, which their names or those of their folders must tell.

    Raises:
        DataError: there are several, and not all are of a split.

    >>> for folder in ("audio", "metadata"):
    ...     Path(folder).mkdir()
    >>> _ = Path("metadata", "UrbanSound8K.csv").write_text("slice_file_name,class")
    >>> [(path.name, split) for path, split in find_annotations(Path("."))]
    [('UrbanSound8K.csv', None)]
    """
    folders = list_folders(root)
    if not any("audio" in folder.name.lower() for folder in folders):
        return []
    inside = (path for folder in folders if folder.name in _METADATA for path in sorted(folder.rglob("*")))
    found = [p for p in inside if p.suffix.lower() in EXTENSIONS and p.is_file() and names_files(p)]
    if len(found) < 2:
        return [(path, None) for path in found]
    splits = [
        (p, next(filter(None, map(standard_split, p.relative_to(root).parts)), None) or split_of(p)) for p in found
    ]
    if None in (split for _, split in splits):
        names = ", ".join(str(p.relative_to(root)) for p in found)
        raise DataError(f"{root}: expected one table in metadata/, or one per split; found {names}: name one")
    return splits


def read_annotations(root: Path, separator: str | None = None) -> Manifest:
    """Read the tables that :func:`find_annotations` finds.

    Raises:
        DataError: as :func:`spectag.data.tables.read_tables`.

    >>> for folder in ("audio/fold5", "metadata"):
    ...     Path(folder).mkdir(parents=True)
    >>> Path("audio/fold5/100032-3-0-0.wav").touch()
    >>> table = "slice_file_name,fsID,start,end,fold,class\\n100032-3-0-0.wav,100032,7,7.3,5,dog_bark"
    >>> _ = Path("metadata", "UrbanSound8K.csv").write_text(table)
    >>> [(clip.id, clip.fold, clip.start) for clip in read_annotations(Path(".")).clips]
    [('audio/fold5/100032-3-0-0.wav', 5, None)]
    """
    tables = [open_table(table, split) for table, split in find_annotations(root)]
    return unite_tables(root, tables, "tables in metadata/", separator)


def _head(path: Path) -> str:
    try:
        return next(iter(read_lines(path)), "")
    except DataError:
        return ""
