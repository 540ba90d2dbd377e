"""Fetch one large file over HTTP. An interrupted transfer is continued."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from spectag.errors import DataError, SaveError, SpectagWarning
from spectag.version import __version__

_CHUNK = 1 << 18  # bytes
_TIMEOUT = 30.0  # seconds without a byte
_DELAYS = (1, 2, 4, 8, 16, 32)  # seconds before the next attempt
_TEMPORARY = (408, 425, 429, 500, 502, 503, 504)  # HTTP statuses after which another attempt may succeed
_HOPELESS = (
    socket.gaierror,
    ConnectionRefusedError,
    ssl.SSLCertVerificationError,
)  # errors of the first attempt after which no other is made


class _Interrupted(Exception):
    """A transfer failed, and another attempt may succeed."""


def fetch_file(url: str, path: Path, limit: int, progress: Callable[[int], None] = lambda _: None) -> None:
    """Fetch a file, or the rest of it if ``path`` exists.

    If ``path`` exists, only the bytes that follow are requested. They may belong to another version of the file:
    compare a checksum, and if it differs, delete ``path`` and start again.

    Args:
        url: http or https.
        path: file to write to. After an error it keeps what was fetched, so that the next call continues.
        limit: bytes; a longer file is refused.
        progress: called with the number of bytes that are there.

    Raises:
        DataError: the server does not have the file or cannot be reached, or the file is longer than ``limit``.
        SaveError: ``path`` cannot be written.

    >>> fetch_file("ftp://example.org/clips.zip", Path("clips.zip"), limit=10**9)
    Traceback (most recent call last):
    spectag.errors.DataError: ftp://example.org/clips.zip: expected http or https: not fetched
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise DataError(f"{url}: expected http or https: not fetched")
    for delay in (*_DELAYS, None):
        try:
            _transfer(url, path, limit, progress)
            break
        except _Interrupted as error:
            if delay is None or (delay == _DELAYS[0] and isinstance(error.__cause__, _HOPELESS)):
                advice = "check the connection and run the same command again, which continues this transfer"
                raise DataError(f"{url}: {error}: {advice}") from error
            warnings.warn(f"{url}: {error}; trying again in {delay} s", SpectagWarning, stacklevel=2)
            time.sleep(delay)
        except OSError as error:
            reason = f"could not be written ({error.strerror or error}), what was fetched is kept"
            raise SaveError(f"{path}: {reason}: free some space and run the same command again") from error


def _transfer(url: str, path: Path, limit: int, progress: Callable[[int], None]) -> None:
    """Fetch the missing bytes over one connection."""
    have = path.stat().st_size if path.exists() else 0
    response = _open(url, have)
    if response is None:
        return
    with response:
        if response.status != 206:  # the server sends the whole file
            have = 0
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            path.unlink()
            raise _Interrupted("the server sends another range than it was asked for")
        with path.open("ab" if have else "wb") as file:
            while chunk := _read(response):
                have += len(chunk)
                if have > limit:
                    file.truncate(0)
                    raise DataError(f"{url}: expected at most {limit} bytes, the server sends more: not used")
                file.write(chunk)
                progress(have)
        if response.length:
            raise _Interrupted(f"the connection broke {response.length} bytes before the end")


def _open(url: str, have: int) -> http.client.HTTPResponse | None:
    """Request the bytes after the first ``have`` bytes. Returns None if there are no more."""
    headers = {"User-Agent": f"spectag/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        request = urllib.request.Request(url, headers=headers)
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:
            return None
        answer = f"the server answers HTTP {error.code} ({_line(error.reason)})"
        if error.code in _TEMPORARY:
            raise _Interrupted(answer) from error
        raise DataError(f"{url}: {answer}: if the file has moved, a newer spectag may know where to") from error
    except (OSError, http.client.HTTPException) as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        raise _Interrupted(f"cannot be reached ({_line(cause)})") from (cause if isinstance(cause, OSError) else error)
    if urlsplit(response.url).scheme not in ("https", urlsplit(url).scheme):
        response.close()
        raise DataError(f"{url}: redirects to {response.url}, expected https: not fetched")
    return response


def _read(response: http.client.HTTPResponse) -> bytes:
    """Read the next bytes as soon as some arrive, so that nothing is lost if the connection breaks."""
    try:
        return response.read1(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(f"the connection broke ({_line(error)})") from error


def _line(error: object) -> str:
    return f"no data for {_TIMEOUT:g} s" if isinstance(error, TimeoutError) else " ".join(str(error).split())
