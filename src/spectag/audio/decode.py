"""An open recording -> samples: float32 ``[n, channels]`` at its own rate, full scale = 1.0, piece by piece.

::

    stream -> inspect (what the header states, what is there) -> View (with a repaired header)
           -> by_libsndfile, or by_ffmpeg for what it does not read, also behind damage
           -> the next recording in the same file

What is missing, damaged or otherwise odd is reported as a note.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from spectag.audio.ffmpeg import by_ffmpeg
from spectag.audio.headers import Header, inspect
from spectag.audio.heard import Heard, Pieces
from spectag.audio.lengths import ogg_end
from spectag.audio.libsndfile import Refused, by_libsndfile
from spectag.audio.view import View
from spectag.errors import AudioError, EmptyAudio, NoAudioStream, NotAudio, reason

_MOST_FAILURES = 10  # recordings in one file that give no sample


def decode_samples(
    stream: BinaryIO, name: str, note: Callable[[str], None]
) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """Decode a recording from its beginning, with the first decoder that knows its format.

    Recordings that follow each other in one file (chained Ogg, joined FLAC) are one recording.

    Args:
        stream: binary and seekable. It is neither closed nor rewound.
        name: what error messages call the recording.
        note: called with one line for anything odd: the recording ends before its header says, or is damaged.

    Yields:
        (rate in Hz, samples ``[n, channels]``), n >= 1, at least once. Full scale is 1.0; samples may exceed it. The
        rate is that in the header. Both may change from piece to piece.

    Raises:
        NotAudio, NoAudioStream, EmptyAudio: see :mod:`spectag.errors`.
        AudioError: the stream itself fails, or a decoder does.

    >>> import io, soundfile
    >>> file = io.BytesIO()
    >>> soundfile.write(file, np.zeros((100, 2)), 8000, format="WAV")
    >>> [(rate, samples.shape) for rate, samples in decode_samples(file, "silence.wav", print)]
    [(8000, (100, 2))]
    """
    try:
        yield from _decoded(stream, name, note)
    except AudioError:
        raise
    except Exception as error:  # decoders fail in many ways on damaged files
        text = f"cannot be decoded ({type(error).__name__}: {reason(error)}): copy or export it again"
        raise AudioError(name, " ".join(text.split())) from error


def _decoded(stream: BinaryIO, name: str, note: Callable[[str], None]) -> Iterator[tuple[float, NDArray[np.float32]]]:
    whole = View(stream, name)
    whole.seek(0)
    if whole.read(2) == b"\xff\xfe":  # PowerShell's "tool > file.wav"; FFmpeg would take it for MPEG layer I
        raise NotAudio(name, "expected an audio or video file, got UTF-16 text: export it again")
    begin: int | None = 0
    total, kind = Heard(promised=0.0), ""
    failures: list[AudioError] = []
    while begin is not None and len(failures) < _MOST_FAILURES:
        header = inspect(whole.read_at, begin, whole.end)
        whole.check()
        view = View(stream, name, header.begin, header.end, header.patches, header.mark, header.mark_from)
        if begin > 0:
            view.find_end()
        try:
            heard = yield from _one(view, header, name)
        except (NotAudio, NoAudioStream, EmptyAudio) as error:
            failures.append(error)
            if header.present != 0:
                total.damage = "another recording in it cannot be read"
        else:
            total.add(heard)
            kind = kind or header.kind
        begin = header.following or view.following
    if not total.samples:
        raise failures[0]
    for text in total.notes(kind):
        note(text)


def _one(view: View, header: Header, name: str) -> Pieces:
    """Decode one recording."""
    if header.present == 0:
        raise EmptyAudio(name, "expected a recording, got a header and 0 samples: record or export it again")
    try:
        heard = yield from by_libsndfile(view, header)
    except Refused as error:
        heard = yield from by_ffmpeg(view, name, refused=str(error), opened=error.opened)
        if error.malformed:
            heard.damage = heard.damage or "libsndfile calls it malformed"
    else:
        if heard.damage and heard.seconds != header.seconds:
            yield from _go_on(view, header, name, heard)
        elif header.kind.startswith("Ogg") and not ogg_end(view.read_at, view.begin, view.end)[0]:
            heard.damage = "the last Ogg page is missing"
    promised = header.promised(heard.seconds)
    if header.kind == "Ogg FLAC":  # its pages count samples
        promised = max(heard.samples, ogg_end(view.read_at, view.begin, view.end)[1]) * heard.seconds / heard.samples
    if promised is not None:
        heard.promised = promised
    if header.kind == "FLAC" and heard.seconds == header.seconds:
        heard.damage = ""  # it is all there; what lies behind it is no sound
    return heard


def _go_on(view: View, header: Header, name: str, heard: Heard) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """Decode by FFmpeg what lies behind the place where libsndfile stopped, and add it to ``heard``."""
    why = heard.damage
    try:
        rest = yield from by_ffmpeg(view, name, refused=why, opened=True, skip=heard.samples)
    except (NotAudio, NoAudioStream, EmptyAudio):
        return
    heard.seconds += rest.seconds
    heard.samples += rest.samples
    heard.damage = rest.damage or ("" if header.kind == "FLAC" else why)  # FFmpeg counts what FLAC lacks
