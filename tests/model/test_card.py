"""The facts of a model."""

import json
from dataclasses import replace

import pytest
from small import TINY, make_bundle, with_facts

from spectag.audio.front_end import FrontEnd
from spectag.errors import InputError, LabelMismatch, ShapeMismatch
from spectag.labels import LabelSet
from spectag.model.card import UNTRAINED
from spectag.model.loading import load


def test_describe_is_plain_and_complete(saved):
    facts = load(saved).describe()
    json.dumps(facts)
    assert facts["source"] == str(saved)
    assert facts["format"] == "spectag bundle, format 1"
    assert facts["parameters"] == sum(p.numel() for p in load(saved).network.parameters())
    assert facts["labels"] == {"count": 5, "first": [f"class {n}" for n in range(5)], "ids": True}
    assert facts["activation"] == {"name": "softmax", "from": "spectag.json"}
    assert facts["front_end"]["window"] == "hanning"
    assert facts["network"]["grid"] == (12, 9)
    assert make_bundle().describe()["source"] == "built in memory"
    many = make_bundle(labels=9).describe()["labels"]
    assert (many["count"], len(many["first"])) == (9, 5)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"labels": LabelSet(("a",))}, LabelMismatch, "1 labels do not fit a head of 5"),
        ({"activation": "tanh"}, InputError, "activation must be one of sigmoid, softmax; got 'tanh'"),
        ({"front_end": FrontEnd(frames=99)}, ShapeMismatch, "frames of the front end is 99, of the network 100"),
        ({"front_end": FrontEnd(frames=100, mel_bins=64)}, ShapeMismatch, "mel_bins of the front end is 64, .* 128"),
        ({"config": replace(TINY, labels=4)}, LabelMismatch, "5 labels do not fit a head of 4"),
    ],
)
def test_facts_that_do_not_fit(change, error, message):
    with pytest.raises(error, match=message):
        replace(make_bundle().card, **change)


def test_a_head_is_untrained_until_training_says_where_it_comes_from():
    bundle = make_bundle()
    assert not bundle.card.untrained
    assert with_facts(bundle, provenance={"source": "deit.pth", **UNTRAINED, "x": {"a": [1]}}).card.untrained
