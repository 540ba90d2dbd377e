"""What is wrong with a data set."""

import io
import warnings
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import soxr

from spectag.audio.front_end import FrontEnd
from spectag.audio.read import read
from spectag.data.check import check_data_set
from spectag.data.layouts import read_manifest
from spectag.data.manifest import Clip, Manifest
from spectag.data.statistics import measure_statistics
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


def kinds(report, *, but=("few", "one-split", "one-class", "no-labels")):
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
        "negatives": 0,
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


def test_notes_of_other_kinds(write):
    """The kind: everything that reading a recording notes was filed as truncated."""
    stereo = noise(1, channels=2)
    stereo[:, 1] = -stereo[:, 0]
    beyond = replace(write("beyond.wav"), start=0.5, end=2.0)
    report = check_data_set(manifest(write("phases.wav", stereo), beyond, write("fine.wav", label=1)))
    assert [kind for kind in kinds(report) if kind[0] != "length"] == [
        ("note", ("phases.wav",)),
        ("beyond", ("beyond.wav",)),
    ]
    messages = {finding.kind: finding.message for finding in report.findings}
    assert "its channels cancel" in messages["note"]
    assert messages["beyond"].startswith("beyond.wav: ends after the recording, which is 1.000 s long: ")


CRASHING = """
import ctypes, os, sys
sys.path.remove(os.path.dirname(__file__)); del sys.modules["soxr"]
import soxr
make = soxr.ResampleStream
soxr.ResampleStream = lambda rate, *x, **y: ctypes.string_at(0) if rate == 8001 else make(rate, *x, **y)
"""


def test_a_decoder_that_kills_its_process_costs_one_clip(write, tmp_path, monkeypatch):
    """Of two files, one crashes what reads it, at 8001 Hz; also as several stretches, and also for the statistics."""
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "soxr.py").write_text(CRASHING)
    fine, crash = write("fine.wav", noise(1, 8000), 8000, label=1), write("crash.wav", noise(1, 8001), 8001)
    stretches = [replace(crash, id=f"crash.wav#{n}", start=n / 2, end=n / 2 + 0.5) for n in range(2)]
    whole = manifest(crash, *stretches, fine)
    monkeypatch.syspath_prepend(tmp_path / "path")
    report = check_data_set(whole, 2)
    assert [kind for kind in kinds(report) if kind[0] == "unreadable"] == [
        ("unreadable", (clip.id,)) for clip in (crash, *stretches)
    ]
    assert "the decoder crashed (SIGSEGV)" in report.findings[0].message
    assert report.summary["rates"] == {"8000": 1}
    result = measure_statistics([clip.source for clip in whole.clips], FrontEnd(), 2, frames=20)
    assert [str(failure).split(":")[0].split("/")[-1] for failure in result.failed] == [
        "crash.wav",
        "crash.wav (0 s to 0.5 s)",
        "crash.wav (0.5 s to 1 s)",
    ]
    assert result.frames == 20


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
    report = check_data_set(manifest(phone, write("old.wav", noise(1, 11025), 11025)))
    assert kinds(report) == [("low-rate", ())]
    assert report.findings[-1].message == "nothing is above 5512 Hz in any clip: models listen up to 8000 Hz"


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
    pieces = [replace(long, id=f"long.wav {i}", start=float(i), end=i + 1.0, group="long") for i in range(3)]
    archive = tmp_path / "packed"
    content = long.path.read_bytes()
    archive.write_bytes(b"before" + content + b"after")
    packed = Clip("packed", archive, (1,), place=(6, len(content)), group="long")
    report = check_data_set(manifest(*pieces, packed))
    assert kinds(report) == []
    assert [row["clips"] for row in report.classes] == [3, 4]
    assert report.summary["rates"] == {"16000": 4}
    assert report.summary["hours"] == pytest.approx(6 / 3600)
    assert len(read(packed.source)) == 3 * 16000


def test_nothing_readable(tmp_path):
    report = check_data_set(manifest(Clip("a.wav", tmp_path / "a.wav", (0,))))
    assert (report.summary["seconds"], report.summary["hours"]) == (None, 0)


# the same recording, cut twice


def encode(sound, format):
    """A lossy copy at half the level."""
    file = io.BytesIO()
    soundfile.write(file, sound / 65536, 16000, format=format)
    file.seek(0)
    return soundfile.read(file)[0]


@pytest.fixture(scope="module")
def recording():
    """Ten seconds of noise whose colour and level change, as in the field; 16-bit integers."""
    rng = np.random.default_rng(7)
    parts = []
    for _ in range(40):
        spectrum = np.fft.rfft(rng.standard_normal(4000)) * np.exp(rng.normal(0, 1.2, 2001).cumsum() / 30)
        parts.append(np.fft.irfft(spectrum) * rng.uniform(0.3, 1))
    sound = np.concatenate(parts)
    return (sound / np.abs(sound).max() * 20000).astype(np.int16)


@pytest.mark.parametrize("shift", [0, 1, 256, 7777])
@pytest.mark.parametrize("how", ["exact", "louder", "OGG", "MP3"])
def test_two_cuts_of_one_recording(write, recording, shift, how):
    """The kind: a long recording was cut into clips that overlap, and these were dealt out to the splits at random."""
    second = recording[48_000 + shift : 128_000 + shift]
    copy = {"exact": second, "louder": (second * 1.5).clip(-32768, 32767).astype(np.int16)}
    clips = [
        write("a.wav", recording[:80_000], split="train", group="a"),
        write("b.wav", copy[how] if how in copy else encode(second, how), label=1, split="test", group="b"),
        write("c.wav", noise(5), label=1, split="train", group="c"),
        write("d.wav", recording[100_000:][::-1].copy(), label=1, split="test", group="d"),
    ]
    found = [f for f in check_data_set(manifest(*clips), 2).findings if f.kind == "near-duplicate"]
    assert [finding.clips for finding in found] == [("a.wav", "b.wav")]
    assert found[0].level == "warning"
    assert "a.wav (from 3." in found[0].message
    assert "share 1." in found[0].message or "share 2." in found[0].message
    assert "of one recording, in test and train: give them one group" in found[0].message


def test_cuts_that_nobody_will_part(write, recording):
    """In one group, or on one side already; without sides, chance will choose them."""
    one, other = write("a.wav", recording[:64_000]), write("b.wav", recording[32_000:])
    for fields, found in (
        ({"group": "a"}, []),
        ({"split": "train"}, []),
        ({"fold": 1}, []),
        ({}, [("near-duplicate", ("a.wav", "b.wav"))]),
    ):
        clips = [replace(clip, **fields) for clip in (one, other)]
        others = [write("c.wav", label=1, split=fields.get("split"), fold=fields.get("fold"))]
        assert kinds(check_data_set(manifest(*clips, *others))) == found


def test_what_is_alike_and_not_the_same(write):
    """Silence, hum, and the same short sound in many recordings are no cuts of one."""
    time = np.arange(48_000) / 16_000
    clips = [write(f"noise{n}.wav", noise(3, level=3000), split=("train", "test")[n % 2]) for n in range(20)]
    for n in range(6):
        hum = 0.2 * np.sin(2 * np.pi * 50 * time + n) + np.random.default_rng(n).normal(0, 0.003, len(time))
        clips.append(write(f"hum{n}.wav", hum, label=1, split=("train", "test")[n % 2]))
        quiet = np.zeros(48_000)
        quiet[n * 4000 :][:2000] = np.random.default_rng(n).normal(0, 0.1, 2000)
        clips.append(write(f"click{n}.wav", quiet, label=1, split=("train", "test")[n % 2]))
    assert [f for f in check_data_set(manifest(*clips), 2).findings if f.kind == "near-duplicate"] == []


def test_near_duplicates_in_a_real_set(shared):
    """ESC-50: takes of one recording share a group; the rest of what is found sounds the same."""
    whole = read_manifest(shared / "data" / "esc50")
    some = [clip for clip in whole.clips if clip.path.stem.startswith(("3-151080", "5-151085", "3-177082", "3-1"))]
    clips = (replace(clip, fold=None, split=("train", "test")[n % 2]) for n, clip in enumerate(some))
    found = [f for f in check_data_set(replace(whole, clips=tuple(clips)), 2).findings if f.kind == "near-duplicate"]
    pairs = {tuple(name.split("/")[-1].rsplit(".", 1)[0] for name in finding.clips) for finding in found}
    assert pairs <= {
        ("3-151080-A-20", "5-151085-A-20"),
        ("3-177082-A-22", "3-177083-A-22"),
        ("3-140199-C-8", "3-197408-B-8"),
    }
    assert pairs


def test_upper_bands_that_are_empty(write):
    """The kind: an old recorder or a telephone, converted to a higher rate since: the header says nothing."""
    rng = np.random.default_rng(3)
    for rate in (8000, 12_000):
        low = soxr.resample(0.2 * rng.standard_normal(3 * rate), rate, 44_100)
        clips = [write("low.wav", low, 44_100), write("a.wav", noise(3, 44_100), 44_100), write("b.wav", noise(3))]
        report = check_data_set(manifest(*clips))
        assert kinds(report) == [("narrow", ("low.wav",))]
        assert f"low.wav: nothing above {rate // 2}" in report.findings[-1].message
    report = check_data_set(manifest(clips[0], write("low2.wav", low[:80_000], 44_100, group="g")))
    assert ("narrow", ()) in kinds(report)


@pytest.mark.parametrize("colour", [0, 1, 2])
def test_quiet_upper_bands_are_not_empty(write, colour):
    """Wind and traffic fall off steeply, and are whole."""
    spectrum = np.fft.rfft(np.random.default_rng(5).standard_normal(64_000))
    sound = np.fft.irfft(spectrum / np.maximum(np.arange(len(spectrum)) / 500, 1) ** colour)
    assert kinds(check_data_set(manifest(write("a.wav", sound / np.abs(sound).max() / 2), write("b.wav")))) == []


def test_one_class(write):
    """A model of one class needs clips without it."""
    owls = [write(f"{n}.wav") for n in range(5)]
    report = check_data_set(manifest(*owls, labels=("owl",)))
    assert [(f.level, f.kind, f.label) for f in report.findings] == [("error", "one-class", "owl")]
    assert report.findings[0].message == (
        "'owl' is the only class, and a label of every clip: a model would learn to say it always; "
        "add clips without it: --negatives FOLDER, or rows with an empty label"
    )
    report = check_data_set(manifest(*owls, write("none.wav", label=()), labels=("owl",)))
    assert (report.findings, report.summary["negatives"]) == ((), 1)
    both = [replace(clip, labels=(0, 1) if n else (0,)) for n, clip in enumerate(owls)]
    report = check_data_set(manifest(*both, labels=("bird", "owl")))
    assert [(f.level, f.kind, f.label) for f in report.findings if f.kind != "few"] == [
        ("warning", "one-class", "bird")
    ]


def test_a_split_of_negatives_only(write):
    clips = [write(f"{n}.wav", label=n % 2, split="train") for n in range(4)]
    report = check_data_set(manifest(*clips, write("t.wav", label=(), split="test")))
    found = [f.message for f in report.findings if f.kind == "no-labels"]
    assert found == ["no clip of test has a label: it measures false alarms only"]


def test_names_and_notes_are_found(write):
    names = ("Dog", "dog", "dog yard", "rain+wind", "yard")
    clips = [write(f"{n}.wav", label=n % 5) for n in range(25)]
    report = check_data_set(replace(manifest(*clips, labels=names), notes=("2 recordings are in no class: x, y",)))
    assert [(f.kind, f.message) for f in report.findings] == [
        ("left-out", "2 recordings are in no class: x, y"),
        ("several-labels", "'dog yard' looks like several labels: write dog|yard, or set labels.separator"),
        ("several-labels", "'rain+wind' looks like several labels: write rain|wind, or set labels.separator"),
        ("similar-names", "'Dog' and 'dog' are different classes: rename them if they mean the same"),
    ]


def test_stretches_that_overlap(write):
    long = write("long.wav", noise(3), group="long")
    times = ((0.0, 1.0, (0,)), (0.5, 1.5, (1,)), (1.5, 2.0, (0,)), (1.6, 1.8, (0,)), (1.7, 2.5, (0, 1)))
    clips = [replace(long, id=str(n), start=a, end=b, labels=labels) for n, (a, b, labels) in enumerate(times)]
    found = [f for f in check_data_set(manifest(*clips)).findings if f.kind == "overlap"]
    assert [(f.message, f.clips) for f in found] == [
        ("long.wav: 1 stretch overlaps the next with other labels", ("0", "1"))
    ]
