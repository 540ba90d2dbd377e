"""Dividing a data set that has no splits into training and validation.

Clips of one group are never separated. Groups are dealt out label by label, the rarest first (Sechidis et al. 2011,
"On the Stratification of Multi-label Data"). Unlike scikit-learn's StratifiedGroupKFold this handles several labels per
clip, any share, and classes of a few clips.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from dataclasses import replace

from spectag.data.manifest import Clip, Manifest
from spectag.errors import DataError, InputError, RecipeError

# A group: (True, the id of its only clip, which names no group) or (False, the name of the group).
Group = tuple[bool, str]

TRAIN, VALIDATION = 0, 1
NO_LABEL = -1  # clips without labels count as a class of their own
# How much the number of clips counts beside the number of clips per label. If no division of a class meets the share,
# every class is rounded the same way, and this keeps the errors from adding up: a share of 0.45 of 200 classes of five
# clips is 450 clips; a weight of 0 or 1 holds out 400 of them, and 2 holds out 425. A share of 0.1 is 100 clips; a
# weight of 0 holds out a single one.
CLIPS_WEIGHT = 2


def divide(manifest: Manifest, *, share: float = 0.2, seed: int = 0, pattern: str | None = None) -> Manifest:
    """Give every clip the split ``train`` or ``validation``. Its previous split is ignored.

    Every class keeps at least one group for training, so a class of one group is not validated.

    Args:
        manifest: the data set.
        share: fraction of the clips to hold out for validation, above 0 and below 1. It is met as closely as groups
            and classes allow.
        seed: decides which clips are held out.
        pattern: a regular expression that is searched for in the name of each file; the text that its first pair of
            parentheses matches is the group of the clip. None for the groups of the manifest, in which a clip without
            one is a group of its own.

    Raises:
        DataError: no clip can be held out, or ``pattern`` does not match the name of a file.
        RecipeError: ``pattern`` is not a regular expression, or has no parentheses.
        InputError: ``share`` is out of range.

    >>> from spectag.data.manifest import Clip, Manifest
    >>> clips = tuple(Clip(f"{n}.wav", Path(f"{n}.wav"), (n % 2,)) for n in range(10))
    >>> divided = divide(Manifest(clips, spectag.LabelSet(("fox", "owl")), "a test"), share=0.2)
    >>> sorted(clip.labels for clip in divided.only(split="validation").clips)
    [(0,), (1,)]
    """
    if not 0 < share < 1:
        raise InputError(f"share: expected more than 0 and less than 1, got {share!r}")
    groups = _groups(manifest, pattern)
    held_out = _hold_out(groups, share, seed)
    if not held_out:
        raise DataError(
            f"{manifest.layout}: no clips can be held out for validation, since every class has only one group: "
            "add recordings, or train on all clips with holdout=0 and select=last"
        )
    split = {clip.id: "validation" if key in held_out else "train" for key, clips in groups.items() for clip in clips}
    return replace(manifest, clips=tuple(replace(clip, split=split[clip.id]) for clip in manifest.clips))


def _groups(manifest: Manifest, pattern: str | None) -> dict[Group, list[Clip]]:
    """The clips of each group, in the order of the manifest."""
    expression = None if pattern is None else _expression(pattern)
    groups: defaultdict[Group, list[Clip]] = defaultdict(list)
    for clip in manifest.clips:
        if expression is None:
            group = (True, clip.id) if clip.group is None else (False, clip.group)
        else:
            match = expression.search(clip.name)
            if match is None or match[1] is None:
                raise DataError(f"groups {pattern!r}: expected to match the name of every file, not in {clip.name}")
            group = False, match[1]
        groups[group].append(clip)
    return dict(groups)


def _expression(pattern: str) -> re.Pattern[str]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise RecipeError(f"groups {pattern!r}: expected a regular expression; {error}") from error
    if not expression.groups:
        raise RecipeError(f"groups {pattern!r}: expected (parentheses) around the group in a file name")
    return expression


def _hold_out(groups: dict[Group, list[Clip]], share: float, seed: int) -> set[Group]:
    """The groups for validation; none if every class needs all of its groups for training."""
    order = list(groups)
    random.Random(seed).shuffle(order)
    labels = {
        group: Counter(label for clip in groups[group] for label in clip.labels or (NO_LABEL,)) for group in order
    }
    members: defaultdict[int, list[Group]] = defaultdict(list)
    for group in order:
        for label in labels[group]:
            members[label].append(group)
    clips = sum(map(len, groups.values()))
    clips_of_label = {label: sum(labels[group][label] for group in found) for label, found in members.items()}
    shares = 1 - share, share
    # How many clips each side still lacks to have its share, overall and of each label.
    lacking = [fraction * clips for fraction in shares]
    lacking_of_label = {label: [fraction * count for fraction in shares] for label, count in clips_of_label.items()}
    not_held_out = {label: len(found) for label, found in members.items()}  # groups that are or may become training
    side_of: dict[Group, int] = {}

    def lack(group: Group, side: int) -> float:
        """What the side lacks, as a fraction of its share, with half of the group in it."""
        of_labels = sum(
            count * (lacking_of_label[label][side] - count / 2) / clips_of_label[label]
            for label, count in labels[group].items()
        )
        of_clips = (lacking[side] - len(groups[group]) / 2) / clips
        return (of_labels / labels[group].total() + CLIPS_WEIGHT * of_clips) / shares[side]

    def place(group: Group, side: int) -> None:
        side_of[group] = side
        lacking[side] -= len(groups[group])
        for label, count in labels[group].items():
            lacking_of_label[label][side] -= count
            not_held_out[label] -= side == VALIDATION

    for label in sorted(members, key=lambda label: len(members[label])):
        for group in sorted(members[label], key=lambda group: -labels[group][label]):
            if group in side_of:
                continue
            spare = all(not_held_out[other] > 1 for other in labels[group])
            place(group, VALIDATION if spare and lack(group, VALIDATION) > lack(group, TRAIN) else TRAIN)
    if VALIDATION not in side_of.values():  # every class is too small to give its share: hold out as little as possible
        spares = [group for group in order if all(not_held_out[label] > 1 for label in labels[group])]
        if spares:
            place(min(spares, key=lambda group: len(groups[group])), VALIDATION)
    return {group for group, side in side_of.items() if side == VALIDATION}
