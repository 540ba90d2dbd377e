"""Integer PCM of every width has full scale 1.0."""

import warnings

import numpy as np
import pytest

from spectag.audio.pcm import full_scale


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_signed_and_unsigned(bits: int) -> None:
    half = 2 ** (bits - 1)
    expected = np.array([-1, 0, 1 / half, 1 - 1 / half, 0.5], np.float32)
    values = np.array([-half, 0, 1, half - 1, half // 2])
    for samples in (values.astype(f"i{bits // 8}"), (values + half).astype(f"u{bits // 8}")):
        got = full_scale(samples)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, expected)


def test_floats_are_left_as_they_are() -> None:
    samples = np.array([-2.0, 0.1, 1.5], np.float32)
    assert full_scale(samples) is samples
    np.testing.assert_array_equal(full_scale(samples.astype(np.float64)), samples)
    np.testing.assert_array_equal(full_scale(samples.astype(np.float16)), samples.astype(np.float16))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isinf(full_scale(np.array([1e300]))).all()  # reported by whoever reads it
