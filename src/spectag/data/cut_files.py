"""Audio files that were cut out of videos, as common download scripts name them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable

NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")


class CutFiles:
    """Audio files by YouTube id and times.

    A file is named ``ID`` or ``YID``, optionally followed by ``_START`` or ``_START_END``, in seconds or milliseconds.

    Args:
        paths: of the files. If two have the same name, the first path in alphabetical order is used.

    >>> files = CutFiles(["audio/Yabcdefghijk_30.000.wav"])
    >>> files.find("abcdefghijk", 30.0, 40.0)
    'audio/Yabcdefghijk_30.000.wav'
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._whole: dict[str, str] = {}
        for path in paths:
            stem = os.path.splitext(os.path.basename(path))[0]
            self._whole[stem] = min(path, self._whole.get(stem, path))
        self._cut: dict[str, list[tuple[tuple[float, ...], str]]] = {}
        for stem, path in self._whole.items():
            head = stem
            times: tuple[float, ...] = ()
            for _ in range(2):  # an id may end with _123 itself, so a file is listed under every id that it could have
                head, _, number = head.rpartition("_")
                if not head or not NUMBER.fullmatch(number):
                    break
                times = float(number), *times
                self._cut.setdefault(head, []).append((times, path))

    def find(self, video: str, start: float, end: float) -> str | None:
        """The file of a segment.

        A file whose name has times must have those of the segment, and is preferred to one without times.

        Args:
            video: YouTube id.
            start, end: seconds.

        Returns:
            its path; None if there is no such file.
        """
        names = video, f"Y{video}"
        for name in names:
            fit = [(-len(times), path) for times, path in self._cut.get(name, ()) if _same(times, (start, end))]
            if fit:
                return min(fit)[1]
        return next((self._whole[name] for name in names if name in self._whole), None)


def _same(times: tuple[float, ...], wanted: tuple[float, float]) -> bool:
    pairs = list(zip(times, wanted, strict=False))
    return any(all(math.isclose(t, w * unit, abs_tol=1e-6) for t, w in pairs) for unit in (1, 1000))
