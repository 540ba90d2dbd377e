"""Published data sets: fetched, resumed, verified, unpacked; whole in their directory, or not there at all."""

from __future__ import annotations

import csv
import hashlib
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from spectag.data.archive import Limits, unpack
from spectag.data.fetch import Partial, fetch, require_space
from spectag.data.layouts import read_manifest
from spectag.data.manifest import Manifest
from spectag.errors import DataError, SaveError, SpectagWarning

Progress = Callable[[str, int, int], None]
_TABLE = Path("meta", "esc50.csv")
_CHUNK = 1 << 18  # bytes
_ENTRIES = 250_000  # the largest archive holds 106,000

# What ESC-50 calls a class, and ESC-10, where they differ in more than letter case and spaces.
ESC10_NAMES = {
    "dog": "dog bark",
    "crying_baby": "baby cry",
    "sneezing": "person sneeze",
    "crackling_fire": "fire crackling",
}


@dataclass(frozen=True)
class Source:
    """Where a data set is published, and what is known of it.

    Args:
        name: as people call it.
        url: of its archive, a zip or tar.gz.
        archive: file name of the archive here.
        size: bytes of the archive.
        sha256: of the archive.
        unpacked: bytes of its files, rounded up.
        clips, classes: how many the whole set has.
        licence: of the set as a whole.
        table_sha256: of ``meta/esc50.csv``, where the host packs the archive anew at times: then this, the checksums
            within the archive and the number of clips decide, and another ``sha256`` is only warned of.
        column: the set is the rows of that table where this column is True; all without.
    """

    name: str
    url: str
    archive: str
    size: int
    sha256: str
    unpacked: int
    clips: int
    classes: int
    licence: str
    table_sha256: str | None = None
    column: str | None = None


_ESC50_COMMIT = "33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6"
_ESC50 = Source(
    name="ESC-50",
    url=f"https://github.com/karolpiczak/ESC-50/archive/{_ESC50_COMMIT}.zip",
    archive="ESC-50.zip",
    size=645_832_161,
    sha256="661183a6f53ef04f12c9bd618fed0ddc1713280d6c94a5a5431e844ba6f6a21f",
    unpacked=900_000_000,
    clips=2000,
    classes=50,
    licence="CC BY-NC 3.0, not for commercial use; credits per clip are in LICENSE",
    table_sha256="ca660da60191a97de289983a05821c9382d852a38a2ba8428980816b68cf6246",
)
_SPEECH_COMMANDS = Source(
    name="Speech Commands v0.02",
    url="https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
    archive="speech_commands_v0.02.tar.gz",
    size=2_428_923_189,
    sha256="af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
    unpacked=3_400_000_000,
    clips=105_829,
    classes=35,
    licence="CC BY 4.0",
)
SOURCES = {
    "esc50": _ESC50,
    "esc10": replace(
        _ESC50,
        name="ESC-10",
        clips=400,
        classes=10,
        licence="CC BY 3.0, as a part of ESC-50; credits per clip are in LICENSE",
        column="esc10",
    ),
    "speech-commands-1": replace(
        _SPEECH_COMMANDS,
        name="Speech Commands v0.01",
        url="https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.01.tar.gz",
        archive="speech_commands_v0.01.tar.gz",
        size=1_489_096_277,
        sha256="743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d",
        unpacked=2_100_000_000,
        clips=64_721,
        classes=30,
    ),
    "speech-commands-2": _SPEECH_COMMANDS,
}


def present(source: Source, directory: Path) -> Manifest | None:
    """The data set, if it lies there whole; None where there is nothing, or an empty directory.

    Raises:
        SaveError: something else lies there.
    """
    if not os.path.lexists(directory) or (directory.is_dir() and not any(directory.iterdir())):
        return None
    try:
        return _checked(source, directory)
    except DataError as error:
        raise SaveError(
            f"{directory}: is neither empty nor the whole of {source.name} ({error}): name another directory"
        ) from error


def download(
    source: Source,
    directory: Path,
    *,
    keep_archive: bool = False,
    progress: Progress = lambda *_: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Manifest:
    """The data set in a directory of its own: as it lies there, or fetched.

    What was fetched before a break stays beside the directory as ``ARCHIVE.partial``, and the next call goes on from
    there. An archive that lies beside the directory is used, and left.

    Args:
        keep_archive: leave the archive beside the directory.
        progress: is told, often, what is being done (fetching, verifying, unpacking), how many bytes of it are done,
            and how many it has, about.
        sleep: waits that many seconds between tries.

    Raises:
        DataError: it cannot be fetched, or is not what was published.
        SaveError: something else lies in the directory, or the disk is too small.
    """
    directory = Path(os.path.realpath(directory))
    if (manifest := present(source, directory)) is not None:
        return manifest
    folder = directory.parent
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / source.archive
    if archive.exists():
        _verify(source, archive, "delete it and try again", progress)
        return _install(source, archive, directory, progress)
    partial = Partial(folder / f"{source.archive}.partial", source.url)
    fetch(
        partial,
        most=source.size if source.table_sha256 is None else 2 * source.size,
        beside=source.unpacked,
        progress=lambda done, total: progress("fetching", done, total or source.size),
        sleep=sleep,
    )
    try:
        _verify(source, partial.path, "removed; try again", progress)
        manifest = _install(source, partial.path, directory, progress)
    except DataError:
        partial.discard()
        raise
    if keep_archive:
        os.replace(partial.path, archive)
    partial.discard()
    return manifest


def _verify(source: Source, archive: Path, advice: str, progress: Progress) -> None:
    digest, size = hashlib.sha256(), archive.stat().st_size
    with archive.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            progress("verifying", file.tell(), size)
    if digest.hexdigest() == source.sha256:
        return
    got = f"expected SHA-256 {source.sha256}, got {digest.hexdigest()} of {size} bytes"
    if source.table_sha256 is None:
        raise DataError(f"{archive}: {got}: not what was published, or damaged: {advice}")
    warnings.warn(f"{archive}: {got}: packed anew, it seems; its contents decide", SpectagWarning, stacklevel=2)


def _install(source: Source, archive: Path, directory: Path, progress: Progress) -> Manifest:
    """Unpack beside the directory and move the whole there."""
    require_space(directory.parent, source.unpacked)
    limits = Limits(size=2 * source.unpacked, entries=_ENTRIES)
    with tempfile.TemporaryDirectory(prefix=f".{directory.name}.", dir=directory.parent) as temporary:
        root = Path(temporary) / "data"  # not itself: only its owner may read that
        root.mkdir()
        unpack(archive, root, limits, lambda written: progress("unpacking", written, source.unpacked))
        top = list(root.iterdir())
        if len(top) == 1 and top[0].is_dir():
            root = top[0]
        try:
            if source.table_sha256 is not None:
                _check_table(root / _TABLE, source.table_sha256)
            if source.column is not None:
                _keep_rows(root, source.column)
            manifest = _checked(source, root)
        except DataError as error:
            raise DataError(f"{archive}: is not {source.name} ({str(error).replace(temporary, '')})") from error
        if directory.exists():
            directory.rmdir()  # an empty one stands in the way on Windows
        os.replace(root, directory)
    clips = (replace(clip, path=directory / clip.path.relative_to(root)) for clip in manifest.clips)
    return replace(manifest, clips=tuple(clips))


def _checked(source: Source, directory: Path) -> Manifest:
    manifest = read_manifest(directory)
    clips = sum(clip.path.is_file() and clip.path.stat().st_size > 0 for clip in manifest.clips)
    if (clips, len(manifest.labels.names)) != (source.clips, source.classes):
        raise DataError(
            f"expected {source.clips} clips of {source.classes} classes, found {clips} of {len(manifest.labels.names)}"
        )
    return manifest


def _check_table(path: Path, sha256: str) -> None:
    got = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no such file"
    if got != sha256:
        raise DataError(f"{_TABLE.as_posix()}: expected SHA-256 {sha256}, got {got}")


def _keep_rows(root: Path, column: str) -> None:
    """Only the rows where the column is True, with targets from 0 in the order of the old ones, and their files.

    The classes are called as in ESC-10 (Piczak 2015), which the subset is a later edition of.
    """
    with (root / _TABLE).open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = [row for row in reader if row.get(column) == "True"]
    targets = sorted({int(row["target"]) for row in rows})
    for row in rows:
        row["target"] = str(targets.index(int(row["target"])))
        row["category"] = ESC10_NAMES.get(row["category"], row["category"])
    with (root / _TABLE).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, reader.fieldnames or (), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    kept = {row["filename"] for row in rows}
    for path in (root / "audio").iterdir():
        if path.name not in kept:
            path.unlink()
