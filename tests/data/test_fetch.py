"""Fetching continues after breaks, starts anew where it must, and gives up where it should."""

import errno
import os
import socket
import ssl
import urllib.request
from pathlib import Path

import pytest
from serving import serving

from spectag.data import fetch
from spectag.data.fetch import fetch_file
from spectag.errors import DataError, SaveError, SpectagWarning

CONTENT = os.urandom(1_000_000)
LIMIT = 2_000_000

pytestmark = pytest.mark.filterwarnings("ignore::spectag.errors.SpectagWarning")


@pytest.fixture(autouse=True)
def sleeps(monkeypatch):
    """The seconds between attempts, which are not waited for."""
    seconds = []
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("time.sleep", seconds.append)
    return seconds


def get(served, folder, limit=LIMIT, **options) -> Path:
    path = folder / "file.zip.partial"
    fetch_file(served.url, path, limit, **options)
    return path


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "chunked"])
def test_at_once(tmp_path, chunked):
    progress = []
    with serving(CONTENT, chunked=chunked) as served:
        path = get(served, tmp_path, progress=progress.append)
        assert path.read_bytes() == CONTENT
        assert progress[-1] == len(CONTENT)
        get(served, tmp_path)  # the server says that nothing is left
        assert path.read_bytes() == CONTENT
    assert served.asked == [None, "bytes=1000000-"]


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "chunked"])
def test_continues_after_breaks(tmp_path, sleeps, chunked):
    warned = pytest.warns(SpectagWarning, match=r"broke .*; trying again in 1 s")
    with serving(CONTENT, breaks=[300_000, 200_000], chunked=chunked) as served, warned:
        assert get(served, tmp_path).read_bytes() == CONTENT
    assert served.asked == [None, "bytes=300000-", "bytes=500000-"]
    assert sum(served.sent) == len(CONTENT)
    assert sleeps == [1, 2]


def test_continues_in_the_next_call(tmp_path):
    def progress(have):
        if have > 400_000:
            raise KeyboardInterrupt

    with serving(CONTENT) as served:
        with pytest.raises(KeyboardInterrupt):
            get(served, tmp_path, progress=progress)
        have = (tmp_path / "file.zip.partial").stat().st_size
        assert have > 400_000
        assert get(served, tmp_path).read_bytes() == CONTENT
    assert served.asked == [None, f"bytes={have}-"]


@pytest.mark.parametrize("chunked", [False, True])
def test_starts_anew_if_the_server_knows_no_ranges(tmp_path, chunked):
    with serving(CONTENT, breaks=[300_000], ranges=False, chunked=chunked) as served:
        assert get(served, tmp_path).read_bytes() == CONTENT
    assert sum(served.sent) == len(CONTENT) + 300_000


def test_another_range_than_asked_for_is_not_used(tmp_path):
    with serving(CONTENT, breaks=[300_000], first=0) as served:
        assert get(served, tmp_path).read_bytes() == CONTENT
    assert served.asked == [None, "bytes=300000-", None]


def test_a_busy_server_is_asked_again(tmp_path, sleeps):
    with serving(CONTENT, statuses=[503, 429]) as served:
        get(served, tmp_path)
    assert (len(served.asked), sleeps) == (3, [1, 2])


def test_gives_up_in_the_end_and_keeps_what_it_has(tmp_path, sleeps):
    with serving(CONTENT, breaks=[1000] * 50) as served, pytest.raises(DataError) as caught:
        get(served, tmp_path)
    assert sleeps == [1, 2, 4, 8, 16, 32]
    assert len(served.asked) == 7
    assert "broke 993000 bytes before the end: check the connection and run the same command again" in str(caught.value)
    assert (tmp_path / "file.zip.partial").read_bytes() == CONTENT[:7000]


@pytest.mark.parametrize("status", [403, 404, 410, 416])
def test_what_is_not_there_is_asked_for_once(tmp_path, status):
    with serving(CONTENT, statuses=[status]) as served, pytest.raises(DataError, match=f"HTTP {status}") as caught:
        get(served, tmp_path)
    assert str(caught.value).startswith(served.url)
    assert "\n" not in str(caught.value)
    assert len(served.asked) == 1


def test_redirects(tmp_path):
    with serving(CONTENT, location="/here.zip", breaks=[300_000]) as served:
        assert get(served, tmp_path).read_bytes() == CONTENT
    assert served.asked == [None, None, "bytes=300000-", "bytes=300000-"]


@pytest.mark.parametrize("location", ["file:///etc/passwd", "data:,x", "FILE:/etc/passwd", "/file.zip"])
def test_redirects_that_are_not_followed(tmp_path, location):
    """Those to files of this machine, and those in a circle."""
    with serving(CONTENT, location=location) as served, pytest.raises(DataError, match="HTTP 302") as caught:
        get(served, tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_https_stays_https(tmp_path, monkeypatch):
    with serving(CONTENT) as served:
        opened = urllib.request.urlopen(served.url)
        monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: opened)
        with pytest.raises(DataError, match=r"redirects to http://127.*expected https: not fetched"):
            fetch_file("https://example.org/file.zip", tmp_path / "x", LIMIT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error", [socket.gaierror(-2, "Name or service not known"), ssl.SSLCertVerificationError(1, "certificate expired")]
)
def test_a_host_that_does_not_exist_or_is_another_is_asked_once(tmp_path, monkeypatch, sleeps, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(DataError, match=rf"cannot be reached .*{error.strerror}.*check the connection") as caught:
        fetch_file("http://nowhere.invalid/x", tmp_path / "x", LIMIT)
    assert "\n" not in str(caught.value)
    assert sleeps == []


def test_nobody_listens(tmp_path, sleeps):
    with serving(b"") as served:
        pass
    with pytest.raises(DataError, match="cannot be reached"):
        get(served, tmp_path)
    assert sleeps == []


def test_a_server_that_says_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "_TIMEOUT", 0.05)
    monkeypatch.setattr(fetch, "_DELAYS", (1,))
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/x"
        with pytest.raises(DataError, match=r"no data for 0\.05 s"):
            fetch_file(url, tmp_path / "x", LIMIT)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_file_that_is_too_long(tmp_path, chunked):
    refused = pytest.raises(DataError, match="at most 999999 bytes, the server sends more")
    with serving(CONTENT, chunked=chunked) as served, refused:
        get(served, tmp_path, limit=999_999)
    assert (tmp_path / "file.zip.partial").stat().st_size == 0


def test_longer_than_announced(tmp_path):
    with serving(CONTENT, length=1000) as served:
        assert get(served, tmp_path).read_bytes() == CONTENT[:1000]


def test_a_full_disk_keeps_what_was_fetched(tmp_path):
    def progress(have):
        if have > 400_000:
            raise OSError(errno.ENOSPC, "No space left on device")

    with serving(CONTENT) as served:
        with pytest.raises(SaveError, match=r"could not be written \(No space left .*free some space"):
            get(served, tmp_path, progress=progress)
        have = (tmp_path / "file.zip.partial").stat().st_size
        assert get(served, tmp_path).read_bytes() == CONTENT
    assert served.asked == [None, f"bytes={have}-"]
