"""The formats in which results of tagging are written, in one table.

================  =====================================================================================================
format            one recording
================  =====================================================================================================
``jsonl``         a line ``{"path", "duration", "tags": [{"label", "score"}]}``, plus ``"events"``, ``"timeline"`` and
                  ``"warnings"`` if there are any; ``{"path", "error"}`` for a recording that failed
``json``          the same objects in one array
``csv``           a row per tag, ``path,duration,rank,label,score,error,warnings``; one row without rank if there is no
                  tag; one row with only path and error for a recording that failed. Warnings are in a recording's first
                  row
``csv-events``    a row per event, ``path,duration,onset,offset,label,score,error,warnings``, otherwise as ``csv``
``csv-timeline``  a row per time, ``path,time`` and a column per label
``parquet``       one row with nested lists; see :mod:`spectag.tag.writers.parquet`, also for ``parquet-timeline``
``text``          lines for people; failures and warnings are only reported on stderr
================  =====================================================================================================

The others belong to other programs, and their modules describe them: ``audacity``, ``raven``, ``kaleidoscope``,
``webvtt``, ``rttm``, ``elan``, ``dcase``, ``dcase-scores`` and ``aoef``. They leave out recordings that failed.

``duration`` and times are in seconds, ``score`` in 0..1, rounded to 6 decimals; ``rank`` counts from 1. The order is
that of the inputs. A recording has no tags if no score reached the threshold, or if it is digital silence throughout,
which ``warnings`` says. If the model tells unknown sounds, the objects have ``unknown``, true or false, and
``unknown_score``, about the share of known sounds that are less unusual. An unknown recording has no tags unless a
threshold is given; its row in a ``csv`` file has the label ``(unknown)``, that score, and no rank. Text is UTF-8, and a
``csv`` file begins with a byte order mark, without which Excel spoils umlauts. Bytes of a file name that are not valid
UTF-8 are written as ``\\udcXX``; in JSON this is the escape that Python's ``os.fsencode`` reverses. Each result is
flushed; every format but ``json``, ``aoef`` and Parquet is then complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import IO, Any, Literal

from spectag.choices import Format
from spectag.tag.writers.aoef import AOEF
from spectag.tag.writers.audacity import Audacity
from spectag.tag.writers.dcase import DCASE, DCASEScores
from spectag.tag.writers.elan import ELAN
from spectag.tag.writers.kaleidoscope import Kaleidoscope
from spectag.tag.writers.names import Names
from spectag.tag.writers.objects import JSONArray, JSONLines
from spectag.tag.writers.parquet import Parquet, ParquetTimeline
from spectag.tag.writers.raven import Raven
from spectag.tag.writers.rttm import RTTM
from spectag.tag.writers.tables import CSV, CSVEvents, CSVTimeline
from spectag.tag.writers.text import Text
from spectag.tag.writers.webvtt import WebVTT
from spectag.tag.writers.writer import Writer

Needs = Literal["tags", "events", "timeline"]


@dataclass(frozen=True)
class Document:
    """What a document of one format is.

    Args:
        make: makes its writer, from a file and the names of the recordings.
        extensions: endings of its file; the first is that of files that spectag names.
        needs: what the results must have.
        many: whether it can hold several recordings.
        mark: whether its file begins with a byte order mark.
        binary: whether it is not text.

    >>> DOCUMENTS["raven"].extensions, DOCUMENTS["webvtt"].many
    (('.txt',), False)
    """

    make: Callable[[IO[Any], Names], Writer]
    extensions: tuple[str, ...]
    needs: Needs = "tags"
    many: bool = True
    mark: bool = False
    binary: bool = False


DOCUMENTS: dict[Format, Document] = {
    "text": Document(lambda file, names: Text(file, names.longest), (".txt",)),
    "json": Document(lambda file, _: JSONArray(file), (".json",)),
    "jsonl": Document(lambda file, _: JSONLines(file), (".jsonl", ".ndjson")),
    "csv": Document(lambda file, _: CSV(file), (".csv",), mark=True),
    "csv-events": Document(lambda file, _: CSVEvents(file), (".csv",), "events", mark=True),
    "csv-timeline": Document(lambda file, _: CSVTimeline(file), (".csv",), "timeline", mark=True),
    "parquet": Document(lambda file, _: Parquet(file), (".parquet",), binary=True),
    "parquet-timeline": Document(lambda file, _: ParquetTimeline(file), (".parquet",), "timeline", binary=True),
    "audacity": Document(lambda file, _: Audacity(file), (".txt",), "events", many=False),
    "raven": Document(lambda file, _: Raven(file), (".txt",), "events"),
    "kaleidoscope": Document(lambda file, _: Kaleidoscope(file), (".csv",), "events"),
    "webvtt": Document(lambda file, _: WebVTT(file), (".vtt",), "events", many=False),
    "rttm": Document(RTTM, (".rttm",), "events"),
    "elan": Document(lambda file, _: ELAN(file), (".eaf",), "events", many=False),
    "dcase": Document(DCASE, (".tsv",), "events"),
    "dcase-scores": Document(lambda file, _: DCASEScores(file), (".tsv",), "timeline", many=False),
    "aoef": Document(lambda file, _: AOEF(file), (".json",), "events"),
}


def make_writer(format: Format, file: IO[Any], paths: Iterable[str] | Names = ()) -> Writer:
    """The writer of a format.

    Args:
        format: a key of :data:`DOCUMENTS`.
        file: the text file to write to; for Parquet a binary file.
        paths: of all recordings that will be written, where known. Text is then aligned, and short names are unique.

    Raises:
        MissingExtra: a package that the format needs is not installed.

    >>> import sys
    >>> from spectag.tag.results import ClipTags, Tag
    >>> make_writer("jsonl", sys.stdout).write(ClipTags("rain.wav", 5.0, (Tag("Rain", 0.8),)))
    {"path": "rain.wav", "duration": 5.0, "tags": [{"label": "Rain", "score": 0.8}]}
    """
    return DOCUMENTS[format].make(file, paths if isinstance(paths, Names) else Names(paths))


def formats_of(extension: str) -> list[Format]:
    """The formats whose files may have an ending.

    >>> formats_of(".CSV")
    ['csv', 'csv-events', 'csv-timeline', 'kaleidoscope']
    """
    return [format for format, document in DOCUMENTS.items() if extension.lower() in document.extensions]
