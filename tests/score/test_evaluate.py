"""Scores beside the labels of a manifest, as figures."""

from pathlib import Path

import numpy as np
import pytest

from spectag.data.manifest import Clip, Manifest
from spectag.errors import DataError, FileError, InputError, LabelMismatch, SpectagWarning
from spectag.labels import LabelSet
from spectag.score.evaluate import evaluate_scores

CLIPS = tuple(Clip(f"{n}.wav", Path(f"{n}.wav"), (n % 2,)) for n in range(3))
MANIFEST = Manifest(CLIPS, LabelSet(("cat", "dog")), "folders")
KNOWN = LabelSet(("dog", "wind", "cat"))


def rows(*scores):
    return [row if isinstance(row, FileError) else np.array(row, np.float32) for row in scores]


def test_a_class_that_the_data_set_lacks_is_an_answer_too() -> None:
    """Kind: a figure that is better than what ``tag`` answers, because answers were left out before it was computed."""
    result = evaluate_scores(MANIFEST, rows([0.1, 0.7, 0.2], [0.6, 0.3, 0.1], [0.2, 0.1, 0.7]), KNOWN, "softmax")
    assert result.metrics.accuracy == pytest.approx(2 / 3), "the first is taken for wind"
    assert result.metrics.mean_ap_classes == 2
    assert result.table.labels == ("cat", "dog", "wind")
    np.testing.assert_array_equal(
        result.table.scores, np.array([[0.2, 0.1, 0.7], [0.1, 0.6, 0.3], [0.7, 0.2, 0.1]], np.float32)
    )
    found = result.to_dict()
    assert (found["model_labels"], found["not_in_data"]) == (3, ["wind"])
    assert [list(found[name]) for name in ("ap", "auc", "f1")] == [["cat", "dog"]] * 3


def test_thresholds_are_those_of_the_model_by_its_own_order() -> None:
    scores = rows([0.3, 0.0, 0.6], [0.3, 0.0, 0.6], [0.3, 0.0, 0.6])  # of dog, wind, cat
    result = evaluate_scores(MANIFEST, scores, KNOWN, "sigmoid", thresholds=(0.2, 1.0, 0.7))
    assert result.to_dict()["thresholds"] == {"cat": 0.7, "dog": 0.2, "wind": 1.0}
    assert result.to_dict()["f1"] == {"cat": 0.0, "dog": pytest.approx(2 / 4)}
    with pytest.raises(InputError, match="one for each of 3 classes"):
        evaluate_scores(MANIFEST, scores, KNOWN, "sigmoid", thresholds=(0.5, 0.5))


TEN = LabelSet(("dog", "rooster", "rain", "sea", "fire", "baby", "clock", "sneeze", "helicopter", "chainsaw"))


def ten(name: str) -> np.ndarray:
    """The scores of a model of ten classes that is quite sure of one."""
    return np.where(np.arange(10) == TEN.index(name), 0.91, 0.01).astype(np.float32)


def labelled(classes: tuple[str, ...], labels: list[tuple[int, ...]]) -> Manifest:
    clips = tuple(Clip(f"{n}.wav", Path(f"{n}.wav"), own) for n, own in enumerate(labels))
    return Manifest(clips, LabelSet(classes), "a table of clips")


@pytest.mark.parametrize("wrong", ["dog", "chainsaw"])
def test_a_set_that_is_labelled_wrongly_throughout(wrong: str) -> None:
    """Forty roosters that are all labelled as something else: an accuracy of 1.000 where only the classes of the data
    set could be answered, and an AP of 1.000 where every clip is a positive.
    """
    result = evaluate_scores(labelled((wrong,), [(0,)] * 40), [ten("rooster")] * 40, TEN, "softmax")
    figures = result.metrics
    assert (figures.accuracy, figures.micro_f1, figures.macro_f1) == (0, 0, 0)
    assert (figures.mean_ap, figures.mean_auc, figures.mean_ap_classes) == (None, None, 0)
    assert result.to_dict()["not_in_data"] == [name for name in TEN.names if name != wrong]
    intervals = result.table.compute_intervals(figures)
    assert intervals.bounds == {"accuracy": (0, pytest.approx(0.0876, abs=1e-4))}


def test_two_of_ten_classes() -> None:
    """One of four clips is answered with a class that the data set lacks."""
    manifest = labelled(("rooster", "sea"), [(0,), (0,), (1,), (1,)])
    result = evaluate_scores(manifest, map(ten, ("rooster", "dog", "sea", "sea")), TEN, "softmax")
    assert (result.metrics.accuracy, result.metrics.mean_ap_classes) == (0.75, 2)
    assert result.metrics.micro_f1 == 0.75
    assert len(result.to_dict()["not_in_data"]) == 8


def test_several_labels_per_clip() -> None:
    """Roosters that are labelled with a dog before them, or with the sea behind them, by a model that says rooster:
    by its first label, the first was wrong and the second right.
    """
    manifest = labelled(("dog", "rooster", "sea"), [(0, 1), (1, 2)])
    figures = evaluate_scores(manifest, [ten("rooster")] * 2, TEN, "softmax").metrics
    assert figures.accuracy is None
    assert figures.micro_f1 == pytest.approx(4 / 6), "both roosters are found, dog and sea are not"
    assert figures.f1[:3] == (0, 1, 0)
    assert figures.macro_f1 == pytest.approx(1 / 3)
    assert figures.mean_ap_classes == 2, "a rooster is in every clip"


def test_clips_without_labels_are_scored() -> None:
    manifest = labelled(("rooster", "sea"), [(0,), (), (1,), ()])
    result = evaluate_scores(manifest, map(ten, ("rooster", "rooster", "sea", "fire")), TEN, "sigmoid")
    figures = result.metrics
    assert (figures.clips, figures.negatives, figures.accuracy) == (4, 2, None)
    assert figures.f1[:2] == (pytest.approx(2 / 3), 1)
    assert figures.micro_f1 == pytest.approx(2 * 2 / (2 + 4)), "the fire is an answer, and a wrong one"


def test_similar_names_go_together_and_this_is_said() -> None:
    manifest = labelled(("clock_tick", "Dog"), [(0,), (1,)])
    with pytest.warns(SpectagWarning, match=r"similar names: clock_tick is Clock tick, Dog is dog$"):
        result = evaluate_scores(
            manifest, rows([1, 0, 0], [0, 0, 1]), LabelSet(("Clock tick", "sea", "dog")), "softmax"
        )
    assert result.metrics.accuracy == 1


def test_groups_of_the_manifest_are_kept() -> None:
    clips = tuple(Clip(f"{n}.wav", Path(f"{n}.wav"), (n % 2,), group=group) for n, group in enumerate(("a", None, "a")))
    broken = FileError("0.wav", "broken")
    table = evaluate_scores(
        Manifest(clips, MANIFEST.labels, ""), rows(broken, [0, 0, 1], [0, 1, 0]), KNOWN, "softmax"
    ).table
    assert (table.ids, table.groups) == (("1.wav", "2.wav"), ("", "a"))
    assert evaluate_scores(MANIFEST, rows(*[[0, 0, 1]] * 3), KNOWN, "softmax").table.groups is None


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
