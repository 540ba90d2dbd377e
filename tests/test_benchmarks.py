"""The scripts in benchmarks/."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

from spectag.data.layouts import read_manifest

FOLDER = Path(__file__).parents[1] / "benchmarks"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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

    def test_pipeline_compares_loader_and_training(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        made = script("busy").make_clips(tmp_path, classes=2, each=12)
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
