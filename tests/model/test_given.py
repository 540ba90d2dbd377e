"""What the caller says about a checkpoint."""

import pytest

from spectag.errors import InputError
from spectag.labels import LabelSet
from spectag.model.given import Given


def test_names_are_those_of_the_options_that_are_given():
    assert Given().names() == []
    assert Given(frames=3, labels=LabelSet(("a",)), num_labels=1).names() == ["frames", "labels", "num_labels"]
    assert Given(stride=[10, 12]).stride == (10, 12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": (10, 0)}, "stride: expected two positive whole numbers"),
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
