"""The data sets that spectag can download, and what is known about them."""

from __future__ import annotations

from dataclasses import dataclass, replace

# Where the names of classes in ESC-10 and ESC-50 differ by more than letter case and spaces.
ESC10_NAMES = {
    "dog": "dog bark",
    "crying_baby": "baby cry",
    "sneezing": "person sneeze",
    "crackling_fire": "fire crackling",
}


@dataclass(frozen=True)
class PublishedSet:
    """A data set, where it is published, and what is known about it.

    Args:
        name: for messages.
        url: of its archive: a zip if ``table_sha256`` is given, otherwise a tar.gz.
        archive: file name of the archive on this machine.
        size: bytes of the archive.
        sha256: checksum of the archive.
        unpacked: bytes of its files, rounded up.
        clips: number of clips in the whole set.
        classes: number of classes.
        licence: of the set as a whole.
        table_sha256: checksum of ``meta/esc50.csv``. GitHub packs the archive again from time to time, so this, the
            checksums within the archive and the number of clips decide, and another ``sha256`` is only a warning.
        column: the set consists of the rows of that table where this column is ``True``; None for all rows.

    >>> PUBLISHED["esc50"].clips
    2000
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


_ESC50 = PublishedSet(
    name="ESC-50",
    url="https://github.com/karolpiczak/ESC-50/archive/33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6.zip",
    archive="ESC-50.zip",
    size=645_832_161,
    sha256="661183a6f53ef04f12c9bd618fed0ddc1713280d6c94a5a5431e844ba6f6a21f",
    unpacked=900_000_000,
    clips=2000,
    classes=50,
    licence="CC BY-NC 3.0, not for commercial use; credits per clip are in LICENSE",
    table_sha256="ca660da60191a97de289983a05821c9382d852a38a2ba8428980816b68cf6246",
)
_SPEECH_COMMANDS = PublishedSet(
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
PUBLISHED = {
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
