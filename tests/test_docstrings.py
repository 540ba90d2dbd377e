"""Every public function and class has an example in its docstring. The examples run and give what they say."""

import doctest
import inspect
import os
import re
import tempfile
from importlib import import_module
from pathlib import Path
from types import FunctionType, ModuleType

import numpy as np
import pytest
import torch

import spectag
from spectag.data.manifest import Clip, Manifest
from spectag.labels import LabelSet
from spectag.runs.plan import make_plan
from spectag.train.recipe import Recipe

SOURCE = Path(spectag.__file__).parent
MODULES = sorted(
    ".".join(("spectag", *path.relative_to(SOURCE).with_suffix("").parts))
    for path in SOURCE.rglob("*.py")
    if not path.name.startswith("__")
)
# The values of make_plan's example, which the other examples of runs/ use.
MANIFEST = Manifest(
    tuple(Clip(f"{n}.wav", Path(f"{n}.wav"), (n % 2,), fold=1 + n // 2) for n in range(4)),
    LabelSet(("fox", "owl")),
    "a table of clips",
)
RECIPE = Recipe(name="mine", epochs=1, batch_size=2, lr=1e-3)
# What examples may use without importing it.
NAMES = {
    "np": np,
    "os": os,
    "Path": Path,
    "spectag": spectag,
    "tempfile": tempfile,
    "torch": torch,
    "manifest": MANIFEST,
    "recipe": RECIPE,
    "plan": make_plan(RECIPE, MANIFEST, Path("run"), fold=2),
}

COMMAND = "a command; tests/cli and tests/test_readme.py run it"
CLUSTER = "needs Ray; tests/cli/test_cluster_command.py runs it where Ray is installed"
RUN = "needs training clips, and trains; tests/runs runs it"
WITHOUT_EXAMPLE = {
    "spectag.cli.calibrate.calibrate": COMMAND,
    "spectag.cli.cluster.tag_with_ray": CLUSTER,
    "spectag.cli.data.check": COMMAND,
    "spectag.cli.data.stats": COMMAND,
    "spectag.cli.download.download": COMMAND,
    "spectag.cli.ensemble.ensemble": COMMAND,
    "spectag.cli.export.export": COMMAND,
    "spectag.cli.jobs.run_job": COMMAND,
    "spectag.cli.listen.listen": COMMAND,
    "spectag.cli.merge.merge_results": COMMAND,
    "spectag.cli.model.convert": COMMAND,
    "spectag.cli.model.info": COMMAND,
    "spectag.cli.mix.mix": COMMAND,
    "spectag.cli.pack.pack": COMMAND,
    "spectag.cli.score.evaluate": COMMAND,
    "spectag.cli.score.score": COMMAND,
    "spectag.cli.sweep.sweep": COMMAND,
    "spectag.cli.tag.tag": COMMAND,
    "spectag.cli.train.recipes": COMMAND,
    "spectag.cli.train.train": COMMAND,
    "spectag.cli.progress.TrainingBar": "draws on a terminal",
    "spectag.cli.runs.run_one": RUN,
    "spectag.cli.runs.train_series": RUN,
    "spectag.export.int8.quantise_openvino": "needs NNCF; tests/export runs it where NNCF is installed",
    "spectag.jobs.cluster.connected": CLUSTER,
    "spectag.jobs.cluster.tag_on_cluster": CLUSTER,
    "spectag.model.source.fetch": "needs a network connection",
    "spectag.runs.budget.fit_to_minutes": RUN,
    "spectag.runs.finish.Finished": RUN,
    "spectag.runs.loop.fit": RUN,
    "spectag.runs.loop.interrupted": RUN,
    "spectag.runs.loop.save": RUN,
    "spectag.runs.prepare.Job": RUN,
    "spectag.runs.prepare.Materials": RUN,
    "spectag.runs.prepare.build_job": RUN,
    "spectag.runs.prepare.gather": RUN,
    "spectag.runs.prepare.prepare": RUN,
    "spectag.runs.run.run": RUN,
    "spectag.runs.run.write_results": RUN,
    "spectag.tag.writers.writer.Writer": "a protocol",
}


def public(module: ModuleType) -> dict[str, object]:
    """The public functions and classes that a module defines, by name."""
    return {
        name: value
        for name, value in vars(module).items()
        if (inspect.isfunction(value) or inspect.isclass(value))
        and not name.startswith("_")
        and value.__module__ == module.__name__
    }


def has_example(value: object, name: str, module: ModuleType) -> bool:
    """Whether a docstring shows a function or a class.

    It is that of the function itself; or for a class, that of the class, of one of its methods, or of a function of the
    module whose example uses the class by name. Exceptions are shown by a base class.
    """
    if not inspect.isclass(value):
        return ">>>" in (value.__doc__ or "")
    if issubclass(value, Exception):
        return any(">>>" in (base.__dict__.get("__doc__") or "") for base in value.__mro__)
    methods = [member for member in vars(value).values() if isinstance(member, (FunctionType, property, classmethod))]
    if any(">>>" in (documented.__doc__ or "") for documented in (value, *methods)):
        return True
    examples = [line for line in inspect.getsource(module).splitlines() if line.strip().startswith((">>>", "..."))]
    return any(re.search(rf"\b{name}\(", line) for line in examples)


@pytest.mark.parametrize("module_name", MODULES)
def test_everything_public_has_an_example(module_name: str) -> None:
    module = import_module(module_name)
    names = {name for name, value in public(module).items() if not has_example(value, name, module)}
    allowed = {name.rpartition(".")[2] for name in WITHOUT_EXAMPLE if name.rpartition(".")[0] == module_name}
    assert names <= allowed, "these have no example"
    assert names >= allowed, "these need not be in WITHOUT_EXAMPLE"


def test_exceptions_from_the_rule_exist() -> None:
    for name in WITHOUT_EXAMPLE:
        module_name, _, member = name.rpartition(".")
        assert module_name in MODULES
        assert member in public(import_module(module_name))


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
