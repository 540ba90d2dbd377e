"""Fetching one large file over HTTP: :func:`fetch` goes on after breaks, in the same call and in the next."""

from __future__ import annotations

import http.client
import io
import json
import shutil
import socket
import ssl
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

from spectag.errors import DataError, SaveError, SpectagWarning
from spectag.version import __version__

_CHUNK = 1 << 18  # bytes
_TIMEOUT = 30.0  # seconds without a byte
_DELAYS = (1, 2, 4, 8, 16, 32)  # seconds before another try
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_NEVER_REACHED = (socket.gaierror, ConnectionRefusedError)


@dataclass(frozen=True)
class Partial:
    """The beginning of a file that is being fetched, and beside it what tells whether the rest still fits.

    Args:
        path: of the beginning.
        url: of the file.
    """

    path: Path
    url: str

    @property
    def have(self) -> int:
        """Bytes that are here."""
        return self.path.stat().st_size if self.path.exists() else 0

    def note(self) -> tuple[str | None, int | None]:
        """The server's mark of this version of the file, and its bytes in all; None where they are not known."""
        try:
            note = json.loads(self._note.read_text("utf-8"))
            validator, total = note["validator"], note["total"]
            known = note["url"] == self.url and isinstance(validator, (str, type(None)))
            return (validator, total) if known and isinstance(total, (int, type(None))) else (None, None)
        except (OSError, ValueError, KeyError, TypeError):
            return None, None

    def write_note(self, validator: str | None, total: int | None) -> None:
        self._note.write_text(json.dumps({"url": self.url, "validator": validator, "total": total}), "utf-8")

    def open(self, validator: str | None, total: int | None, *, goes_on: bool) -> IO[bytes]:
        file = self.path.open("ab" if goes_on else "wb")  # emptied before it is noted what will be in it
        self.write_note(validator, total)
        return file

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    @property
    def _note(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")


class _Broken(Exception):
    """Another try may go better."""


def fetch(
    partial: Partial,
    *,
    most: int,
    beside: int = 0,
    progress: Callable[[int, int | None], None] = lambda *_: None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Fetch a file, or the rest of it, and leave it at ``partial.path``.

    Args:
        most: bytes; a longer file is refused.
        beside: bytes that must stay free on the disk.
        progress: is told the bytes that are here, and in all where that is known.
        sleep: waits that many seconds between tries.

    Raises:
        DataError: the server does not have it, has too much of it, or cannot be reached in several tries.
        SaveError: the disk is too small.
    """
    for tries, delay in enumerate((*_DELAYS, None)):
        try:
            _transfer(partial, most, beside, progress)
            return
        except _Broken as error:
            if delay is None or (tries == 0 and isinstance(error.__cause__, _NEVER_REACHED)):
                kept = f"; {have} bytes are kept, the same command goes on from there" if (have := partial.have) else ""
                raise DataError(f"{partial.url}: {error}: check the connection and try again{kept}") from error
            warnings.warn(f"{partial.url}: {error}; trying again in {delay} s", SpectagWarning, stacklevel=2)
            sleep(delay)


def _transfer(partial: Partial, most: int, beside: int, progress: Callable[[int, int | None], None]) -> None:
    """One connection."""
    have, (validator, total) = partial.have, partial.note()
    if have and have == total:
        return
    headers = {"User-Agent": f"spectag/{__version__}", "Accept-Encoding": "identity"}
    if have and validator:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    with _open(partial, headers) as response:
        goes_on = response.status == 206
        if goes_on:
            first, total = _content_range(response.headers.get("Content-Range", ""))
            if not have or first != have or _validator(response) not in (None, validator):
                partial.discard()
                raise _Broken("the server sends another part than was asked for")
        else:
            length = response.headers.get("Content-Length", "")
            have, total = 0, int(length) if length.isdecimal() else None
            validator = _validator(response)
        if total is not None and total > most:
            raise DataError(f"{partial.url}: expected at most {most} bytes, the server announces {total}: not fetched")
        replaced = 0 if goes_on else partial.have
        require_space(partial.path.parent, (total or most) - have - replaced + beside)
        with partial.open(validator, total, goes_on=goes_on) as file:
            for chunk in _chunks(response, (most + 1 if total is None else total) - have):
                file.write(chunk)
                have += len(chunk)
                progress(have, total)
    if have > most:
        partial.discard()
        raise DataError(f"{partial.url}: expected at most {most} bytes, the server sends more: not used")
    if total is not None and have < total:
        raise _Broken(f"the connection broke after {have} of {total} bytes")
    partial.write_note(validator, have)


def _open(partial: Partial, headers: dict[str, str]) -> http.client.HTTPResponse:
    _require_web(partial.url)
    opener = urllib.request.OpenerDirector()  # not the default one, which opens files and FTP, too
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        _Redirects,
    ):
        opener.add_handler(handler())
    try:
        response: http.client.HTTPResponse | None
        response = opener.open(urllib.request.Request(partial.url, headers=headers), timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        answer = f"the server answers HTTP {error.code} ({_line(error.reason)})"
        if error.code == 416:  # what is here is not the beginning of what is there
            partial.discard()
        if error.code == 416 or error.code in _PASSING:
            raise _Broken(answer) from error
        raise DataError(f"{partial.url}: {answer}: has it moved? A newer spectag may know where to") from error
    except (OSError, http.client.HTTPException) as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise DataError(f"{partial.url}: the server's certificate is not valid ({cause.verify_message})") from error
        raise _Broken(f"cannot be reached ({_line(cause)})") from (cause if isinstance(cause, OSError) else error)
    if response is None:
        raise DataError(f"{partial.url}: no way to open it")
    return response


def _chunks(response: http.client.HTTPResponse, most: int) -> Iterator[bytes]:
    """The body, at most so many bytes; what arrived before a break is handed out, too."""
    while most > 0:
        try:
            chunk = response.read1(min(_CHUNK, most))
        except (OSError, http.client.HTTPException) as error:
            raise _Broken(f"the connection broke ({_line(error)})") from error
        if not chunk:
            return
        most -= len(chunk)
        yield chunk


class _Redirects(urllib.request.HTTPRedirectHandler):
    def http_error_302(self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any) -> Any:
        if location := headers.get("Location"):
            _require_web(urljoin(req.full_url, location), redirected_from=req.full_url)
        fp.close()  # the default reads its body, however long
        return super().http_error_302(req, io.BytesIO(), 307 if code == 308 else code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _require_web(url: str, redirected_from: str | None = None) -> None:
    secure = redirected_from is not None and urlsplit(redirected_from).scheme == "https"
    if urlsplit(url).scheme not in (("https",) if secure else ("http", "https")):
        by = "" if redirected_from is None else f"{redirected_from}: redirects to "
        raise DataError(f"{by}{url}: expected {'https' if secure else 'http or https'}: not fetched")


def _validator(response: http.client.HTTPResponse) -> str | None:
    """A strong one only: the server will compare it byte by byte."""
    etag = response.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")


def _content_range(text: str) -> tuple[int | None, int | None]:
    """``bytes 100-199/200`` -> 100, 200."""
    first, _, rest = text.removeprefix("bytes ").partition("-")
    total = rest.partition("/")[2]
    return int(first) if first.isdecimal() else None, int(total) if total.isdecimal() else None


def require_space(folder: Path, needed: int) -> None:
    """Raises SaveError where fewer bytes are free."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise SaveError(
            f"{folder}: needs {needed / 1e9:.2f} GB, {free / 1e9:.2f} GB are free: "
            "free some space or name a directory on another disk"
        )


def _line(error: object) -> str:
    return f"nothing came for {_TIMEOUT:g} s" if isinstance(error, TimeoutError) else " ".join(str(error).split())
