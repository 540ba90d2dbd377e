"""Recipes and presets as files: those that come with spectag, and a user's own."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from spectag.errors import RecipeError
from spectag.labels import nearest
from spectag.train.recipe import RENAMED, Recipe, build, present_names

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

DESCRIPTION = ("about", "command", "cost", "score")  # keys of a recipe's file that describe it and decide nothing
_FOLDER = resources.files("spectag.train") / "recipes"


def packaged() -> dict[str, str]:
    """The recipes that come with spectag: name -> YAML text.

    >>> "esc10" in packaged()
    True
    """
    return _texts(_FOLDER)


def packaged_presets() -> dict[str, dict[str, Any]]:
    """The sweeps that come with spectag, the paper's ablations among them.

    Returns:
        by name, what is compared (``about``), what the paper found (``paper``), the recipe that it is for if it is for
        one only (``recipe``), and for each row of the sweep its overrides (``settings``).

    >>> list(packaged_presets()["patch-shape"]["settings"])
    ['128x2', '16x16', '32x32']
    """
    return {name: yaml.safe_load(text) for name, text in _texts(_FOLDER / "presets").items()}


def _texts(folder: Traversable) -> dict[str, str]:
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    return {file.name.removesuffix(".yaml"): file.read_text(encoding="utf-8") for file in files}


def describe_recipes() -> dict[str, dict[str, str]]:
    """Return the descriptions of the recipes that come with spectag.

    Returns:
        by name, the keys ``about``, ``command``, ``cost`` and ``score``.

    >>> describe_recipes()["esc10"]["command"]
    'spectag train esc10 --data ESC-10 --out runs/esc10 [--fold N]'
    """
    return {
        name: {key: str(data[key]) for key in DESCRIPTION if key in data}
        for name, data in ((name, yaml.safe_load(text)) for name, text in packaged().items())
    }


def read_recipe(source: str, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe that comes with spectag by its name, or a YAML file by its path.

    Args:
        source: for example ``esc10`` or ``my-recipe.yaml``.
        overrides: ``key=value`` each; nested keys with dots, values as YAML.

    Raises:
        RecipeError: there is no such recipe, a key is unknown (the message suggests others), or a value does not fit.

    >>> read_recipe("esc10", ["lr=5e-6", "model.depth=4"]).model.depth
    4
    """
    known = packaged()
    if source in known:
        text = known[source]
    elif Path(source).is_file():
        try:
            text = Path(source).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"recipe {source}: expected YAML in UTF-8; {error}") from error
    else:
        raise RecipeError(
            f"recipe {source!r}: expected a file or one of {', '.join(known)}; found neither{nearest(source, known)}"
        )
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"recipe {source}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise RecipeError(f"recipe {source}: expected keys and values, got {type(data).__name__}")
    data = present_names({key: value for key, value in data.items() if key not in DESCRIPTION})
    for override in overrides:
        _set(data, override)
    return build(data, source)


def _set(data: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"--set {override}: expected key=value, for example --set lr=1e-4")
    *parents, last = key.strip().split(".")
    section: Any = data
    for parent in parents:
        section = section.setdefault(RENAMED.get(parent, parent), {})
        if not isinstance(section, dict):
            raise RecipeError(f"--set {override}: {parent!r} is a value, not a section")
    try:
        section[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {override}: {value!r} is not a YAML value") from error
