import pytest

from spectag.pictures.page import Spot


@pytest.mark.parametrize("x", [0.0, 100.0, 590.0])
def test_words_stay_within_the_picture(x: float) -> None:
    spot = Spot(x, 10.0, 5.0, 90.0, ("0:05", "a label of twenty 0.9"), picture=600.0)
    assert spot.left >= 0
    assert spot.left + spot.wide <= 600
    assert not spot.left < x + 2.5 < spot.left + spot.wide, "not under the pointer"
