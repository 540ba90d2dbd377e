"""Fetching: goes on after breaks, begins anew where it must, gives up where it should."""

import os
import shutil
import socket
from collections import namedtuple

import pytest
from serving import serving

from spectag.data import fetch as fetching
from spectag.data.fetch import Partial, fetch
from spectag.errors import DataError, SaveError, SpectagWarning

CONTENT = os.urandom(1_000_000)
MOST = 2_000_000

pytestmark = pytest.mark.filterwarnings("ignore::spectag.errors.SpectagWarning")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


class Sleep(list):
    def __call__(self, seconds):
        self.append(seconds)


def get(served, folder, most=MOST, **options):
    partial = Partial(folder / "file.zip.partial", served.url)
    options.setdefault("sleep", Sleep())
    fetch(partial, most=most, **options)
    return partial


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "chunked"])
def test_at_once(tmp_path, chunked):
    told = []
    with serving(CONTENT, chunked=chunked) as served:
        partial = get(served, tmp_path, progress=lambda *what: told.append(what))
        assert partial.path.read_bytes() == CONTENT
        assert told[-1] == (len(CONTENT), None if chunked else len(CONTENT))
        get(served, tmp_path)  # it is whole: nothing is asked
    assert served.asked == [None]


@pytest.mark.parametrize(
    "mark", [{}, {"etag": None, "modified": "Wed, 11 Apr 2018 19:41:55 GMT"}], ids=["ETag", "date"]
)
def test_goes_on_after_breaks(tmp_path, mark):
    sleep = Sleep()
    with serving(CONTENT, breaks=[300_000, 200_000], **mark) as served, pytest.warns(SpectagWarning, match="broke"):
        assert get(served, tmp_path, sleep=sleep).path.read_bytes() == CONTENT
    assert served.asked == [None, "bytes=300000-", "bytes=500000-"]
    assert sum(served.sent) == len(CONTENT)
    assert sleep == [1, 2]


def test_goes_on_in_the_next_call(tmp_path):
    def killed(_):
        raise KeyboardInterrupt

    with serving(CONTENT, breaks=[300_000]) as served:
        with pytest.raises(KeyboardInterrupt):
            get(served, tmp_path, sleep=killed)
        assert get(served, tmp_path).path.read_bytes() == CONTENT
    assert served.asked == [None, "bytes=300000-"]
    assert sum(served.sent) == len(CONTENT)


def test_interrupted_in_the_middle(tmp_path):
    def progress(have, total):
        if have > 400_000:
            raise KeyboardInterrupt

    with serving(CONTENT) as served:
        with pytest.raises(KeyboardInterrupt):
            get(served, tmp_path, progress=progress)
        have = (tmp_path / "file.zip.partial").stat().st_size
        assert have > 400_000
        assert get(served, tmp_path).path.read_bytes() == CONTENT
    assert served.asked == [None, f"bytes={have}-"]


@pytest.mark.parametrize(
    "how", [{"ranges": False}, {"etag": None}, {"etag": 'W/"weak"'}, {"chunked": True, "ranges": False}], ids=str
)
def test_begins_anew_where_the_rest_cannot_be_had(tmp_path, how):
    with serving(CONTENT, breaks=[300_000], **how) as served:
        assert get(served, tmp_path).path.read_bytes() == CONTENT
    assert sum(served.sent) == len(CONTENT) + 300_000


def test_begins_anew_where_the_file_has_changed(tmp_path):
    other = os.urandom(900_000)
    with serving(CONTENT, breaks=[300_000]) as served:

        def sleep(_):
            served.content, served.etag = other, '"two"'

        assert get(served, tmp_path, sleep=sleep).path.read_bytes() == other
    assert served.asked == [None, "bytes=300000-"]


@pytest.mark.parametrize("how", [{"etag": '"two"', "obeys_if_range": False}, {"first": 0}], ids=["If-Range", "place"])
def test_another_part_than_asked_for(tmp_path, how):
    with serving(CONTENT, breaks=[300_000]) as served:

        def sleep(_):
            for key, value in how.items():
                setattr(served, key, value)

        assert get(served, tmp_path, sleep=sleep).path.read_bytes() == CONTENT
    assert served.asked == [None, "bytes=300000-", None]


@pytest.mark.parametrize(
    "note", [None, "", "[]", "{", '{"url": 1}', '{"url": "http://other", "validator": "x", "total": 5}']
)
def test_a_beginning_of_something_else_is_not_used(tmp_path, note):
    (tmp_path / "file.zip.partial").write_bytes(b"other")
    if note is not None:
        (tmp_path / "file.zip.partial.json").write_text(note)
    with serving(CONTENT) as served:
        assert get(served, tmp_path).path.read_bytes() == CONTENT
    assert served.asked == [None]


def test_a_range_that_is_not_there(tmp_path):
    with serving(CONTENT, breaks=[300_000], statuses=[200, 416]) as served:
        assert get(served, tmp_path).path.read_bytes() == CONTENT
    assert served.asked == [None, "bytes=300000-", None]


def test_a_busy_server_is_asked_again(tmp_path):
    sleep = Sleep()
    with serving(CONTENT, statuses=[503, 429]) as served:
        get(served, tmp_path, sleep=sleep)
    assert (len(served.asked), sleep) == (3, [1, 2])


def test_gives_up_in_the_end_and_keeps_what_it_has(tmp_path):
    sleep = Sleep()
    with serving(CONTENT, breaks=[1000] * 50) as served, pytest.raises(DataError) as caught:
        get(served, tmp_path, sleep=sleep)
    assert sleep == [1, 2, 4, 8, 16, 32]
    assert len(served.asked) == 7
    assert "broke after 7000 of 1000000 bytes" in str(caught.value)
    assert "7000 bytes are kept, the same command goes on from there" in str(caught.value)
    assert (tmp_path / "file.zip.partial").read_bytes() == CONTENT[:7000]


@pytest.mark.parametrize("status", [403, 404, 410])
def test_what_is_not_there_is_asked_for_once(tmp_path, status):
    with serving(CONTENT, statuses=[status]) as served, pytest.raises(DataError, match=f"HTTP {status}") as caught:
        get(served, tmp_path)
    assert str(caught.value).startswith(served.url)
    assert "\n" not in str(caught.value)
    assert len(served.asked) == 1


def test_redirects(tmp_path):
    with serving(CONTENT, location="/here.zip", breaks=[300_000]) as served:
        assert get(served, tmp_path).path.read_bytes() == CONTENT
    assert served.asked == [None, None, "bytes=300000-", "bytes=300000-"]


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "FILE:/etc/passwd"])
def test_redirects_only_to_the_web(tmp_path, location):
    with serving(CONTENT, location=location) as served, pytest.raises(DataError, match="redirects to") as caught:
        get(served, tmp_path)
    assert "expected http or https" in str(caught.value)
    assert len(served.asked) == 1
    assert list(tmp_path.iterdir()) == []


def test_redirects_in_a_circle(tmp_path):
    with serving(CONTENT, location="/file.zip") as served, pytest.raises(DataError, match="HTTP 302") as caught:
        get(served, tmp_path)
    assert "\n" not in str(caught.value)


def test_https_stays_https():
    fetching._require_web("https://a/b", redirected_from="https://c/d")
    fetching._require_web("https://a/b", redirected_from="http://c/d")
    with pytest.raises(DataError, match="expected https"):
        fetching._require_web("http://a/b", redirected_from="https://c/d")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "/etc/passwd", "data:,x"])
def test_only_the_web(tmp_path, url):
    with pytest.raises(DataError, match="expected http or https"):
        fetch(Partial(tmp_path / "x", url), most=MOST)


def test_no_such_host(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(
        DataError, match=r"cannot be reached .*Name or service not known.*check the connection"
    ) as caught:
        fetch(Partial(tmp_path / "x", "http://nowhere.invalid/x"), most=MOST, sleep=pytest.fail)
    assert "\n" not in str(caught.value)


def test_nobody_listens(tmp_path):
    with serving(b"") as served:
        pass
    with pytest.raises(DataError, match="cannot be reached"):
        get(served, tmp_path, sleep=pytest.fail)


def test_a_server_that_says_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "_TIMEOUT", 0.05)
    monkeypatch.setattr(fetching, "_DELAYS", (1,))
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/x"
        with pytest.raises(DataError, match=r"nothing came for 0\.05 s"):
            fetch(Partial(tmp_path / "x", url), most=MOST, sleep=Sleep())


def test_too_long_by_its_own_account(tmp_path):
    with (
        serving(CONTENT) as served,
        pytest.raises(DataError, match="at most 999999 bytes, the server announces 1000000"),
    ):
        get(served, tmp_path, most=999_999)
    assert list(tmp_path.iterdir()) == []


def test_longer_than_allowed_without_a_word(tmp_path):
    with serving(CONTENT, chunked=True) as served, pytest.raises(DataError, match="the server sends more"):
        get(served, tmp_path, most=999_999)
    assert list(tmp_path.iterdir()) == []


def test_longer_than_announced(tmp_path):
    with serving(CONTENT, length=1000) as served:
        assert get(served, tmp_path).path.read_bytes() == CONTENT[:1000]


def test_a_full_disk_is_seen_before(tmp_path, monkeypatch):
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 1_500_000))
    with serving(CONTENT) as served:
        with pytest.raises(SaveError, match=r"needs 0\.00 GB, 0\.00 GB are free: free some space"):
            get(served, tmp_path, beside=600_000)
        assert list(tmp_path.iterdir()) == []
        get(served, tmp_path, beside=500_000)
