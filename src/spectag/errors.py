"""All errors and warnings of spectag.

::

    SpectagError
    ├── AudioError             one recording cannot be used
    │   ├── AudioNotFound      no such file
    │   ├── NotAudio           no decoder recognises it
    │   ├── NoAudioStream      a container without sound, such as a silent video
    │   ├── EmptyAudio         zero samples
    │   └── NonFiniteAudio     NaN or infinite samples
    ├── InputError             a tensor, array or option value of the wrong shape, type or range (also a ValueError)
    ├── ModelError             a checkpoint cannot be used
    │   ├── ModelNotFound      no path, no known name, and no Hub id that can be fetched
    │   │   └── ModelNotFetched    the Hub cannot be reached, and the model is not in the cache
    │   ├── UnreadableModel    truncated, damaged, or a pickle that holds more than tensors
    │   ├── NotAModel          readable, but not model weights, such as an optimiser state
    │   ├── KeyMismatch        missing or unexpected tensors
    │   ├── ShapeMismatch      tensors or geometry that do not fit
    │   ├── NonFiniteWeights   NaN or infinite weights
    │   ├── LabelMismatch      the number of labels does not fit the head
    │   └── NewerBundle        written by a newer spectag
    ├── DataError              a data set or one of its tables cannot be used
    ├── RecipeError            a recipe or a --set value cannot be used
    ├── RunInterrupted         training stopped before its end; it can be resumed
    ├── RunFailed              training cannot continue: the loss is not finite, a worker process died
    ├── SaveError              writing failed, for example because the disk is full; the old files are intact
    └── MissingExtra           an optional dependency is not installed

A command turns any of these into one line on stderr and an exit code. Functions for many files return a
:class:`FileError` in place of a result.
"""

from __future__ import annotations

from dataclasses import dataclass


class SpectagError(Exception):
    """The base of all errors. ``str(error)`` is one line: what was expected, what was found, and what to do.

    >>> str(SpectagError("expected a file, found none: check the path"))
    'expected a file, found none: check the path'
    """


class AudioError(SpectagError):
    """One recording cannot be used.

    Args:
        source: the file, or a description such as ``<bytes>``, at the start of the message.
        reason: what was expected, what was found, and what to do.
    """

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(source, reason)
        self.source = source
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}"


class AudioNotFound(AudioError):
    """No such file."""


class NotAudio(AudioError):
    """No decoder recognises the content."""


class NoAudioStream(AudioError):
    """A readable container without a sound track."""


class EmptyAudio(AudioError):
    """A sound track with zero samples."""


class NonFiniteAudio(AudioError):
    """NaN or infinite samples."""


@dataclass(frozen=True)
class FileError:
    """A recording that could not be used, as a value: where many are processed, one failure must not stop the others.

    Args:
        path: the file or folder as it was given; None for arrays, bytes and unnamed streams.
        error: the reason, in one line, without the path.

    >>> str(FileError("dawn.wav", "expected a file, found none: check the path"))
    'dawn.wav: expected a file, found none: check the path'
    """

    path: str | None
    error: str

    def __str__(self) -> str:
        return f"{'<array>' if self.path is None else self.path or repr('')}: {self.error}"

    def to_dict(self) -> dict[str, str | None]:
        """The object that the JSON formats write."""
        return {"path": self.path, "error": self.error}


class SpectagWarning(UserWarning):
    """Something that the user should know, although there is a result. A command prints it as one line.

    >>> issubclass(SpectagWarning, UserWarning)
    True
    """


class GuessWarning(SpectagWarning):
    """A fact about a model is a guess. :func:`spectag.load` and ``spectag convert`` have options that settle it."""


class AudioWarning(SpectagWarning):
    """Something is odd about a recording, which was used all the same: it is cut off or damaged, for example."""


class InputError(SpectagError, ValueError):
    """A tensor, array or option value of the wrong shape, type or range."""


class ModelError(SpectagError):
    """A checkpoint cannot be used."""


class ModelNotFound(ModelError):
    """No path, no known name, and no Hub id that can be fetched."""


class ModelNotFetched(ModelNotFound):
    """The Hub cannot be reached, and the model is not in the cache."""


class UnreadableModel(ModelError):
    """Truncated, damaged, or a pickle that holds more than tensors."""


class NotAModel(ModelError):
    """Readable, but not model weights."""


class KeyMismatch(ModelError):
    """Missing or unexpected tensors."""


class ShapeMismatch(ModelError):
    """Tensors or a geometry that do not fit."""


class NonFiniteWeights(ModelError):
    """NaN or infinite weights."""


class LabelMismatch(ModelError):
    """The number of labels does not fit the head."""


class NewerBundle(ModelError):
    """Written by a newer spectag."""


class DataError(SpectagError):
    """A data set or one of its tables cannot be used."""


class RecipeError(SpectagError):
    """A recipe or an override cannot be used."""


class RunInterrupted(SpectagError):
    """Training stopped before its end; it can be resumed."""


class RunFailed(SpectagError):
    """Training cannot continue: the loss is not finite, or a worker process died."""


class SaveError(SpectagError):
    """Writing failed; what was there before is intact."""


class MissingExtra(SpectagError):
    """An optional dependency is not installed."""

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the extra '{extra}': pip install 'spectag[{extra}]'")
        self.extra = extra


def unwritable(path: object, error: OSError) -> SaveError:
    """The error of a job that cannot write.

    >>> str(unwritable("tags.csv", OSError(28, "No space left on device")))
    'tags.csv: cannot be written: No space left on device: mend that, and continue with --resume'
    """
    return SaveError(f"{path}: cannot be written: {reason(error)}: mend that, and continue with --resume")


def reason(error: BaseException) -> str:
    """The message of an exception without the number and the file name that Python adds.

    >>> reason(OSError(28, "No space left on device", "out.wav"))
    'No space left on device'
    """
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
