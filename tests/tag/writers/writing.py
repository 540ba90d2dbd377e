"""Results to write, and what is written of them."""

import io
from collections.abc import Sequence

from spectag.choices import Format
from spectag.errors import FileError
from spectag.tag.results import ClipTags, Event, Tag
from spectag.tag.writers.formats import DOCUMENTS, make_writer

# Labels that a careless writer would spoil its document with.
NASTY = (
    "a\tb",
    "c,d;e",
    "f\ng\r\nh",
    'say "owl"',
    '"quoted"',
    "x --> y",
    "<v Bob>&amp;</v>",
    "]]>",
    "=1+1",
    "Käuzchen 梟",
    "two  spaces",
    "\x0bbell\x07",
    "line\u2028break",
    "#hash ;; comment",
    "\\",
)
DOG = ClipTags("a/dog.wav", 5.00100012, (Tag("dog", 0.91234567), Tag("=1+1", 1e-9)))
QUIET = ClipTags(None, 0.01, (), ("cut off",))
BAD = FileError("bad.wav", "not audio")


def clip(path: str | None = "a/owl.wav", *events: Event, duration: float = 10.0) -> ClipTags:
    """A recording with two tags and events."""
    return ClipTags(path, duration, (Tag("owl", 0.9), Tag("fox", 0.25)), (), events)


def nasty_clip(path: str = 'a/nasty, "1".wav') -> ClipTags:
    """A recording with an event per nasty label, one each second."""
    events = (Event(label, float(n), n + 0.5, 0.5) for n, label in enumerate(NASTY))
    return clip(path, *events, duration=float(len(NASTY)))


def plain(label: str) -> str:
    """A label in a format that cannot write line breaks: each run of them is a space."""
    return "".join(c if c.isprintable() else "\n" for c in label).replace("\n\n", "\n").replace("\n", " ")


def write(format: Format, *results: ClipTags | FileError, paths: Sequence[str] | None = None) -> bytes:
    """The document of some results, as the command line writes it."""
    binary = io.BytesIO()
    text = io.TextIOWrapper(binary, "utf-8-sig" if DOCUMENTS[format].mark else "utf-8", "backslashreplace", newline="")
    known = [result.path or "" for result in results] if paths is None else paths
    writer = make_writer(format, text, known)
    for result in results:
        writer.write(result)
    writer.close()
    text.flush()
    return binary.getvalue()


def written(format: Format, *results: ClipTags | FileError, paths: Sequence[str] | None = None) -> str:
    """The same as text, without a byte order mark."""
    return write(format, *results, paths=paths).decode("utf-8-sig")


def lines(format: Format, *results: ClipTags | FileError, paths: Sequence[str] | None = None) -> list[str]:
    """The same as lines; only a line feed ends one."""
    text = written(format, *results, paths=paths)
    assert not text or text.endswith("\n")
    return text.split("\n")[:-1]
