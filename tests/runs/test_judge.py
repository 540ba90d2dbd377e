"""Scoring held-out clips again and again: each decoded once, shared between processes, in order."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from spectag.data.manifest import Clip, Manifest
from spectag.errors import DataError, FileError
from spectag.labels import LabelSet
from spectag.runs.judge import Judge

BUNDLE = SimpleNamespace(labels=LabelSet(("low", "high")), activation="softmax")


class Listener:
    """Scores a clip by its mean level, and remembers what it was given."""

    def __init__(self) -> None:
        self.given: list[list[object]] = []

    def __call__(self, bundle, clips):
        clips = list(clips)
        self.given.append(clips)
        for clip in clips:
            if isinstance(clip, np.ndarray):
                level = float(clip.mean())
                yield np.array([1 - level, level], np.float32)
            else:
                yield FileError(str(clip), "not audio")


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Four clips of 0.125 s at the levels 0 to 0.75, and a broken one; the labels are low and high in turn."""
    for n, level in enumerate((0.0, 0.25, 0.5, 0.75)):
        soundfile.write(tmp_path / f"{n}.wav", np.full(2000, level), 16_000)
    (tmp_path / "4.wav").write_text("not audio")
    clips = tuple(Clip(f"{n}.wav", tmp_path / f"{n}.wav", (n % 2,)) for n in range(5))
    return Manifest(clips, BUNDLE.labels, "folders")


def test_each_clip_is_decoded_once(manifest: Manifest) -> None:
    scorer = Listener()
    judge = Judge(scorer, cache_bytes=1e9)
    first, second = judge(BUNDLE, manifest), judge(BUNDLE, manifest)
    assert [type(clip) for clip in scorer.given[0]] == [np.ndarray] * 4 + [type(manifest.clips[4].path)]
    for before, after in zip(*(given[:4] for given in scorer.given), strict=True):
        assert np.shares_memory(before, after), "kept, not decoded again"
    assert first.table.ids == ("0.wav", "1.wav", "2.wav", "3.wav")
    assert first.failed == (f"{manifest.clips[4].path}: not audio",)
    np.testing.assert_allclose(first.table.scores[:, 1], [0, 0.25, 0.5, 0.75], atol=1e-4)
    np.testing.assert_array_equal(first.table.scores, second.table.scores)


def test_memory_is_shared_between_manifests(manifest: Manifest) -> None:
    scorer = Listener()
    judge = Judge(scorer, cache_bytes=2000 * 4 * 4)
    judge(BUNDLE, manifest)
    with pytest.raises(DataError, match="none of the 4 clips could be scored"):
        judge(BUNDLE, manifest.without(Manifest(manifest.clips[4:], BUNDLE.labels, "folders")))
    assert not any(isinstance(clip, np.ndarray) for clip in scorer.given[1]), "the first manifest used all the memory"


def test_processes_share_the_clips(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of three processes, threads here, scores every third clip; all get what one process would."""
    alone = Judge(Listener(), 1e9)(BUNDLE, manifest)
    shares: list[list[object]] = [[], [], []]
    barrier, this = threading.Barrier(3), threading.local()

    def gather(rows: list[object]) -> list[list[object]]:
        shares[this.rank] = rows
        barrier.wait(timeout=60)
        return shares

    def evaluate(rank: int):
        this.rank = rank
        return Judge(Listener(), 1e9, rank, 3)(BUNDLE, manifest)

    monkeypatch.setattr("spectag.runs.judge.gathered", gather)
    with ThreadPoolExecutor(3) as pool:
        for together in pool.map(evaluate, range(3)):
            assert (together.table.ids, together.failed) == (alone.table.ids, alone.failed)
            np.testing.assert_array_equal(together.table.scores, alone.table.scores)
    assert [len(share) for share in shares] == [2, 2, 1]
