"""benchmarks/mutants.py: the changes it makes, the tests it runs, and that it tells survivors from killed mutants."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
spec = importlib.util.spec_from_file_location("benchmark_mutants", FOLDER / "mutants.py")
assert spec is not None
assert spec.loader is not None
mutants = importlib.util.module_from_spec(spec)
spec.loader.exec_module(mutants)

CODE = '''"""A docstring: 1 + 1."""
from typing import Literal

Kind = Literal["a", "b"]
SIZE: int = 3


def pick(x: list[int], last: bool = True, half: float = 0.5) -> int | None:
    """Another one."""
    assert len(x) < 9
    if not x:
        raise ValueError(f"expected {1 + 1} or more")
    if last and half <= 0.25:
        x = sorted(x, reverse=True)
    for a, b in zip(x, x, strict=True):
        print(a // b)
    return x[: len(x)][-1] if last else min(x)
'''


def test_the_changes_of_a_module() -> None:
    changes = [(mutant.line, mutant.old, mutant.new) for mutant in mutants.make_mutants("m.py", CODE)]
    assert changes == [
        (5, "3", "(4)"),
        (8, "True", "(False)"),
        (8, "0.5", "(1.0)"),
        (11, "not x", "(x)"),
        (12, 'raise ValueError(f"expected {1 + 1} or more")', "pass"),
        (13, "last and half <= 0.25", "(last or half <= 0.25)"),
        (13, "half <= 0.25", "(half < 0.25)"),
        (13, "0.25", "(0.5)"),
        (14, "x = sorted(x, reverse=True)", "pass"),
        (14, "sorted", "(list)"),
        (14, "sorted(x, reverse=True)", "(sorted(x))"),
        (14, "True", "(False)"),
        (16, "print(a // b)", "pass"),
        (16, "a // b", "(-(-a // b))"),
        (17, "last", "(not last)"),
        (17, "len(x)", "(len(x) + 1)"),
        (17, "-1", "(1)"),
        (17, "1", "(2)"),
        (17, "min", "(max)"),
    ]


def test_every_mutant_is_the_module_with_one_change() -> None:
    for mutant in mutants.make_mutants("m.py", CODE.replace("A docstring", "Ä döcstring")):
        lines = zip(CODE.splitlines()[1:], mutant.text.splitlines()[1:], strict=True)
        assert [number for number, (old, new) in enumerate(lines, 2) if old != new] == [mutant.line]


def test_tests_mirror_the_modules() -> None:
    doctests = "tests/test_docstrings.py::test_examples_run[spectag.train.muon]"
    assert mutants.find_tests("src/spectag/train/muon.py") == ["tests/train/test_muon.py", doctests]
    room = mutants.find_tests("src/spectag/audio/__init__.py")
    assert room == sorted(f"tests/audio/{path.name}" for path in (FOLDER.parent / "tests/audio").glob("test_*.py"))


def test_the_code_of_known_mutants_is_still_there() -> None:
    assert len(mutants.read_known()) > 10


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout with one small module."""
    for name in ("benchmarks", "src/spectag/room", "tests/room"):
        (tmp_path / name).mkdir(parents=True)
    text = (FOLDER / "mutants.py").read_text("utf-8")
    assert text.count(', "torch"]') == 1
    (tmp_path / "benchmarks/mutants.py").write_text(text.replace(', "torch"]', "]"), "utf-8")  # not needed here
    (tmp_path / "src/spectag/__init__.py").touch()
    (tmp_path / "src/spectag/room/__init__.py").touch()
    (tmp_path / "src/spectag/room/m.py").write_text(MODULE)
    (tmp_path / "tests/room/test_m.py").write_text(TEST)
    return tmp_path


MODULE = "def f(x):\n    return x < 3 or not x\n"
TEST = "from spectag.room.m import f\n\ndef test_f():\n    assert [f(0), f(3), f(5)] == [True, False, False]\n"


def run(project: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(project / "benchmarks/mutants.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=900)


def test_it_tells_survivors_from_killed(project: Path) -> None:
    done = run(project, "room", "--json", str(project / "scores.json"), "--jobs", "2")
    assert (done.returncode, done.stderr) == (0, "")
    survivor = "src/spectag/room/m.py:2: x < 3 or not x  ->  (x < 3 and (not x))"
    score = json.loads((project / "scores.json").read_text())
    assert score == {"src/spectag/room/m.py": {"mutants": 4, "killed": 3, "survivors": [survivor]}}
    assert f"survived: {survivor}\n" in done.stdout
    assert done.stdout.endswith("3 of    4 killed, 75%\n")
    assert (project / "src/spectag/room/m.py").read_text() == MODULE


def test_known_mutants_must_die(project: Path) -> None:
    known = project / "benchmarks/mutants.yaml"
    known.write_text('src/spectag/room/m.py:\n  - ["x < 3", "x > 3"]\n  - ["not x", "x == 0"]\n')
    done = run(project, "--known")
    assert (done.returncode, done.stderr) == (1, "")
    assert "survived: src/spectag/room/m.py:2: not x  ->  x == 0" in done.stdout
    assert done.stdout.endswith("1 of    2 killed, 50%\n")
    known.write_text('src/spectag/room/m.py:\n  - ["x < 4", "x > 4"]\n')
    assert "expected 'x < 4' once, found it 0 times" in run(project, "--known").stderr


def test_tests_that_fail_anyway_are_an_error(project: Path) -> None:
    (project / "tests/room/test_m.py").write_text("assert False\n")
    done = run(project, "room/m.py")
    assert done.returncode == 1
    assert done.stderr.startswith("src/spectag/room/m.py: its tests fail without any change: pytest tests/room/test_m")
