"""Soundscapes: their events are where the table says, and the same seed makes the same bytes."""

import csv
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, strategies as st

from spectag.data.events import join_events
from spectag.data.layouts import read_manifest
from spectag.data.manifest import Clip, Manifest
from spectag.data.soundscapes import MixOptions, choose_clips, hear, mix_data_set, place
from spectag.errors import DataError, InputError, SaveError
from spectag.labels import LabelSet

RATE = 16_000
NAMES = ("cat", "dog", "owl")
OPTIONS = MixOptions(seconds=4, count=8, seed=3, events=(1, 3), snr=(20, 30))


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """Half a second of noise in digital silence, folds 1 to 3; the recording 9 is in two folds."""
    root = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    rows = ["path,label,fold,group"]
    for i in range(18):
        sound = rng.uniform(-1, 1, RATE // 2) * rng.uniform(0.05, 0.9)
        sf.write(root / f"{i}.wav", np.pad(sound, (3000, 9000)), RATE)
        rows.append(f"{i}.wav,{NAMES[i % 3]},{1 + i // 6},{9 if i in (5, 6) else i}")
    (root / "clips.csv").write_text("\n".join(rows))
    return root


def mix(clips: Path, out: Path, **changes):
    options = replace(OPTIONS, **{k: v for k, v in changes.items() if k not in ("background", "folds")})
    manifest = choose_clips(read_manifest(clips), changes.get("folds"), None)
    return mix_data_set(manifest, out, options, changes.get("background"))


def rows_of(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "events.tsv").open(newline=""), delimiter="\t"))


@pytest.fixture(scope="module")
def made(clips, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("made") / "mix"
    mix(clips, out)
    return out


@pytest.mark.parametrize("label", ['"owl" at dusk', "tawny\towl", "owl, tawny", "'owl"])
def test_any_label_is_read_back_from_the_table(tmp_path, label):
    sf.write(tmp_path / "1.wav", np.random.default_rng(0).uniform(-1, 1, RATE), RATE)
    manifest = Manifest((Clip("1.wav", tmp_path / "1.wav", (0,)),), LabelSet((label,)), "a test")
    mix_data_set(manifest, tmp_path / "mix", replace(OPTIONS, count=2))
    assert read_manifest(tmp_path / "mix").labels.names == (label,)


@pytest.mark.parametrize("label", ["owl|fox", "owl; fox", "['owl']", "[]"])
def test_labels_that_a_table_cannot_hold(tmp_path, label):
    manifest = Manifest((Clip("1.wav", tmp_path / "1.wav", (0,)),), LabelSet((label,)), "a test")
    with pytest.raises(DataError, match=r"in a table this would be read as .*: rename it"):
        mix_data_set(manifest, tmp_path / "mix", OPTIONS)


def test_an_onset_is_where_the_sound_begins(made):
    """The level rises by at least 20 dB there, within the fade of 10 ms, and falls at the offset."""
    rows = rows_of(made)
    assert len(rows) >= 8
    changes = 0
    for file in sorted({row["filename"] for row in rows}):
        x, rate = sf.read(made / file)
        assert (len(x), rate) == (4 * RATE, RATE)
        times = [(float(row["onset"]), float(row["offset"])) for row in rows if row["filename"] == file]

        def level(start, end, x=x):
            return 10 * np.log10(np.square(x[max(0, round(start * RATE)) : round(end * RATE)]).mean())

        quiet = np.ones(len(x), bool)
        for onset, offset in times:
            quiet[round(onset * RATE) : round(offset * RATE)] = False
        floor = 10 * np.log10(np.square(x[quiet]).mean())
        for onset, offset in times:
            assert offset - onset == pytest.approx(0.5, abs=0.002) or len(times) > 1
            alone = not any(
                a - 0.06 < at < b + 0.06 for a, b in times if (a, b) != (onset, offset) for at in (onset, offset)
            )
            if alone and onset > 0.06 and offset < 3.94:
                assert level(onset - 0.05, onset) == pytest.approx(floor, abs=2)
                assert level(onset + 0.01, onset + 0.05) > floor + 15
                assert level(offset, offset + 0.05) == pytest.approx(floor, abs=2)
                assert level(offset - 0.05, offset - 0.01) > floor + 15
                changes += 1
    assert changes > 5


def test_it_is_a_data_set_with_events(made):
    manifest = join_events(read_manifest(made))
    assert len(manifest) == 8
    assert manifest.labels.names == NAMES
    rows = Counter(row["filename"] for row in rows_of(made))
    assert {clip.id: len(clip.events) for clip in manifest.clips} == rows


def test_the_same_seed_makes_the_same_bytes(clips, made, tmp_path):
    mix(clips, tmp_path / "again")
    for path in sorted(made.rglob("*.*")):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(made)).read_bytes(), path.name
    mix(clips, tmp_path / "more", count=9)
    first = [path.read_bytes() for path in sorted((made / "audio").iterdir())]
    assert [path.read_bytes() for path in sorted((tmp_path / "more" / "audio").iterdir())][:8] == first
    mix(clips, tmp_path / "other", seed=4)
    assert (tmp_path / "other" / "audio" / "000000.flac").read_bytes() != first[0]


def test_what_it_is_made_of(made):
    about = json.loads((made / "mix.json").read_text())
    assert about["options"]["seed"] == 3
    rows = rows_of(made)
    for scape in about["soundscapes"]:
        onsets = sorted(part["onset"] for part in scape["clips"])
        listed = sorted(float(row["onset"]) for row in rows if row["filename"] == scape["file"])
        assert set(listed) <= {round(onset, 7) for onset in onsets}, "two clips of a label may be one event"
        assert all(20 <= part["snr"] <= 30 for part in scape["clips"])


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=8), polyphony=st.integers(1, 3), seed=st.integers(0, 999)
)
def test_no_more_clips_at_once_than_polyphony(lengths, polyphony, seed):
    rng, taken, heard = np.random.default_rng(seed), [], np.zeros(100, int)
    for length in lengths:
        onset = place(length, taken, 100, polyphony, rng)
        if onset is not None:
            taken.append((onset, onset + length))
            heard[onset : onset + length] += 1
            assert onset + length <= 100
    assert heard.max() <= polyphony


def test_a_pause_within_a_clip_separates_its_events():
    burst = np.full(1600, 0.5, np.float32)
    x = np.concatenate([np.zeros(500), burst, np.zeros(9000), burst, np.zeros(2000), burst, np.zeros(700)]).astype("f4")
    heard = hear(x, longest=10**6)
    assert heard.times == ((0, 1600), (10_600, 15_800)), "0.56 s of silence, and 0.125 s"
    assert len(heard.waveform) == 15_800
    assert hear(np.zeros(100, np.float32), 50) is None
    assert hear(x, longest=1000).times == ((0, 1000),)


def test_rare_classes(clips, tmp_path):
    mix(clips, tmp_path / "mix", count=200, ratio=8, events=(1, 1), seconds=1)
    counts = sorted(Counter(row["event_label"] for row in rows_of(tmp_path / "mix")).values())
    assert 5 < counts[-1] / counts[0] < 12


def test_mixes_of_different_folds_share_no_recording(clips, tmp_path):
    used = {}
    for name, folds in (("train", [1, 3]), ("test", [2])):
        mix(clips, tmp_path / name, folds=folds, count=30)
        scapes = json.loads((tmp_path / name / "mix.json").read_text())["soundscapes"]
        used[name] = {part["clip"] for scape in scapes for part in scape["clips"]}
    assert used["test"] <= {f"{i}.wav" for i in range(7, 12)}, "6.wav is a take of 5.wav in fold 1"
    assert "5.wav" not in used["train"]
    assert not used["train"] & used["test"]
    both = join_events(read_manifest(tmp_path))
    assert Counter(clip.split for clip in both.clips) == {"train": 30, "test": 30}


def test_backgrounds_lie_under_the_events(clips, tmp_path):
    (tmp_path / "under").mkdir()
    time_ = np.arange(RATE) / RATE
    sf.write(tmp_path / "under" / "hum.wav", 0.01 * np.sin(2 * np.pi * 100 * time_), RATE)  # shorter: is repeated
    mix(
        clips,
        tmp_path / "mix",
        count=2,
        events=(1, 1),
        background=tmp_path / "under",
        format="wav",
    )
    about = json.loads((tmp_path / "mix" / "mix.json").read_text())
    assert about["soundscapes"][0]["background"] == {"file": "hum.wav", "start": 0.0}
    row = rows_of(tmp_path / "mix")[0]
    x, _ = sf.read(tmp_path / "mix" / row["filename"])
    quiet = (
        x[: round(float(row["onset"]) * RATE)] if float(row["onset"]) > 1 else x[round(float(row["offset"]) * RATE) :]
    )
    spectrum = np.abs(np.fft.rfft(quiet * np.hanning(len(quiet))))
    assert np.argmax(spectrum) * RATE / len(quiet) == pytest.approx(100, abs=3)
    assert 20 * np.log10(np.sqrt(np.square(quiet).mean())) == pytest.approx(-50, abs=0.5)


def test_a_soundscape_without_events_is_listed(clips, tmp_path):
    mix(clips, tmp_path / "mix", count=20, events=(0, 1))
    empty = [row for row in rows_of(tmp_path / "mix") if not row["event_label"]]
    assert 0 < len(empty) < 20
    manifest = join_events(read_manifest(tmp_path / "mix"))
    assert (len(manifest), manifest.negatives) == (20, len(empty))


def test_clips_that_cannot_be_heard_are_named_and_not_used(clips, tmp_path):
    for i in range(6):
        sf.write(tmp_path / f"{i}.wav", np.zeros(8000) if i == 1 else np.full(8000, 0.5), RATE)
    (tmp_path / "2.wav").write_bytes(b"RIFF")
    (tmp_path / "t.csv").write_text("path,label\n" + "".join(f"{i}.wav,dog\n" for i in range(6)))
    done = mix(tmp_path / "t.csv", tmp_path / "mix", count=30)
    assert [failure.split(":")[0].rsplit("/", 1)[-1] for failure in sorted(done.failed, key=len)] == ["1.wav", "2.wav"]
    assert done.soundscapes == 30


def test_errors_leave_nothing_behind(clips, tmp_path):
    for i in range(2):
        sf.write(tmp_path / f"{i}.wav", np.zeros(8000), RATE)
    (tmp_path / "t.csv").write_text("path,label\n0.wav,dog\n1.wav,cat\n")
    with pytest.raises(DataError, match=r"none of 50 clips can be mixed; the first error: .*only silence"):
        mix(tmp_path / "t.csv", tmp_path / "mix")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="expected a folder with recordings"):
        mix(clips, tmp_path / "mix", background=tmp_path / "empty")
    assert not (tmp_path / "mix").exists()
    with pytest.raises(SaveError, match="already exists"):
        mix(clips, clips)


@pytest.mark.parametrize(
    "wrong", [{"seconds": 0.5}, {"count": 0}, {"events": (3, 2)}, {"polyphony": 0}, {"snr": (9, 3)}, {"ratio": 0.5}]
)
def test_options_out_of_range(wrong):
    with pytest.raises(InputError, match=f"{next(iter(wrong))}: expected"):
        replace(OPTIONS, **wrong)
