import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from PIL import Image

from spectag.pictures.hours import Hours
from spectag.pictures.overview import write_overview
from spectag.tag.results import ClipTags, Event

NASTY = '<b>&"$x$"\x00'


def day() -> Hours:
    paths = [f"x_20260514_{hour:02}0000.wav" for hour in range(0, 24, 2)]
    hours = Hours(paths)
    for n, path in enumerate(paths):
        events = (Event("owl", 0, 60.0 * n, 0.5), Event(NASTY, 5, 6, 0.5))
        hours.add(ClipTags(path, 1800.0, (), events=events))
    return hours


def texts(path: Path) -> list[str]:
    return ["".join(e.itertext()) for e in ET.parse(path).getroot().iter("{http://www.w3.org/2000/svg}text")]


def test_cells_say_the_share_of_the_recorded_time(tmp_path: Path) -> None:
    write_overview(tmp_path / "day.svg", day(), "a garden")
    shown = texts(tmp_path / "day.svg")
    assert {"a garden", "12 recordings, 6:00:00, 2026-05-14", "owl", "12 events", "30:00 recorded", "04:00"} <= set(
        shown
    )
    assert shown.count("0.1") == 12  # 1 of 1800 s in each recorded hour
    assert "37" in shown  # 660 of 1800 s


def test_a_page_with_a_cell_for_each_label_and_hour(tmp_path: Path) -> None:
    write_overview(tmp_path / "day.html", day(), NASTY)
    page = (tmp_path / "day.html").read_text("utf-8")
    assert page.count('class="spot"') == 2 * 24
    assert "heard for 11:00 of 30:00" in page
    assert "nothing recorded" in page
    assert "<b>" not in page
    assert "<script" not in page


@pytest.mark.parametrize("count", [0, 1, 400])
def test_any_number_of_labels(count: int, tmp_path: Path) -> None:
    hours = Hours(["a.wav"])
    hours.add(ClipTags("a.wav", 50.0, (), events=tuple(Event(f"label {n}", 1, 2, 0.5) for n in range(count))))
    for kind in ("png", "html"):
        write_overview(tmp_path / f"a.{kind}", hours, "a")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.height < 2000
    page = (tmp_path / "a.html").read_text("utf-8")
    assert all(f">label {n}</th>" in page for n in range(count))
