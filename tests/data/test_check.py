"""What is wrong with a data set."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from spectag.audio.read import read
from spectag.data.check import check_data_set
from spectag.data.manifest import Clip, Manifest
from spectag.errors import SpectagWarning
from spectag.labels import LabelSet

RNG = np.random.default_rng(0)


def noise(seconds=1.0, rate=16000, channels=1, level=3000):
    shape = (round(seconds * rate), channels)
    return (level * RNG.standard_normal(shape)).clip(-32768, 32767).astype(np.int16)


@pytest.fixture
def write(tmp_path):
    """Write a sound, return its clip."""

    def write(name, samples=None, rate=16000, label=0, **fields):
        path = tmp_path / name
        soundfile.write(path, noise() if samples is None else samples, rate)
        labels = label if isinstance(label, tuple) else (label,)
        return Clip(name, path, labels, **fields)

    return write


def manifest(*clips, labels=("dog", "rain"), missing=()):
    return Manifest(tuple(clips), LabelSet(labels), "a test", missing)


def kinds(report, *, but=("few", "one-split")):
    """(kind, clips) of the findings; sets this small have few clips of everything."""
    return [(finding.kind, finding.clips) for finding in report.findings if finding.kind not in but]


def test_all_well(write):
    clips = [write(f"{i}.wav", label=i % 2, fold=i % 5 + 1, group=str(i)) for i in range(10)]
    report = check_data_set(manifest(*clips), 3)
    assert (report.findings, report.errors) == ((), 0)
    assert report.summary == {
        "layout": "a test",
        "clips": 10,
        "classes": 2,
        "hours": pytest.approx(10 / 3600),
        "seconds": {"min": 1.0, "median": 1.0, "max": 1.0},
        "splits": {},
        "folds": {"1": 2, "2": 2, "3": 2, "4": 2, "5": 2},
        "rates": {"16000": 10},
        "channels": {"1": 10},
        "errors": 0,
        "warnings": 0,
    }
    folds = {str(fold): 1 for fold in range(1, 6)}
    assert report.classes[1] == {"name": "rain", "clips": 5, "seconds": 5.0, "splits": {}, "folds": folds}


def test_clips_that_cannot_be_used(write, tmp_path):
    for name, content in {"empty.wav": "", "text.wav": "this is text\n" * 100}.items():
        (tmp_path / name).write_text(content)
    soundfile.write(tmp_path / "nothing.wav", np.zeros(0), 16000)
    names = ("empty.wav", "nothing.wav", "text.wav", "gone.wav")
    clips = [Clip(name, tmp_path / name, (0,)) for name in names]
    backwards = replace(write("ok.wav"), id="backwards", start=2.0, end=1.0)
    report = check_data_set(manifest(*clips, backwards, write("fine.wav"), missing=("lost.wav",)))
    assert kinds(report) == [
        ("missing", ("lost.wav",)),
        ("missing", ("gone.wav",)),
        ("empty", ("empty.wav",)),
        ("empty", ("nothing.wav",)),
        ("unreadable", ("text.wav",)),
        ("unreadable", ("backwards",)),
    ]
    assert report.errors == 6
    assert next(f.message for f in report.findings if f.kind == "unreadable").startswith("text.wav: expected an audio")
    assert report.summary["rates"] == {"16000": 1}


def test_flaws(write, tmp_path):
    cut = write("cut.wav", noise(2))
    whole = cut.path.read_bytes()
    cut.path.write_bytes(whole[: len(whole) * 2 // 3])
    clips = [
        cut,
        write("zeros.wav", np.zeros(16000)),
        write("faint.wav", noise(level=5)),
        write("clipped.wav", noise(level=20000)),
        write("tiny.wav", noise(0.01)),
        write("long.wav", noise(11)),
        write("brief.wav", noise(0.1)),
        *(write(f"{i}.wav") for i in range(5)),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = check_data_set(manifest(*clips), 4)
    assert kinds(report) == [
        ("truncated", ("cut.wav",)),
        ("silent", ("zeros.wav",)),
        ("silent", ("faint.wav",)),
        ("clipped", ("clipped.wav",)),
        ("short", ("tiny.wav",)),
        ("length", ("long.wav",)),
    ]
    assert report.errors == 0
    messages = {finding.kind: finding.message for finding in report.findings}
    assert messages["truncated"].startswith("cut.wav: expected 2.00 s, read 1.33 s")
    assert messages["silent"].startswith("faint.wav: a peak of -6")


def test_other_warnings_pass(write):
    def watch(results):
        warnings.warn("of something else", SpectagWarning, stacklevel=1)
        return results

    with pytest.warns(SpectagWarning, match="of something else"):
        check_data_set(manifest(write("a.wav")), watch=watch)


def test_low_rates_among_others(write):
    phone, stereo = write("phone.wav", noise(1, 8000), 8000), write("stereo.wav", noise(1, 96000, 2), 96000)
    report = check_data_set(manifest(phone, stereo, write("a.wav")))
    assert kinds(report) == [("low-rate", ("phone.wav",))]
    assert report.summary["rates"] == {"8000": 1, "16000": 1, "96000": 1}
    assert report.summary["channels"] == {"1": 2, "2": 1}
    assert kinds(check_data_set(manifest(phone))) == []


def test_duplicates_in_any_lossless_container(write):
    same, other, third, fourth = noise(1, 44100), noise(), noise(), noise()
    clips = [
        write("a.wav", same, 44100, split="train"),
        write("b.flac", same, 44100, split="train"),
        write("c.wav", np.repeat(other, 2, axis=1), split="train"),
        write("d.flac", other, split="test"),
        write("e.wav", third, split="train"),
        write("f.aiff", third, label=1, split="train"),
        write("g.wav", fourth, label=1, split="train"),
        write("h.wav", fourth, label=0, split="test"),
        write("quiet1.wav", np.zeros(16000), split="train"),
        write("quiet2.wav", np.zeros(16000), split="train"),
    ]
    report = check_data_set(manifest(*clips))
    assert kinds(report, but=("few", "one-split", "silent")) == [
        ("duplicate-splits", ("c.wav", "d.flac")),
        ("duplicate-splits", ("g.wav", "h.wav")),
        ("duplicate-labels", ("e.wav", "f.aiff")),
        ("duplicate-labels", ("g.wav", "h.wav")),
        ("duplicate", ("a.wav", "b.flac")),
    ]
    assert report.findings[0].message == "c.wav and d.flac are the same sound, in test and train"


def test_groups_on_both_sides(write):
    splits = [write(f"{i}.wav", split=split, group=g) for i, (split, g) in enumerate([("train", "x"), ("test", "x")])]
    folds = [write(f"f{i}.wav", fold=i, group="y" if i < 3 else "z") for i in range(1, 5)]
    assert kinds(check_data_set(manifest(*splits))) == [("leak", ("0.wav", "1.wav"))]
    report = check_data_set(manifest(*folds))
    assert [f.message for f in report.findings if f.kind == "leak"] == [
        "group 'y' is in folds 1 and 2: keep its 2 clips together",
        "group 'z' is in folds 3 and 4: keep its 2 clips together",
    ]


def test_classes(write):
    clip = write("a.wav")
    table = [(0, "train")] * 100 + [(0, "test")] * 5 + [(1, "train")] * 4 + [(2, "test")] * 5 + [(3, "train")] * 5
    clips = (replace(clip, id=f"{i}", labels=(label,), split=split) for i, (label, split) in enumerate(table))
    report = check_data_set(manifest(*clips, labels=("dog", "rain", "sea", "crow", "none")), 2)
    found = [(f.kind, f.label, f.message) for f in report.findings if not f.kind.startswith("duplicate")]
    assert found == [
        ("untrained", "sea", "'sea' is in test, but not in train: it cannot be learned"),
        ("one-split", "rain", "'rain' is only in split train"),
        ("one-split", "crow", "'crow' is only in split train"),
        ("few", "rain", "'rain' has 4 clips, fewer than 5"),
        ("few", "none", "'none' has 0 clips, fewer than 5"),
        ("imbalance", "rain", "'rain' has 4 clips, 'dog' has 100: more than 20 : 1"),
    ]
    assert report.classes[0]["splits"] == {"test": 5, "train": 100}


def test_several_labels_and_pieces_of_files(write, tmp_path):
    long = write("long.wav", noise(3), label=(0, 1))
    pieces = [replace(long, id=f"long.wav {i}", start=float(i), end=i + 1.0) for i in range(3)]
    archive = tmp_path / "packed"
    content = long.path.read_bytes()
    archive.write_bytes(b"before" + content + b"after")
    packed = Clip("packed", archive, (1,), place=(6, len(content)))
    report = check_data_set(manifest(*pieces, packed))
    assert kinds(report) == []
    assert [row["clips"] for row in report.classes] == [3, 4]
    assert report.summary["rates"] == {"16000": 4}
    assert report.summary["hours"] == pytest.approx(6 / 3600)
    assert len(read(packed.source)) == 3 * 16000


def test_nothing_readable(tmp_path):
    report = check_data_set(manifest(Clip("a.wav", tmp_path / "a.wav", (0,))))
    assert (report.summary["seconds"], report.summary["hours"]) == (None, 0)
