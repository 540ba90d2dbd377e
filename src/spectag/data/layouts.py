"""The layouts of data sets on disk, and :func:`read_manifest`, which recognises and reads them.

Each layout is a row of ``LAYOUTS``: a test that recognises it, and a reader.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from spectag.data.annotations import (
    find_annotations,
    find_vggsound,
    is_fsd50k,
    read_annotations,
    read_fsd50k,
    read_vggsound,
)
from spectag.data.ast_json import find_ast_json, read_ast_json
from spectag.data.audioset import find_segment_tables, read_audioset
from spectag.data.class_folders import (
    CLASS_FOLDERS,
    SPLIT_FOLDERS,
    is_class_folders,
    is_speech_commands,
    is_speech_test,
    is_split_folders,
    read_class_folders,
    read_speech_commands,
    read_speech_test,
    read_split_folders,
)
from spectag.data.esc import is_esc10, is_esc50, read_esc10, read_esc50
from spectag.data.events import join_events
from spectag.data.manifest import Clip, Manifest
from spectag.data.negatives import add_negatives
from spectag.data.shards import is_packed, read_packed
from spectag.data.tables import find_metadata, find_tables, read_metadata, read_tables
from spectag.errors import DataError
from spectag.labels import compose


def read_manifest(
    data: str | Path,
    *,
    separator: str | None = None,
    negatives: Iterable[str | os.PathLike[str]] = (),
    events: bool = False,
) -> Manifest:
    """Read a data set in any known layout. Nothing is decoded.

    Args:
        data: its directory, or the file that lists its clips.
        separator: what alone separates labels in a cell of its tables; None for the rules of
            :mod:`spectag.data.cells`.
        negatives: folders of recordings in which nothing of interest is heard, see
            :func:`spectag.data.negatives.add_negatives`.
        events: whether rows with times say when a label is heard in a file, see
            :func:`spectag.data.events.join_events`. Otherwise each is a clip that is cut out of the file.

    Returns:
        its clips, ordered by id. Files that a table lists and that do not exist are in ``missing``.

    Raises:
        DataError: the path does not exist, the layout is not known (the message lists those that are), a table cannot
            be used, or none of the files exists.

    >>> for name in ("set/fox/1.wav", "set/owl/2.wav"):
    ...     Path(name).parent.mkdir(parents=True)
    ...     Path(name).touch()
    >>> [(clip.id, clip.labels) for clip in read_manifest("set").clips]
    [('fox/1.wav', (0,)), ('owl/2.wav', (1,))]
    """
    root = Path(data)
    if not root.exists():
        raise DataError(f"--data {data}: expected a directory or a table of clips, found nothing")
    for layout in LAYOUTS:
        if layout.matches(root):
            manifest = layout.read(root, separator)
            break
    else:
        _advise_conversion(root)
        found = "" if root.is_dir() else "expected a directory or a table (.csv, .tsv, .jsonl, .json), found a file "
        known = "; ".join(f"{layout.name} ({layout.looks})" for layout in LAYOUTS)
        raise DataError(f"--data {data}: {found}in no known layout; known are: {known}")
    if not manifest.clips:
        what = f"looks like {layout.name}, but holds no audio files"
        if manifest.missing:
            what += f": none of the {len(manifest.missing)} files that it lists exists, e.g. {manifest.missing[0]}"
        raise DataError(f"--data {data}: {what}")
    if events:
        try:
            manifest = join_events(manifest)
        except DataError as error:
            raise DataError(f"--data {data}: {error}") from error
    manifest = add_negatives(replace(manifest, clips=tuple(_composed(manifest.clips))), negatives)
    return replace(manifest, clips=tuple(sorted(manifest.clips, key=lambda clip: clip.id)))


# Tables that only other libraries read: how pandas reads them.
_PANDAS = {".parquet": "parquet", ".feather": "feather", ".xlsx": "excel", ".xls": "excel", ".ods": "excel"}


def _advise_conversion(root: Path) -> None:
    """Raise DataError with the way out, where a table has a format that only other libraries read."""
    for path in [root] if root.is_file() else sorted(root.iterdir()):
        if (name := _PANDAS.get(path.suffix.lower())) is not None:
            new = path.with_suffix(".jsonl")
            raise DataError(
                f"--data {root}: {path.suffix} is not read: write {path.name} as {new.name}, for example with pandas: "
                f"pandas.read_{name}({str(path)!r}).to_json({str(new)!r}, orient='records', lines=True)"
            )


def _composed(clips: Iterable[Clip]) -> list[Clip]:
    """The clips with ids in composed Unicode, unless two would have the same."""
    clips = list(clips)
    if all(clip.id.isascii() for clip in clips):
        return clips
    counts = Counter(compose(clip.id) for clip in clips)
    return [replace(clip, id=compose(clip.id)) if counts[compose(clip.id)] == 1 else clip for clip in clips]


@dataclass(frozen=True)
class Layout:
    """A way in which data sets are stored.

    Args:
        name: for messages.
        looks: how users recognise it.
        matches: whether a data set has this layout.
        read: reads such a data set, given what separates labels in a cell.

    >>> [layout.name for layout in LAYOUTS][:3]
    ['packed', 'ESC-50', 'ESC-10']
    """

    name: str
    looks: str
    matches: Callable[[Path], bool]
    read: Callable[[Path, str | None], Manifest]


# The first that matches is used, so the most specific ones come first.
LAYOUTS = (
    Layout(
        "packed",
        "index.json and shard-000000.tar, written by spectag data pack",
        is_packed,
        lambda root, _: read_packed(root),
    ),
    Layout("ESC-50", "meta/esc50.csv and audio/", is_esc50, lambda root, _: read_esc50(root)),
    Layout(
        "ESC-10",
        "folders such as '001 - Dog bark' of files such as 1-100032-A.ogg",
        is_esc10,
        lambda root, _: read_esc10(root),
    ),
    Layout(
        "AudioSet",
        "balanced_train_segments.csv, eval_segments.csv and so on, with files such as YTID.wav or YTID_START.wav below",
        lambda root: bool(find_segment_tables(root)),
        lambda root, _: read_audioset(root),
    ),
    Layout(
        "VGGSound",
        'vggsound.csv with lines YTID,START,"label",SPLIT, with files such as YTID_000030.wav below',
        lambda root: bool(find_vggsound(root)),
        lambda root, _: read_vggsound(root),
    ),
    Layout("FSD50K", "dev.csv, eval.csv and vocabulary.csv in FSD50K.ground_truth/", is_fsd50k, read_fsd50k),
    Layout(
        "Speech Commands",
        "a folder per word, with validation_list.txt or testing_list.txt",
        is_speech_commands,
        lambda root, _: read_speech_commands(root),
    ),
    Layout(
        "Speech Commands, 12-way test",
        "folders _silence_, _unknown_, yes, no, up and so on",
        is_speech_test,
        lambda root, _: read_speech_test(root),
    ),
    Layout(
        "AST JSON",
        'a file {"data": [{"wav": path, "labels": "mid,mid"}]}, or several with train, val, test in their names',
        lambda root: bool(find_ast_json(root)),
        read_ast_json,
    ),
    Layout(
        "audiofolder",
        "metadata.csv, .tsv or .jsonl with file_name and label, in the directory or in train/, validation/, test/",
        lambda root: bool(find_metadata(root)),
        read_metadata,
    ),
    Layout(
        "a table of clips",
        "a .csv, .tsv or .jsonl with columns path and label, possibly split, fold, group, start, end; "
        "or train.csv, validation.csv, test.csv",
        lambda root: bool(find_tables(root)),
        read_tables,
    ),
    Layout(
        SPLIT_FOLDERS,
        "train/dog/x.wav, validation/dog/y.wav, test/dog/z.wav",
        is_split_folders,
        lambda root, _: read_split_folders(root),
    ),
    Layout(
        "tables in metadata/",
        "such tables in metadata/ and recordings in audio/, as in UrbanSound8K and DESED",
        lambda root: bool(find_annotations(root)),
        read_annotations,
    ),
    Layout(
        CLASS_FOLDERS,
        "folders with audio, named as the classes",
        is_class_folders,
        lambda root, _: read_class_folders(root),
    ),
)
