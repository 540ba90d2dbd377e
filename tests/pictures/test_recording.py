import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spectag.errors import InputError, SaveError
from spectag.pictures.recording import write_recording
from spectag.pictures.spectrogram import Spectrogram
from spectag.tag.results import ClipTags, Event, Tag, Timeline

RNG = np.random.default_rng(0)
SOUND = Spectrogram(RNG.normal(-40, 10, (600, 128)).astype(np.float32), 6.0)
NASTY = '<script>alert("$x^2$")</script> & \x00\u202e 梟'
TAGS = (Tag("owl", 0.9), Tag(NASTY, 0.4))
EVENTS = (Event("owl", 1.0, 2.5, 0.875), Event(NASTY, 2.0, 5.0, 0.5))
TIMELINE = Timeline(("owl", NASTY), 0.5, RNG.uniform(0, 1, (12, 2)).astype(np.float32))
CLIP = ClipTags(f"in/{NASTY}.wav", 6.0, TAGS, (), EVENTS, TIMELINE)


def test_a_png_of_sensible_size(tmp_path: Path) -> None:
    write_recording(tmp_path / "a.png", CLIP, SOUND)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width == 1760
        assert 500 < picture.height < 1000
        pixels = np.asarray(picture.convert("RGB"))
    assert (pixels[:5] == 255).all()  # dark on light
    assert ((pixels == (0, 0x72, 0xB2)).all(-1)).sum() > 1000  # the first ribbon


def test_an_svg_with_its_labels_as_text_and_nothing_that_runs(tmp_path: Path) -> None:
    write_recording(tmp_path / "a.svg", CLIP, SOUND)
    root = ET.parse(tmp_path / "a.svg").getroot()
    texts = ["".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "owl" in texts
    assert {"8 kHz", "1 kHz", "300 Hz", "time (s)", "6.0 s, 2 events"} <= set(texts)
    assert not list(root.iter("{http://www.w3.org/2000/svg}script"))


def test_a_page_that_says_times_and_scores(tmp_path: Path) -> None:
    write_recording(tmp_path / "a.html", CLIP, SOUND)
    page = (tmp_path / "a.html").read_text("utf-8")
    assert "<script" not in page
    assert "\x00" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;alert" in page
    assert "http://" not in page.replace("http://www.w3.org", "")  # it needs no other file
    assert page.count('class="spot"') == 240
    score = float(TIMELINE.scores[4, 0])
    assert f">{score:.2f} owl ●</text>" in page  # at 2.0 to 2.5 s, within the event
    for cell in ("0:01.00", "0:02.50", "0.88"):
        assert f'<td class="number">{cell}</td>' in page


@pytest.mark.parametrize(
    "clip",
    [
        ClipTags("a.wav", 6.0, ()),
        ClipTags("a.wav", 6.0, TAGS),
        ClipTags("a.wav", 6.0, TAGS, events=()),
        ClipTags(None, 6.0, (), events=EVENTS),
        ClipTags("-", 0.0, TAGS, events=EVENTS, timeline=TIMELINE),
        ClipTags("a.wav", 6.0, TAGS, timeline=Timeline(("owl",), 1.0, np.zeros((0, 1), np.float32))),
    ],
)
@pytest.mark.parametrize("kind", ["png", "svg", "html"])
def test_whatever_there_is_can_be_drawn(clip: ClipTags, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    write_recording(path, clip, SOUND)
    assert path.stat().st_size > 1000


@pytest.mark.parametrize("levels", [np.full((1, 128), -69.0, np.float32), np.zeros((0, 0), np.float32)])
def test_silence_and_nothing_can_be_drawn(levels: np.ndarray, tmp_path: Path) -> None:
    write_recording(tmp_path / "a.png", CLIP, Spectrogram(levels, 6.0))
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_the_same_recording_gives_the_same_file(tmp_path: Path) -> None:
    for kind in ("png", "svg", "html"):
        files = []
        for n in range(2):
            write_recording(tmp_path / f"{n}.{kind}", CLIP, SOUND)
            files.append((tmp_path / f"{n}.{kind}").read_bytes())
        assert files[0] == files[1], kind


def test_names_and_places_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a.gif: expected a name that ends in .png, .svg or .html"):
        write_recording(tmp_path / "a.gif", CLIP, SOUND)
    with pytest.raises(SaveError, match="nowhere"):
        write_recording(tmp_path / "nowhere" / "a.png", CLIP, SOUND)
