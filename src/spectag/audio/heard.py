"""What a decoder made of a recording, and what has to be said about it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Pieces: TypeAlias = "Generator[tuple[float, NDArray[np.float32]], None, Heard]"  # (rate in Hz, [n, channels]), n >= 1

DAMAGED = "the recording is cut off or damaged"  # in the note about what is missing
_LITTLE = 0.05  # s that a header may be wrong by, without a word


@dataclass
class Heard:
    """The result of decoding.

    Args:
        seconds, samples: what was decoded, per channel.
        promised: seconds that the file states; None if it does not say.
        damage: what is damaged, in a few words.
        remarks: notes that stand for themselves.
    """

    seconds: float = 0.0
    samples: int = 0
    promised: float | None = None
    damage: str = ""
    remarks: list[str] = field(default_factory=list)

    def add(self, other: Heard) -> None:
        """Count another recording in the same file too."""
        wrong = other.promised is not None and abs(other.promised - other.seconds) > _LITTLE
        self.promised = (self.promised or 0.0) + (
            other.promised if wrong and other.promised is not None else other.seconds
        )
        self.seconds += other.seconds
        self.samples += other.samples
        self.damage = self.damage or other.damage
        self.remarks += [remark for remark in other.remarks if remark not in self.remarks]

    def notes(self, kind: str) -> list[str]:
        """What is to be said, one line each.

        Args:
            kind: the format.

        >>> Heard(2.5, promised=0.0).notes("WAV")
        ['the WAV header states 0.00 s, the file holds 2.50 s: all of it is read']
        >>> Heard(2.5, promised=2.51).notes("WAV")
        []
        """
        promised = self.seconds if self.promised is None else self.promised
        notes = list(self.remarks)
        if self.damage or promised > self.seconds + _LITTLE:
            notes.append(_loss(self.seconds, promised, self.damage))
        if promised < self.seconds - _LITTLE:
            notes.append(
                f"the {kind} header states {promised:.2f} s, the file holds {self.seconds:.2f} s: all of it is read"
            )
        return notes


def _loss(seconds: float, promised: float, damage: str) -> str:
    more = promised > seconds + _LITTLE
    length = f"expected {promised:.2f} s, read {seconds:.2f} s" if more else f"read {seconds:.2f} s"
    because = f" ({damage})" if damage else ""
    return f"{length}: {DAMAGED}{because}; what could be read is used: copy or export it again if the rest matters"
