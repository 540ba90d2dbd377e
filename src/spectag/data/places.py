"""Where the recordings are that a table names."""

from __future__ import annotations

import os
import re
import unicodedata
from functools import cached_property
from pathlib import Path

from spectag.data.cut_files import CutFiles
from spectag.data.folders import list_folders, walk_audio
from spectag.errors import DataError
from spectag.labels import compose

_UP = 3  # folders above a table in which one of recordings is looked for
_AUDIO = re.compile(r"(.*[._-])?audio")  # how such a folder is called: audio, train_audio, FSD50K.dev_audio


class Places:
    """Finds recordings by the names that the tables of a data set give them.

    A name is a path from the folder of its table. Where there is no such file, it is looked for among the recordings
    of the data set by the end of its path, with or without an extension: published sets keep tables and recordings
    apart. A name may be written in composed or decomposed Unicode, whichever the disk has.

    Args:
        root: of the data set.

    >>> Path("audio", "fold1").mkdir(parents=True)
    >>> Path("audio", "fold1", "7061.wav").touch()
    >>> Places(Path(".")).find("7061", Path("meta", "dev.csv"))
    ('audio/fold1/7061.wav', 'audio/fold1/7061.wav')
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, given: str, table: Path, *, segment: bool = False) -> tuple[str, str]:
        """The id and the path of a recording.

        Args:
            given: its name in a table.
            table: where it has this name. Of several recordings, the one in folders of its name is meant.
            segment: the name may be that of a segment of AudioSet, a video and its start in milliseconds.

        Returns:
            the path relative to the root with forward slashes, in composed Unicode, and the path to open. Both contain
            ``..`` only if the file is outside the root. A file that does not exist has the path that was given.

        Raises:
            DataError: it may be one of several.
        """
        file = os.path.normpath(table.parent / given)
        if not os.path.isfile(file):
            file = self._elsewhere(given, file, table) or (segment and self._cut_out(given)) or file
        try:
            return compose(Path(file).relative_to(self.root).as_posix()), file
        except ValueError:
            outside = file if os.path.isabs(given) else os.path.relpath(file, self.root)
            return compose(Path(outside).as_posix()), file

    def _cut_out(self, segment: str) -> str | None:
        video, _, start = segment.rpartition("_")
        if not video or not start.isdecimal():
            return None
        return self._cut.find(video, int(start) / 1000, int(start) / 1000 + 10)

    def _elsewhere(self, given: str, file: str, table: Path) -> str | None:
        for form in ("NFC", "NFD"):
            if os.path.isfile(other := unicodedata.normalize(form, file)):
                return other
        end = compose(os.path.normpath(given).replace(os.sep, "/"))
        if os.path.isabs(given):
            fits = [path for path in self._by_name.get(os.path.basename(end), ()) if compose(path) == end]
        else:
            end = end.removeprefix("../").rsplit("../", 1)[-1]
            fits = [path for path in self._by_name.get(os.path.basename(end), ()) if _ends(path, end)]
        if len(fits) > 1:  # metadata/train/weak.tsv is about audio/train/weak/
            parts = Path(os.path.relpath(table, self.root)).with_suffix("").parts
            wanted = set(parts[1:] or parts)
            fits = [path for path in fits if wanted <= set(Path(path).parts)] or fits
        if len(fits) > 1:
            raise DataError(f"{given} may be {fits[0]} or {fits[1]}: write its folder, too")
        return fits[0] if fits else None

    @cached_property
    def _files(self) -> list[str]:
        """The recordings of the data set; if there are none, those in folders of audio beside ``meta/``, say."""
        folders = [self.root]
        for up in range(_UP + 1):
            if found := {os.path.normpath(path) for folder in folders for path in walk_audio(folder)}:
                return sorted(found)
            above = self.root.joinpath(*[".."] * (up + 1))
            folders = [folder for folder in list_folders(above) if _AUDIO.fullmatch(folder.name.lower())]
        return []

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        names: dict[str, list[str]] = {}
        for path in self._files:
            name = compose(os.path.basename(path))
            for key in {name, os.path.splitext(name)[0]}:
                names.setdefault(key, []).append(path)
        return names

    @cached_property
    def _cut(self) -> CutFiles:
        return CutFiles(self._files)


def _ends(path: str, end: str) -> bool:
    """Whether a path ends with another one, of which the extension may be missing."""
    path = "/" + compose(path).replace(os.sep, "/")
    return path.endswith("/" + end) or os.path.splitext(path)[0].endswith("/" + end)
