"""The kinds of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from spectag.errors import InputError

Kind: TypeAlias = Literal["png", "svg", "html"]


def kind_of(path: Path) -> Kind:
    """The kind of picture that a name asks for.

    Raises:
        InputError: none that is known.

    >>> kind_of(Path("dawn.PNG"))
    'png'
    """
    kinds: dict[str, Kind] = {".png": "png", ".svg": "svg", ".html": "html"}
    if path.suffix.lower() not in kinds:
        raise InputError(
            f"{path}: expected a name that ends in .png, .svg or .html, got {path.suffix or 'none of these'}"
        )
    return kinds[path.suffix.lower()]
