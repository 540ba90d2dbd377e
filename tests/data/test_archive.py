"""Unpacking: what is published comes out, and nothing that was made to do harm."""

import contextlib
import errno
import gzip
import io
import os
import random
import stat
import struct
import tarfile
import zipfile

import pytest

from spectag.data import archive as unpacking
from spectag.data.archive import Limits, unpack
from spectag.errors import DataError, SaveError

LIMITS = Limits(size=40 << 20, entries=50)
FILES = {"top/README.md": b"read me", "top/audio/1.wav": bytes(1000), "top/.hidden": b"", "top/ü/é.wav": b"x"}


def make_zip(path, entries, **how):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            info = name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name)
            archive.writestr(info, content, compress_type=how.get("compression", zipfile.ZIP_DEFLATED))
    return path


def make_tar(path, entries, **how):
    with tarfile.open(path, "w:gz", compresslevel=1, **how) as archive:
        for name, content in entries:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


MAKERS = {"zip": make_zip, "tar": make_tar}


@pytest.fixture(params=MAKERS)
def make(request, tmp_path):
    return lambda entries, **how: MAKERS[request.param](tmp_path / f"a.{request.param}", entries, **how)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in" / "here").mkdir(parents=True)
    return tmp_path / "in" / "here"


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(archive, folder, match, limits=LIMITS):
    """The message, one line; and nothing was written but below the folder."""
    with pytest.raises(DataError, match=match) as caught:
        unpack(archive, folder, limits)
    assert str(caught.value).startswith(str(archive))
    assert "\n" not in str(caught.value)
    assert [path.name for path in folder.parent.iterdir()] == ["here"]
    assert sorted(path.name for path in folder.parent.parent.iterdir()) == sorted([archive.name, "in"])
    assert not any(path.is_symlink() for path in folder.rglob("*"))


def test_what_is_published(make, folder):
    told = []
    unpack(make(FILES.items()), folder, LIMITS, told.append)
    assert files(folder) == FILES
    assert told[-1] == sum(map(len, FILES.values()))


def test_folders_and_points(tmp_path, folder):
    """As Speech Commands is packed."""
    entries = []
    for name in ("./", "./one/", "./two"):
        info = tarfile.TarInfo(name)
        info.type, info.mode = tarfile.DIRTYPE, 0
        entries.append((info, b""))
    locked = tarfile.TarInfo("./one/x.wav")
    locked.mode, locked.mtime = 0o6000, 0
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        unpack(make_tar(tmp_path / "a.tar", [*entries, (locked, b"x")], format=form), folder, LIMITS)
        assert sorted(path.name for path in folder.iterdir()) == ["one", "two"]
        assert files(folder) == {"one/x.wav": b"x"}
        assert (folder / "one/x.wav").stat().st_mode & 0o7000 == 0
        (folder / "one/x.wav").unlink()


def test_long_names_of_both_kinds(tmp_path, folder):
    name = "/".join(["x" * 90] * 4)
    for number, form in enumerate((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)):
        unpack(make_tar(tmp_path / "a.tar", [(f"{name}{number}", b"x")], format=form), folder, LIMITS)
    assert set(files(folder)) == {f"{name}0", f"{name}1"}


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "//server/share",
        "../x",
        "a/../../x",
        "a/..",
        "..",
        "a//b",
        "C:x",
        "C:/x",
        "C:\\x",
        "..\\x",
        "a/b\\c",
        "a/file:stream",
        "a/nul.txt",
        "COM1",
        "a/.. /x",
        "a./x",
        "x ",
        "a\nb",
        "a\x1b[2J",
        "x" * 256,
        "/".join("x" * 9 for _ in range(60)),
    ],
)
def test_names_that_lead_elsewhere(make, folder, name):
    refused(make([("fine", b"x"), (name, b"x")]), folder, "holds ")


@pytest.mark.parametrize("name", ["", ".", "./"])
def test_no_name(tmp_path, folder, name):
    info = tarfile.TarInfo("x")
    info.name = name
    refused(make_tar(tmp_path / "a.tar", [(info, b"x")]), folder, "holds ")


def test_a_name_that_is_not_utf8(tmp_path, folder):
    refused(make_tar(tmp_path / "a.tar", [("a\udcff", b"x")], format=tarfile.GNU_FORMAT), folder, "not UTF-8")


def test_a_name_with_a_zero_byte(tmp_path, folder):
    path = make_zip(tmp_path / "a.zip", [("a.wavX../../evil", b"x")])
    path.write_bytes(path.read_bytes().replace(b"a.wavX", b"a.wav\0"))
    refused(path, folder, "zero byte|damaged")


@pytest.mark.parametrize(
    "pair", [("a", "a"), ("a", "A"), ("é", "e\u0301"), ("a", "./a"), ("a", "a/b"), ("a/b", "a")], ids=str
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_are_taken(make, folder, pair):
    refused(make([(name, b"x") for name in pair]), folder, "taken by an earlier entry")


TYPES = {
    "a symbolic link": tarfile.SYMTYPE,
    "a hard link": tarfile.LNKTYPE,
    "a pipe": tarfile.FIFOTYPE,
    "a device": tarfile.CHRTYPE,
    "device": tarfile.BLKTYPE,
    "neither a file nor a folder": tarfile.CONTTYPE,
    "a file with holes": tarfile.GNUTYPE_SPARSE,
}


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("target", ["/etc/passwd", "../../x", "fine"])
def test_what_is_neither_file_nor_folder_in_a_tar(tmp_path, folder, kind, target):
    info = tarfile.TarInfo("link")
    info.type, info.linkname = TYPES[kind], target
    refused(make_tar(tmp_path / "a.tar", [("fine", b"x"), (info, b"")]), folder, kind)


def test_a_file_with_holes_by_its_extended_header(tmp_path, folder):
    info = tarfile.TarInfo("a")
    info.pax_headers = {"GNU.sparse.map": "0,1,900000000000,1", "GNU.sparse.size": "900000000001"}
    refused(make_tar(tmp_path / "a.tar", [(info, b"xx")], format=tarfile.PAX_FORMAT), folder, "a file with holes")


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_what_is_neither_file_nor_folder_in_a_zip(tmp_path, folder, mode):
    info = zipfile.ZipInfo("link")
    info.create_system, info.external_attr = 3, (mode | 0o777) << 16
    refused(make_zip(tmp_path / "a.zip", [(info, b"/etc/passwd")]), folder, "a symbolic link|a pipe|a device|a socket")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression(tmp_path, folder, method):
    refused(make_zip(tmp_path / "a.zip", [("a", b"x")], compression=method), folder, "not by deflate")


def test_encrypted(tmp_path, folder):
    path = make_zip(tmp_path / "a.zip", [("a", b"x")])
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    refused(path, folder, "encrypted")


def test_more_bytes_than_allowed(make, folder):
    noise = os.urandom(600)
    refused(make([("a", noise), ("b", noise)]), folder, "unpacks to more than 1000 bytes", Limits(size=1000, entries=9))
    assert sum(map(len, files(folder).values())) <= 1000


def test_more_files_than_allowed(make, folder):
    refused(make([(str(i), b"") for i in range(60)]), folder, "more than 50 files and folders")


def test_more_folders_than_allowed(tmp_path, folder):
    with tarfile.open(tmp_path / "a.tar", "w:gz") as archive:
        for i in range(60):
            info = tarfile.TarInfo(str(i))
            info.type = tarfile.DIRTYPE
            archive.addfile(info)
    refused(tmp_path / "a.tar", folder, "more than 50 files and folders")


def test_a_bomb(make, folder, monkeypatch):
    monkeypatch.setattr(unpacking, "_SLACK", 1 << 20)
    bomb = bytes(3 << 20)
    refused(make([("a", bomb)]), folder, "more than 20 times its size")
    assert sum(map(len, files(folder).values())) <= 1 << 20


def test_small_files_may_compress_well(make, folder):
    unpack(make([("a", bytes(1 << 20))]), folder, LIMITS)


def test_a_zip_that_understates(tmp_path, folder):
    path = make_zip(tmp_path / "a.zip", [("a", bytes(5000))])
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", 5000), struct.pack("<I", 10)))
    refused(path, folder, "damaged")
    assert sum(map(len, files(folder).values())) <= 10


def test_a_zip_that_overstates(tmp_path, folder):
    path = make_zip(tmp_path / "a.zip", [("a", bytes(5000))])
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", 5000), struct.pack("<I", 9000)))
    refused(path, folder, "damaged")


def test_a_tar_header_too_large_for_memory(tmp_path, folder):
    """tarfile would read it whole."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 31
    with gzip.open(tmp_path / "a.tar", "wb", compresslevel=1) as file:
        file.write(info.tobuf(tarfile.USTAR_FORMAT) + bytes(1 << 20))
    refused(tmp_path / "a.tar", folder, "a header of 2147483648 bytes")


def test_a_tar_of_nothing_but_headers(tmp_path, folder):
    """Extended headers are no entries."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 512
    with gzip.open(tmp_path / "a.tar", "wb") as file:
        file.write((info.tobuf(tarfile.GNU_FORMAT) + b"a" * 512) * 5000)
    refused(tmp_path / "a.tar", folder, "damaged|unpacks to more")


def test_a_tar_with_a_long_tail(tmp_path, folder):
    path = make_tar(tmp_path / "a.tar", [("a", b"x")])
    with gzip.open(path, "ab", compresslevel=1) as file:
        file.write(bytes(2 << 20))
    refused(path, folder, "unpacks to more", Limits(size=1000, entries=9))


@pytest.mark.parametrize("kind", MAKERS)
def test_damaged(tmp_path, folder, kind):
    """Cut off, or bytes turned over: an error of ours, or (bytes that do not matter) what was packed."""
    noise = os.urandom(3000)
    path = MAKERS[kind](tmp_path / "a", [("a", noise), ("b", noise[:500])])
    whole, rng = path.read_bytes(), random.Random(0)
    for number in range(300):
        content = bytearray(whole)
        if number % 3 == 0:
            del content[rng.randrange(len(content)) :]
        else:
            for _ in range(rng.choice((1, 1, 20))):
                content[rng.randrange(len(content)) if number % 3 == 1 else rng.randrange(60)] = rng.randrange(256)
        path.write_bytes(content)
        into = folder / str(number)
        into.mkdir()
        with contextlib.suppress(DataError):
            unpack(path, into, LIMITS)
            assert set(files(into).values()) <= {noise, noise[:500]}


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"PK", b"\x1f\x8b", b"Rar!"])
def test_no_archive(tmp_path, folder, content):
    (tmp_path / "a").write_bytes(content)
    refused(tmp_path / "a", folder, "expected a zip or tar.gz|damaged")


def test_a_full_disk(make, folder):
    def progress(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(SaveError, match="the disk is full"):
        unpack(make(FILES.items()), folder, LIMITS, progress)
