import pytest
from matplotlib.figure import Figure

from spectag.pictures.drawing import TICKS, mark_time


@pytest.mark.parametrize("seconds", [0.01, 0.3, 1, 5, 59, 61, 600, 3599, 7200, 36_000, 86_400, 1e6, 3e7])
def test_few_ticks_within_the_recording(seconds: float) -> None:
    axes = Figure().add_subplot()
    mark_time(axes, seconds)
    ticks = list(axes.get_xticks())
    assert ticks[0] == 0
    assert 1 <= len(ticks) <= TICKS + 1
    assert ticks[-1] <= seconds + 1e-9
    texts = [axes.xaxis.get_major_formatter()(tick, 0) for tick in ticks]
    assert len(set(texts)) == len(texts)
