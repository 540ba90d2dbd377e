"""Dividing a data set that comes undivided: into training and validation, or into folds.

Clips of one group are never separated. Groups are dealt out label by label, the rarest first (Sechidis et al. 2011,
"On the Stratification of Multi-label Data"), each to where its labels and its number of clips are wanting most. Unlike
scikit-learn's StratifiedGroupKFold this knows several labels per clip, sides of any size, and classes of a few clips.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from spectag.data.manifest import Clip, Manifest
from spectag.errors import DataError, InputError, RecipeError

Key = tuple[bool, str]  # of a group: whether it is a lone clip, and the clip's id or the group's name


def divide(manifest: Manifest, *, share: float = 0.2, seed: int = 0, pattern: str | None = None) -> Manifest:
    """Give every clip the split ``train`` or ``validation``, whatever it had.

    Every class keeps a group for training, so a class of one group is not validated.

    Args:
        manifest: the data set.
        share: of the clips, what is for validation, above 0 and below 1; met as far as groups and classes allow.
        seed: another one, another division.
        pattern: a regular expression, searched for in each file's name; what its first pair of parentheses finds is the
            clip's group. None for the manifest's groups, where a clip without one stands for itself.

    Raises:
        DataError: nothing can be put aside; or ``pattern`` is not in a file's name.
        RecipeError: ``pattern`` is no regular expression, or has no parentheses.
        InputError: ``share`` is out of range.
    """
    if not 0 < share < 1:
        raise InputError(f"share: expected more than 0 and less than 1, got {share!r}")
    groups = _groups(manifest, pattern)
    sides = _deal(groups, (1 - share, share), seed, keep=True)
    if 1 not in sides.values():
        raise DataError(
            f"{manifest.layout}: no clips can be put aside for validation, since every class has one group only: "
            "add recordings, or name a part or a fold of the data set"
        )
    names = "train", "validation"
    split = {clip.id: names[sides[key]] for key, clips in groups.items() for clip in clips}
    return replace(manifest, clips=tuple(replace(clip, split=split[clip.id]) for clip in manifest.clips))


def fold_up(manifest: Manifest, folds: int = 5, seed: int = 0, pattern: str | None = None) -> Manifest:
    """Give every clip a fold, 1 to ``folds``, whatever it had; folds are alike in size and classes.

    Args:
        manifest, seed, pattern: as for :func:`divide`.
        folds: how many, 2 or more.

    Raises:
        DataError: fewer groups than folds, or as :func:`divide`.
        RecipeError: as :func:`divide`.
        InputError: ``folds`` is out of range.
    """
    if not isinstance(folds, int) or folds < 2:
        raise InputError(f"folds: expected a whole number, 2 or more, got {folds!r}")
    groups = _groups(manifest, pattern)
    if len(groups) < folds:
        raise DataError(
            f"{manifest.layout}: {folds} folds need as many groups of clips, got {len(groups)}: ask for fewer folds"
        )
    sides = _deal(groups, (1 / folds,) * folds, seed)
    fold = {clip.id: sides[key] + 1 for key, clips in groups.items() for clip in clips}
    return replace(manifest, clips=tuple(replace(clip, fold=fold[clip.id]) for clip in manifest.clips))


def _groups(manifest: Manifest, pattern: str | None) -> dict[Key, list[Clip]]:
    """Clips by group, in the manifest's order."""
    expression = None if pattern is None else _expression(pattern)
    groups: defaultdict[Key, list[Clip]] = defaultdict(list)
    for clip in manifest.clips:
        if expression is None:
            key = (True, clip.id) if clip.group is None else (False, clip.group)
        else:
            match = expression.search(clip.name)
            if match is None or match[1] is None:
                raise DataError(f"groups {pattern!r}: not in the file name {clip.name}; expected it in every name")
            key = False, match[1]
        groups[key].append(clip)
    return dict(groups)


def _expression(pattern: str) -> re.Pattern[str]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise RecipeError(f"groups {pattern!r}: expected a regular expression; {error}") from error
    if not expression.groups:
        raise RecipeError(f"groups {pattern!r}: expected (parentheses) around what is the group in a file name")
    return expression


def _deal(groups: dict[Key, list[Clip]], shares: Sequence[float], seed: int, *, keep: bool = False) -> dict[Key, int]:
    """The side of each group; with ``keep``, some group of every class is on side 0."""
    order = list(groups)
    random.Random(seed).shuffle(order)
    # A clip without labels counts for a class of its own, -1.
    heard = {key: Counter(label for clip in groups[key] for label in clip.labels or (-1,)) for key in order}
    members: defaultdict[int, list[Key]] = defaultdict(list)
    for key in order:
        for label in heard[key]:
            members[label].append(key)
    total = {label: sum(heard[key][label] for key in keys) for label, keys in members.items()}
    want = {label: [share * count for share in shares] for label, count in total.items()}
    size = sum(map(len, groups.values()))
    room = [share * size for share in shares]
    hope = {label: len(keys) for label, keys in members.items()}  # groups that are on side 0, or may yet be
    sides: dict[Key, int] = {}

    def need(key: Key, side: int) -> float:
        """How much a side wants of what it is to have, once half the group is there: of its labels, and of clips.

        Clips count twice, so that rounding a hundred small classes alike does not add up.
        """
        labels = sum(count * (want[label][side] - count / 2) / total[label] for label, count in heard[key].items())
        clips = (room[side] - len(groups[key]) / 2) / size
        return (labels / heard[key].total() + 2 * clips) / shares[side]

    def put(key: Key, side: int) -> None:
        sides[key] = side
        room[side] -= len(groups[key])
        for label, count in heard[key].items():
            want[label][side] -= count
            hope[label] -= side > 0

    for label in sorted(members, key=lambda label: len(members[label])):
        for key in sorted(members[label], key=lambda key: -heard[key][label]):
            if key in sides:
                continue
            free = range(1) if keep and any(hope[other] < 2 for other in heard[key]) else range(len(shares))
            put(key, max(free, key=lambda side: need(key, side)))
    if keep and len(set(sides.values())) == 1:  # all in training, since every class is small: put the least aside
        spare = [key for key in order if all(hope[label] > 1 for label in heard[key])]
        if spare:
            put(min(spare, key=lambda key: len(groups[key])), 1)
    return sides
