"""Scores beside the labels of a manifest, as figures."""

from pathlib import Path

import numpy as np
import pytest

from spectag.data.manifest import Clip, Manifest
from spectag.errors import DataError, FileError, LabelMismatch
from spectag.labels import LabelSet
from spectag.score.evaluate import evaluate_scores

CLIPS = tuple(Clip(f"{n}.wav", Path(f"{n}.wav"), (n % 2,)) for n in range(3))
MANIFEST = Manifest(CLIPS, LabelSet(("cat", "dog")), "folders")
KNOWN = LabelSet(("dog", "wind", "cat"))


def rows(*scores):
    return [row if isinstance(row, FileError) else np.array(row, np.float32) for row in scores]


def test_a_class_that_the_data_set_lacks_does_not_decide() -> None:
    result = evaluate_scores(MANIFEST, rows([0.1, 0.7, 0.2], [0.3, 0.6, 0.1], [0.2, 0.7, 0.1]), KNOWN, "softmax")
    assert result.metrics.accuracy == pytest.approx(2 / 3), "the third is taken for a dog, none for wind"
    assert (result.labels, result.model_labels, result.failed) == (MANIFEST.labels, 3, ())
    np.testing.assert_array_equal(result.table.scores, np.array([[0.2, 0.1], [0.1, 0.3], [0.1, 0.2]], np.float32))


def test_clips_that_could_not_be_scored_are_reported_and_left_out() -> None:
    result = evaluate_scores(MANIFEST, rows([0, 0, 1], FileError("1.wav", "broken"), [0, 0, 1]), KNOWN, "softmax")
    assert (result.metrics.clips, result.metrics.accuracy, result.failed) == (2, 1, ("1.wav: broken",))
    with pytest.raises(DataError, match=r"none of the 3 clips could be scored; the first error: a: broken"):
        evaluate_scores(MANIFEST, [FileError("a", "broken")] * 3, KNOWN, "softmax")


def test_plain_values_name_the_classes() -> None:
    found = evaluate_scores(MANIFEST, rows([0, 0, 1], [1, 0, 0], [0, 0, 1]), KNOWN, "softmax").to_dict()
    assert (found["ap"], found["auc"]) == ({"cat": 1.0, "dog": 1.0}, {"cat": 1.0, "dog": 1.0})
    assert (found["clips"], found["model_labels"], found["failed"]) == (3, 3, [])
    assert "table" not in found


def test_classes_that_the_model_does_not_know() -> None:
    with pytest.raises(LabelMismatch, match="does not know 1 of the data set's 2 classes: cat"):
        evaluate_scores(MANIFEST, rows(*[[0, 0]] * 3), LabelSet(("dog", "wind")), "softmax")
