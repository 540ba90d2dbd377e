import numpy as np
import torch
from tests.model.small import make_bundle

from spectag.engines.ensemble import EnsembleEngine
from spectag.engines.factory import make_engine
from spectag.engines.pytorch import TorchEngine
from spectag.model.ensemble import Ensemble


def test_the_engine_of_a_bundle_and_of_an_ensemble() -> None:
    inputs = torch.randn(2, 100, 128, generator=torch.Generator().manual_seed(0))
    bundles = [make_bundle(0), make_bundle(1, width=16)]
    engine = make_engine(Ensemble(bundles))
    assert isinstance(engine, EnsembleEngine)
    alone = [make_engine(bundle) for bundle in bundles]
    assert all(isinstance(one, TorchEngine) for one in alone)
    np.testing.assert_allclose(engine.scores(inputs), (alone[0].scores(inputs) + alone[1].scores(inputs)) / 2)


def test_options_reach_every_member() -> None:
    engine = make_engine(Ensemble([make_bundle(0), make_bundle(1)]), precision="bf16")
    assert {member.dtype for member in engine.engines} == {torch.bfloat16}
