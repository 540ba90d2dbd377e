"""Statistics written into a recipe's file; its comments, order and spelling stay as they are."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import yaml

from spectag.errors import RecipeError, SaveError


def amended(text: str, mean: float, std: float) -> str:
    """A recipe's text with ``front_end.mean`` and ``front_end.std`` set, every other character in its place.

    Args:
        text: YAML of a valid recipe.
        mean, std: in natural log units; written with eight digits.

    Raises:
        RecipeError: the section cannot be told apart from others (anchors, say).
    """
    values = {"mean": float(f"{mean:.8g}"), "std": float(f"{std:.8g}")}
    before = yaml.safe_load(text)
    edits = _edits(text, yaml.compose(text, Loader=yaml.SafeLoader), values)
    after = text
    for start, end, new in sorted(edits, reverse=True):
        after = after[:start] + new + after[end:]
    if _parsed(after) != {**before, "front_end": {**before.get("front_end", {}), **values}}:
        raise RecipeError(
            f"the recipe's front_end cannot be changed alone (an anchor?): write into it mean: {values['mean']} and "
            f"std: {values['std']}"
        )
    return after


def write_statistics(path: Path, mean: float, std: float) -> None:
    """Set ``front_end.mean`` and ``front_end.std`` in a recipe's file; it is replaced whole or not at all.

    Raises:
        RecipeError: as :func:`amended`.
        SaveError: the file could not be written.
    """
    target = path.resolve()  # a link stays one
    partial = target.with_name(target.name + ".partial")
    text = amended(read_text(path), mean, std)
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
        shutil.copymode(target, partial)
        os.replace(partial, target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise SaveError(f"{path}: could not be written ({error.strerror}); it is as it was") from error


def read_text(path: Path) -> str:
    """A file's text with its own line ends, which :func:`amended` keeps."""
    with path.open(encoding="utf-8", newline="") as file:
        return file.read()


Edit = tuple[int, int, str]  # from, to, what comes there


def _edits(text: str, root: Any, values: dict[str, float]) -> list[Edit]:
    written = {name: yaml.safe_dump(value).split()[0] for name, value in values.items()}
    line_end = "\r\n" if "\r\n" in text else "\n"
    section = _get(root, "front_end")
    if section is None:
        pairs = ", ".join(f"{name}: {value}" for name, value in written.items())
        if root.flow_style:
            return [_after(root, f"front_end: {{{pairs}}}")]
        gap = "" if text.endswith("\n") else line_end
        return [(len(text), len(text), f"{gap}front_end: {{{pairs}}}{line_end}")]
    edits, missing = [], []
    for name, value in written.items():
        node = _get(section, name)
        if node is None:
            missing.append(f"{name}: {value}")
        else:
            start, end = node.start_mark.index, node.end_mark.index
            edits.append((start, end, value if start < end or text[start - 1] == " " else f" {value}"))
    if missing and section.flow_style:
        edits.append(_after(section, ", ".join(missing)))
    elif missing:
        key, last = section.value[0][0], section.value[-1][1]
        at = text.find("\n", last.end_mark.index)  # beyond a comment
        at = len(text) if at < 0 else at - (line_end == "\r\n")
        edits.append((at, at, "".join(f"{line_end}{' ' * key.start_mark.column}{pair}" for pair in missing)))
    return edits


def _get(node: Any, name: str) -> Any:
    return next((value for key, value in node.value if key.value == name), None)


def _after(node: yaml.MappingNode, pairs: str) -> Edit:
    """Pairs behind the last of a section in braces."""
    at = node.value[-1][1].end_mark.index if node.value else node.start_mark.index + 1
    return at, at, f", {pairs}" if node.value else pairs


def _parsed(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None
