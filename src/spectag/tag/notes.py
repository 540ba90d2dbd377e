"""Warnings about recordings, thread by thread: Python's own recorder takes those of all threads at once."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from spectag.errors import SpectagWarning


class _Local(threading.local):
    notes: list[str] | None = None


_local = _Local()
_lock = threading.Lock()
_hook = ExitStack()  # undoes the hook below
_users = 0


@contextmanager
def noted() -> Iterator[list[str]]:
    """Collect the :class:`SpectagWarning` messages of this thread; they are shown as ever besides."""
    global _users
    with _lock:
        if not _users:
            _install()
        _users += 1
    before, _local.notes = _local.notes, []
    try:
        yield _local.notes
    finally:
        _local.notes = before
        with _lock:
            _users -= 1
            if not _users:
                _hook.close()


def _install() -> None:
    _hook.enter_context(warnings.catch_warnings())
    # By default Python shows a message once per process; each recording needs its own.
    warnings.simplefilter("always", SpectagWarning)
    show = warnings.showwarning

    def note(message: Warning | str, category: type[Warning], *args: Any, **kwargs: Any) -> None:
        if _local.notes is not None and issubclass(category, SpectagWarning):
            _local.notes.append(str(message))
        show(message, category, *args, **kwargs)

    warnings.showwarning = note
