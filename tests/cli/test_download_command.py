"""spectag download: what it prints, and when it fails."""

import hashlib
import io
import tarfile
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from spectag.cli.main import main
from spectag.data.published import PUBLISHED


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def words(tmp_path, monkeypatch):
    """A small Speech Commands on a server on this machine; its address."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "web").mkdir()
    with tarfile.open(tmp_path / "web" / "words.tar.gz", "w:gz") as archive:
        for name in ("./one/a_nohash_0.wav", "./two/a_nohash_0.wav", "./testing_list.txt"):
            content = b"\n\n\n\n" if name.endswith(".txt") else b"RIFF"
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "web")))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    content = (tmp_path / "web" / "words.tar.gz").read_bytes()
    facts = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "unpacked": 100}
    facts |= {"clips": 2, "classes": 2, "url": f"http://127.0.0.1:{server.server_port}/words.tar.gz"}
    for name in ("speech-commands-1", "speech-commands-2"):
        monkeypatch.setitem(PUBLISHED, name, replace(PUBLISHED[name], **facts))
    yield facts["url"]
    server.shutdown()
    server.server_close()


def run(capsys, *args):
    code = main(["download", *map(str, args)])
    return code, *capsys.readouterr()


def test_what_it_prints(words, tmp_path, capsys):
    directory = tmp_path / "my words"
    code, out, err = run(capsys, "speech-commands", directory)
    assert code == 0
    assert out.splitlines() == [
        f"{directory}: Speech Commands v0.02, 2 clips of 2 classes",
        "licence: CC BY 4.0",
        f"train on it: spectag train speech-commands --data '{directory}' --out runs/speech-commands",
    ]
    assert [line.split()[1] for line in err.splitlines()] == ["fetching", "verifying", "unpacking"]

    code, out, err = run(capsys, "speech-commands", directory)
    assert (code, err) == (0, "")
    assert out.splitlines()[0].endswith("classes, already complete")


def test_version_and_archive(words, tmp_path, capsys):
    code, out, _ = run(capsys, "speech-commands", tmp_path / "words", "--version", "1", "--keep-archive")
    assert code == 0
    assert "Speech Commands v0.01" in out
    assert (tmp_path / "speech_commands_v0.01.tar.gz").is_file()


def test_a_bar_on_a_terminal(words, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    code, out, err = run(capsys, "speech-commands", tmp_path / "words")
    assert code == 0
    assert "classes\n" in out
    assert "spectag:" not in err


@pytest.mark.parametrize(
    "args",
    [["esc50"], ["esc51", "DIR"], ["esc50", "DIR", "--version", "2"], ["speech-commands", "DIR", "--version", "3"]],
    ids=" ".join,
)
def test_wrong_usage(args, capsys):
    code, out, err = run(capsys, *args)
    assert (code, out) == (2, "")
    assert err.startswith("spectag: error: ")
    assert err.count("\n") == 1


def test_errors_are_one_line(words, tmp_path, capsys):
    (tmp_path / "web" / "words.tar.gz").unlink()
    code, out, err = run(capsys, "speech-commands", tmp_path / "words")
    assert (code, out) == (1, "")
    assert err.startswith(f"spectag: error: {words}: the server answers HTTP 404 (File not found)")
    assert err.count("\n") == 1
    code, out, err = run(capsys, "speech-commands", tmp_path / "web" / "..")
    assert (code, out) == (1, "")
    assert "name another directory" in err
    assert err.count("\n") == 1


def test_interrupted(words, tmp_path, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("spectag.data.download._unpack", interrupt)
        code, out, err = run(capsys, "speech-commands", tmp_path / "words")
    assert (code, out) == (130, "")
    assert err.splitlines()[-1] == "spectag: interrupted"
    assert not (tmp_path / "words").exists()
    assert run(capsys, "speech-commands", tmp_path / "words")[0] == 0
