"""The programs of docs/deployment.md, which run an exported model without spectag."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import spectag
from spectag.export.write import write_artefact

pytest.importorskip("onnx", reason="the extra onnx is not installed")
pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("plain")
    write_artefact(spectag.load("esc10"), place / "esc10-waveform", "onnx", front_end=True)
    return place


def program(language: str) -> str:
    [code] = re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.M | re.S)
    return code


def test_python(place: Path) -> None:
    code = program("python")
    assert "spectag" not in code
    assert len(code.splitlines()) <= 30
    clip = ROOT / "examples" / "rain.ogg"
    wanted = "".join(f"{tag.label} {tag.score:.2f}\n" for tag in spectag.Tagger("esc10").tag(clip, top_k=3).tags)
    done = subprocess.run([sys.executable, "-c", code, clip], cwd=place, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == wanted


def test_node(place: Path) -> None:
    """`npm install onnxruntime-node` in the repository or in $NODE_PATH lets it run."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node")
    (place / "main.js").write_text(program("javascript"))
    paths = os.pathsep.join(filter(None, [os.environ.get("NODE_PATH"), str(ROOT / "node_modules")]))
    env = os.environ | {"NODE_PATH": paths}
    if subprocess.run(
        [node, "-e", "require('onnxruntime-node')"], env=env, capture_output=True, timeout=300
    ).returncode:
        pytest.skip("no onnxruntime-node: npm install onnxruntime-node")
    waveform, _ = soundfile.read(ROOT / "examples" / "rain.ogg", dtype="float32")
    waveform[:30_000].tofile(place / "rain.f32")
    command = [node, "main.js", "esc10-waveform/model.onnx", "rain.f32"]
    done = subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout), spectag.Tagger("esc10").scores(waveform[:30_000]), atol=1e-5)
