"""The examples in the docstrings run and give what they say."""

import doctest
import os
import tempfile
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

import spectag

SOURCE = Path(spectag.__file__).parent
MODULES = sorted(
    ".".join(("spectag", *path.relative_to(SOURCE).with_suffix("").parts))
    for path in SOURCE.rglob("*.py")
    if not path.name.startswith("__")
)
# What examples may use without importing it.
NAMES = {"np": np, "os": os, "Path": Path, "spectag": spectag, "tempfile": tempfile, "torch": torch}


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module(name)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for number, test in enumerate(doctest.DocTestFinder(exclude_empty=True).find(module, name)):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        test.globs |= {name: value for name, value in NAMES.items() if name not in test.globs}
        runner.run(test)
    assert runner.failures == 0
