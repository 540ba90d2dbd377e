"""The digest of a model covers all that scores depend on, and nothing else."""

from dataclasses import replace

import numpy as np
import torch

from spectag.audio.front_end import FrontEnd
from spectag.jobs.run import digest_of_model
from spectag.labels import LabelSet
from spectag.model.bundle import Bundle
from spectag.model.card import Card
from spectag.model.config import ASTConfig
from spectag.model.ensemble import Ensemble
from spectag.model.network import AST
from spectag.model.unknown import Unknown


def make_bundle(seed: int = 0) -> Bundle:
    torch.manual_seed(seed)
    network = AST(ASTConfig(width=32, depth=1, heads=2, frames=50, labels=2))
    return Bundle(Card(network.config, FrontEnd(frames=50), LabelSet(("owl", "fox")), "softmax"), network)


def test_what_counts() -> None:
    bundle = make_bundle()
    card, same = bundle.card, make_bundle()
    digest = digest_of_model(bundle)
    assert digest_of_model(same) == digest
    for field, value in (("provenance", {"by": "me"}), ("source", "elsewhere"), ("format", "other")):
        assert digest_of_model(Bundle(replace(card, **{field: value}), same.network)) == digest
    others = [
        make_bundle(seed=1),
        *(
            Bundle(replace(card, **{field: value}), same.network)
            for field, value in (
                ("labels", LabelSet(("fox", "owl"))),
                ("activation", "sigmoid"),
                ("front_end", FrontEnd(frames=50, mean=-5.0)),
                ("front_end", FrontEnd(frames=50, window="hanning")),
                ("thresholds", (0.25, 0.75)),
                ("event_thresholds", {"change": (0.25, 0.75)}),
                ("event_thresholds", {"threshold": (0.25, 0.75)}),
                ("unknown", Unknown(np.eye(32), np.zeros((2, 32)), np.linspace(0, 0.5, 99), rate=0.05)),
                ("unknown", Unknown(np.eye(32), np.zeros((2, 32)), np.linspace(0, 0.6, 99), rate=0.05)),
            )
        ),
        Ensemble((bundle, make_bundle(seed=1))),
        card,
    ]
    digests = [digest_of_model(other) for other in others]
    assert len({digest, *digests}) == len(others) + 1


def test_one_weight_counts() -> None:
    bundle, other = make_bundle(), make_bundle()
    with torch.no_grad():
        next(iter(other.network.parameters())).view(-1)[0] += 1e-7
    assert digest_of_model(bundle) != digest_of_model(other)
