"""Score tables: scores beside labels, means computed by hand, clips in different orders."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from spectag.data.manifest import Clip, Manifest
from spectag.errors import DataError, FileError, InputError, LabelMismatch, SpectagWarning
from spectag.labels import LabelSet
from spectag.score.table import ScoreTable, average_tables, concatenate_tables, make_table


def table(scores, ids=("a/1.wav", "b/2.wav", "ü 3.wav"), labels=("cat", "dog"), **fields) -> ScoreTable:
    targets = fields.pop("targets", [[1, 0], [0, 1], [1, 1]])
    fields = {"activation": "sigmoid", "model": "m"} | fields
    return ScoreTable(tuple(ids), np.array(targets, np.uint8), np.array(scores, np.float32), tuple(labels), **fields)


ONE = [[0.5, 0.25], [0.0, 1.0], [0.75, 0.5]]
PADDED = [[1, 0, 0], [0, 1, 0], [1, 1, 0]]
TWO = [[0.25, 0.25], [1.0, 0.0], [0.5, 0.0]]


def test_average_by_hand() -> None:
    whole = average_tables([table(ONE, model="x"), table(TWO, model="y")])
    assert whole.scores.tolist() == [[0.375, 0.25], [0.5, 0.5], [0.625, 0.25]]
    assert whole.scores.dtype == np.float32
    assert (whole.members, whole.model, whole.activation) == (2, "x, y", "sigmoid")


def test_clips_in_another_order_are_matched_by_their_ids() -> None:
    order = [2, 0, 1]
    turned = table(
        np.array(TWO)[order],
        ids=np.array(["a/1.wav", "b/2.wav", "ü 3.wav"])[order].tolist(),
        targets=np.array([[1, 0], [0, 1], [1, 1]])[order],
    )
    straight = average_tables([table(ONE), table(TWO)])
    found = average_tables([table(ONE), turned])
    assert found.ids == straight.ids
    assert found.scores.tolist() == straight.scores.tolist()
    assert average_tables([turned, table(ONE)]).ids == turned.ids


def test_every_model_weighs_the_same() -> None:
    rng = np.random.default_rng(0)
    parts = [table(rng.random((3, 2))) for _ in range(6)]
    nested = average_tables([average_tables(parts[:3]), *parts[3:]])
    assert nested.members == 6
    np.testing.assert_allclose(nested.scores, average_tables(parts).scores, atol=1e-7)


def test_of_sigmoid_and_softmax() -> None:
    assert average_tables([table(ONE), table(TWO, activation="softmax")]).activation == "mixed"


def test_figures() -> None:
    figures = table(ONE).compute_metrics()
    assert figures.clips == 3
    assert figures.ap == pytest.approx((1.0, 1.0))
    assert figures.accuracy is None, "the third clip has two labels"
    assert table(ONE).compute_intervals(figures, resamples=100).bounds.keys() <= {"mean_auc", "micro_f1", "macro_f1"}
    assert average_tables([table(ONE), table(TWO)]).compute_metrics().ap == pytest.approx((5 / 6, 5 / 6))


def test_the_same_scores_twice() -> None:
    with pytest.warns(SpectagWarning, match=r"b\.npz: holds the same scores as a\.npz, .* count twice"):
        average_tables([table(ONE, source="a.npz"), table(TWO), table(ONE, source="b.npz")])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        average_tables([table(ONE), table(TWO)])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"ids": ("a/1.wav", "b/2.wav", "c")}, r"2 of the clips, for example c, which only b\.npz has"),
        (
            {"ids": ("a/1.wav", "ü 3.wav"), "scores": ONE[1:], "targets": [[1, 0], [1, 1]]},
            r"1 of the clips, for example b/2\.wav, which only a\.npz has",
        ),
        ({"labels": ("cat", "cow")}, "2 of the labels, for example 'cow'"),
        ({"labels": ("dog", "cat")}, "the order of the labels"),
        ({"targets": [[1, 0], [1, 1], [0, 1]]}, r"the targets of 2 of the clips, for example b/2\.wav"),
    ],
)
def test_what_does_not_go_together(other, message) -> None:
    with pytest.raises(DataError, match=rf"^b\.npz: differs from a\.npz in {message}"):
        average_tables([table(ONE, source="a.npz"), table(**({"scores": TWO} | other), source="b.npz")])


def test_models_that_differ_in_the_classes_that_the_data_set_lacks() -> None:
    """Kind: scores that are dropped so that tables fit. A class that a model does not know has the score 0 in it."""
    wide = table(np.c_[ONE, [0, 0.5, 0]], labels=("cat", "dog", "owl"), targets=PADDED, data_classes=2, source="wide")
    other = table(np.c_[TWO, [1, 0, 0]], labels=("cat", "dog", "cow"), targets=PADDED, data_classes=2, source="other")
    with pytest.warns(SpectagWarning) as said:
        whole = average_tables([wide, other, table(ONE, source="narrow", groups=("a", "a", ""))])
    assert [str(warning.message).partition(":")[0] for warning in said] == ["wide", "other", "narrow"]
    assert "which count as 0 in the mean: owl, cow" in str(said[-1].message)
    assert (whole.data_labels, whole.other_labels, whole.groups) == (("cat", "dog"), ("owl", "cow"), ("a", "a", ""))
    np.testing.assert_allclose(whole.scores[:, :2], (2 * np.array(ONE) + TWO) / 3, atol=1e-7)
    np.testing.assert_allclose(whole.scores[:, 2:], [[0, 1 / 3], [1 / 6, 0], [0, 0]], atol=1e-7)
    assert whole.targets.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 0, 0]]


def test_concatenated() -> None:
    one, two = table(ONE, groups=("a", "", "b")), table(TWO, ids=("4", "5", "6"))
    whole = concatenate_tables([one, two])
    assert (whole.ids, whole.groups) == ((*one.ids, "4", "5", "6"), ("a", "", "b", "", "", ""))
    np.testing.assert_array_equal(whole.scores, np.concatenate([one.scores, two.scores]))
    np.testing.assert_array_equal(whole.targets, np.concatenate([one.targets, two.targets]))
    assert concatenate_tables([two]).groups is None
    with pytest.raises(DataError, match="differs from scores in 2 of the labels, for example 'cat'"):
        concatenate_tables([one, table(TWO, labels=("cow", "dog"))])
    with pytest.raises(InputError, match="at least one table"):
        concatenate_tables([])


def test_nothing_to_average() -> None:
    with pytest.raises(InputError, match="at least one table"):
        average_tables([])


def manifest(*ids: str) -> Manifest:
    labels = LabelSet(("Rain", "Dog_bark"))
    return Manifest(tuple(Clip(name, Path(name), (n % 2,)) for n, name in enumerate(ids)), labels, "test")


def test_make_table() -> None:
    """The data set's classes in its order, by name, then the others; the clips that could be scored."""
    known = LabelSet(("Dog_bark", "sea", "Rain"))
    first, third = np.array([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]], np.float32)
    rows = [first, FileError("2.wav", "broken"), third]
    found, failed = make_table(manifest("1.wav", "2.wav", "3.wav"), rows, known, model="m", activation="softmax")
    assert (found.ids, failed) == (("1.wav", "3.wav"), ("2.wav: broken",))
    assert (found.data_labels, found.other_labels) == (("Rain", "Dog_bark"), ("sea",))
    np.testing.assert_array_equal(found.scores, np.array([[0.7, 0.1, 0.2], [0.25, 0.5, 0.25]], np.float32))
    assert found.targets.tolist() == [[1, 0, 0], [1, 0, 0]]
    with pytest.raises(DataError, match=r"none of the 1 clips could be scored; the first error: 1\.wav: broken"):
        make_table(manifest("1.wav"), [FileError("1.wav", "broken")], known, model="m", activation="softmax")
    with pytest.raises(LabelMismatch, match="Dog_bark"):
        make_table(manifest("1.wav"), rows[:1], LabelSet(("a", "b", "Rain")), model="m", activation="softmax")


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(InputError, match=r"expected targets and scores \[3, 2\] for 3 clips and 2 classes"):
        table([[0.1, 0.2]])
    with pytest.raises(InputError, match="groups: expected 3, one per clip, got 1"):
        table(ONE, groups=("a",))
    for known in (0, 1, 3):
        with pytest.raises(InputError, match=f"data_classes: expected 1 to 2, .* got {known}"):
            table(ONE, data_classes=known)


def single(targets, scores) -> ScoreTable:
    ids, labels = map(str, range(len(targets))), map(str, range(len(targets[0])))
    return ScoreTable(tuple(ids), np.array(targets), np.array(scores), tuple(labels), "softmax")


def test_confusion_matrix() -> None:
    scores = [[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.05, 0.9, 0.05], [0.1, 0.8, 0.1], [0.2, 0.1, 0.7]]
    found = single(np.eye(3)[[0, 0, 0, 1, 2]], scores)
    assert found.single_label
    assert found.confusion_matrix().tolist() == [[1, 2, 0], [0, 1, 0], [0, 0, 1]]
    assert not table(ONE).single_label


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.permutations([0.1, 0.2, 0.7])), min_size=1))
def test_a_confusion_matrix_counts_every_clip_once(clips) -> None:
    found = single(np.eye(3)[[truth for truth, _ in clips]], [scores for _, scores in clips])
    counts = found.confusion_matrix()
    assert counts.sum(1).tolist() == found.targets.sum(0).tolist()
    assert np.trace(counts) / len(clips) == pytest.approx(found.compute_metrics().accuracy)


def test_losses() -> None:
    """Cross-entropy of the true class under softmax, otherwise the mean binary cross-entropy; never infinite."""
    scores = [[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.0, 1.0, 0.0]]
    np.testing.assert_allclose(single(np.eye(3)[[0, 0, 1]], scores).losses(), -np.log([0.8, 0.3, 1 - 1e-7]), atol=1e-9)
    np.testing.assert_allclose(single(np.eye(3)[[1, 0, 0]], scores).losses(), -np.log([0.1, 0.3, 1e-7]))
    several = single([[1, 1, 0], [0, 0, 0]], [[0.5, 0.5, 0.5], [0.5, 0.75, 0.5]])
    np.testing.assert_allclose(several.losses(), [np.log(2), (np.log(2) * 2 + np.log(4)) / 3])
    independent = ScoreTable(["a"], np.array([[1, 0]]), np.array([[0.5, 0.25]]), ["x", "y"], "sigmoid")
    np.testing.assert_allclose(independent.losses(), -(np.log(0.5) + np.log(0.75)) / 2)
