"""What the tensors of a weight file show."""

import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from small import TINY, make_bundle, renamed

from spectag.errors import ShapeMismatch
from spectag.labels import LabelSet
from spectag.model.backbone import Backbone, make_card, make_config, measure_backbone, require_axes
from spectag.model.given import Given
from spectag.model.official import OFFICIAL

PATH = Path("a.pth")


def test_measured_sizes_are_the_networks():
    bundle = make_bundle(mlp_ratio=3.5)
    found = {key: tuple(value.shape) for key, value in renamed(bundle, OFFICIAL).items()}
    measured = measure_backbone(found, OFFICIAL, tokens=2, path=PATH)
    assert measured == Backbone(32, 2, 112, 2, 2 + 12 * 9, 1, (16, 16))
    assert measured.patches == 12 * 9
    made = make_config(measured, stride=(10, 10), frames=100, labels=5, heads=2, path=PATH)
    assert made == bundle.network.config


@pytest.mark.parametrize(("width", "heads"), [(768, 12), (192, 3), (32, 2), (16, 1)])
def test_heads_are_64_wide_or_16_in_narrow_networks(width, heads):
    measured = Backbone(width, 1, 4 * width, 2, 110, 1, (16, 16))
    assert make_config(measured, stride=(10, 10), frames=100, labels=5, heads=None, path=PATH).heads == heads


def test_widths_that_were_published_are_no_guess():
    for width in (192, 384, 768, 1024, 128, 256, 16):
        measured = Backbone(width, 1, 4 * width, 2, 110, 1, (16, 16))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            make_config(measured, stride=(10, 10), frames=100, labels=5, heads=None, path=PATH)
        guessed = [f"heads={max(1, width // 64)} is a guess" in str(warning.message) for warning in caught]
        assert guessed == [True] * (width in (128, 256, 16))


@pytest.mark.parametrize("shape", [(), (5, 5), (0,)])
def test_axes_that_are_wrong_name_file_and_tensor(shape):
    with pytest.raises(ShapeMismatch, match=r"^a\.pth: bias: expected shape \[C\], got \["):
        require_axes({"bias": shape}, "bias", "C", PATH)
    assert require_axes({"bias": (1,)}, "bias", "C", PATH) == (1,)


def test_sizes_that_do_not_go_together_name_the_file():
    measured = Backbone(32, 1, 128, 2, 110, 1, (16, 16))
    with pytest.raises(ShapeMismatch, match=r"^a\.pth: width must be a multiple of heads"):
        make_config(measured, stride=(10, 10), frames=100, labels=5, heads=5, path=PATH)


@pytest.mark.parametrize(
    ("outputs", "statistics", "mean"),
    [(527, "audioset", -4.2677393), (50, "esc50", -6.6268077), (35, "speech-commands", -6.845978)],
)
def test_statistics_and_sizes_of_a_card(outputs, statistics, mean):
    config = replace(TINY, labels=outputs, mel_bins=64)
    card = make_card(config, LabelSet.numbered(outputs), "hanning", Given(), "test", PATH)
    assert card.provenance["statistics"] == statistics
    assert (card.front_end.mean, card.front_end.mel_bins, card.front_end.frames) == (mean, 64, 100)


def test_given_statistics_go_before_guessed_ones():
    labels = LabelSet.numbered(5)
    assert make_card(TINY, labels, "hanning", Given(), "test", PATH).front_end.mean == pytest.approx(-4.2677393)
    card = make_card(TINY, labels, "hanning", Given(statistics="esc50"), "test", PATH)
    assert (card.front_end.mean, card.front_end.std) == (-6.6268077, 5.358466)
    assert card.provenance["statistics"] == "esc50"
