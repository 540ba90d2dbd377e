"""Parquet: a row per recording with its tags and events as nested lists, or a wide table of scores over time.

Columns of the first: ``path``, ``duration``, ``tags`` (a list of ``{label, score}``), ``unknown`` and ``unknown_score``
(null if the model does not tell), ``events`` (a list of ``{label, onset, offset, score}``, null if they were not asked
for), ``error`` and ``warnings``: the objects of the JSON formats. A failed recording keeps its row, and a path is not
repeated for each event. ``explode`` of pandas and polars, or ``unnest`` of DuckDB, makes a row per event.
"""

from __future__ import annotations

from dataclasses import replace
from typing import IO, Any

import numpy as np

from spectag.errors import FileError, MissingExtra
from spectag.tag.results import Result
from spectag.tag.writers.writer import timeline_of

GROUP = 1024  # recordings that are written together
ROWS = 65_536  # or rows of scores


class Parquet:
    """A table with one row per recording. It is complete only after ``close``.

    Args:
        file: a binary file, or a text file over one.

    Raises:
        MissingExtra: pyarrow is not installed.

    >>> import io
    >>> from spectag.tag.results import ClipTags, Tag
    >>> file = io.BytesIO()
    >>> writer = Parquet(file)
    >>> writer.write(ClipTags("rain.wav", 5.0, (Tag("Rain", 0.8),)))
    >>> writer.close()
    >>> import pyarrow.parquet
    >>> pyarrow.parquet.read_table(io.BytesIO(file.getvalue())).to_pylist()[0]["tags"]
    [{'label': 'Rain', 'score': 0.8}]
    """

    def __init__(self, file: IO[Any]) -> None:
        self.arrow = _pyarrow()
        self.schema = make_schema(self.arrow)
        self.table = self.arrow.parquet.ParquetWriter(_binary(file), self.schema)
        self.rows: list[dict[str, Any]] = []

    def write(self, result: Result) -> None:
        if isinstance(result, FileError):
            row: dict[str, Any] = dict(result.to_dict())
        else:
            row = {"warnings": []} | replace(result, timeline=None).to_dict()
        self.rows.append(valid(row))
        if len(self.rows) >= GROUP:
            self._flush()

    def close(self) -> None:
        self._flush()
        self.table.close()

    def _flush(self) -> None:
        if self.rows:
            self.table.write_batch(self.arrow.RecordBatch.from_pylist(self.rows, schema=self.schema))
            self.rows = []


class ParquetTimeline:
    """A table with one row per time, ``path`` and ``time``, and one column per label. It is complete after ``close``.

    Args:
        file: a binary file, or a text file over one.

    Raises:
        MissingExtra: pyarrow is not installed.

    >>> import io
    >>> from spectag.tag.results import ClipTags, Timeline
    >>> file = io.BytesIO()
    >>> writer = ParquetTimeline(file)
    >>> timeline = Timeline(("owl",), 0.5, np.array([[0.5], [0.25]], np.float32))
    >>> writer.write(ClipTags("dawn.wav", 1.0, (), timeline=timeline))
    >>> writer.close()
    >>> import pyarrow.parquet
    >>> pyarrow.parquet.read_table(io.BytesIO(file.getvalue())).to_pylist()[1]
    {'path': 'dawn.wav', 'time': 0.5, 'owl': 0.25}
    """

    def __init__(self, file: IO[Any]) -> None:
        self.arrow = _pyarrow()
        self.file = _binary(file)
        self.table: Any = None

    def write(self, result: Result) -> None:
        if isinstance(result, FileError):
            return
        timeline = timeline_of(result, "parquet-timeline")
        if self.table is None:
            self._begin(timeline.labels)
        path = None if result.path is None else valid(result.path)
        start = 0
        for scores in timeline.blocks(ROWS):
            times = np.arange(start, start + len(scores)) * timeline.step
            start += len(scores)
            columns = [self.arrow.array([path] * len(scores), self.arrow.string()), self.arrow.array(times)]
            columns += [self.arrow.array(np.ascontiguousarray(column)) for column in scores.T]
            self.table.write_batch(self.arrow.RecordBatch.from_arrays(columns, schema=self.schema))

    def close(self) -> None:
        if self.table is None:
            self._begin(())
        self.table.close()

    def _begin(self, labels: tuple[str, ...]) -> None:
        arrow = self.arrow
        fields = [arrow.field("path", arrow.string()), arrow.field("time", arrow.float64())]
        fields += [arrow.field(valid(label), arrow.float32()) for label in labels]
        self.schema = arrow.schema(fields)
        self.table = arrow.parquet.ParquetWriter(self.file, self.schema)


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra("parquet", "the format parquet") from None
    return pyarrow


def _binary(file: IO[Any]) -> IO[bytes]:
    binary: IO[bytes] = getattr(file, "buffer", file)
    return binary


def make_schema(pyarrow: Any) -> Any:
    """The columns of a table with one row per recording.

    Args:
        pyarrow: the module.

    >>> import pyarrow
    >>> make_schema(pyarrow).names
    ['path', 'duration', 'tags', 'unknown', 'unknown_score', 'events', 'error', 'warnings']
    """
    text, number = pyarrow.string(), pyarrow.float64()
    tag = pyarrow.struct({"label": text, "score": number})
    event = pyarrow.struct({"label": text, "onset": number, "offset": number, "score": number})
    columns = {
        "path": text,
        "duration": number,
        "tags": pyarrow.list_(tag),
        "unknown": pyarrow.bool_(),
        "unknown_score": number,
        "events": pyarrow.list_(event),
        "error": text,
        "warnings": pyarrow.list_(text),
    }
    return pyarrow.schema(columns)


def valid(value: Any) -> Any:
    """The same text, also within lists and dictionaries, with bytes that are not UTF-8 written as ``\\udcXX``.

    >>> valid(["caf\\udce9.wav"])
    ['caf\\\\udce9.wav']
    """
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {key: valid(item) for key, item in value.items()}
    return [valid(item) for item in value] if isinstance(value, list) else value
