"""The graph of a network, in ONNX Runtime and OpenVINO, against PyTorch."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from tests.model.small import make_bundle

from spectag.engines.ensemble import EnsembleEngine
from spectag.engines.factory import make_engine
from spectag.engines.graph import build_graph, to_bytes
from spectag.engines.padded import PaddedEngine
from spectag.errors import InputError, ShapeMismatch, SpectagWarning
from spectag.model.ensemble import Ensemble

pytest.importorskip("onnx", reason="the extra onnx is not installed")
ENGINES = ["onnx", "openvino"]
GEOMETRIES = {
    "squares": {},
    "one token": {"tokens": 1},
    "frames": {"frame_head": True},
    "columns": {"patch": (128, 2), "stride": (128, 2), "frame_head": True, "tokens": 1},
    "one layer": {"depth": 1, "patch": (128, 8), "stride": (64, 4)},
}
CLOSE = {"atol": 1e-5, "rtol": 0}


def draw(batch: int, frames: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, frames, 128, generator=torch.Generator().manual_seed(seed))


def require(engine: str) -> None:
    pytest.importorskip({"onnx": "onnxruntime"}.get(engine, engine), reason=f"the extra {engine} is not installed")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("fields", GEOMETRIES.values(), ids=GEOMETRIES)
def test_any_length_and_batch(engine: str, fields: dict) -> None:
    """From one patch to two windows: positions are cut from the centre, or interpolated."""
    require(engine)
    bundle = make_bundle(**fields)
    config = bundle.card.config
    ours, theirs = make_engine(bundle), make_engine(bundle, engine=engine)
    for frames in (config.patch[1], config.patch[1] + config.stride[1], 57, 100, 101, 200):
        for batch in (1, 9):
            inputs = draw(batch, frames)
            wanted = ours.score_features(inputs, frames=config.frame_head)
            found = theirs.score_features(inputs, frames=config.frame_head)
            for a, b in zip(wanted, found, strict=True):
                assert a.shape == b.shape
                assert b.dtype == np.float32
                np.testing.assert_allclose(a, b, **CLOSE, err_msg=f"{frames} frames, batch of {batch}")
    np.testing.assert_array_equal(theirs.scores(inputs), found[0])
    np.testing.assert_array_equal(theirs.embed(inputs), found[1])


@given(
    patch=st.tuples(st.integers(1, 40), st.integers(1, 12)),
    stride=st.tuples(st.integers(1, 40), st.integers(1, 12)),
    tokens=st.integers(1, 2),
    mel_bins=st.sampled_from([40, 64]),
    frames=st.integers(12, 60),
    more=st.integers(0, 60),
    frame_head=st.booleans(),
)
@settings(max_examples=12)
def test_any_geometry(patch, stride, tokens, mel_bins, frames, more, frame_head) -> None:
    require("onnx")
    bundle = make_bundle(
        patch=patch, stride=stride, tokens=tokens, mel_bins=mel_bins, frames=frames, frame_head=frame_head, width=16
    )
    inputs = torch.randn(2, patch[1] + more, mel_bins, generator=torch.Generator().manual_seed(0))
    found = make_engine(bundle, engine="onnx").score_features(inputs, frames=frame_head)
    for a, b in zip(make_engine(bundle).score_features(inputs, frames=frame_head), found, strict=True):
        np.testing.assert_allclose(a, b, **CLOSE)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_ensemble_is_one_graph(engine: str) -> None:
    require(engine)
    model = Ensemble([make_bundle(0, frame_head=True), make_bundle(1, width=16, depth=1, frame_head=True)])
    ours, theirs, inputs = make_engine(model), make_engine(model, engine=engine), draw(3, 100)
    np.testing.assert_allclose(theirs.scores(inputs), ours.scores(inputs), **CLOSE)
    np.testing.assert_allclose(theirs.embed(inputs), ours.embed(inputs), **CLOSE)
    np.testing.assert_allclose(theirs.score_frames(inputs)[1], ours.score_frames(inputs)[1], **CLOSE)


def test_engines_of_any_kind_form_an_ensemble() -> None:
    require("onnx")
    bundle, inputs = make_bundle(), draw(2, 100)
    mixed = EnsembleEngine([make_engine(bundle), make_engine(bundle, engine="onnx")])
    np.testing.assert_allclose(mixed.scores(inputs), make_engine(bundle).scores(inputs), **CLOSE)


@pytest.mark.parametrize("engine", ENGINES)
def test_threads_get_what_one_gets(engine: str) -> None:
    require(engine)
    run = make_engine(make_bundle(), engine=engine).scores
    batches = [draw(1 + seed % 3, 40 + 10 * seed, seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        for alone, together in zip(map(run, batches), pool.map(run, batches), strict=True):
            np.testing.assert_array_equal(alone, together)


@pytest.mark.parametrize("engine", ENGINES)
def test_neighbours_in_a_batch_do_not_matter(engine: str) -> None:
    """A job that is resumed has other batches and the same scores."""
    require(engine)
    padded, inputs = PaddedEngine(make_engine(make_bundle(), engine=engine), 4), draw(6, 100)
    together = padded.scores(inputs)
    for place in range(6):
        np.testing.assert_array_equal(padded.scores(inputs[place:][:1]), together[place : place + 1])


def test_many_tokens_are_computed_clip_by_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    require("onnx")
    run, inputs = make_engine(make_bundle(frame_head=True), engine="onnx"), draw(5, 100)
    wanted = run.score_features(inputs, frames=True)
    monkeypatch.setattr("spectag.engines.onnx.ATTENTION", 0)
    for a, b in zip(wanted, run.score_features(inputs, frames=True), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_openvino_says_where_there_is_no_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    require("openvino")
    monkeypatch.setattr("spectag.engines.openvino.computes_bf16", lambda _: False)
    with pytest.warns(SpectagWarning, match="no bf16 arithmetic: OpenVINO computes in fp32"):
        make_engine(make_bundle(), engine="openvino", precision="bf16")


def test_openvino_computes_in_fp32_unless_bf16_is_asked_for() -> None:
    require("openvino")
    bundle, inputs = make_bundle(), draw(4, 200)
    wanted = make_engine(bundle).scores(inputs)
    exact, coarse = (
        np.abs(make_engine(bundle, engine="openvino", precision=precision).scores(inputs) - wanted).max()
        for precision in (None, "bf16")
    )
    assert exact < 1e-5
    assert coarse < 0.1  # as PyTorch in bf16, with weights that are far larger than those of trained networks


@pytest.mark.parametrize("engine", ENGINES)
def test_inputs_that_do_not_fit(engine: str) -> None:
    require(engine)
    run = make_engine(make_bundle(), engine=engine)
    with pytest.raises(ShapeMismatch, match="15 frames are shorter than one patch of 16"):
        run.scores(draw(1, 15))
    with pytest.raises(InputError, match=r"expected inputs \[B, T, 128\].*got \[1, 100, 64\]"):
        run.scores(torch.zeros(1, 100, 64))
    with pytest.raises(InputError, match="no frame head"):
        run.score_frames(draw(1, 100))
    with pytest.raises(InputError, match="no frame head"):
        run.score_features(draw(1, 100), frames=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "onnx", "precision": "bf16"}, "precision must be fp32 or int8 for onnx; got 'bf16': use openvino"),
        ({"engine": "openvino", "precision": "int8"}, "spectag export"),
        ({"precision": "int8"}, "spectag export"),
        ({"engine": "onnx", "device": "cuda"}, "device must be cpu for the engine onnx"),
        ({"engine": "tensorflow"}, "engine must be one of torch, openvino, onnx; got 'tensorflow'"),
    ],
)
def test_options_that_an_engine_lacks(options: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_engine(make_bundle(), **options)


def test_a_graph_is_valid_and_says_what_it_needs() -> None:
    import onnx

    bundle = make_bundle(frame_head=True)
    for front_end in (False, True):
        graph = build_graph(bundle, front_end)
        onnx.checker.check_model(graph, full_check=True)
    names = [output.name for output in graph.graph.output]
    assert names == ["scores", "embedding", "frame_scores"]
    facts = {fact.key: fact.value for fact in graph.metadata_props}
    assert facts["activation"] == "softmax"
    assert facts["window_samples"] == str(99 * 160 + 400)
    assert '"class 4"' in facts["labels"]


def test_a_graph_that_no_onnx_file_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spectag.engines.graph.LARGEST", 1000)
    with pytest.raises(InputError, match="more than 2 GiB"):
        to_bytes(build_graph(make_bundle()))
