"""spectag evaluate, score and ensemble, as typed."""

import json
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from spectag.cli.main import main
from spectag.score.metrics import FIGURES
from spectag.score.npz import read_scores

CLASSES = ("dog", "rain", "sea")


def call(*args: str | Path) -> int:
    return main([str(arg) for arg in args])


def make(path: Path, seed: int, labels: tuple[str, ...] = CLASSES, mean: float = -6.0, **config) -> Path:
    import torch

    from spectag.audio.front_end import FrontEnd
    from spectag.labels import LabelSet
    from spectag.model.bundle import Bundle
    from spectag.model.card import Card
    from spectag.model.config import ASTConfig
    from spectag.model.network import AST

    torch.manual_seed(seed)
    network = AST(ASTConfig(width=32, depth=1, heads=2, frames=50, labels=len(labels), **config))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    card = Card(network.config, FrontEnd(mean=mean, frames=50), LabelSet(labels), "softmax")
    return Bundle(card, network).save(path)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two that go together, and one with its labels in another order and another front end."""
    root = tmp_path_factory.mktemp("models")
    return [
        make(root / "a", 0),
        make(root / "b", 1, stride=(12, 12)),
        make(root / "c", 2, ("sea", "dog", "wind", "rain"), -5.0),
    ]


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder per class, of noises shaped differently."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        (tmp_path / "clips" / name).mkdir(parents=True)
        for n in range(4):
            noise = np.convolve(rng.standard_normal(9_000), np.ones(1 + 4 * label))
            soundfile.write(tmp_path / "clips" / name / f"{n}.wav", 0.02 * noise, 16_000)
    return tmp_path / "clips"


@pytest.fixture
def files(models: list[Path], clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> list[Path]:
    paths = [tmp_path / f"{model.name}.npz" for model in models]
    for model, path in zip(models, paths, strict=True):
        assert call("score", model, "--data", clips, "-o", path) == 0
        classes = "4 classes, 1 of which the data set lacks: wind" if model == models[2] else "3 classes"
        assert capsys.readouterr().out == f"{path}: 12 clips, {classes}\n"
    return paths


def test_scores_are_those_of_the_tagger(models, files, clips) -> None:
    from spectag.tag.tagger import Tagger

    for model, path in zip(models, files, strict=True):
        table = read_scores(path)
        assert (table.data_labels, table.model, table.activation, table.members) == (CLASSES, str(model), "softmax", 1)
        tagger = Tagger(model)
        assert table.other_labels == tuple(name for name in tagger.labels.names if name not in CLASSES)
        columns = [tagger.labels.index(name) for name in table.labels]
        for name, scores, targets in zip(table.ids, table.scores, table.targets, strict=True):
            assert CLASSES[targets.argmax()] == Path(name).parent.name
            np.testing.assert_allclose(scores, tagger.scores(clips / name)[columns], atol=1e-6)


def test_figures_are_those_of_evaluate(models, files, clips, capsys) -> None:
    assert call("ensemble", *files, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["source"] for row in found["files"]] == list(map(str, files))
    for model, row in zip(models, found["files"], strict=True):
        assert call("evaluate", model, "--data", clips, "--json") == 0
        figures = json.loads(capsys.readouterr().out)
        for name in ("accuracy", "mean_ap", "mean_auc", "d_prime", "micro_f1", "macro_f1", "ap", "auc", "f1", "clips"):
            assert row[name] == pytest.approx(figures[name], abs=1e-9), name
        assert row["not_in_data"] == figures["not_in_data"] == (["wind"] if model == models[2] else [])
    assert found["ensemble"]["members"] == 3


def test_a_table_and_the_average(files, tmp_path, capsys) -> None:
    out = tmp_path / "mean.npz"
    assert call("ensemble", *files, "-o", out) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["accuracy", "mAP", "mAUC", "d-prime", "micro", "F1", "macro", "F1"]
    assert [line.split("  ")[0] for line in lines[1:-1]] == [
        *map(str, files),
        "ensemble of 3",
        "95 % from",
        "95 % to",
    ]
    assert lines[-1] == "mAP over 3 classes, macro F1 at threshold 0.5"
    tables = [read_scores(path) for path in files]
    mean = np.mean([table.scores[:, :3] for table in tables], axis=0)
    np.testing.assert_allclose(read_scores(out).scores[:, :3], mean, atol=1e-7)
    np.testing.assert_allclose(read_scores(out).scores[:, 3], tables[2].scores[:, 3] / 3, atol=1e-7)
    assert read_scores(out).members == 3
    assert call("ensemble", out, "--resamples", 0) == 0
    again = capsys.readouterr().out.splitlines()
    assert again[1].split()[1:] == lines[4].split()[3:], "the same figures"
    assert len(again) == 4


def test_an_ensemble_of_models_scores_as_its_files_do(models, files, clips, tmp_path, capsys) -> None:
    whole, scores, mean = tmp_path / "whole", tmp_path / "whole.npz", tmp_path / "mean.npz"
    assert call("ensemble", *models[:2], "-o", whole) == 0
    assert re.fullmatch(rf"{re.escape(str(whole))}: ensemble of 2, \d+ parameters, 3 labels\n", capsys.readouterr().out)
    assert call("score", whole, "--data", clips, "-o", scores) == 0
    assert call("ensemble", *files[:2], "-o", mean) == 0
    np.testing.assert_allclose(read_scores(scores).scores, read_scores(mean).scores, atol=1e-6)
    assert read_scores(scores).members == read_scores(mean).members == 2

    capsys.readouterr()
    assert call("info", whole, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["members"]["member-1"]["network"]["stride"] == [12, 12]
    assert call("info", whole) == 0
    assert "members.member-1.network.stride" in capsys.readouterr().out
    assert call("tag", clips / "dog", "--model", whole, "-f", "jsonl") == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert call("evaluate", whole, "--data", clips) == 0
    assert "on 12 clips" in capsys.readouterr().out

    more = tmp_path / "more"
    assert call("ensemble", whole, models[0], "-o", more, "--half") == 0
    assert "ensemble of 3" in capsys.readouterr().out
    assert call("convert", whole, tmp_path / "one") == 1
    assert "is an ensemble, and one network is needed" in capsys.readouterr().err


def test_evaluate_prints_figures_over_all_clips_and_per_class(models, clips, capsys) -> None:
    assert call("evaluate", models[0], "--data", clips, "--json") == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["model"], figures["clips"], figures["failed"]) == (str(models[0]), 12, [])
    assert list(figures["ap"]) == list(CLASSES)
    assert call("evaluate", models[0], "--data", clips) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{models[0]} on 12 clips (")
    for line, (name, text) in zip(rest, FIGURES.items(), strict=False):
        low, high = figures["intervals"][name]
        value = "-" if figures[name] is None else f"{figures[name]:.3f}"
        assert re.match(rf"{text} +{value} +{low:.3f} to {high:.3f}", line), line
    assert rest[1].endswith("over 3 classes")
    assert rest[4].endswith("at threshold 0.5")
    assert rest[6] == "95 % intervals: bootstrap over 12 clips, 1000 draws"
    assert [line.split() for line in rest[7:]] == [[name, "AP", f"{figures['ap'][name]:.3f}"] for name in CLASSES]


def test_evaluate_without_intervals_and_at_another_threshold(models, clips, capsys) -> None:
    words = ["evaluate", models[0], "--data", clips, "--resamples", 0, "--threshold", 0.25]
    assert call(*words, "--json") == 0
    figures = json.loads(capsys.readouterr().out)
    assert "intervals" not in figures
    assert figures["thresholds"] == 0.25
    assert call(*words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[5].split() == ["micro", "F1", f"{figures['micro_f1']:.3f}", "at", "threshold", "0.25"]
    assert not any("95 %" in line or " to " in line for line in lines)


def test_evaluate_takes_the_thresholds_of_the_model(models, clips, tmp_path, capsys) -> None:
    """As tag does, so that both decide the same."""
    model = shutil.copytree(models[2], tmp_path / "calibrated")  # sea, dog, wind, rain
    facts = json.loads((model / "spectag.json").read_text())
    (model / "spectag.json").write_text(json.dumps(facts | {"thresholds": [0.0, 0.25, 1.0, 1.0]}))
    words = ["evaluate", model, "--data", clips, "--resamples", 0, "--json"]
    assert call(*words) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["thresholds"] == {"dog": 0.25, "rain": 1.0, "sea": 0.0, "wind": 1.0}
    assert figures["f1"]["sea"] == pytest.approx(2 * 4 / (4 + 12))  # taken for every clip
    assert figures["f1"]["rain"] == 0
    assert call(*words, "--threshold", 0.5) == 0
    assert json.loads(capsys.readouterr().out)["thresholds"] == 0.5


def test_classes_that_the_data_set_lacks_are_named(models, clips, capsys) -> None:
    assert call("evaluate", models[2], "--data", clips) == 0
    assert "\nclasses of the model: 4, 1 of which the data set lacks: wind\n" in capsys.readouterr().out


def test_several_labels_and_none(models, clips, capsys) -> None:
    """No accuracy, and clips without labels are counted."""
    rows = [f"{path.relative_to(clips.parent)},dog|rain" for path in sorted(clips.rglob("*.wav"))]
    rows[-1] = f"{rows[-1].split(',')[0]},sea"
    (clips.parent / "clips.csv").write_text("\n".join(["path,labels", *rows]))
    assert call("evaluate", models[0], "--data", clips.parent / "clips.csv") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split(maxsplit=2) == ["accuracy", "-", "only where each clip has exactly one of several labels"]
    assert call("evaluate", models[0], "--data", clips.parent / "clips.csv", "--json") == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["accuracy"], figures["negatives"], figures["mean_ap_classes"]) == (None, 0, 3)


def test_negatives_are_scored(models, clips, tmp_path, capsys) -> None:
    """Kind: clips that a table or a folder names and that no figure sees, since nothing is heard in them."""
    quiet = tmp_path / "quiet"
    quiet.mkdir()
    for n in range(3):
        soundfile.write(quiet / f"{n}.wav", 0.001 * np.random.default_rng(n).standard_normal(9_000), 16_000)
    assert call("evaluate", models[0], "--data", clips, "--negatives", quiet, "--json") == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["clips"], figures["negatives"], figures["accuracy"]) == (15, 3, None)

    rows = [f"{path.relative_to(tmp_path)},{path.parent.name}" for path in sorted(clips.rglob("*.wav"))]
    rows += [f"{path.relative_to(tmp_path)}," for path in sorted(quiet.iterdir())]
    (tmp_path / "clips.csv").write_text("\n".join(["path,label", *rows]))
    assert call("evaluate", models[0], "--data", tmp_path / "clips.csv", "--json") == 0
    table = json.loads(capsys.readouterr().out)
    for name in ("clips", "negatives", "mean_ap", "mean_auc", "micro_f1", "macro_f1"):
        assert table[name] == pytest.approx(figures[name]), name
    assert call("score", models[0], "--data", clips, "--negatives", quiet, "-o", tmp_path / "s.npz") == 0
    assert (read_scores(tmp_path / "s.npz").targets.sum(1) == 0).sum() == 3
    capsys.readouterr()
    assert call("evaluate", models[0], "--data", clips, "--negatives", quiet) == 0
    assert "\n3 of the clips have no label\n" in capsys.readouterr().out


def test_a_library_that_is_missing(models, clips, monkeypatch, capsys) -> None:
    """Kind: a command that asks for more than it needs. Figures need SciPy, and none of what trains."""
    monkeypatch.setattr("spectag.cli.runs.find_spec", lambda name: None if name == "scipy" else True)
    assert call("evaluate", models[0], "--data", clips) == 1
    message = "spectag: error: spectag evaluate needs the extra 'score': pip install 'spectag[score]'\n"
    monkeypatch.setattr(sys, "argv", ["spectag", "evaluate"])
    assert call("evaluate", models[0], "--data", clips) == 1
    assert capsys.readouterr().err.endswith(message)
    monkeypatch.setattr("spectag.cli.runs.find_spec", lambda name: True if name == "scipy" else None)
    assert call("evaluate", models[0], "--data", clips) == 0


def test_a_clip_that_cannot_be_read(models, clips, tmp_path, capsys) -> None:
    """It is named on stderr, the others are scored, and the exit code says that not all went well."""
    (clips / "rain" / "9.wav").write_text("not audio")
    out = tmp_path / "s.npz"
    for arguments in (["score", models[0], "--data", clips, "-o", out], ["evaluate", models[0], "--data", clips]):
        assert call(*arguments) == 1
        captured = capsys.readouterr()
        assert "12 clips" in captured.out
        [line] = captured.err.splitlines()
        assert line.startswith("spectag: error: ")
        assert "9.wav" in line
    assert len(read_scores(out).ids) == 12


def test_scoring_does_not_load_what_trains(models, files, clips, tmp_path) -> None:
    """Nor does it need the libraries for it. Torch itself imports torch.utils.data and torch.distributed."""
    commands = [
        ["evaluate", models[0], "--data", clips],
        ["score", models[0], "--data", clips, "-o", tmp_path / "s.npz"],
        ["ensemble", *files],
    ]
    code = (
        "import sys\n"
        "others = ('lightning_fabric', 'sklearn', 'matplotlib', 'jinja2', 'tensorboard')\n"
        "sys.modules |= dict.fromkeys(others)  # as if they were not installed\n"
        "from spectag.cli.main import main\n"
        f"for args in {[[str(word) for word in command] for command in commands]}:\n"
        "    code = main(args)\n"
        "    bad = [n for n in sys.modules if n.startswith(('spectag.train', 'spectag.runs'))]\n"
        "    assert (code, bad) == (0, []), (args, code, bad)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_other_clips_are_an_error(models, files, clips, capsys) -> None:
    (clips / "rain" / "0.wav").unlink()
    assert call("score", models[0], "--data", clips, "-o", files[0]) == 0
    capsys.readouterr()
    assert call("ensemble", *files) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert re.search(
        r"b\.npz: differs from .*a\.npz in 1 of the clips, for example rain/0\.wav, which only .*b\.npz", line
    )


def test_a_file_twice(files, capsys) -> None:
    with warnings.catch_warnings():
        assert call("ensemble", files[0], files[1], files[0]) == 0
    captured = capsys.readouterr()
    assert re.fullmatch(r"spectag: warning: .*a\.npz: holds the same scores as .*a\.npz, .*\n", captured.err)
    assert "ensemble of 3" in captured.out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["score", "esc10", "--data", ".", "-o", "s.parquet"], "ends in .npz; got 's.parquet'"),
        (["score", "esc10", "--data", "."], "Missing option '--output'"),
        (["ensemble"], "Missing argument"),
        (["ensemble", "a.npz", "-o", "mean.csv"], "ends in .npz"),
        (["ensemble", "a.npz", "esc10"], "score files .* or models, not both; 'a.npz' is a score file"),
        (["ensemble", "a.npz", "--half"], "--half: is for models"),
        (["ensemble", "esc10", "--json", "-o", "dir"], "--json: is for score files"),
        (["ensemble", "esc10", "esc10"], "--output: expected a new directory"),
        (["ensemble", "esc10", "-o", "dir.npz"], "--output: expected a new directory"),
    ],
)
def test_usage_errors(args, message, capsys) -> None:
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.search(message, err), err
    assert err.count("\n") == 1


def test_errors_are_one_line(models, files, clips, tmp_path, capsys) -> None:
    (tmp_path / "junk.npz").write_text("junk")
    before = files[0].read_bytes()
    for args, message in (
        (["ensemble", "none.npz"], "none.npz: no such file"),
        (["ensemble", tmp_path / "junk.npz"], "junk.npz: expected a score file, got"),
        (["ensemble", *files, "-o", files[0]], "is one of the inputs"),
        (["ensemble", *files, "-o", tmp_path / "none" / "mean.npz"], "does not exist"),
        (["ensemble", *models, "-o", tmp_path / "whole"], "member 2 .*labels: expected 3 .* got 4"),
        (["ensemble", *models[:2], "-o", tmp_path], "already exists"),
        (["ensemble", "no.such", "-o", tmp_path / "whole"], "no such file or directory"),
        (["score", "no.such", "--data", clips, "-o", tmp_path / "s.npz"], "no such file or directory"),
        (["score", models[0], "--data", clips, "-o", tmp_path / "none" / "s.npz"], "does not exist"),
        (["score", models[0], "--data", clips, "--fold", 3, "-o", tmp_path / "s.npz"], "no such fold"),
        (["score", models[0], "--data", tmp_path / "none", "-o", tmp_path / "s.npz"], "found nothing"),
        (["evaluate", models[0], "--data", tmp_path / "none"], "found nothing"),
        (["evaluate", models[0], "--data", clips, "--split", "test"], "--split test: .* no such"),
    ):
        assert call(*args) == 1, args
        out, err = capsys.readouterr()
        assert out == ""
        assert re.search(message, err), err
        assert err.count("\n") == 1
    assert files[0].read_bytes() == before
    assert not (tmp_path / "whole").exists()


def test_the_separator_of_a_model_is_remembered(models, clips, tmp_path, capsys) -> None:
    """The kind: a setting that a run knows has to be typed again, and without it every label is unknown."""
    table = clips / "clips.csv"
    table.write_text("path,label\ndog/0.wav,dog+rain\nrain/0.wav,rain\nsea/0.wav,sea\n")
    assert call("evaluate", models[0], "--data", table) == 1
    assert "does not know 1 of the data set's 3 classes" in capsys.readouterr().err
    model = shutil.copytree(models[0], tmp_path / "trained")
    facts = json.loads((model / "spectag.json").read_text())
    facts["provenance"] = {"recipe": {"labels": {"separator": "+"}}}
    (model / "spectag.json").write_text(json.dumps(facts))
    for words in (["evaluate", model, "--json"], ["score", model, "-o", tmp_path / "scores.npz"]):
        assert call(*words, "--data", table) == 0
        assert "labels in a cell are separated by '+', as when" in capsys.readouterr().err
    assert read_scores(tmp_path / "scores.npz").targets.sum() == 4
    assert call("evaluate", model, "--data", table, "--separator", "|") == 1, "another table may have another rule"
    for odd in ({"recipe": "mine"}, {"recipe": {"labels": None}}, {"recipe": {"labels": {"separator": 3}}}):
        (model / "spectag.json").write_text(json.dumps(facts | {"provenance": odd}))
        assert call("evaluate", model, "--data", table) == 1
        assert "does not know 1 of the data set's 3 classes" in capsys.readouterr().err


def test_stretches_of_one_file_are_read_once(models, tmp_path, capsys, monkeypatch) -> None:
    """The kind: a table of many stretches of a long file, each of which was decoded from the beginning of the file.

    Their ids are not in the order of time. Figures are those of the stretches as files of their own.
    """
    rng = np.random.default_rng(0)
    rows = ["path,start,end,label"]
    whole = (0.1 * rng.standard_normal(12 * 8_000)).astype(np.float32)
    soundfile.write(tmp_path / "long.wav", whole, 16_000, subtype="FLOAT")
    (tmp_path / "cut").mkdir()
    for n in range(12):
        rows.append(f"long.wav,{n / 2},{n / 2 + 0.5 if n < 11 else 9},{CLASSES[n % 3]}")
        soundfile.write(tmp_path / "cut" / f"{n}.wav", whole[n * 8_000 :][:8_000], 16_000, subtype="FLOAT")
    (tmp_path / "clips.csv").write_text("\n".join(rows))
    cut = [row.replace("long.wav", f"{n}.wav").split(",") for n, row in enumerate(rows[1:])]
    (tmp_path / "cut" / "clips.csv").write_text("\n".join(["path,label", *(f"{row[0]},{row[3]}" for row in cut)]))
    assert call("evaluate", models[0], "--data", tmp_path / "cut" / "clips.csv", "--json") == 0
    wanted = json.loads(capsys.readouterr().out)

    from spectag.audio.readers import Readers

    read, blocks = [], Readers.blocks
    monkeypatch.setattr(
        Readers,
        "blocks",
        lambda self, recording, stop=None: read.append(recording.name) or blocks(self, recording, stop),
    )
    assert call("evaluate", models[0], "--data", tmp_path / "clips.csv", "--json") == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert read == [f"{tmp_path / 'long.wav'} (0 s to 9 s)"]
    for name in ("accuracy", "mean_ap", "mean_auc", "ap", "auc", "clips"):
        assert found[name] == pytest.approx(wanted[name], abs=1e-9), name
    assert err == (
        f"spectag: warning: {tmp_path / 'long.wav'} (5.5 s to 9 s): ends after the recording, which is 6.000 s long: "
        "what is there is used; correct the times\n"
    )
