"""Errors of pydantic, which validates recipes and options, in the words of this package."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

# What was expected, by the type of error; the names in braces are facts that pydantic adds.
EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "path_type": "a path",
    "literal_error": "{expected}",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:.10g}",
    "less_than_equal": "at most {le:g}",
    "tuple_type": "a list in brackets",
    "list_type": "a list in brackets",
    "too_long": "{max_length} values",
    "too_short": "{min_length} values",
    "model_type": "keys and values",
    "model_attributes_type": "keys and values",
    "dict_type": "keys and values",
    "invalid_key": "keys that are text",
}
CHOICE = re.compile(r"(?P<got>.*) is not one of (?P<choices>.*)\.", re.DOTALL)  # as the library of the options says it


def explain(error: Mapping[str, Any]) -> str:
    """Say what was expected and what came, for one of the errors of a ``pydantic.ValidationError``.

    An error that is not listed here is told by its type alone, since the library's own text is for programmers.

    >>> explain({"type": "less_than_equal", "input": 1.5, "ctx": {"le": 1.0}})
    'expected at most 1, got 1.5'
    >>> explain({"type": "literal_error", "input": "max", "ctx": {"expected": "'mean' or 'sum'"}})
    "expected mean or sum, got 'max'"
    """
    facts, got = error.get("ctx") or {}, show(error["input"])
    if error["type"] in ("value_error", "assertion_error"):
        reason = str(facts.get("error", "")) or "expected another value"
        if choice := CHOICE.fullmatch(reason):
            return f"expected one of {choice['choices'].replace(chr(39), '')}; got {choice['got']}"
        return reason if isinstance(error["input"], dict) else f"{reason}, got {got}"
    wanted = EXPECTED.get(error["type"], f"another value ({error['type'].replace('_', ' ')})")
    wanted = wanted.format(**facts).replace(chr(39), "")
    return f"expected {wanted}{';' if ',' in wanted else ','} got {got}"


def show(value: Any) -> str:
    """Write a value as YAML and people do, in at most 60 characters.

    >>> show(None), show(True), show("owl"), show([1, None])
    ('null', 'true', "'owl'", '[1, null]')
    """
    if isinstance(value, (list, tuple)):
        text = f"[{', '.join(map(show, value))}]"
    elif isinstance(value, dict):
        text = f"{{{', '.join(f'{key}: {show(item)}' for key, item in value.items())}}}"
    elif value is None or isinstance(value, bool):
        text = {None: "null", True: "true", False: "false"}[value]
    else:
        text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def list_keys(model: Any, prefix: str = "") -> list[str]:
    """All keys of a pydantic model, those of its sections after their section: ``front_end``, ``front_end.mean``.

    >>> from spectag.train.sections import SplitsRecipe
    >>> list_keys(SplitsRecipe)
    ['train', 'validation', 'test']
    """
    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        if hasattr(field.annotation, "model_fields"):
            keys += list_keys(field.annotation, f"{prefix}{name}.")
    return keys


def suggest(key: str, known: Iterable[str]) -> str:
    """Suggest similar keys, also if only the section is missing: ``front_end.mean`` for ``mean``.

    >>> suggest("mean", ["front_end.mean", "seed"])
    '; did you mean front_end.mean?'
    """
    known = list(known)
    by_last = {name.rsplit(".", 1)[-1]: name for name in known}
    near = difflib.get_close_matches(key, known, 3, 0.5)
    near += [by_last[last] for last in difflib.get_close_matches(key.rsplit(".", 1)[-1], list(by_last), 3, 0.6)]
    return f"; did you mean {' or '.join(dict.fromkeys(near))}?" if near else ""
