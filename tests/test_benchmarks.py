"""The scripts in benchmarks/: the soundscapes are what they say, and the training benchmark's arithmetic."""

import csv
import importlib.util
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile as sf
import torch

from spectag.data.layouts import read_manifest

FOLDER = Path(__file__).parents[1] / "benchmarks"
NAMES = ("dog", "rain", "sea waves", "crow", "clock, ticking", "frog")
PARTS = {"unbalanced_train": 60, "balanced_train": 12, "eval": 26}


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


soundscapes = script("soundscapes")


@pytest.fixture(scope="module")
def esc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ESC-50's layout: six classes, five folds, two short clips each with silence around them.

    The recordings 999 are the trap: takes of one recording in the fold for evaluation and in another.
    """
    root = tmp_path_factory.mktemp("esc")
    (root / "audio").mkdir()
    (root / "meta").mkdir()
    rng = np.random.default_rng(0)
    rows = [("filename", "fold", "target", "category", "esc10", "src_file", "take")]
    for fold in range(1, 6):
        for target, category in enumerate(NAMES):
            for take in (0, 1):
                source = "999" if target == 0 and take == 1 and fold in (4, 5) else f"{fold}{target}{take}"
                name = f"{fold}-{source}-{'AB'[take]}-{target}.wav"
                sound = rng.uniform(-1, 1, int(rng.integers(8000, 16000))) * rng.uniform(0.01, 0.9)
                sf.write(root / "audio" / name, np.pad(sound, 4000), 16000)
                rows.append((name, str(fold), str(target), category, "False", source, "AB"[take]))
    with (root / "meta" / "esc50.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return root


def make(esc: Path, out: Path, **changes: object) -> Path:
    options = {"parts": PARTS, "classes": 6, "ratio": 4.0, "fold": 5, "seed": 1} | changes
    list(soundscapes.make(esc, out, **options))
    return out


@pytest.fixture(scope="module")
def made(esc: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(esc, tmp_path_factory.mktemp("made") / "set")


def segments(root: Path, part: str) -> dict[str, list[str]]:
    """Mids by id, as AudioSet's tables are read."""
    lines = (root / f"{part}_segments.csv").read_text().splitlines()
    assert [line[0] for line in lines[:4]] == ["#", "#", "#", lines[3][0]]
    rows = csv.reader((line for line in lines if not line.startswith("#")), skipinitialspace=True)
    table = {}
    for name, start, end, mids in rows:
        assert (float(start), float(end)) == (0, 10)
        table[name] = mids.split(",")
    return table


def events(root: Path) -> dict[str, list[dict[str, str]]]:
    """What events.csv says was mixed, by id."""
    table: dict[str, list[dict[str, str]]] = {}
    for row in csv.DictReader((root / "events.csv").read_text().splitlines()):
        table.setdefault(row["YTID"], []).append(row)
    return table


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_same_seed_makes_the_same_bytes_and_another_seed_others(esc: Path, made: Path, tmp_path: Path) -> None:
    assert contents(make(esc, tmp_path / "again")) == contents(made)
    assert contents(make(esc, tmp_path / "other", seed=2)).keys() != contents(made).keys()


def test_every_soundscape_is_ten_seconds_at_16_khz_and_is_in_one_table(made: Path) -> None:
    tables = [segments(made, part) for part in PARTS]
    assert [len(table) for table in tables] == list(PARTS.values())
    names = [name for table in tables for name in table]
    assert {path.stem for path in (made / "audio").iterdir()} == set(names)
    assert len(set(names)) == len(names)
    assert {len(name) for name in names} == {11}
    for name in names:
        info = sf.info(made / "audio" / f"{name}.flac")
        assert (info.frames, info.samplerate, info.channels, info.subtype) == (160000, 16000, 1, "PCM_16")


def test_labels_are_what_was_mixed(made: Path) -> None:
    heard = {name: sorted(row["mid"] for row in rows) for name, rows in events(made).items()}
    assert heard == {name: mids for part in PARTS for name, mids in segments(made, part).items()}
    assert Counter(map(len, segments(made, "unbalanced_train").values())) == dict.fromkeys((1, 2, 3, 4), 15)
    for rows in events(made).values():
        assert len({row["mid"] for row in rows}) == len(rows)
        for row in rows:  # the last number of an ESC file name is its class
            assert int(row["mid"].removeprefix("/m/esc")) == int(Path(row["clip"]).stem.rsplit("-", 1)[1])


def test_an_event_is_heard_where_and_as_loud_as_events_csv_says(made: Path) -> None:
    single = {name: rows[0] for name, rows in events(made).items() if len(rows) == 1}
    for name, row in single.items():
        x, _ = sf.read(made / "audio" / f"{name}.flac")
        start, level = round(float(row["onset"]) * 16000), float(row["level_db"])
        sound = x[start + 160 : start + 7000]
        assert 20 * np.log10(np.sqrt(np.mean(sound**2))) == pytest.approx(level, abs=1.5)
        before = x[: start - 1]
        assert not len(before) or np.abs(before).max() < 0.01  # hiss only


def test_no_recording_is_on_both_sides(made: Path) -> None:
    rows = events(made)
    sources = {
        part: {row["clip"].split("-")[1] for name in segments(made, part) for row in rows[name]} for part in PARTS
    }
    folds = {part: {row["clip"][0] for name in segments(made, part) for row in rows[name]} for part in PARTS}
    assert folds["eval"] == {"5"}
    assert "5" not in folds["unbalanced_train"] | folds["balanced_train"]
    assert not sources["eval"] & (sources["unbalanced_train"] | sources["balanced_train"])
    assert "999" in sources["eval"]


def test_the_tail_is_as_long_as_asked_and_the_other_parts_have_none(made: Path) -> None:
    counts = {
        part: sorted(Counter(mid for mids in segments(made, part).values() for mid in mids).values()) for part in PARTS
    }
    assert sum(counts["unbalanced_train"]) == 150
    assert counts["unbalanced_train"][-1] / counts["unbalanced_train"][0] == pytest.approx(4, rel=0.1)
    for part in ("balanced_train", "eval"):
        assert len(counts[part]) == 6
        assert counts[part][-1] - counts[part][0] <= 1


def test_which_classes_are_rare_depends_on_the_seed() -> None:
    first, second = (soundscapes.positives(1500, 50, 50, np.random.default_rng(seed)) for seed in (0, 1))
    assert sorted(first) == sorted(second)
    assert first.tolist() != second.tolist()
    assert first.sum() == 3750
    assert first.max() / first.min() == pytest.approx(50, rel=0.05)


@pytest.mark.parametrize("soundscape_count", [1, 7, 30, 403])
def test_every_place_is_taken_once(soundscape_count: int) -> None:
    rng = np.random.default_rng(0)
    counts = soundscapes.positives(soundscape_count, 20, 8, rng)
    places = soundscapes.assign(soundscape_count, counts, rng)
    assert [len(set(p.tolist())) for p in places] == counts.tolist()
    held = np.bincount(np.concatenate(places), minlength=soundscape_count)
    assert sorted(held) == sorted(soundscapes.sizes(soundscape_count))


def test_spectag_reads_it(made: Path) -> None:
    manifest = read_manifest(made)
    assert Counter(clip.split for clip in manifest.clips) == PARTS
    assert manifest.labels.names == NAMES
    assert manifest.labels.ids == tuple(f"/m/esc0{n}" for n in range(6))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--classes", "7"], "--classes 7: expected 4 to 6"),
        (["--classes", "6", "--ratio", "500"], "lower --ratio"),
        (["--classes", "6", "--eval-fold", "9"], "no such fold"),
    ],
)
def test_what_cannot_be_made_leaves_nothing_behind(esc: Path, tmp_path: Path, options: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        soundscapes.main([str(esc), str(tmp_path / "set"), *options])
    assert not (tmp_path / "set").exists()


def test_a_data_set_is_not_written_over(esc: Path, made: Path) -> None:
    with pytest.raises(SystemExit, match="already"):
        soundscapes.main([str(esc), str(made), "--classes", "6", "--ratio", "6"])


def test_the_command_says_what_it_made(esc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--train", "8", "--eval", "8", "--classes", "6", "--ratio", "2"]
    soundscapes.main([str(esc), str(tmp_path / "set"), *options])
    out = capsys.readouterr().out.splitlines()
    assert out[0].split(";")[:2] == ["unbalanced_train      8 soundscapes", " 2 of 1, 2 of 2, 2 of 3, 2 of 4 events"]
    assert out[1].endswith("positives per class: 3 / 3 / 4 (min, median, max)")
    assert not (tmp_path / "set" / "balanced_train_segments.csv").exists()


class TestTraining:
    training = script("training")

    def test_arithmetic_is_what_torch_counts(self) -> None:
        from torch.utils.flop_counter import FlopCounterMode
        from transformers import ASTConfig, ASTModel

        sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 96}
        peer = ASTModel(ASTConfig(**sizes, max_length=64, num_mel_bins=32, attn_implementation="eager"))
        with FlopCounterMode(display=False) as counter:
            peer(torch.zeros(3, 64, 32))
        config = self.training.ASTConfig(width=24, depth=2, heads=2, mel_bins=32, frames=64, labels=5)
        assert self.training.operations(config, 0.0, 3) == pytest.approx(3 * counter.get_total_flops())

    def test_both_take_turns(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(self.training.SIZES, "tiny", (24, 2))
        monkeypatch.setattr(self.training, "peak_of", lambda name, arguments: 1.0)  # a process of its own: seconds
        self.training.main(["--size", "tiny", "--frames", "32", "--batch", "2", "--steps", "2"])
        rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
        assert [row[0] for row in rows] == ["transformers", "spectag", "transformers", "spectag"]
        assert all(float(value) > 0 for row in rows for value in row[-5:])

    def test_pipeline_compares_loader_and_training(self, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
        recipe = ["batch_size=2", "model.width=24", "model.depth=1", "model.heads=2", "front_end.frames=64"]
        options = ["--pipeline", "--data", str(made), "--recipe", "audioset-full", "--steps", "1", "--seconds", "0.1"]
        self.training.main([*options, *(word for key in recipe for word in ("--set", key))])
        names = [line[:26].strip() for line in capsys.readouterr().out.splitlines()[2:]]
        assert names == ["training consumes", "loader, from files", "loader, from memory"]


def test_pieces_are_timed_beside_torch(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["pieces.py", "--repeats", "1"])
    threads = torch.get_num_threads()
    try:
        script("pieces").main()
    finally:
        torch.set_num_threads(threads)
    rows = capsys.readouterr().out.splitlines()[2:]
    assert len(rows) == 12
    assert all(float(row.split()[-1]) > 0 for row in rows)


class TestBusy:
    busy = script("busy")

    def test_programs_are_started_and_ended(self) -> None:
        with self.busy.busy(2) as started:
            assert [program.poll() for program in started] == [None, None]
        assert all(program.returncode is not None for program in started)

    def test_ways_take_turns(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever takes longer than the limit is not tried again."""
        turns: list[str] = []
        times = {"spectag": [2.0, 4.0], "spinning": [9.0]}
        monkeypatch.setattr(self.busy, "train", lambda data, way, *_: (turns.append(way), times[way])[1])
        words = ["--work", "train", "--busy", "0", "--repeats", "2", "--limit", "9"]
        monkeypatch.setattr("sys.argv", ["busy.py", *words])
        self.busy.main()
        assert turns == ["spectag", "spinning", "spectag"]
        rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
        assert rows == [["train", "0", "spectag", "3.00", "1.00"], ["train", "0", "spinning", ">", "9.00", "3.00"]]

    def test_training_and_tagging_are_timed(self, tmp_path: Path) -> None:
        data = self.busy.make_clips(tmp_path, classes=2, each=4)
        assert len(read_manifest(data)) == 8
        assert all(seconds > 0 for seconds in self.busy.tag(data, "spectag", 600))
        assert len(self.busy.train(data, "one thread", 2, 600)) == 2
        assert self.busy.environment("spectag").keys() & {"OMP_NUM_THREADS", "GOMP_SPINCOUNT"} == set()


class TestFuzz:
    fuzz = script("fuzz")

    def test_damaged_files_are_the_same_again_and_none_gives_a_foreign_error(self) -> None:
        files = list(self.fuzz.originals().values())
        assert len(files) > 40
        made = [self.fuzz.mutated(files, 3, number) for number in range(60)]
        assert made == [self.fuzz.mutated(files, 3, number) for number in range(60)]
        assert {self.fuzz.outcome(data) for _, data in made} == {"read", "noted", "refused"}

    def test_a_process_that_dies_is_counted_and_the_next_goes_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        worker = tmp_path / "worker.py"
        worker.write_text(
            "import os, sys\n"
            "for number in range(int(sys.argv[-2]), int(sys.argv[-1])):\n"
            "    print(f'begin {number}', flush=True)\n"
            "    if number % 3 == 1: os.abort()\n"
            "    print('end 2.5 read' if number == 3 else 'end 0.1 read', flush=True)\n"
        )
        monkeypatch.setattr(self.fuzz, "__file__", str(worker))
        found = [(number, result) for number, result, _ in self.fuzz.batch(0, 0, 6)]
        crash = "crash: status -6"
        assert found == [(0, "read"), (1, crash), (2, "read"), (3, "hang"), (4, crash), (5, "read")]
