"""What every command shares: help, usage errors, one line per error, exit codes."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

import spectag
from spectag.cli.main import main
from spectag.errors import SpectagWarning

USAGE_ERRORS = [
    ["--nonsense"],
    ["sing"],
    ["tag"],
    ["tag", "a.wav", "--top-k", "0"],
    ["tag", "a.wav", "--top-k", "many"],
    ["tag", "a.wav", "--threshold", "1.5"],
    ["tag", "a.wav", "--format", "xml"],
    ["tag", "a.wav", "--device", "gpu"],
    ["tag", "a.wav", "--precision", "fp8"],
    ["tag", "a.wav", "--batch-size", "0"],
    ["info"],
    ["convert", "a"],
    ["convert", "a", "b", "--stride", "10"],
    ["convert", "a", "b", "--stride", "0,10"],
    ["convert", "a", "b", "--window", "blackman"],
]


def run(*args: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "spectag", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=900, **options)


@pytest.mark.parametrize("args", USAGE_ERRORS, ids=" ".join)
def test_usage_errors_are_one_line(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("spectag: error: ")
    assert err.endswith("--help)\n")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "args", [[], ["--help"], ["--debug", "--help"], ["tag", "--help"], ["info", "--help"], ["convert", "--help"]]
)
def test_help_goes_to_stdout(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Usage: spectag")
    assert err == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"spectag {spectag.__version__}\n"


def test_help_and_usage_errors_need_no_torch() -> None:
    code = (
        "import sys; from spectag.cli.main import main\n"
        f"for args in {[['--help'], ['tag', '--help'], ['train', '--help'], *USAGE_ERRORS]}:\n"
        "    main(args)\n"
        "    loaded = {'torch', 'numpy', 'av', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "    assert not loaded, (args, loaded)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr


def test_unknown_models_and_outputs_load_no_network(tmp_path: Path) -> None:
    no_model, no_output = ["--model", "no.such"], ["-o", str(tmp_path / "no" / "tags.csv")]
    commands = [
        ["tag", "a.wav", *no_output],
        ["tag", "a.wav", *no_model],
        ["info", "no.such"],
        ["convert", "no.such", str(tmp_path / "out")],
    ]
    code = (
        "import sys; from spectag.cli.main import main\n"
        f"for args in {commands}:\n"
        "    assert main(args) == 1, args\n"
        "    loaded = {'spectag.tag.tagger', 'spectag.model.bundle'} & set(sys.modules)\n"
        "    assert not loaded, (args, loaded)\n"
        "    assert 'torch' not in sys.modules, args\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert [line.count("no such file") for line in done.stderr.splitlines()] == [0, 1, 1, 1]


def test_the_reader_may_go_away(model: Path, good: dict[str, Path]) -> None:
    """As ``spectag tag ... | head`` does."""
    command = [sys.executable, "-m", "spectag", "tag", *map(str, good.values()), "-m", str(model), "-f", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(source: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("spectag.model.loading.load", interrupt)
    assert main(["info", "esc10"]) == 130
    assert capsys.readouterr().err == "spectag: interrupted\n"


def test_unexpected_errors_are_one_line_unless_debugged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(source: str) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("spectag.model.loading.load", fail)
    assert main(["info", "esc10"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "RuntimeError: two lines" in err
    assert "--debug" in err
    assert main(["info", "--debug", "esc10"]) == 1
    assert "Traceback" in capsys.readouterr().err
    monkeypatch.setenv("SPECTAG_DEBUG", "1")
    assert main(["info", "esc10"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full(source: str) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("spectag.model.loading.load", full)
    assert main(["info", "esc10"]) == 1
    assert capsys.readouterr().err == "spectag: error: No space left on device\n"


def test_warnings_of_ours_are_a_line_each(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Special(SpectagWarning):
        pass

    def warn(source: str) -> None:
        warnings.warn("stride 10 is\na guess", SpectagWarning, stacklevel=2)
        warnings.warn("special", Special, stacklevel=2)
        warnings.warn("chatter of a library", UserWarning, stacklevel=2)
        raise OSError(28, "full")

    monkeypatch.setattr("spectag.model.loading.load", warn)
    main(["info", "esc10"])
    lines = capsys.readouterr().err.splitlines()
    assert lines[:-1] == ["spectag: warning: stride 10 is a guess", "spectag: warning: special"]


@pytest.mark.parametrize("args", [["serve"], ["embed"], ["events"], ["timeline"], ["watch"], ["data", "pick"]])
def test_what_is_no_command_yet_is_taken_for_no_other(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The kind: somebody who read of a command that this version lacks is led to one that does something else."""
    assert main(args) == 2
    group = " ".join(["spectag", *args[:-1]])
    assert capsys.readouterr().err == f"spectag: error: No such command '{args[-1]}'. (see: {group} --help)\n"


@pytest.mark.parametrize(
    ("args", "command"),
    [
        (["tga"], "tag"),
        (["trian"], "train"),
        (["evalute"], "evaluate"),
        (["recipe"], "recipes"),
        (["data", "chekc"], "check"),
    ],
)
def test_a_slip_of_the_finger_is_understood(args: list[str], command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 2
    assert f"No such command '{args[-1]}'. Did you mean '{command}'? (see: " in capsys.readouterr().err


def test_what_a_library_prints_is_no_result(tmp_path):
    """The kind: decoders are C libraries, and some print to stdout, where a program expects results."""
    soundfile.write(tmp_path / "a.wav", np.zeros(1600) + 0.1, 16_000)
    code = (
        "import ctypes, sys; from spectag.audio import read; from spectag.cli.main import main\n"
        "blocks = read.Recording.blocks\n"
        "def printing(self):\n"
        "    ctypes.CDLL(None).puts(b'alac_pakt_read_decode: Ooops!'); ctypes.CDLL(None).fflush(None)\n"
        "    return blocks(self)\n"
        "read.Recording.blocks = printing\n"
        "sys.argv = ['spectag', 'tag', 'a.wav', '-f', 'jsonl']; sys.exit(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["path"] == "a.wav"
    assert "Ooops!" in done.stderr
