"""The real huggingface_hub client against a server on this machine that answers as the Hub does."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from small import make_bundle

from spectag import errors
from spectag.model.loading import load

REVISION = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """``/OWNER/NAME/resolve/REVISION/FILE`` from a folder; weights by a redirect, as from the Hub's large storage."""

    root: Path
    asked: list[tuple[str, str]]

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        self.asked.append((self.command, self.path))
        owner, name, action, *rest = self.path.strip("/").split("/")
        repository = self.root / owner / name
        file = repository.joinpath(*rest[1:]) if action == "resolve" else repository / rest[0]
        if not repository.is_dir():
            return self.reply(401, {"X-Error-Code": "RepoNotFound"})
        if not file.is_file():
            return self.reply(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": REVISION})
        content = file.read_bytes()
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        headers = {"ETag": etag, "X-Repo-Commit": REVISION}
        if action == "resolve" and file.suffix == ".safetensors":
            linked = {"X-Linked-Etag": etag, "X-Linked-Size": str(len(content))}
            return self.reply(302, headers | linked | {"Location": f"/{owner}/{name}/storage/{file.name}"})
        return self.reply(200, headers | {"Content-Length": str(len(content))}, content if body else b"")

    def reply(self, code: int, headers: dict[str, str], content: bytes = b"") -> None:
        self.send_response(code)
        for key, value in ({"Content-Length": "0"} | headers).items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(tmp_path):
    root = tmp_path / "hub"
    for name in ("me/bundle", "me/plain", "me/pickled", "me/broken"):
        path = make_bundle().save(root / name)
        (path / "pytorch_model.bin").write_bytes(pickle.dumps("a pickle"))
        (path / "README.md").write_text("not needed")
        if name != "me/bundle":  # as transformers writes it
            (path / "spectag.json").unlink()
            config = json.loads((path / "config.json").read_text())
            del config["spectag"]
            (path / "config.json").write_text(json.dumps(config))
    (root / "me/pickled/model.safetensors").unlink()
    weights = root / "me/broken/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (Hub,), {"root": root, "asked": []}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


SCRIPT = """
import json, sys
from spectag import errors
from spectag.model.loading import load
answers = {}
for source in sys.argv[1:]:
    try:
        bundle = load(source)
        answers[source] = [bundle.activation, bundle.labels.names[0], bundle.provenance]
    except errors.ModelError as error:
        answers[source] = [type(error).__name__, str(error)]
print(json.dumps(answers))
"""


def load_elsewhere(hub, tmp_path, *sources, script=None, **environment):
    """In a process of its own: the client reads its environment when it is imported."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    settings = {
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
    }
    command = [sys.executable, "-c", script or SCRIPT, *sources]
    environment = kept | settings | environment
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=900)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_hub(hub, tmp_path):
    answers = load_elsewhere(hub, tmp_path, "me/bundle", "me/plain", "me/pickled", "me/broken", "me/nothing")
    assert answers["me/bundle"] == ["softmax", "class 0", {"source": "a test"}]
    assert answers["me/plain"][2]["source"] == f"me/plain@{REVISION}"
    assert answers["me/pickled"][0] == "NotAModel"
    assert "has no model.safetensors (pickles are not fetched): download it yourself" in answers["me/pickled"][1]
    assert answers["me/broken"][0] == "UnreadableModel"
    assert answers["me/nothing"][0] == "ModelNotFound"
    assert "no (public) repository on the Hub" in answers["me/nothing"][1]

    asked = hub.RequestHandlerClass.asked
    files = {path.rsplit("/", 1)[1] for _, path in asked}
    assert files == {
        "config.json",
        "preprocessor_config.json",
        "model.safetensors",
        "spectag.json",
    }
    fetched = [path for method, path in asked if method == "GET" and "/me/bundle/" in path]
    assert len(fetched) == len(set(fetched)) == 4

    asked.clear()
    answers_offline = load_elsewhere(hub, tmp_path, "me/bundle", "me/plain", "me/never", "audioset", HF_HUB_OFFLINE="1")
    assert asked == []
    assert {name: answers_offline[name] for name in ("me/bundle", "me/plain")} == {
        name: answers[name] for name in ("me/bundle", "me/plain")
    }
    for name in ("me/never", "audioset"):
        kind, message = answers_offline[name]
        assert kind == "ModelNotFetched"
        assert "offline (HF_HUB_OFFLINE): connect once to fetch it" in message
        assert "\n" not in message


def test_no_connection(hub, tmp_path):
    """The kind: the client alone tries for half a minute, with a line for each try, before anything is said.

    Nobody listens at the port any more. What is in the cache is used, at once; the rest is an error after two tries.
    """
    online = load_elsewhere(hub, tmp_path, "me/plain")
    hub.shutdown()
    hub.server_close()
    counted = SCRIPT.replace("answers = {}", COUNT_TRIES)
    answers = load_elsewhere(hub, tmp_path, "me/plain", "me/never", script=counted)
    assert answers["me/plain"] == online["me/plain"]
    kind, message = answers["me/never"]
    assert kind == "ModelNotFetched"
    assert "config.json is not in the cache and the Hub cannot be reached: connect once" in message
    assert "\n" not in message
    assert answers["pauses"] == [1, 0]


# Instead of the clock, which depends on the machine: how often, and for how long, anybody waits for the next try.
COUNT_TRIES = """
import time
answers = {"pauses": []}
time.sleep = answers["pauses"].append
"""


@pytest.mark.parametrize("ours", [False, True], ids=["of transformers", "of spectag"])
def test_no_connection_and_cached_by_another_program(monkeypatch, tmp_path, ours):
    """Such a program asks for all files but ``spectag.json``; a bundle of ours must not be used without."""
    huggingface_hub = pytest.importorskip("huggingface_hub")
    snapshot = make_bundle().save(tmp_path / "snapshots" / REVISION)
    (snapshot / "spectag.json").unlink()
    if not ours:
        config = json.loads((snapshot / "config.json").read_text())
        del config["spectag"]
        (snapshot / "config.json").write_text(json.dumps(config))

    def cached(repository, name, revision=None):
        return str(snapshot / name) if (snapshot / name).exists() else None

    def download(repository, name, **_):
        if path := cached(repository, name):
            return path
        raise huggingface_hub.utils.LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cached)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr("spectag.model.source._is_reachable", lambda _: False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    if ours:
        with pytest.raises(errors.ModelNotFound, match=r"spectag\.json is not in the cache"):
            load("me/cached")
    else:
        assert load("me/cached").front_end.window == "hanning"
