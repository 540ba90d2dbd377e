"""Published data sets, in their official structure but small, from a server on this machine."""

import csv
import hashlib
import io
import os
import shutil
import tarfile
import zipfile
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from serving import serving

from spectag.data import download as published
from spectag.data.download import SOURCES, download, present
from spectag.data.layouts import read_manifest
from spectag.errors import DataError, SaveError, SpectagWarning
from spectag.labels import align
from spectag.model.loading import load

ESC10 = {"dog": 0, "rooster": 1, "rain": 10}
ESC50 = ESC10 | {"pig": 2, "cow": 3}


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


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
        archive.writestr(f"{top}/.gitignore", "*")
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
    return replace(SOURCES[kind], **facts | other)


def esc50_source(**other):
    content, table = esc50()
    return source("esc50", content, table, **{"clips": 10, "classes": 5} | other), content


def get(served, source, directory, **options):
    options.setdefault("sleep", lambda _: None)
    return download(replace(source, url=served.url), directory, **options)


def test_esc50(tmp_path):
    what, content = esc50_source()
    with serving(content) as served:
        manifest = get(served, what, tmp_path / "esc50")
    assert manifest == read_manifest(tmp_path / "esc50")
    assert manifest.layout == "ESC-50"
    assert (len(manifest), manifest.folds) == (10, (1, 2))
    assert manifest.labels.names == ("dog", "rooster", "pig", "cow", "rain")
    assert [path.name for path in tmp_path.iterdir()] == ["esc50"]
    assert sorted(path.name for path in (tmp_path / "esc50").iterdir()) == [".gitignore", "LICENSE", "audio", "meta"]
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


def test_the_table_of_sources():
    """Tied to what is published; see the digests at torchaudio and TensorFlow Datasets."""
    for what in SOURCES.values():
        assert what.url.startswith("https://")
        assert len(what.sha256) == 64
        assert what.size < what.unpacked < 2 * what.size
    assert SOURCES["esc10"].archive == SOURCES["esc50"].archive
    assert SOURCES["speech-commands-1"].archive != SOURCES["speech-commands-2"].archive


@pytest.mark.filterwarnings("ignore::spectag.errors.SpectagWarning")
def test_the_connection_breaks(tmp_path):
    what, content = esc50_source()
    with serving(content, breaks=[5000]) as served:
        assert len(get(served, what, tmp_path / "esc50")) == 10
    assert served.asked == [None, "bytes=5000-"]
    assert sum(served.sent) == len(content)


@pytest.mark.parametrize("stage", ["fetching", "verifying", "unpacking"])
def test_interrupted(tmp_path, stage):
    """What was fetched is kept, of the data set nothing; the next call goes on."""

    def progress(what, *_):
        if what == stage:
            raise KeyboardInterrupt

    what, content = esc50_source()
    with serving(content, chunked=True) as served:
        with pytest.raises(KeyboardInterrupt):
            get(served, what, tmp_path / "esc50", progress=progress)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["ESC-50.zip.partial", "ESC-50.zip.partial.json"]
        assert len(get(served, what, tmp_path / "esc50")) == 10
    assert len(served.asked) == (2 if stage == "fetching" else 1)
    assert [path.name for path in tmp_path.iterdir()] == ["esc50"]


def test_a_wrong_checksum(tmp_path):
    content = speech_commands()
    what = source("speech-commands-2", content, sha256="0" * 64)
    with serving(content) as served, pytest.raises(DataError) as caught:
        get(served, what, tmp_path / "words")
    message = str(caught.value)
    assert f"expected SHA-256 {'0' * 64}, got {hashlib.sha256(content).hexdigest()} of {len(content)} bytes" in message
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == []


def test_packed_anew(tmp_path):
    """GitHub makes its archives when they are asked for: then the contents decide."""
    what, content = esc50_source(sha256="0" * 64)
    with serving(content) as served, pytest.warns(SpectagWarning, match="expected SHA-256 0000.*its contents decide"):
        assert len(get(served, what, tmp_path / "esc50")) == 10


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (lambda: esc50(folds=(1, 3))[0], r"meta/esc50\.csv: expected SHA-256"),
        (lambda: esc50()[0][:-100], "damaged"),
        (lambda: speech_commands(), r"meta/esc50\.csv: expected SHA-256 .*, got no such file"),
        (lambda: b"<html>" * 2000, "expected a zip or tar.gz archive"),
        (lambda: esc50()[0].replace(sound()[-100:], bytes(100)), "damaged"),
    ],
    ids=["another table", "cut off", "another set", "no archive", "other samples"],
)
@pytest.mark.filterwarnings("ignore::spectag.errors.SpectagWarning")
def test_not_the_contents(tmp_path, content, match):
    what, _ = esc50_source(sha256="0" * 64)
    with serving(content()) as served, pytest.raises(DataError, match=match) as caught:
        get(served, what, tmp_path / "esc50")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_clips_are_lacking(tmp_path):
    what, content = esc50_source(clips=11)
    with serving(content) as served, pytest.raises(DataError, match="expected 11 clips of 5 classes, found 10 of 5"):
        get(served, what, tmp_path / "esc50")
    assert list(tmp_path.iterdir()) == []


def test_harmful_contents(tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("audio/x.wav", sound())
        archive.writestr("../../evil", b"x")
    content = packed.getvalue()
    with serving(content) as served, pytest.raises(DataError, match="leads out of the archive"):
        get(served, source("speech-commands-2", content), tmp_path / "a" / "words")
    assert list((tmp_path / "a").iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


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
    with serving(content) as served, pytest.raises(DataError, match=r"expected SHA-256 .* delete it and try again"):
        get(served, what, tmp_path / "words")
    assert served.asked == []
    assert (tmp_path / what.archive).read_bytes() == b"mine"


def test_there_already(tmp_path):
    what, content = esc50_source()
    with serving(content) as served:
        manifest = get(served, what, tmp_path / "esc50")
        assert get(served, what, tmp_path / "esc50") == manifest == present(what, tmp_path / "esc50")
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
        present(what, directory)


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


def test_the_disk_fills_up(tmp_path, monkeypatch):
    """The archive stays, since it need not be fetched again."""

    def full(*_):
        raise SaveError("the disk is full")

    what, content = esc50_source()
    with serving(content) as served:
        with monkeypatch.context() as patch:
            patch.setattr(published, "unpack", full)
            with pytest.raises(SaveError, match="the disk is full"):
                get(served, what, tmp_path / "esc50")
        assert os.path.getsize(tmp_path / "ESC-50.zip.partial") == len(content)
        get(served, what, tmp_path / "esc50")
    assert len(served.asked) == 1
