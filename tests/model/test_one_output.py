"""A model with a single output: a detector, whose score is a sigmoid.

Kind of fault: the softmax of one number is 1, so whatever names softmax (a bundle, a ``config.json``, the caller, or a
default) would make the model find its class in every recording, silence included.
"""

import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from small import edit, make_bundle, renamed

from spectag.engines.factory import make_engine
from spectag.errors import ModelError, NotAModel, SpectagWarning
from spectag.labels import LabelSet
from spectag.model.card import Card
from spectag.model.loading import load
from spectag.model.official import OFFICIAL
from spectag.tag.tagger import Tagger


@pytest.fixture
def detector():
    bundle = make_bundle(labels=1)
    return replace(bundle, card=replace(bundle.card, labels=LabelSet(("owl",))))


def as_transformers_writes_it(path, **config):
    (path / "spectag.json").unlink()
    edit(path / "config.json", **{"spectag": ..., **config})
    return path


def require_sigmoid(bundle) -> None:
    inputs = torch.randn(2, 100, 128)
    with torch.inference_mode():
        logits = bundle.network(inputs)
    assert bundle.activation == "sigmoid"
    expected = logits.sigmoid().numpy()
    assert not np.allclose(expected, 1)
    np.testing.assert_allclose(make_engine(bundle).scores(inputs), expected, atol=1e-6)


def test_a_card_never_has_the_softmax_of_one_output(detector):
    card = replace(detector.card, activation="softmax", activation_from="anything")
    assert isinstance(card, Card)
    assert (card.activation, card.activation_from) == (
        "sigmoid",
        "the only one for a single output, whose softmax is always 1",
    )
    require_sigmoid(detector)


def test_a_bundle_that_names_softmax(detector, tmp_path):
    path = detector.save(tmp_path / "bundle")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        require_sigmoid(load(path))
    edit(path / "spectag.json", activation="softmax")
    with pytest.warns(SpectagWarning, match=r"spectag\.json: activation: the softmax of a single output is always 1"):
        require_sigmoid(load(path))


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        ("single_label_classification", r"config\.json: problem_type: the softmax of a single output is always 1"),
        (..., r"problem_type is missing: the activation sigmoid is a guess for 1 label: give activation="),
        ("multi_label_classification", None),
    ],
)
def test_a_directory_of_transformers(detector, tmp_path, problem, said):
    path = as_transformers_writes_it(detector.save(tmp_path / "bundle"), problem_type=problem)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        require_sigmoid(load(path))
    assert [re.search(said or "", str(warning.message)) is not None for warning in caught] == [True] * bool(said)


def test_what_the_caller_says(detector, tmp_path):
    path = detector.save(tmp_path / "bundle")
    with pytest.warns(SpectagWarning, match="activation=: the softmax of a single output is always 1"):
        require_sigmoid(load(path, activation="softmax"))


@pytest.mark.filterwarnings("ignore::spectag.errors.SpectagWarning")
def test_a_file_of_weights(detector, tmp_path):
    torch.save(renamed(detector, OFFICIAL), tmp_path / "detector.pth")
    require_sigmoid(load(tmp_path / "detector.pth", stride=(10, 10), frames=100, heads=2))


def test_it_tags_and_tells_silence_from_sound(detector):
    sound, other = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 16_000)).astype(np.float32)
    scores = [float(tags.tags[0].score) for tags in map(Tagger(detector).tag, (sound, other * 0.01))]
    assert len(set(scores)) == 2
    assert all(0 < score < 1 for score in scores)


@pytest.mark.parametrize("labels", [1, 5])
def test_a_regression_head_is_refused_by_name(tmp_path, labels):
    """Kind of fault: a head that predicts numbers, a loudness for example, whose numbers would be shown as scores."""
    path = as_transformers_writes_it(make_bundle(labels=labels).save(tmp_path / "b"), problem_type="regression")
    with pytest.raises(NotAModel, match=r"config\.json: problem_type is regression: this head predicts numbers"):
        load(path)


@pytest.mark.parametrize("problem", ["token_classification", 7, ["regression"]])
def test_another_kind_of_head_is_refused_too(tmp_path, problem):
    """It used to be passed over as if nothing was said."""
    path = as_transformers_writes_it(make_bundle().save(tmp_path / "b"), problem_type=problem)
    with pytest.raises(ModelError, match=r"config\.json: problem_type: expected multi_label_classification or single"):
        load(path)
