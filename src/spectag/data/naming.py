"""Names of classes that are probably not what was meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from spectag.labels import compose

# A sign that hardly ever belongs to a name: dog+rain, dog|rain, dog,rain. A comma in a name has a space behind it.
_SIGNS = re.compile(r"\s*(?:[|;+]|,(?=\S))\s*")
# Signs that may belong to a name: they separate names only if all parts are classes.
_WORDS = re.compile(r"\s*,\s*|\s*[/&]\s*|\s+and\s+|[\s_-]+")


def split_name(name: str, names: Iterable[str]) -> tuple[str, ...]:
    """The names that a name seems to be made of; none if it seems to be one.

    Args:
        name: of a class.
        names: of all classes.

    >>> split_name("dog+rain", ["dog+rain", "owl"])
    ('dog', 'rain')
    >>> split_name("dog yard", ["dog", "dog bark", "dog yard", "yard"]), split_name("dog bark", ["dog", "dog bark"])
    (('dog', 'yard'), ())
    """
    parts = tuple(filter(None, _SIGNS.split(name)))
    if len(parts) > 1:
        return parts
    known = {other.casefold(): other for other in names if other != name}
    return _cut(name, known)


def _cut(text: str, known: dict[str, str]) -> tuple[str, ...]:
    """The text as known names with a sign between each two of them; none if it is not made of them."""
    for sign in _WORDS.finditer(text):
        first, rest = text[: sign.start()], text[sign.end() :]
        if first.casefold() in known:
            others = (known[rest.casefold()],) if rest.casefold() in known else _cut(rest, known)
            if others:
                return known[first.casefold()], *others
    return ()


def find_twins(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Names that differ only in letter case, in ``_``, ``-`` or spaces, or in Unicode form.

    >>> find_twins(["dog bark", "owl", "Dog_bark"])
    [('dog bark', 'Dog_bark')]
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(re.sub(r"[\s_-]+", " ", compose(name.casefold())).strip(), []).append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]
