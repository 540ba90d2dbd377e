"""What a job has done, in a few lines."""

from __future__ import annotations

import re
from collections import Counter

from spectag.errors import FileError
from spectag.tag.results import Result

_SHOWN = 5  # labels and kinds of failures that are listed


class Summary:
    """Counts results: by their first tag, and failures by their kind.

    >>> from spectag.tag.results import ClipTags, Tag
    >>> summary = Summary()
    >>> summary.add(ClipTags("rain.wav", 5.0, (Tag("Rain", 0.8),)))
    >>> summary.add(FileError("dawn.wav", "expected a file, found none: check the path"))
    >>> for kind, text in summary.lines():
    ...     print(kind, "-", text)
    done - 2 files, 5 s of sound: 1 tagged, 1 failed
    first tags - Rain 1
    failures - expected a file, found none 1
    """

    def __init__(self) -> None:
        self.files = 0
        self.failed = 0
        self.seconds = 0.0
        self.labels: Counter[str] = Counter()
        self.untagged = 0
        self.failures: Counter[str] = Counter()

    def add(self, result: Result) -> None:
        """Count a result."""
        self.files += 1
        if isinstance(result, FileError):
            self.failed += 1
            self.failures[kind_of(result.error)] += 1
            return
        self.seconds += result.duration
        if result.tags:
            self.labels[result.tags[0].label] += 1
        else:
            self.untagged += 1

    def lines(self) -> list[tuple[str, str]]:
        """The summary in lines, each with a word for what it is about. What is most frequent comes first."""
        parts = [f"{self.files - self.failed} tagged"]
        parts += [f"{self.untagged} of them without a tag"] if self.untagged else []
        parts += [f"{self.failed} failed"] if self.failed else []
        files = "1 file" if self.files == 1 else f"{self.files} files"
        lines = [("done", f"{files}, {describe_sound(self.seconds)}: {', '.join(parts)}")]
        lines += [("first tags", _most_common(self.labels))] if self.labels else []
        return [*lines, ("failures", _most_common(self.failures))] if self.failures else lines


def kind_of(error: str) -> str:
    """The kind of a failure: its message without the advice, numbers and names.

    >>> kind_of("expected at least 400 samples, got 12: record it again")
    'expected at least N samples, got N'
    """
    first = re.split(r": |; | \(", error, maxsplit=1)[0]
    return re.sub(r"(?<![\w.])\d+(\.\d+)?(e[+-]?\d+)?(?!\w)", "N", re.sub(r"'[^']*'", "'...'", first))


def describe_sound(seconds: float) -> str:
    """A duration of sound in words.

    >>> describe_sound(12.0), describe_sound(90 * 60)
    ('12 s of sound', '1.5 h of sound')
    """
    if seconds < 60:
        return f"{seconds:.3g} s of sound"
    return f"{seconds / 60:.3g} min of sound" if seconds < 3600 else f"{seconds / 3600:,.1f} h of sound"


def _most_common(counts: Counter[str]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{name} {count}" for name, count in ordered[:_SHOWN]]
    rest = sum(count for _, count in ordered[_SHOWN:])
    return ", ".join([*shown, f"others {rest}"] if rest else shown)
