"""What libraries find wrong with recipes and options is told in the words of this package.

The kind: the text of a library ("Input should be less than or equal to 1", "Value error, ...") reaches a user as it is,
and a new version of the library brings new texts.
"""

import math
import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from pydantic import BaseModel

from spectag.cli.main import app, main
from spectag.errors import RecipeError
from spectag.train.recipe import Recipe, build
from spectag.validation import EXPECTED, explain, show

LIBRARIES = re.compile(r"[Ii]nput|Value error|Field required|not permitted|parse|is not one of|Invalid value|[Tt]uple")
SINGLE = [None, True, "x", "", -1, 0, 0.5, 2, 2**70, math.nan, math.inf]
JUNK: list[Any] = [*SINGLE, [], [1], [1, 2, 3], ["a", "b"], [None, 1.5], {}, {"a": 1}]


def keys(model: type[BaseModel], *parents: str) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        yield (*parents, name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys(field.annotation, *parents, name)


@pytest.mark.parametrize("path", list(keys(Recipe)), ids=".".join)
def test_every_key_of_a_recipe_with_every_kind_of_junk(path: tuple[str, ...]) -> None:
    refused = 0
    for junk in JUNK:
        data: dict[str, Any] = {"name": "mine", "epochs": 2, "batch_size": 4, "lr": 1e-3}
        section = data
        for key in path[:-1]:
            section = section.setdefault(key, {})
        section[path[-1]] = junk
        try:
            build(data, "mine")
        except RecipeError as error:
            refused += 1
            message = str(error).removeprefix("recipe mine: ")
            assert path[-1] in message, message
            assert not LIBRARIES.search(message), message
            assert re.search(r"expected|must|needs|unknown key|than one patch", message), message
    assert refused, "some of this is junk for every key"


def options() -> Iterator[tuple[list[str], str]]:
    """Every option of every command that takes a value."""

    def below(command: Any, words: list[str]) -> Iterator[tuple[list[str], str]]:
        for name, child in getattr(command, "commands", {}).items():
            yield from below(child, [*words, name])
        if not hasattr(command, "commands"):
            for parameter in command.params:
                if parameter.param_type_name == "option" and not parameter.is_flag:
                    yield words, max(parameter.opts, key=len)

    return below(typer.main.get_command(app), [])


@pytest.mark.parametrize(
    ("words", "option"), list(options()), ids=lambda value: value if isinstance(value, str) else None
)
def test_every_option_with_every_kind_of_junk(
    words: list[str], option: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """An option that takes any text gives some other error: an argument is missing."""
    monkeypatch.chdir(tmp_path)
    for junk in ("?", "-1", "1.5", "nan", "99999999999999999999999", ""):
        assert main([*words, f"{option}={junk}"]) in (1, 2)
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert not LIBRARIES.search(err.replace("INPUT", "")), err
        assert err.startswith(("spectag: error: Missing ", f"spectag: error: {option}: ", "spectag: error: "))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["tag", "a.wav", "--threshold", "1.5"],
            "--threshold: expected at most 1, got '1.5' (see: spectag tag",
        ),
        (["tag", "a.wav", "--top-k", "many"], "--top-k: expected a whole number, got 'many'"),
        (["tag", "a.wav", "--top-k", "0"], "--top-k: expected at least 1, got '0'"),
        (["tag", "a.wav", "-f", "xml"], "--format: expected one of text, json, jsonl, csv, csv-events"),
        (["tag", "a.wav", "--device", "gpu"], "--device: expected cpu, cuda, cuda:N or mps; got 'gpu'"),
        (["convert", "a", "b", "--stride", "10"], "--stride: expected two whole numbers F,T (mel bins, frames)"),
    ],
)
def test_options_say_what_they_expected_and_what_came(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err.startswith(f"spectag: error: {message}")


def test_an_error_that_nobody_thought_of() -> None:
    """It is told by its type, without the library's text."""
    assert explain({"type": "url_scheme", "input": "x", "msg": "URL scheme should be http"}) == (
        "expected another value (url scheme), got 'x'"
    )


def test_facts_of_all_listed_errors_are_those_of_pydantic() -> None:
    facts = {"expected": "'a' or 'b'", "gt": 0, "ge": 1, "lt": 2.5, "le": 1.0, "max_length": 2, "min_length": 1}
    for kind in EXPECTED:
        assert "{" not in explain({"type": kind, "input": 1, "ctx": facts})


def test_long_values_are_cut() -> None:
    assert len(show(["word"] * 1000)) == 60
    assert show({"a": [True, None]}) == "{a: [true, null]}"
