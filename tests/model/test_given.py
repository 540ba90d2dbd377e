"""What the caller says about a checkpoint."""

import warnings
from pathlib import Path

import pytest

from spectag.errors import InputError
from spectag.labels import LabelSet
from spectag.model.given import Given, fresh_labels


def test_names_are_those_of_the_options_that_are_given():
    assert Given().names() == []
    assert Given(frames=3, labels=LabelSet(("a",)), num_labels=1).names() == ["frames", "labels", "num_labels"]
    assert Given(stride=[10, 12]).stride == (10, 12)


def test_the_least_that_may_be_given():
    assert Given(stride=(1, 1), frames=1, heads=1, num_labels=1).names() == ["stride", "frames", "heads", "num_labels"]


@pytest.mark.parametrize(("count", "first"), [(35, "backward"), (50, None), (527, None), (3, None)])
def test_names_that_are_guessed_from_their_number(count, first):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        labels = fresh_labels(Given(num_labels=count), Path("deit.pth"))
    assert len(labels) == count
    published = count in (35, 50)
    assert [f"{labels.names[0]}, ... are a guess from num_labels={count}" in str(w.message) for w in caught] == [
        True
    ] * published
    assert first in (None, labels.names[0])
    named = LabelSet(("owl", "fox"))
    assert fresh_labels(Given(labels=named, num_labels=2), Path("deit.pth")) is named


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": (10, 0)}, "stride: expected two positive whole numbers"),
        ({"stride": (10, 10, 10)}, "stride: expected two positive whole numbers"),
        ({"num_labels": 0}, "num_labels: expected a positive whole number"),
        ({"stride": "ab"}, "stride: expected two positive whole numbers"),
        ({"frames": 1.5}, "frames: expected a positive whole number"),
        ({"heads": -1}, "heads: expected a positive whole number"),
        ({"statistics": "mine"}, "statistics: expected one of audioset, esc50, speech-commands; got 'mine'"),
        ({"channels": "max"}, "channels: expected one of mean, sum; got 'max'"),
        ({"window": "kaiser"}, "window: expected one of hamming, hanning; got 'kaiser'"),
        ({"activation": "tanh"}, "activation: expected one of sigmoid, softmax; got 'tanh'"),
        ({"labels": LabelSet(("a",)), "num_labels": 2}, "num_labels is 2, but 1 labels are given"),
    ],
)
def test_values_out_of_their_range_name_the_option(options, message):
    with pytest.raises(InputError, match=f"^{message}"):
        Given(**options)
