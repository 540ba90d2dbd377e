"""Published data sets, in their official structure but small, from a server on this machine."""

import csv
import errno
import hashlib
import io
import os
import random
import shutil
import stat
import struct
import tarfile
import zipfile
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from serving import serving

from spectag.data.download import download_data_set, find_data_set
from spectag.data.layouts import read_manifest
from spectag.data.published import PUBLISHED
from spectag.errors import DataError, SaveError, SpectagWarning
from spectag.labels import align
from spectag.model.loading import load

ESC10 = {"dog": 0, "rooster": 1, "rain": 10}
ESC50 = ESC10 | {"pig": 2, "cow": 3}


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("time.sleep", lambda _: None)


def sound() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.random.default_rng(0).standard_normal(800), 16_000, format="WAV")
    return file.getvalue()


def esc50(targets=ESC50, folds=(1, 2)) -> tuple[bytes, bytes]:
    """The archive, with a folder at its top as GitHub has it; its table."""
    targets = {name: number for number, name in enumerate(sorted(targets, key=targets.get))}
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(["filename", "fold", "target", "category", "esc10", "src_file", "take"])
    names = []
    for fold in folds:
        for name, target in targets.items():
            names.append(f"{fold}-{fold}00{target}-A-{target}.wav")
            writer.writerow([names[-1], fold, target, name, name in ESC10, f"{fold}00{target}", "A"])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        top = "ESC-50-33c8ce9e"
        for folder in ("", "audio/", "meta/"):
            archive.writestr(f"{top}/{folder}", b"")
        for name in names:
            archive.writestr(f"{top}/audio/{name}", sound())
        archive.writestr(f"{top}/meta/esc50.csv", table.getvalue())
        archive.writestr(f"{top}/LICENSE", "as it is")
        archive.writestr(f"{top}/requirements.txt", "no part of the data set")
    return packed.getvalue(), table.getvalue().encode()


def speech_commands() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:

        def add(name, content=None):
            info = tarfile.TarInfo(name)
            info.type, info.size = (tarfile.DIRTYPE, 0) if content is None else (tarfile.REGTYPE, len(content))
            archive.addfile(info, io.BytesIO(content or b""))

        add("./")
        for word in ("_background_noise_", "one", "two", "yes"):
            add(f"./{word}/")
            for speaker in "abc":
                add(f"./{word}/{speaker}_nohash_0.wav", sound())
        add("./validation_list.txt", b"one/a_nohash_0.wav\ntwo/a_nohash_0.wav\n")
        add("./testing_list.txt", b"one/b_nohash_0.wav\n")
        add("./LICENSE", b"as it is")
    return packed.getvalue()


def source(kind, content, table=b"", clips=9, classes=3, **other):
    facts = {
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "unpacked": 1_000_000,
        "clips": clips,
        "classes": classes,
        "table_sha256": hashlib.sha256(table).hexdigest() if table else None,
    }
    return replace(PUBLISHED[kind], **facts | other)


def esc50_source(**other):
    content, table = esc50()
    return source("esc50", content, table, **{"clips": 10, "classes": 5} | other), content


def get(served, source, directory, **options):
    return download_data_set(replace(source, url=served.url), directory, **options)


def test_esc50(tmp_path):
    what, content = esc50_source()
    with serving(content) as served:
        manifest = get(served, what, tmp_path / "esc50")
    assert manifest == read_manifest(tmp_path / "esc50")
    assert manifest.layout == "ESC-50"
    assert (len(manifest), manifest.folds) == (10, (1, 2))
    assert manifest.labels.names == ("dog", "rooster", "pig", "cow", "rain")
    assert [path.name for path in tmp_path.iterdir()] == ["esc50"]
    assert sorted(path.name for path in (tmp_path / "esc50").iterdir()) == ["LICENSE", "audio", "meta"]
    assert (tmp_path / "esc50").stat().st_mode & 0o777 == (tmp_path / "esc50/audio").stat().st_mode & 0o777


def test_esc10(tmp_path):
    content, table = esc50()
    with serving(content) as served:
        manifest = get(served, source("esc10", content, table, 6, 3), tmp_path / "esc10")
    assert manifest == read_manifest(tmp_path / "esc10")
    assert manifest.labels.names == ("dog bark", "rooster", "rain"), "ESC-10's own names, which esc10 knows"
    align(manifest.labels, load("esc10").labels)
    assert {path.name for path in (tmp_path / "esc10/audio").iterdir()} == {clip.path.name for clip in manifest.clips}
    assert {clip.labels for clip in manifest.clips} == {(0,), (1,), (2,)}
    assert all(clip.path.name.endswith("-4.wav") for clip in manifest.clips if clip.labels == (2,))
    assert (tmp_path / "esc10/LICENSE").is_file()


def test_speech_commands(tmp_path):
    content = speech_commands()
    with serving(content) as served:
        manifest = get(served, source("speech-commands-2", content), tmp_path / "a" / "words")
    assert manifest == read_manifest(tmp_path / "a" / "words")
    assert manifest.layout == "Speech Commands"
    assert manifest.labels.names == ("one", "two", "yes")
    assert {clip.id: clip.split for clip in manifest.clips}["one/b_nohash_0.wav"] == "test"
    assert (tmp_path / "a/words/_background_noise_").is_dir()


def test_the_table_of_published_sets():
    """Tied to what is published; see the digests at torchaudio and TensorFlow Datasets."""
    for what in PUBLISHED.values():
        assert what.url.startswith("https://")
        assert len(what.sha256) == 64
        assert what.size < what.unpacked < 2 * what.size
    assert PUBLISHED["esc10"].archive == PUBLISHED["esc50"].archive
    assert PUBLISHED["speech-commands-1"].archive != PUBLISHED["speech-commands-2"].archive


@pytest.mark.filterwarnings("ignore::spectag.errors.SpectagWarning")
def test_the_connection_breaks(tmp_path):
    what, content = esc50_source()
    with serving(content, breaks=[5000]) as served:
        assert len(get(served, what, tmp_path / "esc50")) == 10
    assert served.asked == [None, "bytes=5000-"]
    assert sum(served.sent) == len(content)


@pytest.mark.parametrize("stage", ["fetching", "verifying", "unpacking"])
@pytest.mark.parametrize("ranges", [False, True])
def test_interrupted(tmp_path, stage, ranges):
    """What was fetched is kept, and nothing of the data set; the next call continues."""

    def progress(what, *_):
        if what == stage:
            raise KeyboardInterrupt

    what, content = esc50_source()
    with serving(content, ranges=ranges) as served:
        with pytest.raises(KeyboardInterrupt):
            get(served, what, tmp_path / "esc50", progress=progress)
        assert [path.name for path in tmp_path.iterdir()] == ["ESC-50.zip.partial"]
        assert len(get(served, what, tmp_path / "esc50")) == 10
    if stage != "fetching":
        assert len(served.asked) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["esc50"]


@pytest.mark.parametrize("have", [100, 10**6, None], ids=["of another file", "too much", "of the right size"])
def test_a_beginning_of_something_else_is_fetched_anew(tmp_path, have):
    content = speech_commands()
    what = source("speech-commands-2", content)
    (tmp_path / f"{what.archive}.partial").write_bytes(bytes(len(content) if have is None else have))
    with serving(content) as served:
        assert len(get(served, what, tmp_path / "words")) == 9
    assert served.asked == [f"bytes={len(content) if have is None else have}-", None]
    assert [path.name for path in tmp_path.iterdir()] == ["words"]


def test_a_wrong_checksum(tmp_path):
    content = speech_commands()
    what = source("speech-commands-2", content, sha256="0" * 64)
    with serving(content) as served, pytest.raises(DataError) as caught:
        get(served, what, tmp_path / "words")
    message = str(caught.value)
    assert f"expected SHA-256 {'0' * 64}, got {hashlib.sha256(content).hexdigest()}" in message
    assert "\n" not in message
    assert len(served.asked) == 1
    assert list(tmp_path.iterdir()) == []


def test_packed_anew(tmp_path):
    """GitHub makes its archives when they are asked for: then the contents decide."""
    what, content = esc50_source(sha256="0" * 64)
    with serving(content) as served, pytest.warns(SpectagWarning, match="expected SHA-256 0000.*contents are checked"):
        assert len(get(served, what, tmp_path / "esc50")) == 10


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (lambda: esc50(folds=(1, 3))[0], r"meta/esc50\.csv: expected SHA-256"),
        (lambda: esc50()[0][:-100], "damaged"),
        (lambda: b"", "damaged"),
        (lambda: speech_commands(), "File is not a zip file"),
        (lambda: b"<html>" * 2000, "File is not a zip file"),
        (lambda: esc50()[0].replace(sound()[-100:], bytes(100)), "Bad CRC-32"),
        (lambda: zipped({"x/audio/a.wav": b"x"}), r"holds no meta/esc50\.csv"),
        (lambda: zipped({"x/meta/esc50.csv": esc50()[1]}), "no item named 'x/LICENSE'"),
    ],
    ids=[
        "another table",
        "cut off",
        "nothing",
        "another set",
        "no archive",
        "other samples",
        "no table",
        "only the table",
    ],
)
@pytest.mark.filterwarnings("ignore::spectag.errors.SpectagWarning")
def test_not_the_contents(tmp_path, content, match):
    what, _ = esc50_source(sha256="0" * 64)
    with serving(content()) as served, pytest.raises(DataError, match=match) as caught:
        get(served, what, tmp_path / "esc50")
    assert str(caught.value).startswith(f"{tmp_path / 'ESC-50.zip.partial'}: damaged, or not ESC-50")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_clips_are_lacking(tmp_path):
    what, content = esc50_source(clips=11)
    with serving(content) as served, pytest.raises(DataError, match="expected 11 clips of 5 classes, found 10 of 5"):
        get(served, what, tmp_path / "esc50")
    assert list(tmp_path.iterdir()) == []


# archives that were made to do harm


def zipped(files, compression=zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def tarred(*entries, **how) -> bytes:
    """Of pairs (TarInfo or name, content)."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", **how) as archive:
        for info, content in entries:
            info = tarfile.TarInfo(info) if isinstance(info, str) else info
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def refused(tmp_path, what, content, match) -> None:
    """Such an archive, put beside the directory, is refused, and nothing else is left."""
    inside = tmp_path / "in" / "here"
    inside.mkdir(parents=True)
    (inside / what.archive).write_bytes(content)
    with pytest.raises(DataError, match=match) as caught:
        download_data_set(replace(what, url="http://127.0.0.1:1/"), inside / "set")
    assert str(caught.value).startswith(str(inside / what.archive))
    assert "\n" not in str(caught.value)
    assert [path.name for path in inside.iterdir()] == [what.archive]
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["here"]


ELSEWHERE = ["/etc/passwd", "//server/share", "../x", "a/../../x", "..", "C:x", "C:/x", "C:\\x", "..\\x", "a/b:stream"]


@pytest.mark.parametrize("name", ELSEWHERE)
def test_names_that_lead_elsewhere(tmp_path, name):
    content = tarred(("one/fine.wav", sound()), (name, b"x"))
    refused(tmp_path, source("speech-commands-2", content), content, "would be written elsewhere")


def test_a_table_that_names_files_elsewhere(tmp_path):
    """Even if its checksum were right."""
    table = b"filename,fold,target,category,esc10\n../../../evil.wav,1,0,dog,True\n"
    content = zipped({"x/meta/esc50.csv": table, "x/LICENSE": b"", "x/audio/../../../evil.wav": b"x"})
    refused(tmp_path, source("esc50", content, table), content, "would be written elsewhere")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
@pytest.mark.parametrize("target", ["/etc", "../../..", "."])
def test_links_and_devices_are_not_made(tmp_path, kind, target):
    """What was to be written through them is a plain file then, in a plain folder."""
    link = tarfile.TarInfo("one")
    link.type, link.linkname = kind, target
    words = [(f"{word}/{name}.wav", sound()) for word in ("one", "two", "yes") for name in "abc"]
    content = tarred((link, b""), *words, ("testing_list.txt", b""))
    (tmp_path / "speech_commands_v0.02.tar.gz").write_bytes(content)
    download_data_set(source("speech-commands-2", content), tmp_path / "words")
    made = list((tmp_path / "words").rglob("*"))
    assert len(made) == 13
    assert all(stat.S_IFMT(path.lstat().st_mode) in (stat.S_IFREG, stat.S_IFDIR) for path in made)


def test_a_zip_makes_no_links(tmp_path):
    content, table = esc50()
    packed = io.BytesIO(content)
    with zipfile.ZipFile(packed, "a") as archive:
        for info in archive.infolist():
            info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.comment = b"written anew"
    (tmp_path / "ESC-50.zip").write_bytes(packed.getvalue())
    download_data_set(source("esc50", packed.getvalue(), table, 10, 5), tmp_path / "esc50")
    assert not any(path.is_symlink() for path in (tmp_path / "esc50").rglob("*"))


def test_more_bytes_than_expected(tmp_path):
    content = speech_commands()
    refused(tmp_path, source("speech-commands-2", content, unpacked=1000), content, "more than twice as many")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_bomb(tmp_path, kind):
    bomb = bytes(3_000_000)
    table = b"filename,fold,target,category,esc10\na.wav,1,0,dog,True\n"
    files = {"x/meta/esc50.csv": table, "x/LICENSE": b"", "x/audio/a.wav": bomb}
    content = tarred(("one/a.wav", bomb)) if kind == "tar" else zipped(files)
    what = source("speech-commands-2", content) if kind == "tar" else source("esc50", content, table)
    refused(tmp_path, what, content, "more than twice as many")


@pytest.mark.parametrize("claimed", [10, 9_000_000])
def test_a_zip_that_lies_about_sizes(tmp_path, claimed):
    table = b"filename,fold,target,category,esc10\na.wav,1,0,dog,True\n"
    content = zipped({"x/meta/esc50.csv": table, "x/LICENSE": b"", "x/audio/a.wav": os.urandom(5000)})
    content = content.replace(struct.pack("<I", 5000), struct.pack("<I", claimed))
    refused(tmp_path, source("esc50", content, table), content, "damaged")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression(tmp_path, method):
    content = zipped({"x/meta/esc50.csv": esc50()[1]}, method)
    refused(tmp_path, source("esc50", content, esc50()[1]), content, "compressed by method .*, expected deflate")


def test_encrypted(tmp_path):
    content = bytearray(zipped({"x/meta/esc50.csv": esc50()[1]}))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    refused(tmp_path, source("esc50", bytes(content), esc50()[1]), content, "encrypted")


@pytest.mark.parametrize("kind", ["esc50", "speech-commands-2"])
@pytest.mark.filterwarnings("ignore::spectag.errors.SpectagWarning")
def test_damaged(tmp_path, kind):
    """Cut off, or bytes changed: either an error of ours that leaves nothing, or the whole set."""
    whole, table = esc50() if kind == "esc50" else (speech_commands(), b"")
    rng = random.Random(0)
    for number in range(200):
        content = bytearray(whole)
        if number % 2:
            del content[rng.randrange(len(content)) :]
        for _ in range(rng.choice((1, 1, 20)) if content and number % 2 == 0 else 0):
            content[rng.randrange(len(content))] = rng.randrange(256)
        folder = tmp_path / str(number)
        folder.mkdir()
        clips, classes = (10, 5) if kind == "esc50" else (9, 3)
        what = source(kind, bytes(content), table, clips, classes)
        (folder / what.archive).write_bytes(content)
        try:
            found = len(download_data_set(what, folder / "set"))
        except DataError:
            found = None
        assert found in (None, clips)
        assert (folder / "set").exists() == (found is not None)


# what is there already


def test_keep_archive(tmp_path):
    content, table = esc50()
    fifty, ten = source("esc50", content, table, 10, 5), source("esc10", content, table, 6, 3)
    with serving(content) as served:
        get(served, fifty, tmp_path / "esc50", keep_archive=True)
        assert (tmp_path / "ESC-50.zip").read_bytes() == content
        get(served, ten, tmp_path / "esc10")
    assert len(served.asked) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ESC-50.zip", "esc10", "esc50"]


def test_an_archive_of_the_users_that_is_something_else(tmp_path):
    content = speech_commands()
    what = source("speech-commands-2", content)
    (tmp_path / what.archive).write_bytes(b"mine")
    with serving(content) as served, pytest.raises(DataError, match=r"expected SHA-256 .* delete it"):
        get(served, what, tmp_path / "words")
    assert served.asked == []
    assert (tmp_path / what.archive).read_bytes() == b"mine"


def test_there_already(tmp_path):
    what, content = esc50_source()
    assert find_data_set(what, tmp_path / "esc50") is None
    with serving(content) as served:
        manifest = get(served, what, tmp_path / "esc50")
        with pytest.raises(SaveError, match="already exists"):
            get(served, what, tmp_path / "esc50")
    assert find_data_set(what, tmp_path / "esc50") == manifest
    assert len(served.asked) == 1


@pytest.mark.parametrize("there", ["something else", "a clip is lacking", "an empty clip", "a file", "a dead link"])
def test_something_else_is_there(tmp_path, there):
    what, content = esc50_source()
    directory = tmp_path / "esc50"
    if there == "a file":
        directory.touch()
    elif there == "a dead link":
        directory.symlink_to(tmp_path / "nowhere")
    elif there == "something else":
        directory.mkdir()
        (directory / "thesis.txt").touch()
    else:
        with serving(content) as served:
            get(served, what, directory)
        clip = next(directory.glob("audio/*"))
        clip.unlink() if there == "a clip is lacking" else clip.write_bytes(b"")
    with pytest.raises(SaveError, match=r"neither empty nor the whole of ESC-50 .*name another directory"):
        find_data_set(what, directory)


@pytest.mark.parametrize("link", [False, True])
def test_an_empty_directory_is_used(tmp_path, link):
    what, content = esc50_source()
    (tmp_path / "real").mkdir()
    if link:
        (tmp_path / "link").symlink_to("real")
    with serving(content) as served:
        get(served, what, tmp_path / ("link" if link else "real"))
    assert len(read_manifest(tmp_path / "real")) == 10


def test_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    what, content = esc50_source()
    with serving(content) as served:
        get(served, what, Path("esc50"))
    assert len(read_manifest(tmp_path / "esc50")) == 10


def test_too_little_space(tmp_path, monkeypatch):
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 1_000_000))
    what, content = esc50_source()
    with serving(content) as served, pytest.raises(SaveError, match="GB are free"):
        get(served, what, tmp_path / "esc50")
    assert list(tmp_path.iterdir()) == []


def test_the_disk_fills_up(tmp_path):
    """Nothing of the data set stays; the archive does, since it need not be fetched again."""

    def progress(what, *_):
        if what == "unpacking":
            raise OSError(errno.ENOSPC, "No space left on device")

    what, content = esc50_source()
    with serving(content) as served:
        with pytest.raises(SaveError, match="No space left on device"):
            get(served, what, tmp_path / "esc50", progress=progress)
        assert [path.name for path in tmp_path.iterdir()] == ["ESC-50.zip.partial"]
        get(served, what, tmp_path / "esc50")
    assert len(served.asked) == 1
