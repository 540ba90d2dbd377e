"""Decoding by libsndfile: exact, fast, every lossless format."""

from __future__ import annotations

import soundfile as sf

from spectag.audio.headers import Header
from spectag.audio.heard import Heard, Pieces
from spectag.audio.view import View

_CHUNK = 4096  # samples per channel and read: little memory even for 1024 channels, little lost with a damaged block
_UNKNOWN = 2**63 - 1  # libsndfile's number of samples that it does not know
_OGG_BLOCK = 2048  # samples by which the length of an Ogg file may be wrong


class Refused(Exception):
    """libsndfile does not read this file; ``opened``: it recognised the format but returned no sample."""

    def __init__(self, reason: str, *, opened: bool = False, malformed: bool = False) -> None:
        super().__init__(reason)
        self.opened = opened
        self.malformed = malformed


class _Forward(sf.SoundFile):  # type: ignore[misc]
    """Reads without the seek that soundfile adds to every read, which halves the speed of FLAC."""

    def seekable(self) -> bool:
        return False


def by_libsndfile(view: View, header: Header) -> Pieces:
    """Decode a recording.

    Args:
        view: where it lies. If another recording follows and ``header`` has a mark, the view ends there afterwards.
        header: what is known about it.

    Yields:
        (rate in Hz, samples ``[n, channels]``), n >= 1, at least once.

    Returns:
        what was decoded. ``damage`` says why it stopped, if it is not the end; ``promised`` only for formats that
        ``header`` says nothing about.

    Raises:
        Refused: this is for another decoder.

    >>> import io, soundfile
    >>> file = io.BytesIO()
    >>> soundfile.write(file, np.zeros((100, 2)), 8000, format="WAV")
    >>> [(rate, samples.shape) for rate, samples in by_libsndfile(View(file, "a.wav"), Header("WAV", 0, 444))]
    [(8000, (100, 2))]
    """
    if header.kind == "MP3":  # libmpg123 prints to stderr
        raise Refused("not tried")
    is_ogg = header.kind.startswith("Ogg")
    done, damage = 0, ""
    while True:
        skip, at, end = done, 0, view.end
        with _open(view) as file:
            if view.end != end:  # it looked at the end of the file, and another recording came in sight
                view.find_end()
                continue
            while True:
                try:
                    piece = file.read(_CHUNK, dtype="float32", always_2d=True)
                except sf.LibsndfileError as error:
                    damage = error.error_string.rstrip(".")
                    break
                if not len(piece):
                    break
                at += len(piece)
                if at > skip:
                    piece = piece[max(0, len(piece) - at + skip) :]
                    yield file.samplerate, piece
                    done += len(piece)
            view.check()
            if not done:
                raise Refused(damage or "it ends before the first", opened=True)
        if is_ogg and not damage and view.following is None and view.tell() < view.end - view.begin:
            view.find_end()
            if view.following is not None and done == file.frames:  # that is the length of the last recording
                continue
        break
    promised = None
    if header.present is None and done + (_OGG_BLOCK if is_ogg else 0) < file.frames < _UNKNOWN:
        promised = file.frames / file.samplerate
    return Heard(done / file.samplerate, done, promised, damage)


def _open(view: View) -> sf.SoundFile:
    view.seek(0)
    try:
        file = _Forward(view)
    except sf.LibsndfileError as error:
        view.check()
        why = error.error_string.rstrip(".")
        why = "a sampling rate or number of channels below 1" if "SF_INFO" in why else why
        raise Refused(why, malformed=error.code == 3) from None
    if file.subtype.startswith("MPEG"):
        file.close()
        raise Refused("not tried")
    return file
