import io
import itertools
import math
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from sounds import FRAMES, noise, starts

from spectag.audio.fbank import fbank, normalise, pad_or_cut
from spectag.audio.find import find_recordings
from spectag.audio.front_end import FrontEnd, num_frames
from spectag.audio.read import Recording
from spectag.audio.readers import Readers
from spectag.engines.pytorch import TorchEngine
from spectag.errors import (
    AudioError,
    AudioNotFound,
    AudioWarning,
    EmptyAudio,
    FileError,
    InputError,
    NonFiniteAudio,
    NotAudio,
    SpectagWarning,
)
from spectag.labels import LabelSet
from spectag.model.bundle import Bundle
from spectag.model.card import Card
from spectag.model.config import ASTConfig
from spectag.tag import tagger as module
from spectag.tag.results import ClipScores, ClipTags
from spectag.tag.tagger import Tagger
from spectag.tag.windows import weighted_mean


def expected(bundle: Bundle, waveform: np.ndarray) -> np.ndarray:
    """The same by hand: the whole spectrogram, its slices one by one, the mean of their scores by how much sounds."""
    front_end = bundle.front_end
    whole = fbank(waveform, window=front_end.window, mel_bins=front_end.mel_bins)
    slices = [whole[start : start + FRAMES] for start in starts(len(whole), FRAMES)]
    inputs = [normalise(pad_or_cut(x, FRAMES), front_end.mean, front_end.std)[None] for x in slices]
    with torch.inference_mode():
        scores = torch.cat([bundle.scores(bundle.network(x)) for x in inputs])
    weights = [(x > -15.8).double().mean().item() for x in slices]  # the floor is at -15.94
    return np.average(scores.numpy(), 0, weights if any(weights) else None)


@pytest.mark.parametrize("samples", [1, 399, 400, 401, 8_239, 8_240, 8_241, 8_400, 20_000, 50_001])
def test_scores_by_hand(tagger: Tagger, bundle: Bundle, samples: int) -> None:
    waveform = noise(samples)
    np.testing.assert_allclose(tagger.scores(waveform), expected(bundle, waveform), atol=1e-6)


def test_silence_between_sounds_does_not_count(tagger: Tagger, bundle: Bundle) -> None:
    loud, silence = noise(8_240), np.zeros(80_000, np.float32)
    whole = np.concatenate([loud, silence])
    np.testing.assert_allclose(tagger.scores(whole), expected(bundle, whole), atol=1e-6)
    alone, diluted = tagger.scores(loud), tagger.scores(silence)
    assert np.abs(tagger.scores(whole) - alone).max() < 0.5 * np.abs(diluted - alone).max()


def test_every_kind_of_source_gives_the_same(tagger: Tagger, clips: list[Path]) -> None:
    path = clips[2]
    waveform = noise(20_000, seed=2)
    want = tagger.tag(path)
    assert want.path == str(path)
    assert want.duration == 20_000 / 16_000
    assert want.warnings == ()
    with path.open("rb") as file:
        sources = [
            str(path),
            path.read_bytes(),
            io.BytesIO(path.read_bytes()),
            file,
            waveform,
            waveform.astype(np.float64),
            torch.from_numpy(waveform).requires_grad_(),
            (waveform, 16_000),
            (np.stack([waveform, waveform], axis=1), 16_000),
            (torch.from_numpy(waveform)[:, None], 16_000.0),
        ]
        for source in sources:
            got = tagger.tag(source)
            assert got.duration == want.duration
            assert [t.label for t in got.tags] == [t.label for t in want.tags]
            assert [t.score for t in got.tags] == pytest.approx([t.score for t in want.tags], abs=1e-6)
        assert got.path is None
        assert tagger.tag(file).path == str(path)


def test_other_rates_and_channels(tagger: Tagger, tmp_path: Path) -> None:
    left, right = noise(44_100, 1), noise(44_100, 2)
    stereo = np.stack([left, right], axis=1)
    soundfile.write(tmp_path / "stereo.wav", stereo, 44_100, subtype="FLOAT")
    got = tagger.scores(tmp_path / "stereo.wav")
    np.testing.assert_allclose(tagger.scores((stereo, 44_100)), got, atol=1e-6)
    np.testing.assert_allclose(tagger.scores(((left + right) / 2, 44_100)), got, atol=1e-6)
    assert tagger.tag((stereo, 44_100)).duration == pytest.approx(1, abs=1e-4)


def test_integer_pcm_is_scaled(tagger: Tagger) -> None:
    pcm = (noise(8_000) * 32_768).astype(np.int16)
    np.testing.assert_allclose(tagger.scores(pcm), tagger.scores(pcm / 32_768), atol=1e-6)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (np.zeros(0, np.float32), EmptyAudio, "at least one sample"),
        (np.array([0.0, np.nan]), NonFiniteAudio, "NaN"),
        (torch.tensor([0.0, math.inf]), NonFiniteAudio, "infinity"),
        (np.zeros(9, np.int64), InputError, "int64"),
        (np.zeros(9, bool), InputError, "bool"),
        (np.zeros((2, 9), np.float32), InputError, r"\[N\].*\[2, 9\].*\(samples, rate\)"),
        (torch.zeros(1, 9), InputError, r"\[1, 9\]"),
        ((np.zeros((2, 40)), 16_000), InputError, r"more samples than channels, got \[2, 40\]"),
        ({"audio": {}, "label": 3}, InputError, r"keys 'array' and .*, got 'audio', 'label'"),
        ({}, InputError, "got none"),
        ({"bytes": None, "path": None}, InputError, "got 'bytes', 'path'"),
        ({"array": [0.0, 0.1], "sampling_rate": 16_000}, InputError, "array or tensor"),
        ({"array": np.zeros(9), "sampling_rate": None}, InputError, "rate"),
        ({"bytes": b"", "path": "dawn.wav"}, EmptyAudio, "dawn.wav: .* 0 bytes"),
        ((np.zeros((9, 2, 2)), 16_000), InputError, r"\[9, 2, 2\]"),
        ((np.zeros(9), 0), InputError, "rate"),
        ((np.zeros(9), "16k"), InputError, "rate"),
        ((np.zeros(9), 16_000, 1), InputError, r"\(samples, rate\)"),
        ([0.0, 0.1], InputError, "list"),
        (None, InputError, "NoneType"),
        (b"RIFF, more or less", NotAudio, "<bytes>"),
        ("no such.wav", AudioNotFound, "no such.wav"),
    ],
)
def test_what_cannot_be_tagged(tagger: Tagger, source: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        tagger.tag(source)  # type: ignore[arg-type]
    [failure] = tagger.tag_many([source])  # type: ignore[list-item]
    assert isinstance(failure, FileError)


@pytest.mark.parametrize("samples", [1, 8_400, 50_001])
def test_windows_know_when_they_are(tagger: Tagger, samples: int) -> None:
    waveform = np.concatenate([noise(samples), np.zeros(samples, np.float32)])
    clip = tagger.score_windows(waveform)
    total = num_frames(2 * samples)
    assert clip.starts.tolist() == starts(total, FRAMES)
    assert clip.scores.shape == (len(clip.starts), len(tagger.labels))
    assert clip.recording.seconds == 2 * samples / 16_000
    front_end = tagger.bundle.front_end
    whole = fbank(waveform, window=front_end.window)
    share = [(whole[s : s + FRAMES] > -15.8).double().sum().item() / (FRAMES * 128) for s in clip.starts]
    np.testing.assert_allclose(clip.sound, share, atol=1e-6)
    np.testing.assert_allclose(tagger.scores(waveform), weighted_mean(clip.scores, clip.sound), rtol=1e-6)
    [same, failed] = tagger.score_windows_many([waveform, "missing.wav"])
    assert isinstance(same, ClipScores)
    np.testing.assert_allclose(same.scores, clip.scores, atol=1e-6)
    assert isinstance(failed, FileError)


def test_an_engine_is_handed_in(bundle: Bundle) -> None:
    class Constant:
        def scores(self, inputs: torch.Tensor) -> np.ndarray:
            return np.tile(np.array([[0.1, 0.4, 0.2, 0.3]], np.float32), (len(inputs), 1))

        def embed(self, inputs: torch.Tensor) -> np.ndarray:
            return inputs.mean((1, 2))[:, None].numpy()

    tagger = Tagger(bundle, engine=Constant())
    assert [tag.label for tag in tagger.tag(noise(20_000)).tags] == ["rain", "saw", "sea", "dog"]
    assert tagger.embed(noise(20_000)).shape == (1,)


class Loudness:
    """A model that is no torch network: it tells loud windows from quiet ones."""

    def scores(self, inputs: torch.Tensor) -> np.ndarray:
        loud = 1 / (1 + np.exp(-inputs.mean((1, 2)).numpy()))
        return np.stack([loud, 1 - loud], axis=1).astype(np.float32)

    def embed(self, inputs: torch.Tensor) -> np.ndarray:
        return inputs.mean(1).numpy()


def test_an_engine_needs_a_card_and_no_network(clips: list[Path]) -> None:
    """The kind: a model that another library runs could not be tagged with unless a torch network was built, too."""
    card = Card(ASTConfig(frames=FRAMES, labels=2), FrontEnd(frames=FRAMES), LabelSet(("loud", "quiet")), "softmax")
    tagger = Tagger(card, engine=Loudness(), batch_size=3)
    assert (tagger.bundle, tagger.card, tagger.labels) == (None, card, card.labels)
    assert tagger.tag(noise(20_000)).tags[0].label == "loud"
    assert tagger.tag(noise(20_000) * 1e-4).tags[0].label == "quiet"
    one_by_one = [tagger.scores(path) for path in clips]
    np.testing.assert_allclose(list(tagger.scores_many(clips)), one_by_one, atol=1e-6)
    assert tagger.embed(clips[2]).shape == (128,)


def test_a_card_without_an_engine_and_an_engine_of_another_card(bundle: Bundle) -> None:
    with pytest.raises(InputError, match=r"a card describes a network and has none: give engine=, or give a bundle"):
        Tagger(bundle.card)
    message = r"engine: expected scores \[1, 4\] \(windows, labels\), got \[1, 2\]: give the model's own card or labels"
    with pytest.raises(InputError, match=message):
        Tagger(bundle.card, engine=Loudness()).tag(noise(400))


def test_top_k_and_threshold(tagger: Tagger) -> None:
    waveform = noise(8_000)
    scores = tagger.scores(waveform)
    every = tagger.tag(waveform, top_k=None).tags
    assert [t.score for t in every] == sorted(scores.tolist(), reverse=True)
    assert {t.label: t.score for t in every} == dict(zip(tagger.labels.names, scores.tolist(), strict=True))
    assert tagger.tag(waveform, top_k=2).tags == every[:2]
    assert tagger.tag(waveform, 99, 0).tags == every
    cut = every[1].score
    assert tagger.tag(waveform, threshold=cut).tags == every[:2]  # the threshold itself passes
    assert tagger.tag(waveform, 1, cut).tags == every[:1]
    assert tagger.tag(waveform, threshold=1.0).tags == ()


def test_ties_keep_the_order_of_the_labels(bundle: Bundle) -> None:
    class TwoLevels:
        def scores(self, inputs: torch.Tensor) -> np.ndarray:
            return np.array([[0.1, 0.4] * 50], np.float32).repeat(len(inputs), 0)

    names = [f"label {number}" for number in range(100)]  # NumPy keeps the order of up to 15 numbers anyway
    card = Card(replace(bundle.network.config, labels=100), bundle.front_end, LabelSet(tuple(names)), "softmax")
    tags = Tagger(card, engine=TwoLevels()).tag(noise(8_000), top_k=None).tags
    assert [tag.label for tag in tags] == names[1::2] + names[::2]


@pytest.mark.parametrize("options", [{"top_k": 0}, {"top_k": 1.5}, {"threshold": -0.1}, {"threshold": math.nan}])
def test_options_out_of_range(tagger: Tagger, options: dict[str, float]) -> None:
    name = next(iter(options))
    with pytest.raises(InputError, match=name):
        tagger.tag(noise(400), **options)
    with pytest.raises(InputError, match=name):
        tagger.tag_many([], **options)  # at once, not at the first result


def test_embed(tagger: Tagger, bundle: Bundle) -> None:
    waveform = noise(20_000)
    got = tagger.embed(waveform)
    assert got.shape == (32,)
    front_end = bundle.front_end
    whole = fbank(waveform, window=front_end.window)
    slices = torch.stack([whole[s : s + FRAMES] for s in starts(len(whole), FRAMES)])
    with torch.inference_mode():
        want = bundle.network.embed(normalise(slices, front_end.mean, front_end.std))
    np.testing.assert_allclose(got, want.mean(0).numpy(), atol=1e-5)
    windows = tagger.embed_windows(waveform)
    np.testing.assert_allclose(windows.features, want.numpy(), atol=1e-5)
    assert windows.starts.tolist() == starts(len(whole), FRAMES)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_many_are_tagged_as_one_by_one(bundle: Bundle, clips: list[Path], batch_size: int) -> None:
    tagger = Tagger(bundle, batch_size=batch_size)
    many = list(tagger.tag_many(clips * 3))
    one = [tagger.tag(path) for path in clips] * 3
    assert len(many) == len(one)
    for a, b in zip(many, one, strict=True):
        assert isinstance(a, ClipTags)
        assert (a.path, a.duration) == (b.path, b.duration)
        assert [t.score for t in a.tags] == pytest.approx([t.score for t in b.tags], abs=1e-6)
    for row, path in zip(tagger.scores_many(clips), clips, strict=True):
        np.testing.assert_allclose(row, tagger.scores(path), atol=1e-6)


def test_broken_files_cost_just_themselves(tagger: Tagger, clips: list[Path], tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    (tmp_path / "empty.wav").touch()
    late = noise(40_000)
    late[-1] = np.nan  # after windows of it have been handed on
    soundfile.write(tmp_path / "nan.wav", late, 16_000, subtype="FLOAT")
    bad = [tmp_path / name for name in ("text.wav", "empty.wav", "nan.wav", "missing.wav")]
    mixed = [path for pair in zip(bad, clips, strict=False) for path in pair]
    results = list(tagger.tag_many(mixed))
    assert [r.path for r in results] == list(map(str, mixed))
    assert [isinstance(r, FileError) for r in results] == [True, False] * 4
    for result in results[::2]:
        assert isinstance(result, FileError)
        assert result.path not in result.error  # said once
        assert "\n" not in str(result)


def test_a_decoder_that_fails_unexpectedly_costs_one_file(
    tagger: Tagger, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = Recording.blocks

    def fragile(self: Recording) -> Iterator[np.ndarray]:
        if self.path == str(clips[0]):
            raise MemoryError("2 TiB")
        yield from blocks(self)

    monkeypatch.setattr(Recording, "blocks", fragile)
    with clips[0].open("rb") as one, clips[1].open("rb") as two:  # streams are read in this process
        first, second = tagger.tag_many([one, two])
    assert isinstance(first, FileError)
    assert "MemoryError: 2 TiB" in first.error
    assert isinstance(second, ClipTags)


def test_folders_and_errors(tagger: Tagger, clips: list[Path], tmp_path: Path) -> None:
    given = FileError("elsewhere", "gone")
    results = list(tagger.tag_many([given, *find_recordings([clips[0].parent, tmp_path])]))
    assert [r.path for r in results] == ["elsewhere", *map(str, clips), str(tmp_path)]
    assert results[0] is given
    assert list(tagger.tag_many([])) == []


def test_one_result_per_source(tagger: Tagger, clips: list[Path], tmp_path: Path) -> None:
    folder, vanished = tmp_path / "folder.wav", tmp_path / "a[12].wav"
    for path in (folder / "inside.wav", tmp_path / "a1.wav", tmp_path / "a2.wav"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(clips[1].read_bytes())
    sources = [folder, clips[1], vanished, str(tmp_path / "*.wav")]
    results = list(tagger.tag_many(sources))
    assert [r.path for r in results] == list(map(str, sources))
    assert [isinstance(r, FileError) for r in results] == [True, False, True, True]
    assert [isinstance(row, FileError) for row in tagger.scores_many(sources)] == [True, False, True, True]
    assert "directory" in str(results[0])


@pytest.mark.parametrize(
    "one", [noise(400), torch.zeros(400), "a.wav", Path("a.wav"), b"RIFF", io.BytesIO(b"RIFF"), {"path": "a"}]
)
def test_one_recording_in_place_of_several(tagger: Tagger, one: object) -> None:
    for many in (tagger.tag_many, tagger.scores_many):
        with pytest.raises(InputError, match="pass a list of recordings"):
            many(one)  # type: ignore[operator]


@pytest.mark.parametrize("scale", [32_768, -32_768])
def test_samples_beyond_full_scale_are_a_warning(tagger: Tagger, scale: int) -> None:
    waveform = noise(20_000) / np.abs(noise(20_000)).max()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tagger.tag(7.9 * waveform).warnings == ()
    one, two = tagger.tag_many([waveform * scale, (waveform * scale, 16_000)])
    for clip in (one, two):
        assert isinstance(clip, ClipTags)
        [warning] = clip.warnings
        assert warning.startswith("<array>: ")
        assert "divide by 32768" in warning
    for method in (tagger.scores, tagger.embed):
        with pytest.warns(AudioWarning, match="<array>: .*32768 times full scale"):
            method(waveform * scale)
    with pytest.warns(AudioWarning, match="32768 times full scale"):
        list(tagger.scores_many([waveform * scale]))


def test_arrays_of_any_strides(tagger: Tagger) -> None:
    x = noise(20_000)
    for view in (x[::-1], x[::2], np.stack([x, x], 1)[::-1, 0]):
        np.testing.assert_allclose(tagger.scores(view), tagger.scores(view.copy()), atol=1e-6)


def test_a_recording_that_breaks_off_is_tagged_with_a_warning(
    tagger: Tagger, clips: list[Path], tmp_path: Path
) -> None:
    cut = tmp_path / "cut.wav"
    cut.write_bytes(clips[2].read_bytes()[:-40_000])
    one, whole, two = tagger.tag_many([cut, clips[2], cut])
    for result in (one, two):
        assert isinstance(result, ClipTags)
        assert result.duration == pytest.approx(10_000 / 16_000, abs=0.01)
        assert len(result.warnings) == 1
        assert "cut off" in result.warnings[0]
    assert isinstance(whole, ClipTags)
    assert whole.warnings == ()


def test_nan_from_the_network_is_an_error(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    tagger = Tagger(bundle)
    monkeypatch.setattr(tagger.engine, "scores", lambda x: np.full((len(x), 4), np.nan, np.float32))
    with pytest.raises(AudioError, match="NaN"):
        tagger.scores(noise(400))
    [failure] = tagger.tag_many([noise(400)])
    assert isinstance(failure, FileError)


def test_every_recording_is_read_once(tagger: Tagger, clips: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    blocks = Recording.blocks
    monkeypatch.setattr(Recording, "blocks", lambda self: seen.append(self.name) or blocks(self))
    list(tagger.tag_many([path.read_bytes() for path in clips]))
    assert seen == ["<bytes>"] * len(clips)
    there = Readers.blocks
    monkeypatch.setattr(Readers, "blocks", lambda self, clip, stop: seen.append(clip.path) or there(self, clip, stop))
    list(tagger.tag_many(clips))
    assert sorted(seen[len(clips) :]) == sorted(map(str, clips))
    list(tagger.tag_many(clips[:1]))
    assert seen[2 * len(clips) :] == [str(clips[0])]  # a single one is read in this process


def test_a_decoder_that_kills_its_process_costs_one_file(
    tagger: Tagger, clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kind: a file takes the process that reads it along, and all results with it. Here several in a row, first and
    last; the others come in order, as if they were alone."""
    (tmp_path / "soxr.py").write_text(
        "import ctypes, os, sys\n"
        "sys.path.remove(os.path.dirname(__file__)); del sys.modules['soxr']\n"
        "import soxr\n"
        "make = soxr.ResampleStream\n"
        "soxr.ResampleStream = lambda rate, *a, **b: ctypes.string_at(0) if rate == 8001 else make(rate, *a, **b)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    bad = tmp_path / "bad.wav"
    soundfile.write(bad, noise(8_001), 8_001)
    mixed = [bad, *clips, bad, bad, bad, clips[0], bad]
    results = list(Tagger(tagger.bundle).tag_many(mixed))
    assert [result.path for result in results] == list(map(str, mixed))
    want = {str(path): tagger.tag(path).to_dict() for path in clips}
    for result in results:
        if result.path == str(bad):
            assert isinstance(result, FileError)
            assert "the decoder crashed (SIGSEGV)" in result.error
        else:
            assert result.to_dict() == want[result.path]


def test_silence_has_no_tags(tagger: Tagger, tmp_path: Path) -> None:
    """The kind: scores of nothing look like a finding. Digital silence throughout is said in the warnings, and has no
    tags; also the constant that some converters have in place of zero, and what a codec makes of silence. The scores
    and features remain, with a warning."""
    silence = np.zeros(30_000, np.float32)
    soundfile.write(tmp_path / "a.wav", silence, 8_000, subtype="ALAW")
    soundfile.write(tmp_path / "b.ogg", silence, 16_000, format="OGG", subtype="OPUS")
    soundfile.write(tmp_path / "c.mp3", silence, 16_000, format="MP3")
    sources = [silence, silence + 0.25, (np.stack([silence, silence + 0.5], 1), 44_100), *sorted(tmp_path.iterdir())]
    for result in (*tagger.tag_many(sources, threshold=0), *map(tagger.tag, sources)):
        assert isinstance(result, ClipTags)
        assert result.tags == ()
        [warning] = result.warnings
        assert "digital silence throughout" in warning
    for method in (tagger.scores, tagger.embed):
        with pytest.warns(AudioWarning, match="digital silence throughout"):
            assert np.isfinite(method(silence)).all()
    click = silence.copy()
    click[-10_000] = 2**-10
    assert len(tagger.tag(click).tags) == 4
    assert tagger.tag(click).warnings == ()


def test_channels_that_cancel_are_tagged_from_one(tagger: Tagger) -> None:
    sound = noise(30_000)
    got = tagger.tag((np.stack([sound, -sound], 1), 16_000))
    assert got.tags == tagger.tag(sound).tags
    [warning] = got.warnings
    assert warning.startswith("<array>: its channels cancel")


def test_how_far_a_long_recording_is(tagger: Tagger, tmp_path: Path) -> None:
    """The kind: one long file gives no sign of life until its end."""
    soundfile.write(tmp_path / "long.wav", np.tile(noise(80_000), 20), 8_000)  # 200 s, several blocks
    for sources in ([tmp_path / "long.wav"], [tmp_path / "long.wav", tmp_path / "long.wav"]):
        seen: list[tuple[str | None, float]] = []
        for _ in tagger.tag_many(
            sources, watch=lambda recording, seen=seen: seen.append((recording.path, recording.progress))
        ):
            assert seen[-1] == (str(tmp_path / "long.wav"), 1.0)
            steps = [share for _, share in seen]
            assert steps == sorted(steps)
            assert len({share for share in steps if 0.1 < share < 0.9}) > 2
            seen.clear()


def test_long_recordings_stream(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    tagger = Tagger(bundle, batch_size=8)
    read_blocks, ahead = 0, []

    def day(self: Recording) -> Iterator[np.ndarray]:
        nonlocal read_blocks
        for second in range(60):
            read_blocks += 1
            self.seconds = second + 1.0
            yield noise(16_000)

    def scores(inputs: torch.Tensor) -> np.ndarray:
        ahead.append(read_blocks)
        return np.full((len(inputs), 4), 0.25, np.float32)

    monkeypatch.setattr(Recording, "blocks", day)
    monkeypatch.setattr(tagger.engine, "scores", scores)
    assert tagger.tag("day.wav").duration == 60
    one = ahead.copy()
    assert one[0] <= 8 // 4 + 2  # 4 windows a block
    assert all(b - a <= 8 // 4 + 1 for a, b in itertools.pairwise(one))
    read_blocks = 0
    ahead.clear()
    assert [r.duration for r in tagger.tag_many(["day.wav"]) if isinstance(r, ClipTags)] == [60]
    assert ahead[0] <= (8 + module.WAITING + 1) // 4 + 2


def test_bf16_is_close_and_leaves_the_bundle_alone(bundle: Bundle) -> None:
    waveform = noise(20_000)
    tagger = Tagger(bundle, precision="bf16")
    assert isinstance(tagger.engine, TorchEngine)
    assert {p.dtype for p in tagger.engine.network.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in bundle.network.parameters()} == {torch.float32}
    assert tagger.scores(waveform).dtype == np.float32
    np.testing.assert_allclose(tagger.scores(waveform), Tagger(bundle).scores(waveform), atol=0.03)


def test_a_network_in_training_is_copied(bundle: Bundle) -> None:
    bundle.network.train()
    try:
        engine = Tagger(bundle).engine
        assert isinstance(engine, TorchEngine)
        assert not engine.network.training
        assert bundle.network.training
    finally:
        bundle.network.eval()


@pytest.mark.parametrize("options", [{"precision": "fp16"}, {"batch_size": 0}, {"batch_size": 2.0}])
def test_constructor_checks(bundle: Bundle, options: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        Tagger(bundle, **options)  # type: ignore[arg-type]


def test_takes_what_load_takes(bundle: Bundle, tmp_path: Path) -> None:
    path = bundle.save(tmp_path / "saved")
    waveform = noise(20_000)
    np.testing.assert_allclose(Tagger(path).scores(waveform), Tagger(bundle).scores(waveform), atol=1e-6)


def test_bf16_without_the_instructions_is_said_to_be_slow(bundle, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True}, raising=False)
    with pytest.warns(SpectagWarning, match="fp32 is several times faster"):
        Tagger(bundle, precision="bf16")
