"""Measure how fast an epoch is read from loose files, from the same clips as MP4, and from packed shards.

    python benchmarks/reading.py --data DIR [--clips 400] [--readers 1 2] [--json FILE]

AudioSet's clips usually come as MP4. Each way of reading reads every clip once, into the waveform that training uses.
The ways take turns, in alternating order, and the best of --repeats passes counts.

- "cold": the system was asked to drop the files from its cache before the pass. It may refuse, and a disk may have a
  cache of its own.
- "readers": the number of processes. With N readers, each reads every Nth clip, like the workers of a data loader.
- "in order": the order of spectag.data.shards.reading_order. "at random": any order.
- "read only": the bytes are read but not decoded.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np
import soundfile as sf
import soxr

import spectag
from spectag.audio.read import SAMPLE_RATE, read
from spectag.audio.source import Member, Source
from spectag.data.layouts import read_manifest
from spectag.data.manifest import Clip, Manifest
from spectag.data.packing import pack_data_set
from spectag.data.shards import read_packed, reading_order


def as_mp4(waveform: np.ndarray, path: Path) -> None:
    """Write a waveform as AAC at 44.1 kHz and 128 kbit/s, as is usual in videos."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44_100, layout="mono")
        stream.bit_rate = 128_000
        frame = av.AudioFrame.from_ndarray(waveform[None], format="fltp", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        for piece in av.AudioResampler("fltp", "mono", 44_100, frame_size=1024).resample(frame):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))


def transcoded(manifest: Manifest, folder: Path, format: str = "mp4") -> list[Clip]:
    """The same clips in another format, at 44.1 kHz."""
    clips = []
    for number, clip in enumerate(manifest.clips):
        path = folder / f"{number:06d}.{format}"
        waveform = read(clip.source)
        if format in ("mp4", "m4a"):
            as_mp4(waveform, path)
        else:
            sf.write(path, soxr.resample(waveform, SAMPLE_RATE, 44_100), 44_100)
        clips.append(Clip(clip.id, path, clip.labels))
    return clips


def forget(clips: Sequence[Clip]) -> None:
    """Ask the system to drop the files from its cache."""
    for path in {clip.path for clip in clips}:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)  # the system can drop only what has been written to the disk
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def content(source: Source) -> int:
    """Read the bytes of a clip. Returns 0, because the number of its samples is not known without decoding."""
    assert isinstance(source, (Member, Path))
    place = (source.path, source.offset, source.size) if isinstance(source, Member) else (source, 0, -1)
    with open(place[0], "rb") as file:
        file.seek(place[1])
        return len(file.read(place[2])) * 0


def consume(sources: Sequence[Source], decode: bool) -> int:
    """Read some clips and return the number of their samples."""
    return sum(len(read(source)) if decode else content(source) for source in sources)


def once(pool: ProcessPoolExecutor, readers: int, clips: Sequence[Clip], order: Sequence[int], decode: bool) -> float:
    """Read one epoch and return the seconds that it took."""
    sources = [clips[index].source for index in order]
    start = time.perf_counter()
    list(pool.map(consume, [sources[reader::readers] for reader in range(readers)], [decode] * readers))
    return time.perf_counter() - start


def measured(
    ways: dict[str, tuple[Sequence[Clip], Sequence[int], bool]], seconds: float, readers: int, repeats: int
) -> Iterator[dict[str, object]]:
    """Measure every way of reading with a cold and a warm cache, and yield one row for each."""
    best: dict[tuple[str, str], float] = {}
    with ProcessPoolExecutor(readers, get_context("spawn")) as pool:
        clips = next(iter(ways.values()))[0]
        list(
            pool.map(consume, [[clips[0].source]] * 4 * readers, [True] * 4 * readers)
        )  # lets every process import first
        for turn in range(repeats):
            for name, (clips, order, decode) in list(ways.items())[:: (1, -1)[turn % 2]]:  # alternating order
                for cache in ("cold", "warm"):
                    if cache == "cold":
                        forget(clips)
                    taken = once(pool, readers, clips, order, decode)
                    best[name, cache] = min(taken, best.get((name, cache), taken))
    for (name, cache), taken in best.items():
        clips = ways[name][0]
        size = sum(clip.place[1] if clip.place else clip.path.stat().st_size for clip in clips)
        yield {
            "way": name,
            "cache": cache,
            "readers": readers,
            "clips_per_s": round(len(clips) / taken, 1),
            "MB_per_s": round(size / taken / 1e6, 2),
            "times_real_time": round(seconds / taken),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="data set of loose files, in any known layout")
    parser.add_argument(
        "--clips", type=int, default=400, help="number of clips to read, from the start of the data set"
    )
    parser.add_argument(
        "--shard-mb",
        type=float,
        default=0.5,
        help="size of a shard in MB; small, so that a small data set has many shards",
    )
    parser.add_argument("--readers", type=int, nargs="+", default=[1, 2], help="numbers of processes to measure with")
    parser.add_argument(
        "--formats", action="store_true", help="measure reading the clips as WAV, FLAC, MP3, Ogg and M4A instead"
    )
    parser.add_argument("--repeats", type=int, default=3, help="number of passes; the best counts")
    parser.add_argument(
        "--folder", type=Path, help="folder for the copies; choose one on the disk that you want to measure"
    )
    parser.add_argument("--json", type=Path, help="file to write the figures to as JSON")
    args = parser.parse_args()

    manifest = read_manifest(args.data)
    manifest = Manifest(manifest.clips[: args.clips], manifest.labels, manifest.layout)
    with tempfile.TemporaryDirectory(dir=args.folder) as directory:
        folder = Path(directory)
        if args.formats:
            kinds = ("wav", "flac", "mp3", "ogg", "m4a")
            same = {kind: (transcoded(manifest, folder, kind), range(len(manifest.clips)), True) for kind in kinds}
            length = sum(len(read(clip.source)) for clip in manifest.clips) / SAMPLE_RATE
            for n in args.readers:
                for row in measured(same, length, n, args.repeats):
                    print(json.dumps(row))
            return
        compressed = transcoded(manifest, folder)
        done = pack_data_set(manifest, folder / "packed", shard_bytes=round(args.shard_mb * 1e6))
        packed = read_packed(folder / "packed").clips
        rng = np.random.default_rng(0)
        shuffled = rng.permutation(len(packed)).tolist()
        in_order = reading_order(packed, rng)
        ways: dict[str, tuple[Sequence[Clip], Sequence[int], bool]] = {
            "loose files": (manifest.clips, shuffled, True),
            "loose MP4": (compressed, shuffled, True),
            "packed in order": (packed, in_order, True),
            "packed at random": (packed, shuffled, True),
            "packed in order, read only": (packed, in_order, False),
            "packed at random, read only": (packed, shuffled, False),
        }
        rows = [row for n in args.readers for row in measured(ways, done.seconds, n, args.repeats)]

    environment = {
        "data": manifest.layout,
        "clips": done.clips,
        "seconds": round(done.seconds),
        "shards": done.shards,
        "packed_MB": round(done.bytes / 1e6, 1),
        "processors": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "spectag": spectag.__version__,
    }
    print(", ".join(f"{key} {value}" for key, value in environment.items()))
    print(f"{'':28} {'cache':5} {'readers':>7} {'clips/s':>9} {'MB/s':>8} {'x real time':>11}")
    for row in rows:
        print(
            f"{row['way']:28} {row['cache']:5} {row['readers']:7} {row['clips_per_s']:9.1f} {row['MB_per_s']:8.2f} "
            f"{row['times_real_time']:11}"
        )
    if args.json:
        args.json.write_text(json.dumps({"environment": environment, "results": rows}, indent=1))


if __name__ == "__main__":
    main()
