"""Exported models: what is read, what is refused, and that they tag as their model does."""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.model.small import edit, make_bundle, with_facts

import spectag
from spectag.engines.artefact import Artefact, open_model, read_artefact
from spectag.engines.factory import make_engine
from spectag.errors import InputError, MissingExtra, ModelError, NewerBundle, NotAModel, UnreadableModel
from spectag.export.write import write_artefact
from spectag.jobs.run import digest_of_model
from spectag.model.bundle import Bundle
from spectag.model.ensemble import Ensemble
from spectag.model.unknown import Unknown

pytest.importorskip("onnx", reason="the extra onnx is not installed")
pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
SOUND = np.random.default_rng(0).standard_normal(24_000).astype(np.float32) * 0.1
BUNDLE = make_bundle(frame_head=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "exported"
    write_artefact(BUNDLE, folder, "onnx", front_end=True)
    return folder


@pytest.fixture
def exported(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "moved"))  # artefacts survive a move


def test_it_tags_as_its_model(exported: Path) -> None:
    ours, theirs = spectag.Tagger(BUNDLE), spectag.Tagger(exported)
    assert theirs.card.labels == BUNDLE.labels
    assert theirs.card.front_end == BUNDLE.front_end
    assert isinstance(theirs.bundle, Artefact)
    np.testing.assert_allclose(theirs.scores(SOUND), ours.scores(SOUND), atol=1e-5)
    np.testing.assert_allclose(theirs.embed(SOUND), ours.embed(SOUND), atol=1e-4)
    a, b = (spectag.Detector(tagger).detect(SOUND, timeline=True).timeline for tagger in (ours, theirs))
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-5)


@pytest.mark.parametrize("target", ["onnx", "openvino"])
@pytest.mark.parametrize("front_end", [False, True])
def test_every_kind(target: str, front_end: bool, tmp_path: Path) -> None:
    pytest.importorskip({"onnx": "onnxruntime"}.get(target, target), reason=f"the extra {target} is not installed")
    artefact = write_artefact(BUNDLE, tmp_path / "exported", target, front_end=front_end)
    inputs = torch.randn(3, 77, 128)
    for a, b in zip(artefact.make_engine().score_frames(inputs), make_engine(BUNDLE).score_frames(inputs), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert artefact.describe()["engine"]["made_from"] == digest_of_model(BUNDLE)


def test_an_ensemble(tmp_path: Path) -> None:
    model = Ensemble([make_bundle(0), make_bundle(1, width=16)])
    write_artefact(model, tmp_path / "exported", "onnx")
    ours, theirs = spectag.Tagger(model), spectag.Tagger(tmp_path / "exported")
    np.testing.assert_allclose(theirs.scores(SOUND), ours.scores(SOUND), atol=1e-5)
    np.testing.assert_allclose(theirs.embed(SOUND), ours.embed(SOUND), atol=1e-4)


def test_the_whole_card_is_kept(tmp_path: Path) -> None:
    unknown = Unknown(np.eye(32), np.eye(5, 32), np.linspace(0, 2, 99), rate=0.05)
    bundle = with_facts(make_bundle(), thresholds=(0.1, 0.2, 0.3, 0.4, 0.5), unknown=unknown)
    card = write_artefact(bundle, tmp_path / "exported", "onnx").card
    assert card.thresholds == bundle.card.thresholds
    a, b = (spectag.Tagger(model).tag(SOUND).unknown_score for model in (bundle, tmp_path / "exported"))
    assert a == pytest.approx(b, abs=1e-4)


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root may write everywhere")
def test_a_read_only_folder(exported: Path) -> None:
    exported.chmod(0o500)
    try:
        assert spectag.Tagger(exported).scores(SOUND).shape == (5,)
    finally:
        exported.chmod(0o700)


def test_nothing_is_written_to_it(exported: Path) -> None:
    before = sorted((path.name, path.stat().st_mtime_ns) for path in exported.iterdir())
    spectag.Tagger(exported).scores(SOUND)
    assert sorted((path.name, path.stat().st_mtime_ns) for path in exported.iterdir()) == before


def test_a_newer_version(exported: Path) -> None:
    edit(exported / "engine.json", format=2)
    with pytest.raises(NewerBundle, match=r"engine.json: format 2 is newer than 1"):
        read_artefact(exported)


@pytest.mark.parametrize("name", ["model.onnx", "config.json", "preprocessor_config.json", "spectag.json"])
def test_a_file_that_was_replaced(exported: Path, name: str) -> None:
    (exported / name).write_bytes((exported / name).read_bytes() + b" ")
    with pytest.raises(UnreadableModel, match=f"{name} and engine.json do not belong together"):
        read_artefact(exported)
    (exported / name).unlink()
    with pytest.raises(ModelError, match=name):
        read_artefact(exported)


def test_the_graph_of_another_model(exported: Path, tmp_path: Path) -> None:
    write_artefact(make_bundle(1, frame_head=True), tmp_path / "other", "onnx")
    shutil.copy(tmp_path / "other" / "model.onnx", exported)
    with pytest.raises(UnreadableModel, match=r"model.onnx and engine.json"):
        spectag.Tagger(exported)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"engine": "tensorflow"}, "engine: expected onnx or openvino, got tensorflow"),
        ({"precision": "bf16"}, "precision: expected fp32 or int8, got bf16"),
        ({"files": {"../../model.onnx": "0"}}, "files: expected digests of"),
        ({"files": None}, "files: expected digests of"),
        ({"front_end": 1}, "front_end: expected true or false"),
        ({"format": ...}, "format: expected a positive whole number"),
    ],
)
def test_fields_that_are_damaged(exported: Path, fields: dict, message: str) -> None:
    edit(exported / "engine.json", **fields)
    with pytest.raises(ModelError, match=message):
        read_artefact(exported)


def test_a_graph_that_the_library_cannot_read(exported: Path) -> None:
    from spectag.model.directory import digest_of

    (exported / "model.onnx").write_bytes(b"nothing")
    files = json.loads((exported / "engine.json").read_text())["files"]
    edit(exported / "engine.json", files=files | {"model.onnx": digest_of(exported / "model.onnx")})
    with pytest.raises(UnreadableModel, match=r"model.onnx: ONNX Runtime cannot read it"):
        spectag.Tagger(exported)


def test_its_weights_cannot_be_used(exported: Path) -> None:
    with pytest.raises(NotAModel, match="is an exported model, which tags and is evaluated"):
        spectag.load(exported)
    assert isinstance(open_model("esc10"), Bundle)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "openvino"}, "was exported with engine onnx, not openvino"),
        ({"precision": "bf16"}, "was exported with precision fp32, not bf16"),
        ({"device": "cuda"}, "device must be cpu"),
    ],
)
def test_options_that_it_was_not_exported_for(exported: Path, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        spectag.Tagger(exported, **options)
    assert spectag.Tagger(exported, engine="onnx", precision="fp32", device="cpu").scores(SOUND).shape == (5,)


def test_int8_on_a_processor_that_computes_it_wrongly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spectag.export.write.computes_int8", lambda: True)
    artefact = write_artefact(BUNDLE, tmp_path / "exported", "onnx", "int8")
    old = {"architecture": "x86_64", "avx2": True, "avx512_vnni": False, "avx_vnni": False, "amx_int8": False}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: old, raising=False)
    with pytest.raises(InputError, match="neither VNNI nor AMX"):
        artefact.make_engine()
    for able in ({"avx_vnni": True}, {"architecture": "aarch64"}):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: old | able, raising=False)
        artefact.make_engine()


@pytest.mark.parametrize(
    ("library", "engine", "extra"),
    [("onnxruntime", "onnx", "onnx"), ("onnx", "onnx", "onnx"), ("openvino", "openvino", "openvino")],
)
def test_a_library_that_is_missing(library: str, engine: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match=rf"pip install 'spectag\[{extra}\]'"):
        make_engine(BUNDLE, engine=engine)


def test_jobs_know_the_graph(exported: Path, tmp_path: Path) -> None:
    """Results of one graph are not continued with another."""
    again = write_artefact(BUNDLE, tmp_path / "again", "onnx", front_end=True)
    assert digest_of_model(read_artefact(exported)) == digest_of_model(again)
    other = write_artefact(BUNDLE, tmp_path / "other", "onnx")
    assert digest_of_model(other) != digest_of_model(again) != digest_of_model(BUNDLE)
