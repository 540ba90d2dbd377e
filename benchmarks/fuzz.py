"""Read damaged files of all formats, and count crashes, hangs and exceptions that are not spectag's.

    python benchmarks/fuzz.py --files 100000 [--seed 0] [--jobs 2] [--keep FOLDER] [--json FILE]

The files are made here from examples/*.ogg, some tenths of a second long, and then changed in a few places each. File
number N of a seed is always the same. Batches run in processes of their own, so that one that dies is counted and the
next one goes on. Failing files are written to --keep. The exit status is 1 if there is one.

- "crash": the process died.
- "hang": reading took more than 2 s. A process that does not answer for 20 s is killed.
- "foreign": an exception that is no SpectagError, or samples that are not finite.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import soundfile as sf

from spectag.audio import read
from spectag.errors import SpectagError

EXAMPLES = Path(__file__).parents[1] / "examples"
BATCH = 2000  # files per process
SLOW, DEAD = 2.0, 20.0  # s
RATE = 48_000
# (format, subtype) of soundfile, and (format, codec, layout, codec of the picture) of FFmpeg.
BY_SOUNDFILE = [
    *(("WAV", subtype) for subtype in ("PCM_16", "PCM_24", "PCM_U8", "FLOAT", "ULAW", "IMA_ADPCM", "MS_ADPCM")),
    *(("WAVEX", "PCM_16"), ("RF64", "PCM_16"), ("W64", "PCM_24"), ("AIFF", "PCM_16"), ("AIFF", "ULAW")),
    *(("AU", "PCM_16"), ("CAF", "PCM_16"), ("CAF", "ALAC_16"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24")),
    *(("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("VOC", "PCM_16"), ("NIST", "PCM_16")),
    *(("IRCAM", "PCM_16"), ("SVX", "PCM_16"), ("PAF", "PCM_16"), ("MAT4", "PCM_16"), ("MAT5", "FLOAT")),
    *(("AVR", "PCM_16"), ("PVF", "PCM_16"), ("HTK", "PCM_16"), ("MPC2K", "PCM_16")),
]
BY_FFMPEG = [
    *(
        ("mp4", "aac", "mono", ""),
        ("mp4", "aac", "7.1", ""),
        ("mp4", "alac", "stereo", ""),
        ("adts", "aac", "mono", ""),
    ),
    *(("mp4", "aac", "mono", "mpeg4"), ("mov", "pcm_s24le", "stereo", ""), ("ogg", "flac", "mono", "")),
    *(("ogg", "libopus", "mono", ""), ("webm", "libopus", "mono", "libvpx"), ("matroska", "flac", "stereo", "")),
    *(("matroska", "wavpack", "7.1", ""), ("matroska", "pcm_f32le", "mono", ""), ("avi", "mp3", "mono", "mpeg4")),
    *(("mpegts", "aac", "mono", "mpeg2video"), ("mpegts", "mp2", "stereo", ""), ("mpeg", "mp2", "stereo", "")),
    *(
        ("flv", "aac", "mono", ""),
        ("wv", "wavpack", "stereo", ""),
        ("tta", "tta", "mono", ""),
        ("ac3", "ac3", "mono", ""),
    ),
    *(
        ("eac3", "eac3", "5.1", ""),
        ("mp3", "libmp3lame", "mono", ""),
        ("asf", "wmav2", "stereo", ""),
        ("nut", "aac", "mono", ""),
    ),
    *(("wav", "pcm_s64le", "mono", ""), ("wav", "adpcm_ms", "mono", "")),
]
TAGS = b"TAG".ljust(128), b"ID3\3\0\0\0\0\1\0".ljust(138, b"\0"), bytes(500), b"LIST\x04\0\0\0INFO"


def by_soundfile(samples: np.ndarray, format: str, subtype: str) -> bytes:
    file = io.BytesIO()
    sf.write(file, samples, 16_000, subtype, format=format)
    return file.getvalue()


def by_ffmpeg(samples: np.ndarray, format: str, codec: str, layout: str, picture: str) -> bytes:
    class Kept(io.BytesIO):
        def close(self) -> None:
            pass

    file = Kept()
    with av.open(file, "w", format=format) as container:
        video = container.add_stream(picture, rate=25, width=32, height=32, pix_fmt="yuv420p") if picture else None
        sound = container.add_stream(codec, rate=RATE, layout=layout)
        if codec == "wmav2":
            sound.bit_rate = 128_000
        for _ in range(8 if video else 0):
            container.mux(video.encode(av.VideoFrame(32, 32, "yuv420p")))
        if video:
            container.mux(video.encode())
        channels = av.AudioLayout(layout).nb_channels
        packed = np.repeat(samples[:, None], channels, 1).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(packed), format="flt", layout=layout)
        frame.sample_rate, frame.pts = RATE, 0
        fitting = av.AudioResampler(sound.format.name, layout, RATE, frame_size=sound.frame_size or 1024)
        for part in [*fitting.resample(frame), *fitting.resample(None)]:
            container.mux(sound.encode(part))
        container.mux(sound.encode())
    return file.getvalue()


def originals() -> dict[str, bytes]:
    """A whole file of each format that the encoders here can write, and some joined and tagged ones."""
    samples = np.concatenate(
        [sf.read(path, 2500, 20_000, dtype="float32")[0] for path in sorted(EXAMPLES.glob("*.ogg"))]
    )
    made: dict[str, bytes] = {}
    jobs: list[tuple[Callable[..., bytes], tuple[str, ...]]] = [(by_soundfile, job) for job in BY_SOUNDFILE]
    for make, job in jobs + [(by_ffmpeg, job) for job in BY_FFMPEG]:
        try:
            made[" ".join(job).strip()] = make(samples[: 8000 if make is by_soundfile else 12_000], *job)
        except (sf.LibsndfileError, av.FFmpegError, ValueError) as error:
            print(f"{job}: not made: {error}", file=sys.stderr)
    for name in (
        "OGG VORBIS",
        "FLAC PCM_16",
        "WAV PCM_16",
        "mp3 libmp3lame mono",
        "mpegts mp2 stereo",
        "ogg flac mono",
    ):
        other = made["OGG OPUS" if name.startswith("OGG") else name]
        made[f"{name}, joined"] = made[name] + other
        made[f"{name}, tagged"] = TAGS[1] + made[name] + TAGS[0]
    return made


def mutated(files: list[bytes], seed: int, number: int) -> tuple[int, bytes]:
    """File ``number`` of a seed: which original it is, and its bytes."""
    rng = np.random.default_rng((seed, number))
    which = int(rng.integers(len(files)))
    data = bytearray(files[which])
    for _ in range(1 + int(rng.integers(4))):
        size = len(data)
        # Half of the places are in the header, where sizes and types are.
        at = int(rng.integers(min(size, 200) if rng.random() < 0.5 else size)) if size else 0
        length = int(min(2 ** rng.integers(13), size - at))
        match int(rng.integers(9)):
            case 0:
                for place in rng.integers(0, max(1, size), int(rng.integers(1, 20))) if size else ():
                    data[place] ^= 1 << int(rng.integers(8))
            case 1:
                data[at : at + 4] = struct.pack("<I" if rng.random() < 0.5 else ">I", int(rng.choice(VALUES)))
            case 2:
                data[at : at + 8] = struct.pack("<Q" if rng.random() < 0.5 else ">Q", int(rng.choice(VALUES)) << 20)
            case 3:
                data[at : at + 1] = bytes([int(rng.choice([0, 1, 127, 128, 255, rng.integers(256)]))])
            case 4:
                del data[at:]
            case 5:
                del data[at : at + length]
            case 6:
                data[at:at] = rng.bytes(length) if rng.random() < 0.5 else bytes(length)
            case 7:
                data[at:at] = data[at : at + length]
            case _:
                other = (
                    files[int(rng.integers(len(files)))] if rng.random() < 0.7 else TAGS[int(rng.integers(len(TAGS)))]
                )
                start = int(rng.integers(len(other)))
                data[at:] = other[start:] if rng.random() < 0.5 else data[at:] + other
    return which, bytes(data[: 2**20])


VALUES = [0, 1, 2, 7, 8, 44, 255, 256, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32 - 36]


def outcome(data: bytes) -> str:
    """What reading gives: "read", "noted", "refused" or, if it fails, "foreign: ..."."""
    recording = read.open(data)
    try:
        for block in recording.blocks():
            if not np.isfinite(block).all():
                return "foreign: not finite"
    except SpectagError:
        return "refused"
    except Exception as error:
        return f"foreign: {type(error).__name__}: {error}"
    return "noted" if recording.notes else "read"


def work(seed: int, first: int, last: int) -> None:
    """Read some files and print a line before and after each."""
    files = list(originals().values())
    out = open(os.dup(1), "w", encoding="utf-8")  # noqa: SIM115 - decoders print, too
    os.dup2(2, 1)
    for number in range(first, last):
        _, data = mutated(files, seed, number)
        print(f"begin {number}", file=out, flush=True)
        start = time.perf_counter()
        result = outcome(data)
        print(f"end {time.perf_counter() - start:.3f} {' '.join(result.split())}", file=out, flush=True)


def batch(seed: int, first: int, last: int) -> Iterator[tuple[int, str, float]]:
    """(number, outcome, seconds) of each file, from processes that may die."""
    while first < last:
        command = [sys.executable, __file__, "--seed", str(seed), "--work", str(first), str(last)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        number, pending = first, False
        timer = threading.Timer(120, process.kill)  # importing takes a while
        timer.start()
        for line in process.stdout:
            timer.cancel()
            timer = threading.Timer(DEAD, process.kill)
            timer.start()
            word, rest = line.split(maxsplit=1)
            if word == "begin":
                number, pending = int(rest), True
            else:
                seconds, result = rest.strip().split(maxsplit=1)
                pending = False
                yield number, "hang" if float(seconds) > SLOW else result, float(seconds)
        timer.cancel()
        status = process.wait()
        if pending:
            yield number, "hang" if status == -9 else f"crash: status {status}", DEAD if status == -9 else 0.0
        elif number == first < last - 1:
            raise SystemExit(f"the worker for {first} to {last} does not start (status {status})")
        first = number + 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000, help="number of files to read")
    parser.add_argument("--first", type=int, default=0, help="number of the first one, to go on with a seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="number of processes at a time")
    parser.add_argument("--keep", type=Path, help="folder for the files that fail")
    parser.add_argument("--json", type=Path, help="file to write the summary to as JSON")
    parser.add_argument("--work", type=int, nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(args.seed, *args.work)
        return

    made = originals()
    files, names = list(made.values()), list(made)
    counts: Counter[str] = Counter()
    failures: list[dict[str, object]] = []
    slowest = 0.0
    start = time.perf_counter()

    def summary() -> dict[str, object]:
        kinds = ("read", "noted", "refused", "foreign", "hang", "crash")
        return {
            "seed": args.seed,
            "first": args.first,
            "files": sum(counts.values()),
            "formats": len(made),
            **{kind: counts[kind] for kind in kinds},
            "slowest_s": round(slowest, 3),
            "minutes": round((time.perf_counter() - start) / 60, 1),
            "failures": failures,
        }

    stop = args.first + args.files
    spans = [(first, min(first + BATCH, stop)) for first in range(args.first, stop, BATCH)]
    with ThreadPoolExecutor(args.jobs) as pool:
        for results in pool.map(lambda span: list(batch(args.seed, *span)), spans):
            for number, result, seconds in results:
                kind = result.split(":")[0]
                counts[kind] += 1
                slowest = max(slowest, seconds)
                if kind in ("foreign", "hang", "crash"):
                    which, data = mutated(files, args.seed, number)
                    failures.append({"number": number, "format": names[which], "outcome": result, "seconds": seconds})
                    print(f"{number}: {names[which]}: {result} ({seconds:.1f} s)", flush=True)
                    if args.keep:
                        args.keep.mkdir(parents=True, exist_ok=True)
                        (args.keep / f"{args.seed}-{number}").write_bytes(data)
            if args.json:
                args.json.write_text(json.dumps(summary(), indent=1))
    print(json.dumps(summary(), indent=1))
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
