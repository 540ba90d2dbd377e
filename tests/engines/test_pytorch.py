"""The engine in PyTorch: the bundle's own numbers, and a bundle that is left as it is."""

import numpy as np
import pytest
import torch
from tests.model.small import make_bundle, with_facts

from spectag.engines.pytorch import TorchEngine
from spectag.errors import InputError, SpectagWarning
from spectag.model.bundle import Bundle

INPUTS = torch.randn(3, 100, 128, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def bundle() -> Bundle:
    return make_bundle()


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_scores_are_the_activated_logits(bundle: Bundle, activation: str) -> None:
    with torch.no_grad():
        logits = bundle.network(INPUTS).double().numpy()
    wanted = 1 / (1 + np.exp(-logits))
    if activation == "softmax":
        wanted = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    scores = TorchEngine(with_facts(bundle, activation=activation)).scores(INPUTS)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, wanted, atol=1e-6)


def test_features_are_the_networks(bundle: Bundle) -> None:
    with torch.no_grad():
        wanted = bundle.network.embed(INPUTS).numpy()
    np.testing.assert_array_equal(TorchEngine(bundle).embed(INPUTS), wanted)


def test_the_network_is_not_copied_without_need(bundle: Bundle) -> None:
    assert TorchEngine(bundle).network is bundle.network


def test_bf16_is_close_and_leaves_the_bundle_alone(bundle: Bundle, recwarn: pytest.WarningsRecorder) -> None:
    engine = TorchEngine(bundle, precision="bf16")
    assert {p.dtype for p in engine.network.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in bundle.network.parameters()} == {torch.float32}
    scores = engine.scores(INPUTS)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, TorchEngine(bundle).scores(INPUTS), atol=0.05)


def test_a_network_in_training_is_copied(bundle: Bundle) -> None:
    bundle.network.train()
    assert not TorchEngine(bundle).network.training
    assert bundle.network.training


def test_bf16_without_the_instructions_is_a_warning(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True}, raising=False)
    with pytest.warns(SpectagWarning, match="fp32 is several times faster"):
        TorchEngine(bundle, precision="bf16")


@pytest.mark.parametrize("options", [{"precision": "fp16"}, {"device": "gpu"}])
def test_unknown_options(bundle: Bundle, options: dict[str, str]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        TorchEngine(bundle, **options)
