"""Which clip is heard in place of one that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from spectag.train.rng import Rng

NO_LABEL = -1  # the negatives, clips without any label, are a class of their own


class StandIns:
    """Clips to hear instead of another one, in the order in which to try them.

    One of the clip's labels is drawn, a rare one more often, and then any clip of this label. This is how balanced
    sampling draws, so what an epoch hears of each class does not change; nor does it where each clip is drawn once. A
    negative stands in for a negative. Only where a whole class cannot be read does any other clip take its place.

    Args:
        targets: ``[clips, C]``, 0 or 1.

    >>> stand_ins = StandIns(np.array([[1, 0], [1, 0], [0, 1]], np.float32))
    >>> list(stand_ins.draw(0, np.random.default_rng(0)))
    [1, 2]
    """

    def __init__(self, targets: NDArray[np.float32]) -> None:
        self._targets = targets
        self._members: dict[int, NDArray[np.intp]] = {}

    def draw(self, index: int, rng: Rng) -> Iterator[int]:
        """Yield every clip but ``index`` once, the likeliest first. Each is drawn when it is asked for."""
        labels = np.flatnonzero(self._targets[index]).tolist() or [NO_LABEL]
        rarity = np.array([1 / len(self._clips_of(label)) for label in labels])
        order = rng.choice(len(labels), len(labels), replace=False, p=rarity / rarity.sum())
        given = {index}
        for place in order:
            members = self._clips_of(labels[place])
            for at in _shuffled(len(members), rng):
                if (clip := int(members[at])) not in given:
                    given.add(clip)
                    yield clip
        for clip in _shuffled(len(self._targets), rng):
            if clip not in given:
                yield clip

    def _clips_of(self, label: int) -> NDArray[np.intp]:
        if label not in self._members:
            has = self._targets.any(1) == 0 if label == NO_LABEL else self._targets[:, label] != 0
            self._members[label] = np.flatnonzero(has)
        return self._members[label]


def _shuffled(count: int, rng: Rng) -> Iterator[int]:
    """``range(count)`` in random order, of which only as much is made as is asked for (Fisher and Yates)."""
    moved: dict[int, int] = {}
    for place in range(count):
        chosen = int(rng.integers(place, count))
        yield moved.get(chosen, chosen)
        moved[chosen] = moved.pop(place, place)
