"""The labels in a cell of a table.

================================ ======================================================================
``dog|rain``, ``dog; rain``      several labels, in any column
``dog, rain``                    several labels in a column for several (``labels``, ``tags``), else one name
``['dog', 'rain']``, ``{dog}``   a list or a set, as Python, JSON, NumPy and PostgreSQL write it
``[]``, ``set()``, nothing       no labels
================================ ======================================================================

What a cell means never depends on other cells.
"""

from __future__ import annotations

import ast
import re

from spectag.labels import compose

# Columns whose names say that there are several labels in a cell, also separated by commas.
PLURAL = frozenset({"labels", "tags", "event_labels", "secondary_labels"})

_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_BRACKETS = {"[": "]", "{": "}", "(": ")"}
_NOTHING = ("set()", "frozenset()")  # how Python writes an empty set


def read_labels(cell: object, column: str = "label", separator: str | None = None) -> tuple[str, ...]:
    """The names in a cell, composed Unicode; none if nothing of interest is heard.

    Args:
        cell: text, a number, a list, or None.
        column: name of its column, in lower case.
        separator: what alone separates names in text; empty for nothing. None for the rules above.

    Raises:
        ValueError: it is neither text nor a list of names.

    >>> read_labels("dog|rain"), read_labels("['dog', 'heavy rain']"), read_labels("Inside, small room")
    (('dog', 'rain'), ('dog', 'heavy rain'), ('Inside, small room',))
    >>> read_labels("dog+rain", separator="+"), read_labels("[]")
    (('dog', 'rain'), ())
    """
    if is_blank(cell):
        return ()
    if isinstance(cell, (list, tuple)):
        if any(isinstance(item, (list, dict, tuple)) or item is None for item in cell):
            raise ValueError("a list of names")
        names = [str(item) for item in cell]
        if not all(name.strip() for name in names):
            raise ValueError("names that are not empty")
    elif isinstance(cell, dict):
        raise ValueError("names")
    else:
        text = str(cell).strip()
        listed = _list(text)
        names = _separate(text, column, separator) if listed is None else listed
    return tuple(dict.fromkeys(compose(name.strip()) for name in names if name.strip()))


def is_blank(cell: object) -> bool:
    """Whether a cell says nothing: a clip without labels, if other cells of its column have some.

    >>> is_blank(""), is_blank(" | "), is_blank("[]")
    (True, True, False)
    """
    is_nan = cell != cell
    return cell is None or is_nan or (isinstance(cell, str) and not cell.strip("|;, \t\n"))


def has_commas(cell: object) -> bool:
    """Whether it depends on the name of the column how many labels a cell holds.

    >>> has_commas("dog, rain"), has_commas("['dog', 'rain']")
    (True, False)
    """
    return isinstance(cell, str) and "," in cell and cell.strip()[:1] not in _BRACKETS


def _separate(text: str, column: str, separator: str | None) -> list[str]:
    if separator is not None:
        return text.split(separator) if separator else [text]
    return re.split(r"[|;,]" if column in PLURAL else r"[|;]", text)


def _list(text: str) -> list[str] | None:
    """The names in a list or a set that was written as text; None if it is none."""
    if text in _NOTHING:
        return []
    if len(text) < 2 or _BRACKETS.get(text[0]) != text[-1]:
        return None
    inner = text[1:-1].strip()
    if inner[:1] in ("'", '"'):  # of NumPy, without commas: ['dog' 'rain']
        if _QUOTED.sub("", inner).strip(", \n\t"):
            raise ValueError("a list such as ['dog', 'rain']")
        try:
            return [str(ast.literal_eval(name)) for name in _QUOTED.findall(inner)]
        except (SyntaxError, ValueError) as error:
            raise ValueError("a list such as ['dog', 'rain']") from error
    if text[0] == "(":  # a name may be in parentheses
        return [] if not inner else None
    if re.search(r"[][{}]", inner):
        raise ValueError("a list of names")
    return re.split("[|;,]", inner)
