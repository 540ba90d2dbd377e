"""Exports: what is written, and when nothing is."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.model.small import make_bundle

from spectag.engines.factory import make_engine
from spectag.errors import DataError, InputError, MissingExtra, SaveError
from spectag.export.agreement import make_reference
from spectag.export.int8 import stays_in_float
from spectag.export.layers import list_layers, rank_layers, rounded
from spectag.export.samples import read_samples
from spectag.export.write import Plan, export, write_artefact
from spectag.model.device import computes_int8
from spectag.model.ensemble import Ensemble

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
needs_int8 = pytest.mark.skipif(not computes_int8(), reason="this processor computes int8 wrongly")
BUNDLE = make_bundle(frame_head=True)
SAMPLES, _ = read_samples([np.random.default_rng(0).standard_normal(30_000).astype(np.float32) * 0.1], BUNDLE.front_end)


def test_an_export_with_its_agreement(tmp_path: Path) -> None:
    artefact, agreement = export(BUNDLE, tmp_path / "out", Plan("onnx", front_end=True), SAMPLES)
    assert artefact.folder == tmp_path / "out"
    kept = json.loads((artefact.folder / "agreement.json").read_text())
    assert kept["loss"] == agreement.loss < 1e-5
    assert kept["front_end"] == agreement.front_end < 1e-4
    assert kept["frames"] < 1e-4
    assert kept["max_loss"] == 0.005


@needs_int8
@pytest.mark.parametrize("front_end", [False, True])
def test_int8(front_end: bool, tmp_path: Path) -> None:
    artefact, agreement = export(BUNDLE, tmp_path / "out", Plan("onnx", "int8", front_end), SAMPLES, max_loss=1)
    assert 0 < agreement.loss < 0.2
    graph = onnx.load(artefact.folder / "model.onnx").graph
    kinds = {node.name: node.op_type for node in graph.node}
    assert sum(kind == "MatMulInteger" for kind in kinds.values()) == 2 * 4 + 2  # two layers and two heads
    assert kinds.get("front_end.mel") == ("MatMul" if front_end else None)
    inputs = SAMPLES[0].inputs[0][None]
    difference = np.abs(artefact.make_engine().scores(inputs) - make_engine(BUNDLE).scores(inputs)).max()
    assert difference <= agreement.largest + 1e-6


@needs_int8
def test_int8_does_not_depend_on_neighbours(tmp_path: Path) -> None:
    """ONNX Runtime gives the activations of a whole batch one scale."""
    engine = write_artefact(BUNDLE, tmp_path / "out", "onnx", "int8").make_engine()
    inputs = torch.randn(5, 100, 128)
    inputs[3] *= 10
    for together, alone in zip(engine.score_frames(inputs), engine.score_frames(inputs[:1]), strict=True):
        np.testing.assert_array_equal(together[:1], alone)


@needs_int8
def test_a_loss_that_is_too_large_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(
        SaveError, match=r"not written: the loss of .* is above the allowed 1e-07: most is lost in \w+\."
    ):
        export(BUNDLE, tmp_path / "out", Plan("onnx", "int8"), SAMPLES, max_loss=1e-7)
    assert list(tmp_path.iterdir()) == []


@needs_int8
def test_layers_stay_in_float_until_the_loss_is_allowed(tmp_path: Path) -> None:
    seen: list[tuple[float, int]] = []
    plan = Plan("onnx", "int8")
    artefact, agreement = export(
        BUNDLE,
        tmp_path / "out",
        plan,
        SAMPLES,
        max_loss=1e-5,
        keep_float=True,
        watch=lambda agreement, kept: seen.append((agreement.loss, len(kept))),
    )
    assert agreement.loss <= 1e-5 < seen[0][0]
    assert [kept for _, kept in seen] == [0, 1, 2, 4, 8, 9][: len(seen)]
    assert len(artefact.kept) == seen[-1][1]
    products = {node.name for node in onnx.load(artefact.folder / "model.onnx").graph.node if node.op_type == "MatMul"}
    for layer in artefact.kept:
        assert any(name == layer or name.startswith(f"{layer}.") for name in products), layer


def test_the_layers_of_a_graph_have_the_names_of_those_of_the_network() -> None:
    from spectag.engines.graph import build_graph

    for model in (make_bundle(), Ensemble([make_bundle(0), make_bundle(1)])):
        members = model.members if isinstance(model, Ensemble) else [model]
        names = {node.name for node in build_graph(model).graph.node}
        for number, member in enumerate(members):
            prefix = f"member-{number}." if len(members) > 1 else ""
            for name, _, _ in list_layers(member.network):
                assert any(stays_in_float(node, [prefix + name]) for node in names), name


def test_ranking_leaves_the_model_as_it_was() -> None:
    before = {name: value.clone() for name, value in BUNDLE.network.state_dict().items()}
    ranked = rank_layers(BUNDLE, make_reference(BUNDLE.card, make_engine(BUNDLE), SAMPLES))
    assert len(ranked) == 1 + 2 * 4 + 1
    assert [change for _, change in ranked] == sorted((change for _, change in ranked), reverse=True)
    assert all(change > 0 for _, change in ranked)
    inputs = torch.stack(SAMPLES[0].inputs)
    wanted = make_engine(BUNDLE).scores(inputs)
    for name, layer, entrance in list_layers(BUNDLE.network):
        with rounded(layer, entrance):  # the whole network, and not only what comes behind the layer
            change = np.abs(make_engine(BUNDLE).scores(inputs) - wanted).max(1).mean()
        assert dict(ranked)[name] == pytest.approx(change, abs=1e-6)
    for name, value in BUNDLE.network.state_dict().items():
        torch.testing.assert_close(value, before[name], atol=0, rtol=0)


def test_rounding_is_that_of_int8() -> None:
    layer = torch.nn.Linear(64, 8)
    x = torch.randn(5, 64)
    exact = layer(x)
    with rounded(layer, layer):
        coarse = layer(x)
        steps = layer.weight / (layer.weight.abs().amax(1, keepdim=True) / 127)
        torch.testing.assert_close(steps, steps.round(), atol=1e-4, rtol=0)
    assert 0 < (coarse - exact).abs().max() < 0.1
    torch.testing.assert_close(layer(x), exact, atol=0, rtol=0)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (("onnx", "bf16"), "precision must be fp32 or int8 for onnx; got 'bf16': use openvino"),
        (("openvino", "bf16", True), "a spectrogram in bf16 is too coarse"),
    ],
)
def test_plans_that_are_impossible(plan: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Plan(*plan)


def test_int8_is_refused_where_it_would_be_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spectag.export.write.computes_int8", lambda: False)
    with pytest.raises(InputError, match="neither VNNI nor AMX"):
        Plan("onnx", "int8")


def test_bf16_is_refused_where_it_would_be_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spectag.export.write.computes_bf16", lambda _: False)
    with pytest.raises(InputError, match="so nothing could be compared"):
        Plan("openvino", "bf16")


def test_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="at least one recording"):
        export(BUNDLE, tmp_path / "out", Plan("onnx"), [])
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with pytest.raises(SaveError, match="already exists"):
        write_artefact(BUNDLE, tmp_path / "taken", "onnx")
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(MissingExtra, match=r"spectag\[openvino\]"):
        write_artefact(BUNDLE, tmp_path / "out", "openvino")
    assert not (tmp_path / "out").exists()


@needs_int8
def test_int8_for_openvino_needs_nncf_and_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    with pytest.raises(InputError, match="needs recordings to calibrate with"):
        write_artefact(BUNDLE, tmp_path / "out", "openvino", "int8")
    monkeypatch.setitem(__import__("sys").modules, "nncf", None)
    with pytest.raises(MissingExtra, match=r"spectag\[nncf\]"):
        write_artefact(BUNDLE, tmp_path / "out", "openvino", "int8", samples=SAMPLES)
    assert list(tmp_path.iterdir()) == []


@needs_int8
@pytest.mark.parametrize("front_end", [False, True])
def test_int8_by_nncf(front_end: bool, tmp_path: Path) -> None:
    pytest.importorskip("nncf", reason="the extra nncf is not installed")
    plan = Plan("openvino", "int8", front_end)
    artefact, agreement = export(BUNDLE, tmp_path / "out", plan, SAMPLES, max_loss=1)
    assert 0 < agreement.loss < 0.3
    import openvino

    graph = openvino.Core().read_model(artefact.folder / "model.xml")
    ops = {node.get_friendly_name(): node for node in graph.get_ordered_ops()}
    assert any(node.get_type_name() == "FakeQuantize" for node in ops.values())
    if front_end:
        sources = [ops["front_end.mel"].input_value(place).get_node().get_type_name() for place in (0, 1)]
        assert "FakeQuantize" not in sources
