"""Short names of recordings, for documents that have no room for paths, and for the names of documents."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from hashlib import sha256

LONGEST = 200  # bytes of a file name: file systems allow 255, with the ending


class Names:
    """Names of the recordings of one job: each is unique, and they do not depend on the order of the recordings.

    Args:
        paths: of all recordings, as they were given. Others get names as they come.

    >>> names = Names(["dawn/a.wav", "dusk/a.wav", "dusk/b.wav", "dusk/b.flac"])
    >>> names.short("dawn/a.wav"), names.stem("dawn/a.wav"), names.stem("dusk/b.flac")
    ('dawn/a.wav', 'dawn/a', 'dusk/b.flac')
    """

    def __init__(self, paths: Iterable[str] = ()) -> None:
        self.paths = tuple(dict.fromkeys(paths))
        self._stems: dict[str, str] = {}
        self._taken: set[str] = set()
        self._named = False

    @property
    def longest(self) -> int:
        """The length of the longest path."""
        return max(map(len, self.paths), default=0)

    @property
    def folder(self) -> str:
        """The name of the folder that holds all recordings."""
        return os.path.basename(self._root.rstrip(os.sep)) or "recordings"

    def short(self, path: str | None) -> str:
        """The path below the folder that holds all recordings, with ``/``. It never leads out of this folder."""
        if path is None:
            return "recording"
        if path == "-":
            return "stdin"
        whole = os.path.abspath(path)
        inside = self._root and whole.startswith(self._root)
        whole = whole[len(self._root) :] if inside else os.path.basename(whole)
        return whole.replace(os.sep, "/").strip("/") or "recording"

    def stem(self, path: str | None) -> str:
        """The same without the ending of the file, where this leaves it unique; upper and lower case count as equal."""
        self._name_all()
        if path is None:  # another recording each time
            return self.unique(self.short(None))
        if path not in self._stems:
            self._stems[path] = self.unique(os.path.splitext(self.short(path))[0])
        return self._stems[path]

    def document(self, path: str | None, ending: str) -> str:
        """The name of a recording's document: its stem, with ``/``, and an ending. Very long names are cut.

        >>> Names().document("in/a.wav", ".txt"), len(Names().document("a" * 250 + ".wav", ".txt"))
        ('a.txt', 204)
        """
        folder, _, name = self.stem(path).rpartition("/")
        raw = os.fsencode(name)
        if len(raw) > LONGEST:
            digest = sha256(raw).hexdigest()[:10]
            name = os.fsdecode(raw[: LONGEST - 11]).encode("utf-8", "ignore").decode() + "-" + digest
        return f"{folder}/{name}{ending}" if folder else name + ending

    @cached_property
    def _root(self) -> str:
        folders = {os.path.dirname(os.path.abspath(path)) for path in self.paths if path not in ("", "-")}
        try:
            return os.path.join(os.path.commonpath(folders), "") if folders else ""
        except ValueError:  # several drives
            return ""

    def _name_all(self) -> None:
        if self._named:
            return
        self._named = True
        shorts = {path: self.short(path) for path in self.paths}
        counts = Counter(os.path.splitext(short)[0].casefold() for short in shorts.values())
        for path, short in shorts.items():
            stem = os.path.splitext(short)[0]
            self._stems[path] = self.unique(short if counts[stem.casefold()] > 1 else stem)

    def unique(self, name: str) -> str:
        """A name that no recording has, and that no recording gets."""
        self._name_all()
        chosen, number = name, 1
        while chosen.casefold() in self._taken:
            number += 1
            chosen = f"{name} ({number})"
        self._taken.add(chosen.casefold())
        return chosen
