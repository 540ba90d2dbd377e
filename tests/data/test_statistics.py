"""Mean and deviation of the fbank over a data set."""

import numpy as np
import pytest
import soundfile
import torch

from spectag.audio.fbank import fbank
from spectag.audio.front_end import FrontEnd
from spectag.audio.read import read
from spectag.audio.readers import Readers
from spectag.audio.source import Segment
from spectag.data.statistics import Moments, measure_statistics
from spectag.errors import AudioNotFound, DataError, InputError, NotAudio

FRONT_END = FrontEnd(mel_bins=32)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Noise of many levels and lengths, one longer than a block."""
    folder, rng = tmp_path_factory.mktemp("clips"), np.random.default_rng(0)
    paths = []
    for i, samples in enumerate((100, 400, 16000, 16000 * 40, 7777, 8000, 12345, 3000)):
        paths.append(folder / f"{i}.wav")
        soundfile.write(paths[-1], 0.3 ** (i + 1) * rng.standard_normal(samples), 16000)
    return paths


def direct(waveforms, front_end=FRONT_END, frames=None):
    x = torch.cat([fbank(w, window=front_end.window, mel_bins=front_end.mel_bins)[:frames] for w in waveforms]).double()
    return float(x.mean()), float(x.std(correction=0)), len(x)


@pytest.mark.parametrize("frames", [None, 1, 50])
@pytest.mark.parametrize("window", ["hamming", "hanning"])
def test_as_computed_directly(files, frames, window):
    front_end = FrontEnd(window, 32)
    result = measure_statistics(files, front_end, 2, frames=frames)
    mean, std, count = direct(map(read, files), front_end, frames)
    assert (result.mean, result.std) == pytest.approx((mean, std), rel=1e-7)  # fbank of pieces: rounding in float32
    assert (result.frames, result.failed) == (count, ())


def test_sums_are_exact(files):
    short = [read(path) for path in files if path.stem != "3"]  # one block each: the very same fbank
    result = measure_statistics(short, FRONT_END)
    assert (result.mean, result.std) == pytest.approx(direct(short)[:2], rel=1e-13)


def test_the_same_bits_for_any_number_of_jobs_and_from_files_or_memory(files):
    one = measure_statistics(files, FRONT_END, 1)
    assert measure_statistics(files, FRONT_END, 4) == one
    assert measure_statistics((read(path) for path in files), FRONT_END, 3) == one
    back = measure_statistics(files[::-1], FRONT_END)
    assert (back.mean, back.std) == pytest.approx((one.mean, one.std), rel=1e-12)


def test_silence_has_the_floor_and_no_deviation():
    result = measure_statistics([np.zeros(n, np.float32) for n in (400, 16000, 99999)], FRONT_END)
    assert result.mean == pytest.approx(np.log(2.0**-23), rel=1e-7)
    assert result.std == 0


def test_moments_add_up_where_squares_would_drown():
    rng = np.random.default_rng(1)
    values = 1e8 + rng.standard_normal(10_000)
    total = Moments()
    for piece in np.array_split(values, 77):
        total += Moments(len(piece), float(piece.mean()), float(piece.var() * len(piece)))
    assert total.std == pytest.approx(values.std(), rel=1e-6)
    assert Moments() + total == total + Moments() == total


def test_what_cannot_be_read_is_left_out_and_named(files, tmp_path):
    text = tmp_path / "text.wav"
    text.write_text("text\n" * 100)
    backwards = Segment(files[2], 2.0, 1.0)
    result = measure_statistics([text, *files, tmp_path / "none.wav", backwards], FRONT_END, 2)
    assert [type(error) for error in result.failed] == [NotAudio, AudioNotFound, InputError]
    assert "text.wav" in str(result.failed[0])
    assert (result.mean, result.std) == (
        measure_statistics(files, FRONT_END).mean,
        measure_statistics(files, FRONT_END).std,
    )


def test_nothing_to_measure(tmp_path):
    with pytest.raises(DataError, match="the data set is empty"):
        measure_statistics([], FRONT_END)
    with pytest.raises(DataError, match=r"the first error: .*none\.wav"):
        measure_statistics([tmp_path / "none.wav"], FRONT_END)


def test_segments_and_progress_and_threads(files):
    seen = []

    def watch(results):
        for result in results:
            seen.append(result)
            yield result

    threads = torch.get_num_threads()
    result = measure_statistics([Segment(files[3], 1.0, 2.0)] * 9, FRONT_END, 2, watch=watch)
    assert (result.frames, len(seen)) == (9 * 98, 9)
    assert torch.get_num_threads() == threads


def test_what_is_not_measured_is_not_decoded(files, monkeypatch):
    """Of ten hours of which a second is measured, little more than a second is read."""
    whole, read_samples = files[3], []

    class Counting(Readers):
        def blocks(self, recording, *, stop=None):
            for piece in super().blocks(recording, stop=stop):
                read_samples.append(len(piece))
                yield piece

    monkeypatch.setattr("spectag.data.statistics.Readers", Counting)
    assert measure_statistics([whole], FRONT_END, frames=98).frames == 98
    assert 0 <= sum(read_samples) - (400 + 97 * 160) < 1000
