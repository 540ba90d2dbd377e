"""The rules of docs/design.md that a program can check."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import spectag

SOURCE = Path(spectag.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))

# Package or module of spectag -> those that it may import from, besides itself.
GROUND = {"errors", "version", "choices", "cores", "files", "ahead", "validation"}
ARROWS = {
    "errors": set(),
    "version": set(),
    "choices": set(),
    "cores": set(),
    "files": {"errors"},
    "ahead": set(),
    "validation": set(),
    "labels": GROUND,
    "audio": {*GROUND, "labels"},
    "model": {*GROUND, "labels", "audio"},
    "engines": {*GROUND, "labels", "audio", "model"},
    "tag": {*GROUND, "labels", "audio", "model", "engines"},
    "jobs": {*GROUND, "labels", "audio", "model", "engines", "tag"},
    "data": {*GROUND, "labels", "audio"},
    "score": {*GROUND, "labels", "data"},
    "train": {*GROUND, "labels", "audio", "model", "data"},
    "runs": {*GROUND, "labels", "audio", "model", "data", "train", "score"},
    "pictures": {*GROUND, "audio", "tag", "score"},
    "export": {*GROUND, "audio", "model", "engines", "tag", "jobs", "data", "score"},
    "cli": {
        *GROUND,
        "labels",
        "audio",
        "model",
        "engines",
        "data",
        "tag",
        "jobs",
        "score",
        "train",
        "runs",
        "pictures",
        "export",
    },
    "__init__": {*GROUND, "labels", "audio", "model", "engines", "tag"},
    "__main__": {"cli"},
}


def imported(path: Path) -> set[str]:
    """The packages and modules of spectag that a file imports from, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("spectag.")}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_imports_run_one_way(path: Path) -> None:
    package = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    assert package in ARROWS, f"a new package {package}: add its arrows here and in docs/design.md"
    assert imported(path) <= ARROWS[package] | {package}


def test_packages_are_tidy() -> None:
    for path in FILES:
        text = path.read_text("utf-8")
        if path.name == "__init__.py" and path.parent != SOURCE:
            assert text == "", f"{path}: must stay empty"
        assert path.name not in ("utils.py", "helpers.py", "common.py")
        assert len(text.splitlines()) <= 400, f"{path}: too long, divide it into two files"
        assert not re.search("^(<<<<<<<|=======|>>>>>>>)( |$)", text, re.MULTILINE), f"{path}: what a merge left"


def test_importing_costs_no_work() -> None:
    code = (
        "import os, sys; before = dict(os.environ)\n"
        "import spectag, spectag.errors, spectag.labels, spectag.audio.read, spectag.audio.find, spectag.cli.main\n"
        "spectag.read, spectag.LabelSet, spectag.Tag, dir(spectag)\n"
        "assert 'torch' not in sys.modules, 'torch'\n"
        "assert os.environ == before, 'environment'\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=900)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_figures_need_no_torch() -> None:
    """Scores and figures are NumPy arrays; pages and plots are made without a display."""
    rooms = ", ".join(f"spectag.score.{path.stem}" for path in (SOURCE / "score").glob("[!_]*.py"))
    code = f"import sys, {rooms}\nassert not {{'torch', 'lightning_fabric', 'matplotlib.pyplot'}} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=900)
    assert (done.returncode, done.stderr) == (0, "")


def test_training_starts_without_what_comes_later() -> None:
    """Fabric is loaded once the data are read, and what draws and judges once there is something to draw or judge."""
    later = ("lightning_fabric", "matplotlib", "scipy.stats", "sklearn", "tensorboard")
    code = f"import sys, spectag.runs.run, spectag.runs.sweep\nassert not set({later}) & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=900)
    assert (done.returncode, done.stderr) == (0, "")


def test_public_names() -> None:
    assert set(spectag.__all__) == {*spectag._HOME, "__version__", "errors"}
    assert set(spectag.__all__) <= set(dir(spectag))
    for name in spectag.__all__:
        assert getattr(spectag, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Taggger'"):
        spectag.Taggger  # noqa: B018
