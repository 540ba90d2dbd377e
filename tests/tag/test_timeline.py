"""A timeline says of each moment what the windows around it say, wherever the windows lie."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings, strategies as st
from sounds import noise

from spectag.audio.front_end import FrontEnd
from spectag.audio.read import Recording
from spectag.errors import FileError, InputError, SaveError
from spectag.labels import LabelSet
from spectag.model.bundle import Bundle
from spectag.model.card import Card
from spectag.model.config import ASTConfig
from spectag.tag.detector import Detector
from spectag.tag.events import EventRule, find_events
from spectag.tag.results import ClipTags, Timeline
from spectag.tag.tagger import Tagger
from spectag.tag.timeline import OverlapAdd

RATE = 16_000
WINDOW = 200  # frames


class Loudness:
    """An engine whose frame scores are known: how loud each patch of the inputs is."""

    def __init__(self, patch: int, stride: int) -> None:
        self.patch, self.stride = patch, stride

    def scores(self, inputs: torch.Tensor) -> np.ndarray:
        return self.score_frames(inputs)[0]

    def score_frames(self, inputs: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        loud = (inputs.mean(2) > 0).float()  # [B, T]
        frames = loud.unfold(1, self.patch, self.stride).mean(2)[:, :, None].numpy()
        return frames.mean(1), frames

    def embed(self, inputs: torch.Tensor) -> np.ndarray:
        return inputs.mean(1).numpy()


def loudness(stride: int = 10, frame_head: bool = True) -> Tagger:
    config = ASTConfig(frames=WINDOW, labels=1, patch=(128, stride), stride=(128, stride), frame_head=frame_head)
    # Noise of the amplitude below has an fbank around -1, and a hundredth of it around -10.
    card = Card(config, FrontEnd(frames=WINDOW, mean=-6.0), LabelSet(("loud",)), "sigmoid")
    return Tagger(card, engine=Loudness(stride, stride))


def bursts(total: float, *spans: tuple[float, float]) -> np.ndarray:
    """Faint noise, and loud noise in the given seconds."""
    waveform = noise(round(total * RATE)) * 0.01
    for first, last in spans:
        waveform[round(first * RATE) : round(last * RATE)] *= 100
    return waveform


SPANS = ((1.0, 2.5), (4.2, 4.8), (7.0, 9.0))


@pytest.mark.parametrize("stride", [8, 10, 16])
@pytest.mark.parametrize("hop", [None, 0.3, 0.77, 2.0])
def test_onsets_and_offsets_are_those_of_the_sound(stride: int, hop: float | None) -> None:
    """Within one step, wherever the windows begin: no window leaves a seam."""
    found = Detector(loudness(stride), EventRule(smooth=0.2), hop).detect(bursts(10.0, *SPANS))
    assert found.events is not None
    times = [(event.onset, event.offset) for event in found.events]
    assert np.abs(np.array(times) - SPANS).max() <= stride / 100


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 200_000), st.sampled_from([None, 0.25, 0.9]), st.booleans())
def test_rows_cover_the_recording(samples: int, hop: float | None, frame_head: bool) -> None:
    detector = Detector(loudness(frame_head=frame_head), hop=hop)
    clip = detector.detect(noise(samples), timeline=True)
    assert clip.timeline is not None
    assert len(clip.timeline.scores) == max(1, np.ceil(round(samples / RATE / detector.step, 6)))
    assert np.isfinite(clip.timeline.scores).all()
    assert 0 <= clip.timeline.scores.min() <= clip.timeline.scores.max() <= 1


@pytest.mark.parametrize("cut", [3.0, 4.512, 5.0001, 7.77])
def test_a_recording_cut_in_two_has_the_same_timeline(cut: float) -> None:
    detector = Detector(loudness(), EventRule(smooth=0.2))
    waveform = bursts(10.0, *SPANS)
    whole = detector.detect(waveform, timeline=True).timeline
    parts = [waveform[: round(cut * RATE)], waveform[round(cut * RATE) :]]
    first, second = (detector.detect(part, timeline=True).timeline for part in parts)
    assert whole is not None
    assert first is not None
    assert second is not None
    # More than a window from the cut the windows are the same.
    count = int((cut - WINDOW / 100) / detector.step)
    np.testing.assert_allclose(first.scores[:count], whole.scores[:count], atol=1e-6)
    # Elsewhere they begin up to half a step earlier or later, which moves the edges of sounds as far.
    for part, start in ((first, 0.0), (second, cut)):
        again = np.interp(whole.times, part.times + start, part.scores[:, 0])
        here = (np.abs(whole.times - cut) > 0.1) & (whole.times >= start) & (whole.times <= part.times[-1] + start)
        difference = np.abs(again - whole.scores[:, 0])[here]
        assert difference.sum() < 0.6 * 2 * len(SPANS)


def test_a_row_is_the_weighted_mean_of_its_windows() -> None:
    """The formula, for window scores: sum of w(t) s over the windows around t, divided by the sum of w(t)."""
    tagger, hop = loudness(frame_head=False), 0.5
    waveform = bursts(8.0, *SPANS[:2])
    windows = tagger.score_windows(waveform, hop)
    found = Detector(tagger, hop=hop).detect(waveform, timeline=True).timeline
    assert found is not None
    middles = (np.arange(len(found.scores)) + 0.5) * 50
    offsets = middles[:, None] - windows.starts
    weights = np.where((offsets >= 0) & (offsets < WINDOW), (1 - np.abs(offsets / WINDOW * 2 - 1)).clip(1e-3), 0)
    weights *= windows.sound
    np.testing.assert_allclose(found.scores[:, 0], (weights * windows.scores[:, 0]).sum(1) / weights.sum(1), atol=1e-6)


def test_digital_silence_has_no_events(tagger: Tagger) -> None:
    """Whatever a network says of silence: within a recording, and throughout."""
    waveform = noise(160_000)
    waveform[48_000:112_000] = 0
    clip = Detector(tagger, EventRule(threshold=0.0)).detect(waveform, timeline=True)
    assert clip.timeline is not None
    silent = (clip.timeline.times >= 3) & (clip.timeline.times + clip.timeline.step <= 7 - 0.03)
    assert silent.any()
    assert (clip.timeline.scores[silent] == 0).all()
    assert (clip.timeline.scores[~silent].max(1) > 0).all()
    assert Detector(tagger, EventRule(threshold=0.0)).detect(np.zeros(160_000, np.float32)).events == ()


@pytest.mark.parametrize("rate", [8_000, 44_100, 96_000])
def test_times_are_those_of_the_file(rate: int, tmp_path: Path) -> None:
    waveform = np.zeros((rate * 6, 2), np.float32)
    waveform += 1e-3 * np.random.default_rng(0).standard_normal(waveform.shape).astype(np.float32)
    waveform[2 * rate : 3 * rate] *= 100
    soundfile.write(tmp_path / "a.wav", waveform, rate, subtype="FLOAT")
    clip = Detector(loudness(), EventRule(smooth=0.2)).detect(tmp_path / "a.wav")
    assert clip.events is not None
    assert [(event.onset, event.offset) for event in clip.events] == [
        (pytest.approx(2, abs=0.1), pytest.approx(3, abs=0.1))
    ]


def test_tags_are_those_of_the_tagger(bundle: Bundle, clips: list[Path]) -> None:
    tagger = Tagger(bundle)
    detector = Detector(tagger, hop=0.25)
    for path, found in zip(clips, detector.detect_many(clips), strict=True):
        assert isinstance(found, ClipTags)
        one = tagger.tag(path, hop=0.25)
        assert [tag.label for tag in found.tags] == [tag.label for tag in one.tags]
        assert [tag.score for tag in found.tags] == pytest.approx([tag.score for tag in one.tags], abs=1e-6)
        assert found.duration == one.duration


def test_many_with_a_broken_one(tagger: Tagger, clips: list[Path], tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    results = list(Detector(tagger).detect_many([clips[0], tmp_path / "text.wav", clips[2]]))
    assert [type(result) for result in results] == [ClipTags, FileError, ClipTags]


@pytest.mark.parametrize("hop", [0, -1, 3.0, float("nan"), "1"])
def test_hops_out_of_range(hop: object) -> None:
    with pytest.raises(InputError, match="hop must be more than 0 and at most a window of 2 s; got"):
        Detector(loudness(), hop=hop).detect(noise(100))  # type: ignore[arg-type]


def test_a_long_timeline_goes_to_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    card = loudness().card
    rows = np.random.default_rng(0).random((3000, 1)).astype(np.float32)

    def collected() -> Timeline:
        collector = OverlapAdd(card, 10, lambda recording, scores, timeline: timeline)
        for row in rows.reshape(100, 30):
            collector._rows.append(row[:, None])
        return Timeline((), 0.1, collector._rows.array(3001))

    in_memory = collected().scores
    rule = EventRule(threshold=0.6, smooth=0.1)
    events = find_events(Timeline(("loud",), 0.1, in_memory), 300.1, rule)
    assert len(events) > 100
    for most in (1000, 100):  # of the last rows some are in memory still, or none
        monkeypatch.setattr("spectag.tag.timeline._IN_MEMORY", most)
        in_file = collected().scores
        assert isinstance(in_file, np.memmap)
        np.testing.assert_array_equal(in_file, in_memory)
    np.testing.assert_array_equal(in_memory, [*rows, rows[-1]])
    monkeypatch.setattr("spectag.tag.events._ROWS", 700)
    assert find_events(Timeline(("loud",), 0.1, in_file), 300.1, rule) == events


def test_the_temporary_file_of_a_long_timeline(tagger: Tagger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no name, so that it is gone when the process is killed. If it cannot be written, the error says which."""
    monkeypatch.setattr("spectag.tag.timeline._IN_MEMORY", 100)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = Detector(tagger).detect(noise(160_000), timeline=True)
    assert result.timeline is not None
    assert isinstance(result.timeline.scores, np.memmap)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(SaveError, match=r"need a temporary file, which cannot be written: No such file.*TMPDIR"):
        Detector(tagger).detect(noise(160_000), timeline=True)


def test_hours_take_no_more_memory_than_minutes() -> None:
    """The rows that may change are those of one window, however long the recording is."""
    collector = OverlapAdd(loudness().card, 10, lambda recording, scores, timeline: recording)
    from spectag.tag.windows import cut_windows

    most = 0
    for window in cut_windows((torch.zeros(100, 128) for _ in range(500)), WINDOW, 50):
        collector.add(window, np.zeros(1, np.float32), np.zeros((20, 1), np.float32))
        most = max(most, len(collector._sum))
    assert most <= WINDOW // 10 + 1
    assert isinstance(collector.end(Recording("a.wav", "a.wav", "a.wav", seconds=500.0)), Recording)
