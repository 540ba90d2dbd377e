"""Check that the tests notice wrong code: change one line at a time, and see whether the tests of its module fail.

    python benchmarks/mutants.py [PATH ...] [--sample 30] [--seed 0] [--jobs 2] [--json OUT]
    python benchmarks/mutants.py --known

PATH is a module or a folder of src/spectag. The default is the modules that do arithmetic (ROOMS below). A mutant is
one small change: a comparison, an operator, a number, a condition, a bound or a keyword is changed, or a statement is
left out. For each mutant the script runs the tests that mirror the module, and the examples in its docstrings. For
train/muon.py these tests are tests/train/test_muon.py; for a module of audio/ without a test file of its own they are
all of tests/audio/. If the tests pass, the mutant has survived: either a test is missing, or the change makes no
difference. A mutant that reaches the time limit counts as killed.

--known runs the mutants of mutants.yaml, most of which survived once, and fails if one survives.

The script does not touch the checkout: it writes the mutants into temporary copies. We tried the library mutmut 3. It
forks after torch has started threads, so most children hang until the time limit, and it does not change constants
outside of functions. Here every mutant has its own process, forked from one that has only imported torch.
"""

from __future__ import annotations

import argparse
import ast
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[1]
KNOWN = Path(__file__).with_suffix(".yaml")
TRAIN = ("augment", "rng", "muon", "optimizer", "sampler", "schedule", "examples")
ROOMS = ("audio", "model", "tag", *(f"train/{name}.py" for name in TRAIN), "data/splits.py")
COPIED = ("src", "tests", "examples", "benchmarks", "docs", "README.md", "pyproject.toml")
DOCTESTS = "tests/test_docstrings.py"

OPPOSITES: dict[type[ast.AST], Any] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "sorted": "list", "floor": "ceil", "ceil": "floor"}


class Mutant(NamedTuple):
    """One change of a module, given by its path within the checkout.

    Args:
        path: of the module.
        line: number of the first line that changes.
        old, new: the code before and after.
        text: the whole module with the change.
    """

    path: str
    line: int
    old: str
    new: str
    text: str

    def __str__(self) -> str:
        old, new = (" ".join(code.split())[:100] for code in (self.old, self.new))
        return f"{self.path}:{self.line}: {old}  ->  {new}"


def make_mutants(path: str, text: str) -> list[Mutant]:
    """Make all mutants of a module, in the order of its lines."""
    source = text.encode()  # ast counts columns in bytes
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    mutants: dict[str, Mutant] = {}
    for node, new in walk_changes(ast.parse(text)):
        start, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        changed = (source[:start] + new.encode() + source[end:]).decode()
        with suppress(SyntaxError):
            ast.parse(changed)
            mutants[changed] = Mutant(path, node.lineno, source[start:end].decode(), new, changed)
    return sorted(mutants.values(), key=lambda mutant: mutant.line)


def walk_changes(node: ast.AST) -> Iterator[tuple[Any, str]]:
    """Yield this node and those below it that can be changed, each with the code that replaces it."""
    for part, new in changes_of(node):
        yield part, "pass" if isinstance(new, ast.Pass) else f"({ast.unparse(new)})"
    if isinstance(node, (ast.Raise, ast.Assert, ast.JoinedStr)) or getattr(node, "arg", "") == "strict":
        return  # messages and assertions
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            is_docstring = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
            is_typing = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
            if isinstance(child, ast.AST) and not is_docstring and not is_typing:
                yield from walk_changes(child)


def changes_of(node: Any) -> Iterator[tuple[Any, ast.AST]]:
    """Yield a node, or a part of it, with what replaces it."""
    match node:
        case ast.Compare():
            for i, op in enumerate(node.ops):
                ops = [*node.ops[:i], OPPOSITES[type(op)](), *node.ops[i + 1 :]]
                yield node, ast.Compare(node.left, ops, node.comparators)
        case ast.BoolOp():
            yield node, ast.BoolOp(OPPOSITES[type(node.op)](), node.values)
        case ast.BinOp(op=ast.FloorDiv()):  # rounded up
            negated = ast.BinOp(ast.UnaryOp(ast.USub(), node.left), ast.FloorDiv(), node.right)
            yield node, ast.UnaryOp(ast.USub(), negated)
        case ast.BinOp() if type(node.op) in OPPOSITES:
            yield node, ast.BinOp(node.left, OPPOSITES[type(node.op)](), node.right)
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node, node.operand
        case ast.Constant(value=bool()):
            yield node, ast.Constant(not node.value)
        case ast.Constant(value=int()):
            yield node, ast.Constant(node.value + 1)
        case ast.Constant(value=float()):
            yield node, ast.Constant(node.value * 2 or 1.0)
        case ast.Slice():
            for bound in (node.lower, node.upper):
                if bound is not None and not isinstance(bound, ast.Constant):
                    yield bound, ast.BinOp(bound, ast.Add(), ast.Constant(1))
        case ast.Call():
            if isinstance(node.func, ast.Name) and node.func.id in NAMES:
                yield node.func, ast.Name(NAMES[node.func.id])
            for i, keyword in enumerate(node.keywords):
                if keyword.arg == "strict":  # zip's, which is an assertion
                    continue
                yield node, ast.Call(node.func, node.args, node.keywords[:i] + node.keywords[i + 1 :])
        case ast.If() | ast.IfExp() | ast.While():
            if isinstance(node.test, (ast.Name, ast.Attribute, ast.Call)):
                yield node.test, ast.UnaryOp(ast.Not(), node.test)
        case ast.Assign(targets=[ast.Name(id=name)]):
            if any(isinstance(part, ast.Name) and part.id == name for part in ast.walk(node.value)):
                yield node, ast.Pass()  # x = f(x)
        case ast.Expr() | ast.AugAssign() | ast.Raise() | ast.Break() | ast.Continue():
            yield node, ast.Pass()


def find_tests(path: str) -> list[str]:
    """Find the tests of a module: its own test file, else those of its whole room; and its docstrings."""
    room, name = Path(path).relative_to("src/spectag").parent, Path(path).stem
    folder = ROOT / "tests" / room
    own = folder / f"test_{name}.py"
    files = [own] if own.is_file() else sorted(folder.glob("test_*.py"))
    tests = [file.relative_to(ROOT).as_posix() for file in files]
    if (ROOT / DOCTESTS).is_file() and ">>>" in (ROOT / path).read_text("utf-8"):
        tests.append(f"{DOCTESTS}::test_examples_run[{'.'.join(('spectag', *room.parts, name))}]")
    return tests


class Copies:
    """Temporary copies of the checkout, as many as there are mutants tried at a time."""

    def __init__(self, folder: Path, number: int) -> None:
        self._free: SimpleQueue[Path] = SimpleQueue()
        for i in range(number):
            for name in COPIED:
                source, target = ROOT / name, folder / str(i) / name
                target.parent.mkdir(exist_ok=True)
                if source.is_dir():
                    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
                elif source.is_file():
                    shutil.copy(source, target)
            self._free.put(folder / str(i))
        method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        self._context: Any = multiprocessing.get_context(method)
        self._context.set_forkserver_preload(["__main__", "hypothesis", "numpy", "pytest", "torch"])
        warm_up = self._context.Process(target=int)  # the imports are not part of anybody's time
        warm_up.start()
        warm_up.join()

    def try_tests(self, path: str, text: str, tests: list[str], limit: float) -> tuple[bool, float]:
        """Replace a module by a text, and return whether its tests pass, and the seconds that they took."""
        folder = self._free.get()
        before = (folder / path).read_text("utf-8")
        start = time.monotonic()
        try:
            (folder / path).write_text(text, "utf-8")
            process = self._context.Process(target=run_tests, args=(str(folder), tests))
            process.start()
            process.join(limit)
            process.kill()
            process.join()
            with suppress(AttributeError, ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # what the tests have started
            return process.exitcode == 0, time.monotonic() - start
        finally:
            (folder / path).write_text(before, "utf-8")
            self._free.put(folder)


def run_tests(folder: str, tests: list[str]) -> None:
    """Run tests in this process, in a copy of the checkout, and exit with pytest's code."""
    with suppress(AttributeError):
        os.setsid()
    os.chdir(folder)
    sys.path.insert(0, f"{folder}/src")
    sys.dont_write_bytecode = True  # Python compares bytecode by second and size, which mutants share
    os.environ |= {"PYTHONPATH": f"{folder}/src", "PYTHONDONTWRITEBYTECODE": "1"}
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
    import hypothesis
    import pytest

    # The same examples for every mutant, and no time spent on making those that fail smaller.
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    options = {"deadline": None, "derandomize": True, "phases": phases, "suppress_health_check": hypothesis.HealthCheck}
    hypothesis.settings.register_profile("mutants", **options)
    switches = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--hypothesis-profile=mutants"]
    os._exit(pytest.main([*switches, *tests]))


def try_mutants(mutants: list[Mutant], jobs: int) -> Iterator[tuple[Mutant, bool]]:
    """Yield each mutant, and whether it survived the tests.

    Raises:
        SystemExit: the tests of a module fail without any change.
    """
    tests = {path: find_tests(path) for path in dict.fromkeys(mutant.path for mutant in mutants)}
    limits: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(jobs) as pool:
        copies = Copies(Path(temporary), jobs)
        for path, own in tests.items():
            fine, seconds = copies.try_tests(path, (ROOT / path).read_text("utf-8"), own, limit=3600)
            if not fine or not own:
                raise SystemExit(f"{path}: its tests fail without any change: pytest {' '.join(own)}")
            limits[path] = 20 + 5 * seconds  # generous, since other processes may keep the machine busy
            print(f"{path}: {sum(mutant.path == path for mutant in mutants)} mutants, {seconds:.1f} s each", flush=True)

        def survives(mutant: Mutant) -> bool:
            return copies.try_tests(mutant.path, mutant.text, tests[mutant.path], limits[mutant.path])[0]

        yield from zip(mutants, pool.map(survives, mutants), strict=True)


def read_known() -> list[Mutant]:
    """Read the mutants of mutants.yaml.

    Raises:
        SystemExit: the code of one of them does not occur exactly once.
    """
    mutants = []
    for path, pairs in yaml.safe_load(KNOWN.read_text("utf-8")).items():
        text = (ROOT / path).read_text("utf-8")
        for old, new in pairs:
            if text.count(old) != 1:
                raise SystemExit(f"{path}: expected {old!r} once, found it {text.count(old)} times: edit {KNOWN.name}")
            line = text[: text.index(old)].count("\n") + 1
            mutants.append(Mutant(path, line, old, new, text.replace(old, new)))
    return mutants


def draw_mutants(paths: Iterable[str], sample: int | None, seed: int) -> list[Mutant]:
    """Make the mutants of modules and folders, and draw at most ``sample`` of each module."""
    drawn = []
    for path in paths:
        place = next((p for p in (ROOT / path, ROOT / "src/spectag" / path) if p.exists()), None)
        if place is None:
            raise SystemExit(f"{path}: expected a module or a folder of src/spectag")
        for module in [place] if place.is_file() else sorted(place.rglob("*.py")):
            name = module.resolve().relative_to(ROOT).as_posix()
            mutants = make_mutants(name, module.read_text("utf-8"))
            if sample is not None and sample < len(mutants):
                chosen = random.Random(f"{seed} {name}").sample(range(len(mutants)), sample)
                mutants = [mutants[i] for i in sorted(chosen)]
            drawn += mutants
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", metavar="PATH", help="module or folder of src/spectag")
    parser.add_argument("--sample", type=int, metavar="N", help="try at most N mutants of each module, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample")
    parser.add_argument(
        "--jobs", type=int, default=max(1, (os.cpu_count() or 2) // 2), help="number of mutants to try at the same time"
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="file to write the scores and survivors to")
    parser.add_argument(
        "--known", action="store_true", help=f"run only the mutants of {KNOWN.name}, and fail if one survives"
    )
    options = parser.parse_args()
    os.environ.setdefault("SPECTAG_SHARED", str(ROOT.parent / "shared"))  # where tests/conftest.py looks for it
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    mutants = read_known() if options.known else draw_mutants(options.paths or ROOMS, options.sample, options.seed)
    scores: dict[str, dict[str, Any]] = {}
    for mutant, survived in try_mutants(mutants, options.jobs):
        score = scores.setdefault(mutant.path, {"mutants": 0, "killed": 0, "survivors": []})
        score["mutants"] += 1
        score["killed"] += not survived
        if survived:
            score["survivors"].append(str(mutant))
            print(f"survived: {mutant}", flush=True)
    for path, score in scores.items():
        print(f"{score['killed']:5} of {score['mutants']:4} killed  {path}")
    killed, number = (sum(score[key] for score in scores.values()) for key in ("killed", "mutants"))
    print(f"{killed:5} of {number:4} killed, {killed / max(1, number):.0%}")
    if options.json:
        options.json.write_text(json.dumps(scores, indent=1), "utf-8")
    if options.known and killed < number:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
