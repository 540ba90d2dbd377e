"""Text for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO

from spectag.tag.clock import clock
from spectag.tag.results import NO_LABEL, ClipTags, Result

Words = list[tuple[str, str]]  # each with its score, or with nothing


class Text:
    """A line per recording: its path, then its tags with their scores; below it a line per event, if there are any.

    On a terminal Rich colours and wraps it.

    Args:
        file: the text file to write to.
        clip_width: length of the longest path that will be written.

    >>> import sys
    >>> from spectag.tag.results import Event, Tag
    >>> events = (Event("Rain", 0.5, 2.0, 0.9),)
    >>> Text(sys.stdout, clip_width=8).write(ClipTags("rain.wav", 5.0, (Tag("Rain", 0.8),), events=events))
    clip      tags
    rain.wav  Rain 0.80
              0:00.50 to 0:02.00  Rain 0.90
    """

    def __init__(self, file: IO[str], clip_width: int = 4) -> None:
        self.file = file
        self.clip_width = max(4, clip_width)
        self._line: Callable[[str, Words], None] = self._plain
        if file.isatty():
            from rich.console import Console

            self.console = Console(file=file, highlight=False, markup=False, emoji=False)
            self.clip_width = min(self.clip_width, max(12, self.console.width // 2))
            self._line = self._rich
        self._line("clip", [("tags", "")])

    def write(self, result: Result) -> None:
        if isinstance(result, ClipTags):
            tags = [(_printable(tag.label), f"{tag.score:.2f}") for tag in result.tags]
            self._line(result.path or "-", tags or [(NO_LABEL if result.unknown else "(no tags)", "")])
            for event in result.events or ():
                times = f"{clock(event.onset, 2)} to {clock(event.offset, 2)}"
                self._line("", [(times, ""), (_printable(event.label), f"{event.score:.2f}")])
            self.file.flush()

    def close(self) -> None:
        pass

    def _plain(self, clip: str, words: Words) -> None:
        shown = "  ".join(f"{label} {score}".rstrip() for label, score in words)
        self.file.write(f"{_printable(clip):<{self.clip_width}}  {shown}\n")

    def _rich(self, clip: str, words: Words) -> None:
        from rich.table import Table
        from rich.text import Text as Styled

        shown = Styled("  ").join(
            Styled.assemble(
                (label.replace(" ", "\u00a0"), "bold" if i == 0 else ""),
                *([("\u00a0" + score, "cyan")] if score else []),
            )
            for i, (label, score) in enumerate(words)
        )
        row = Table.grid(padding=(0, 2))
        row.add_column(width=self.clip_width, overflow="fold")
        row.add_column(overflow="fold")
        row.add_row(_printable(clip), shown)
        self.console.print(row)


def _printable(text: str) -> str:
    """A file name or a label without line breaks and terminal escapes."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)
