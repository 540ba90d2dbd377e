"""What the tensors of a weight file show."""

from pathlib import Path

import pytest
from small import TINY, make_bundle, renamed

from spectag.errors import ShapeMismatch
from spectag.labels import LabelSet
from spectag.model.backbone import Backbone, make_card, make_config, measure_backbone
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


def test_sizes_that_do_not_go_together_name_the_file():
    measured = Backbone(32, 1, 128, 2, 110, 1, (16, 16))
    with pytest.raises(ShapeMismatch, match=r"^a\.pth: width must be a multiple of heads"):
        make_config(measured, stride=(10, 10), frames=100, labels=5, heads=5, path=PATH)


def test_given_statistics_go_before_guessed_ones():
    labels = LabelSet.numbered(5)
    assert make_card(TINY, labels, "hanning", Given(), "test", PATH).front_end.mean == pytest.approx(-4.2677393)
    card = make_card(TINY, labels, "hanning", Given(statistics="esc50"), "test", PATH)
    assert (card.front_end.mean, card.front_end.std) == (-6.6268077, 5.358466)
    assert card.provenance["statistics"] == "esc50"
