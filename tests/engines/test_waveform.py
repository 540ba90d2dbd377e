"""The front end inside of a graph against that of spectag."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.model.small import make_bundle

import spectag
from spectag.audio.fbank import compute_inputs, fbank, normalise, pad_or_cut
from spectag.engines.artefact import make_graph_engine
from spectag.engines.factory import make_engine
from spectag.engines.graph import build_graph, to_bytes

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
runtime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.ogg"))
RANDOM = np.random.default_rng(0)
TONE = np.sin(np.arange(30_000) * 0.3).astype(np.float32)
WAVEFORMS = {
    "silence": np.zeros(16_000, np.float32),
    "one sample": np.ones(1, np.float32),
    "less than a frame": TONE[:399],
    "a frame": TONE[:400],
    "a tone": TONE,
    "noise with an offset": (0.01 * RANDOM.standard_normal(20_000) + 0.5).astype(np.float32),
    "quiet": (1e-4 * RANDOM.standard_normal(20_000)).astype(np.float32),
}


@pytest.fixture(scope="module")
def session() -> object:
    """A graph that gives the inputs of the network, too."""
    graph = build_graph(make_bundle(), front_end=True)
    graph.graph.output.append(onnx.helper.make_tensor_value_info("inputs", onnx.TensorProto.FLOAT, ["b", "t", 128]))
    return runtime.InferenceSession(to_bytes(graph))


@pytest.mark.parametrize("waveform", WAVEFORMS.values(), ids=WAVEFORMS)
def test_inputs(session, waveform: np.ndarray) -> None:
    front_end = make_bundle().front_end
    [found] = session.run(["inputs"], {"waveform": waveform[None]})
    x = fbank(waveform, window=front_end.window)
    wanted = normalise(pad_or_cut(x, max(len(x), front_end.frames)), front_end.mean, front_end.std)
    assert found.shape[1:] == wanted.shape
    # The error of a band is relative to the power of the frame, so it is the power that is compared, not its logarithm.
    power = [np.exp(10.0 * values - 6.0) for values in (found[0], wanted.numpy())]
    np.testing.assert_allclose(power[0], power[1], rtol=2e-4, atol=1e-6 * power[1].max() + 1e-12)


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
@pytest.mark.parametrize("clip", EXAMPLES[:3], ids=lambda clip: clip.stem)
def test_scores_of_real_clips(engine: str, clip: Path) -> None:
    pytest.importorskip({"onnx": "onnxruntime"}.get(engine, engine), reason=f"the extra {engine} is not installed")
    bundle = spectag.load("esc10")
    graph = to_bytes(build_graph(bundle, front_end=True))
    run = make_graph_engine(engine, bundle.card, graph, "fp32", waveforms=True).run
    waveform = np.asarray(spectag.read(clip), np.float32)
    for samples in (300, 9_000, 41_200):  # the window has 41,200
        part = waveform[20_000:][:samples]
        wanted = make_engine(bundle).scores(compute_inputs(part, bundle.front_end)[None])
        np.testing.assert_allclose(run(np.stack([part, part]))["scores"], np.repeat(wanted, 2, 0), atol=1e-5, rtol=0)


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_the_front_end_can_be_taken_off(engine: str) -> None:
    pytest.importorskip({"onnx": "onnxruntime"}.get(engine, engine), reason=f"the extra {engine} is not installed")
    bundle = make_bundle(frame_head=True)
    cut = make_graph_engine(engine, bundle.card, to_bytes(build_graph(bundle, front_end=True)), "fp32")
    inputs = torch.randn(2, 130, 128)
    np.testing.assert_array_equal(cut.scores(inputs), make_engine(bundle, engine=engine).scores(inputs))
    assert cut.score_frames(inputs)[1].shape == (2, 12, 5)
