"""What the commands do about jobs: the journal beside the output, progress, and a summary."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spectag.audio.limits import FileLimits
from spectag.cli.output import Bar, say
from spectag.errors import FileError, InputError, SaveError
from spectag.files import is_own_stream
from spectag.jobs.shards import Shard

if TYPE_CHECKING:
    from spectag.audio.readers import Readers
    from spectag.jobs.job import TagAll
    from spectag.jobs.journal import Journal
    from spectag.jobs.run import Plain, Run
    from spectag.jobs.summary import Summary
    from spectag.tag.events import EventRule
    from spectag.tag.writers.writer import Writer

EVERY = 60.0  # s between two lines about progress, where there is no bar

Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Continue a job that was interrupted, or add files that are new or have changed. Files that are done are "
        "not read again. Can be given from the beginning.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Begin again, and replace the results of an earlier job.")]
Verify = Annotated[
    bool,
    typer.Option(
        "--verify",
        help="Compare the contents of files instead of the times of their last change. Give it from the beginning: a "
        "file that was done without it is read again.",
    ),
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="With --resume: read files that failed again, even if they are the same.")
]


def shard(value: str | None) -> str | None:
    """Check the form of a shard.

    >>> shard("1/4")
    '1/4'
    """
    if value is None:
        return None
    try:
        return str(Shard.parse(value))
    except InputError as error:
        raise typer.BadParameter(str(error)) from None


ShardOf = Annotated[
    str | None,
    typer.Option(
        "--shard",
        callback=shard,
        metavar="I/N",
        help="Tag only part I of N of the files, for job arrays; each part needs its own output. The path of a file "
        "decides which part it is in. `spectag merge-results` joins the outputs.",
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        metavar="N",
        min=1,
        help="Number of processes that read files.",
        show_default="one for each core, at most 4",
    ),
]
FileTimeout = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        min=0.001,
        help="Give up a file if its decoder delivers nothing for this long. Long recordings may take longer.",
    ),
]
FileMemory = Annotated[
    int,
    typer.Option(metavar="MIB", min=1, help="Give up a file if reading it takes more memory than this (on Linux)."),
]


@dataclass(frozen=True)
class JobOptions:
    """The options of a job.

    Args:
        resume, overwrite, verify, retry_failed: see the command.
        shard: as text.
        jobs: processes that read; None for the usual number.
        limits: of one file.

    >>> JobOptions(resume=True).limits.seconds
    120.0
    """

    resume: bool = False
    overwrite: bool = False
    verify: bool = False
    retry_failed: bool = False
    shard: str | None = None
    jobs: int | None = None
    limits: FileLimits = field(default_factory=FileLimits)

    def make_readers(self, files: int, *, job: bool) -> Readers | None:
        """The processes that read; they start at once. None where one file is read in this process.

        Args:
            files: how many there are.
            job: whether it is a job. One that was resumed at the file that killed it must survive it.
        """
        if files < 2 and not job:
            return None
        from spectag.audio.readers import COUNT, Readers

        count = self.jobs or COUNT
        return Readers(min(count, files), count=count, limits=self.limits)


def needs_journal(output: str | Path | None, paths: Sequence[str], files: int, options: JobOptions) -> bool:
    """Whether this is a job, whose results go to a file or a folder: several files, a folder, or an option of jobs.

    >>> needs_journal("tags.jsonl", ["a.wav"], 1, JobOptions()), needs_journal("tags.jsonl", ["site"], 9, JobOptions())
    (False, True)
    """
    if output is None or is_own_stream(str(output)):
        return False
    if os.path.exists(output) and not os.path.isfile(output) and not os.path.isdir(output):
        return False  # a device or a pipe
    asked = options.resume or options.verify or options.retry_failed or options.shard is not None
    return asked or files > 1 or any(map(os.path.isdir, paths)) or journal_of(output).exists()


def journal_of(output: str | Path) -> Path:
    """The journal beside an output.

    >>> str(journal_of("results/"))
    'results.journal'
    """
    path = Path(output)
    if path.name in ("", ".."):  # this folder, or the one above
        path = path.resolve()
    return path.parent / f"{path.name}.journal"


def check_options(
    context: typer.Context, options: JobOptions, output: str | Path | None, *, plot: bool = False
) -> None:
    """Refuse options that contradict each other, and to destroy the results of a job.

    Raises:
        typer.BadParameter: options that need an output, or exclude each other.
        SaveError: there are results of an earlier job.

    >>> Path("tags.csv.journal").touch()
    >>> check_options(None, JobOptions(), "tags.csv")
    Traceback (most recent call last):
    spectag.errors.SaveError: tags.csv: has the results of an earlier run: add --resume to continue it, --overwrite to
    begin again, or choose another output
    """
    refuse_both(context, options)
    for name in ("resume", "overwrite", "verify", "retry_failed", "shard"):
        option = f"--{name.replace('_', '-')}"
        if getattr(options, name) and output is None:
            raise typer.BadParameter(f"{option}: expected an output to keep the results in: add -o FILE", context)
        if getattr(options, name) and plot:
            raise typer.BadParameter(f"{option} and --plot exclude each other, since pictures show all files", context)
    if output is None or options.overwrite:
        return
    journal = journal_of(output)
    if journal.exists() and not options.resume:
        raise has_results(output)
    if options.resume and not journal.exists() and Path(output).is_file() and Path(output).stat().st_size:
        raise SaveError(
            f"{output}: cannot be continued, since {journal.name} is not beside it: restore that, or add --overwrite "
            "instead of --resume to begin again"
        )


def refuse_both(context: typer.Context, options: JobOptions) -> None:
    """Raise an error of usage if a job shall continue and begin again.

    >>> refuse_both(None, JobOptions(resume=True))
    """
    if options.resume and options.overwrite:
        raise typer.BadParameter("--resume and --overwrite exclude each other: give one of them", context)


def has_results(output: str | Path) -> SaveError:
    """The error of a job whose output has the results of another one.

    >>> str(has_results("tags.csv")).partition(": ")[0]
    'tags.csv'
    """
    return SaveError(
        f"{output}: has the results of an earlier run: add --resume to continue it, --overwrite to begin again, or "
        "choose another output"
    )


def name_rule(rule: EventRule) -> dict[str, Plain]:
    """The options that say how events are found, as a run names them.

    >>> from spectag.tag.events import EventRule
    >>> name_rule(EventRule(gap=0.5))
    {'event-method': 'change', 'event-threshold': None, 'gap': 0.5, 'shortest': 0.0}
    """
    return {
        "event-method": rule.method,
        "event-threshold": rule.threshold,
        "gap": rule.gap,
        "shortest": rule.shortest,
    }


def open_journal(output: str | Path, run: Run, options: JobOptions) -> Journal:
    """Begin the journal of an output, or continue it. Raises SaveError.

    >>> from spectag.jobs.run import Run
    >>> str(open_journal("tags.csv", Run("5f1c"), JobOptions()).path)
    'tags.csv.journal'
    """
    from spectag.jobs.journal import Journal

    path = journal_of(output)
    return Journal.resume(path, run) if options.resume and path.exists() else Journal.create(path, run)


def run_job(
    files: Sequence[str | FileError],
    journal: Journal,
    options: JobOptions,
    tag_all: Callable[[Bar], TagAll],
    writer: Writer,
) -> bool:
    """Tag files, write their results and say how it goes.

    Args:
        files: of all shards.
        journal: of this job.
        options: of this job.
        tag_all: given the bar, what tags files.
        writer: of the output. It is given all results, also those that the journal has.

    Returns:
        whether any file failed.

    Raises:
        SaveError: the journal cannot be written.
    """
    from spectag.jobs.job import make_plan, run

    part = None if options.shard is None else Shard.parse(options.shard)
    plan = make_plan(files, journal, part, verify=options.verify, retry=options.retry_failed)
    if journal.records:
        say("note", f"{len(plan.files) - plan.new} of {len(plan.files)} files are done already; {plan.new} left")
    with counted(plan.new, len(plan.files)) as (summary, progress):
        for result, new in run(plan, journal, tag_all(progress.bar)):
            writer.write(result)
            summary.add(result)
            if new:
                progress.add(0.0 if isinstance(result, FileError) else result.duration)
                report(result)
    return summary.failed > 0


@contextlib.contextmanager
def counted(new: int, total: int) -> Iterator[tuple[Summary, Progress]]:
    """Show how far a job is, and say at its end what it has done.

    Args:
        new: files that must be read.
        total: files whose results will be counted.

    >>> from spectag.errors import FileError
    >>> with contextlib.redirect_stderr(sys.stdout), counted(1, 1) as (summary, progress):
    ...     summary.add(FileError("dawn.wav", "no samples"))
    spectag: done: 1 file, 0 s of sound: 0 tagged, 1 failed
    spectag: failures: no samples 1
    """
    from spectag.jobs.summary import Summary

    summary, progress = Summary(), Progress(new)
    try:
        yield summary, progress
    except KeyboardInterrupt:
        say("note", f"{summary.files} of {total} files are done: continue with --resume")
        raise
    finally:
        progress.close()
    tell(summary)


def tell(summary: Summary) -> None:
    """Say what was done.

    >>> from spectag.jobs.summary import Summary
    >>> with contextlib.redirect_stderr(sys.stdout):
    ...     tell(Summary())
    spectag: done: 0 files, 0 s of sound: 0 tagged
    """
    for kind, text in summary.lines():
        say(kind, text)


def report(result: object) -> None:
    """Print the failure or the warnings of a result.

    >>> report(None)
    """
    if isinstance(result, FileError):
        say("error", str(result))
    for warning in getattr(result, "warnings", ()):
        say("warning", warning)


class Progress:
    """How far a job is: a bar on a terminal, otherwise a line from time to time.

    Args:
        total: files to be read.
        clock: seconds that never go back.

    >>> now = iter([0.0, 10.0, 20.0])
    >>> progress = Progress(4, clock=lambda: next(now))
    >>> progress.add(3600.0)
    >>> progress.describe()
    '1 of 4 files, 0.05 files/s, 0.05 h of sound/s, 60 s left'
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.bar = Bar(total)
        self._items = self.bar.over(self._endless())
        self._total, self._clock = total, clock
        self._began = self._said = clock()
        self._done, self._seconds = 0, 0.0

    def _endless(self) -> Iterator[None]:
        while True:
            yield None

    def add(self, seconds: float) -> None:
        """Count a file with so much sound."""
        self._done += 1
        self._seconds += seconds
        next(self._items)
        if sys.stderr.isatty():
            self.bar.show(self._rate(self._clock()))
        elif (now := self._clock()) - self._said > EVERY:
            self._said = now
            say("progress", self.describe())

    def describe(self) -> str:
        """How many files are done, how fast that is, and how long the others will take."""
        now = self._clock()
        left = (now - self._began) / max(1, self._done) * (self._total - self._done)
        return f"{self._done} of {self._total} files, {self._rate(now)}, {_duration(left)} left"

    def _rate(self, now: float) -> str:
        elapsed = max(1e-9, now - self._began)
        return f"{self._done / elapsed:.3g} files/s, {self._seconds / 3600 / elapsed:.3g} h of sound/s"

    def close(self) -> None:
        """Remove the bar."""
        self._items.close()  # type: ignore[attr-defined]


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
