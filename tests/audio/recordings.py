"""Recordings of all formats, made by libsndfile and FFmpeg, and what spectag hears in them."""

from __future__ import annotations

import io
import struct
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile as sf
import soxr

from spectag.audio import read

EXAMPLES = Path(__file__).parents[2] / "examples"
RATE = 16_000  # Hz


@cache
def sound(name: str = "sea_waves", seconds: float = 1.0, rate: int = RATE, channels: int = 1) -> np.ndarray:
    """[n, channels]: the beginning of a real recording, the same in all channels."""
    samples, given = sf.read(EXAMPLES / f"{name}.ogg", dtype="float32")
    samples = soxr.resample(samples, given, rate)[: round(rate * seconds)]
    return np.repeat(0.5 * samples[:, None], channels, 1)


def by_soundfile(
    format: str, subtype: str | None = None, samples: np.ndarray | None = None, rate: int = RATE, **options: Any
) -> bytes:
    file = io.BytesIO()
    sf.write(file, sound() if samples is None else samples, rate, subtype, format=format, **options)
    return file.getvalue()


class _Kept(io.BytesIO):
    def close(self) -> None:
        pass


def by_ffmpeg(
    format: str,
    *codecs: str,
    samples: np.ndarray | None = None,
    rate: int = 48_000,
    layout: str = "mono",
    picture: tuple[str, float] | None = None,
    start: float = 0.0,
    **options: str,
) -> bytes:
    """A file with one sound track for each codec, and a picture of a codec and some seconds."""
    file = _Kept()
    with av.open(file, "w", format=format, options=options) as container:
        video = picture and container.add_stream(picture[0], rate=25, width=32, height=32, pix_fmt="yuv420p")
        tracks = [container.add_stream(codec, rate=rate, layout=layout) for codec in codecs]
        for number in range(round(25 * picture[1]) if picture else 0):
            frame = av.VideoFrame(32, 32, "yuv420p")
            frame.pts = number
            container.mux(video.encode(frame))
        if video:
            container.mux(video.encode())
        for track in tracks:
            if "wma" in track.name:
                track.bit_rate = 128_000
            channels = av.AudioLayout(layout).nb_channels
            data = sound(rate=rate, channels=channels) if samples is None else samples
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(data.reshape(1, -1)), format="flt", layout=layout)
            frame.sample_rate, frame.pts = rate, round(start * rate)
            fitting = av.AudioResampler(track.format.name, layout, rate, frame_size=track.frame_size or 1024)
            for part in [*fitting.resample(frame), *fitting.resample(None)]:
                container.mux(track.encode(part))
            container.mux(track.encode())
    return file.getvalue()


def patched(data: bytes, at: int, format: str, *values: int) -> bytes:
    """The same bytes with numbers written at an offset."""
    return data[:at] + struct.pack(format, *values) + data[at + struct.calcsize(format) :]


def heard(data: bytes) -> tuple[np.ndarray, list[str]]:
    """The waveform [N] and the notes."""
    recording = read.open(data)
    return np.concatenate(list(recording.blocks())), recording.notes


ID3V1 = b"TAG" + b"a title".ljust(125)
ID3V2 = b"ID3\3\0\0\0\0\1\0".ljust(138, b"\0")
LIST = b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf59.27.100\0"
BEXT = b"bext" + struct.pack("<I", 602) + bytes(602)
CUE = b"cue " + struct.pack("<IIIIIIII", 28, 1, 1, 0, 0x61746164, 0, 0, 0)
ID3_CHUNK = b"id3 " + struct.pack("<I", 138) + ID3V2
LYRICS = b"LYRICSBEGIN" + b"IND00003000" + b"000022" + b"LYRICS200"


def ape(size: int) -> bytes:
    """An APE tag with cover art, in which an MP3 decoder finds what looks like frames."""
    art = np.random.default_rng(1).bytes(size)
    sizes = struct.pack("<II", 2000, len(art) + 32)
    head, foot = (sizes + struct.pack("<II", 1, flags) + bytes(8) for flags in (0xA0000000, 0x80000000))
    return b"APETAGEX" + head + art + b"APETAGEX" + foot
