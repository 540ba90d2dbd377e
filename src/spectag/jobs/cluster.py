"""Tagging on a cluster with Ray Data.

::

    paths -> blocks of paths -> workers that hold the tagger (TagFiles) -> rows -> Parquet files, written here

Ray moves paths and rows only. A worker that dies is replaced, and its block is done again; its rows were not written
yet. What is in the folder is done, so a job that was killed continues with what is not.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any

from spectag.audio.find import find_recordings, has_audio_extension
from spectag.errors import FileError, InputError, MissingExtra, RunFailed, SpectagError
from spectag.jobs.parts import Parts, find_system
from spectag.jobs.worker import TagFiles, is_url, to_row
from spectag.tag.writers.parquet import make_schema, valid

BLOCK = 32  # files that a worker gets at once, and does again if it dies
ROWS = 10_000  # of one Parquet file
SECONDS = 60.0  # or as many as there are after this time


def find_paths(inputs: Iterable[str]) -> Iterator[str | FileError]:
    """The files to tag.

    Args:
        inputs: Parquet tables with a column ``path``, folders and files, here or behind a URL that `fsspec` knows.

    Yields:
        paths and URLs; or a :class:`spectag.FileError` for a folder without recordings, for example.

    Raises:
        InputError: a table cannot be read, or a protocol needs a package that is not installed.

    >>> Path("site").mkdir()
    >>> Path("site/dawn.wav").touch()
    >>> [Path(path).name for path in find_paths(["site"])]
    ['dawn.wav']
    """
    for text in inputs:
        if text.lower().endswith((".parquet", ".pq")):
            yield from _read_table(text)
        elif is_url(text):
            yield from _list_url(text)
        else:
            for file in find_recordings([text]):
                # A worker may have another working directory.
                yield os.path.abspath(file) if isinstance(file, str) else file


def _read_table(path: str) -> Iterator[str]:
    try:
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra("ray", "reading Parquet") from None
    system, root = find_system(path)
    try:
        with system.open(root, "rb") as file:
            table = pyarrow.parquet.ParquetFile(file)
            if "path" not in table.schema_arrow.names:
                found = ", ".join(table.schema_arrow.names)
                raise InputError(f"{path}: expected a column path, got {found}: rename the column with the paths")
            for batch in table.iter_batches(columns=["path"]):
                yield from (str(value) for value in batch["path"].to_pylist() if value is not None)
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{path}: cannot be read as Parquet: {str(error).splitlines()[0]}") from error


def _list_url(url: str) -> Iterator[str | FileError]:
    system, root = find_system(url)
    try:
        if not system.isdir(root):
            yield url
            return
        found = sorted(path for path in system.find(root) if has_audio_extension(path.rpartition("/")[2]))
    except Exception as error:  # each protocol has errors of its own
        yield FileError(url, f"cannot be listed: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}")
        return
    if not found:
        yield FileError(url, "expected a folder with recordings, found none")
    yield from map(system.unstrip_protocol, found)


@contextmanager
def connected(address: str, workers: int) -> Iterator[Any]:
    """A connection to a cluster, or a cluster on this machine.

    Args:
        address: of the head node, such as ``auto`` or ``ray://head:10001``; or ``local``.
        workers: how many workers a local cluster has room for.

    Raises:
        MissingExtra: Ray is not installed.
        RunFailed: there is no cluster at this address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it warns of each actor that may be restarted
    try:
        import ray
        import ray.data
    except ImportError:
        raise MissingExtra("ray", "--ray") from None
    local = {"num_cpus": workers, "include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **local)
    except Exception as error:  # ConnectionError, RuntimeError and others
        text = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RunFailed(f"--ray {address}: cannot connect: {text}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


class TagTables(TagFiles):
    """:class:`spectag.jobs.worker.TagFiles` on Arrow tables, with columns of fixed types.

    >>> TagTables("esc10").column
    'path'
    """

    def __call__(self, table: Any) -> Any:
        """A table with a column ``path`` -> a table of rows, see :func:`spectag.tag.writers.parquet.make_schema`."""
        import pyarrow

        rows = super().__call__({"path": table["path"].to_pylist()})
        schema = make_schema(pyarrow)
        return pyarrow.Table.from_pydict({name: rows[name] for name in schema.names}, schema=schema)


def tag_on_cluster(
    ray: Any,
    files: Sequence[str | FileError],
    parts: Parts,
    workers: int,
    *,
    cpus: float = 1.0,
    gpus: float = 0.0,
    options: dict[str, Any],
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[dict[str, Any]]:
    """Tag files and write the rows.

    Args:
        ray: from :func:`connected`.
        files: those that are not done yet.
        parts: where to write.
        workers: the largest number of workers.
        cpus, gpus: what each of them needs.
        options: of :class:`spectag.jobs.worker.TagFiles`.
        clock: seconds that never go back.

    Yields:
        each row, after it was written.

    Raises:
        RunFailed: no worker could start, for example. The rows that were written are kept.
        SaveError: they cannot be written.
    """
    rows: list[dict[str, Any]] = []
    written = clock()
    for row in _results(ray, files, workers, cpus, gpus, options):
        rows.append(row)
        if len(rows) >= ROWS or clock() > written + SECONDS:
            parts.write(rows)
            yield from rows
            rows, written = [], clock()
    if rows:
        parts.write(rows)
        yield from rows


def _results(
    ray: Any, files: Sequence[str | FileError], workers: int, cpus: float, gpus: float, options: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    import pyarrow

    good: list[str] = []
    for file in files:
        error = file if isinstance(file, FileError) else _unfit(file)
        if error is None:
            good.append(str(file))
        else:
            yield {"path": valid(error.path or ""), **to_row(error)}
    if not good:
        return
    rest = iter(good)
    blocks = [pyarrow.table({"path": block}) for block in iter(lambda: list(islice(rest, BLOCK)), [])]
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    data = ray.data.from_arrow(blocks).map_batches(
        TagTables,
        batch_size=BLOCK,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=max(1, min(workers, len(blocks)))),
        fn_constructor_kwargs=options,
        num_cpus=cpus,
        num_gpus=gpus,
        max_restarts=-1,
        max_task_retries=-1,
    )
    try:
        for table in data.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield from table.to_pylist()
    except SpectagError:
        raise
    except Exception as error:  # Ray has many
        raise RunFailed(f"Ray stopped the job: {_cause(error)}: mend that, and continue with --resume") from error


def _unfit(path: str) -> FileError | None:
    return None if valid(path) == path else FileError(path, "its name is not UTF-8, as Parquet needs it: rename it")


def _cause(error: BaseException) -> str:
    """The innermost line that says something."""
    with suppress(AttributeError):
        while getattr(error, "cause", None) is not None or error.__cause__ is not None:
            error = getattr(error, "cause", None) or error.__cause__  # type: ignore[assignment]
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:300]
