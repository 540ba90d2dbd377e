"""Score files: hand-computed means, orders that differ, files that cannot be trusted."""

import io
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from spectag.data.manifest import Clip, Manifest
from spectag.errors import DataError, InputError, LabelMismatch, SaveError, SpectagWarning
from spectag.labels import LabelSet
from spectag.train.scores import ScoreTable, average, read, tabulate, write


def table(scores, ids=("a/1.wav", "b/2.wav", "ü 3.wav"), labels=("cat", "dog"), **fields) -> ScoreTable:
    targets = fields.pop("targets", [[1, 0], [0, 1], [1, 1]])
    fields = {"activation": "sigmoid", "model": "m"} | fields
    return ScoreTable(tuple(ids), np.array(targets, np.uint8), np.array(scores, np.float32), tuple(labels), **fields)


ONE = [[0.5, 0.25], [0.0, 1.0], [0.75, 0.5]]
TWO = [[0.25, 0.25], [1.0, 0.0], [0.5, 0.0]]


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    write(table(ONE, activation="mixed", members=3), path)
    found = read(path)
    assert (found.ids, found.labels) == (("a/1.wav", "b/2.wav", "ü 3.wav"), ("cat", "dog"))
    assert (found.model, found.activation, found.members, found.source) == ("m", "mixed", 3, str(path))
    assert (found.scores.dtype, found.targets.dtype) == (np.float32, np.uint8)
    assert found.scores.tolist() == ONE
    assert found.targets.tolist() == [[1, 0], [0, 1], [1, 1]]
    with np.load(path, allow_pickle=False) as file:
        kinds = "".join(file[name].dtype.kind for name in GOOD)
        assert (kinds, set(file.files)) == ("iUufUUUi", set(GOOD))
    assert list(tmp_path.iterdir()) == [path]


def test_average_by_hand() -> None:
    whole = average([table(ONE, model="x"), table(TWO, model="y")])
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
    straight = average([table(ONE), table(TWO)])
    found = average([table(ONE), turned])
    assert found.ids == straight.ids
    assert found.scores.tolist() == straight.scores.tolist()
    assert average([turned, table(ONE)]).ids == turned.ids


def test_every_model_weighs_the_same() -> None:
    rng = np.random.default_rng(0)
    parts = [table(rng.random((3, 2))) for _ in range(6)]
    nested = average([average(parts[:3]), *parts[3:]])
    assert nested.members == 6
    np.testing.assert_allclose(nested.scores, average(parts).scores, atol=1e-7)


def test_of_sigmoid_and_softmax() -> None:
    assert average([table(ONE), table(TWO, activation="softmax")]).activation == "mixed"


def test_figures() -> None:
    figures = table(ONE).metrics()
    assert figures.clips == 3
    assert figures.ap == pytest.approx((1.0, 1.0))
    assert figures.accuracy == pytest.approx(1.0)
    assert average([table(ONE), table(TWO)]).metrics().ap == pytest.approx((5 / 6, 5 / 6))


def test_the_same_scores_twice() -> None:
    with pytest.warns(SpectagWarning, match=r"b\.npz: holds the same scores as a\.npz, .* count twice"):
        average([table(ONE, source="a.npz"), table(TWO), table(ONE, source="b.npz")])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        average([table(ONE), table(TWO)])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"ids": ("a/1.wav", "b/2.wav", "c")}, r"2 clips are in one only, such as c in b\.npz"),
        (
            {"ids": ("a/1.wav", "ü 3.wav"), "scores": ONE[1:], "targets": [[1, 0], [1, 1]]},
            r"1 clips .* b/2\.wav in a\.npz",
        ),
        ({"labels": ("cat", "cow")}, "2 labels are in one only, such as 'cow'"),
        ({"labels": ("dog", "cat")}, "the labels' order"),
        ({"targets": [[1, 0], [1, 1], [0, 1]]}, r"the targets of 2 clips, such as b/2\.wav"),
    ],
)
def test_what_does_not_go_together(other, message) -> None:
    with pytest.raises(DataError, match=rf"^b\.npz: differs from a\.npz: .*{message}"):
        average([table(ONE, source="a.npz"), table(**({"scores": TWO} | other), source="b.npz")])


def test_nothing_to_average() -> None:
    with pytest.raises(InputError, match="at least one table"):
        average([])


GOOD = {
    "format": np.int64(1),
    "ids": np.array(["a", "b"]),
    "targets": np.array([[1, 0], [0, 1]], np.uint8),
    "scores": np.array([[0.5, 0.5], [0.0, 1.0]], np.float32),
    "labels": np.array(["x", "y"]),
    "activation": np.str_("sigmoid"),
    "model": np.str_("m"),
    "members": np.int64(1),
}
NAN = np.array([[0.5, np.nan], [0.0, 1.0]], np.float32)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        *((name, None, f"{name} is missing") for name in GOOD),
        ("format", np.int64(2), "format 2 is newer"),
        ("format", np.str_("1"), "format: expected a whole number"),
        ("ids", np.array(["a", "a"]), "ids: expected each once, got 'a' twice"),
        ("ids", np.array([1, 2]), "ids: expected text"),
        ("ids", np.array([["a", "b"]]), r"ids: expected text with 1 axes, got <U1 \[1, 2\]"),
        ("ids", np.array(["a", "b", "c"]), r"expected targets and scores \[3, 2\]"),
        ("ids", np.array(["a", "b"], dtype=object), "no score file, or damaged: Object arrays"),
        ("labels", np.array(["x"]), r"expected targets and scores \[2, 1\]"),
        ("labels", np.array(["x", "x"]), "labels: expected each once"),
        ("scores", NAN, "scores of a: expected 0 to 1, got nan"),
        ("scores", np.array([[0.5, 0.5], [1.5, 0]], np.float32), "scores of b: expected 0 to 1, got 1.5"),
        ("scores", np.array([[0.5, 0.5], [-0.1, 0]], np.float32), "scores of b: expected 0 to 1, got -0.1"),
        ("scores", np.array([[0.5, 0.5], [np.inf, 0]], np.float32), "scores of b: expected 0 to 1, got inf"),
        ("scores", np.zeros((2, 3), np.float32), r"expected targets and scores \[2, 2\]"),
        ("scores", np.zeros(4, np.float32), "scores: expected float32 with 2 axes"),
        ("scores", np.zeros((2, 2), np.float64), r"scores: expected float32 with 2 axes, got float64 \[2, 2\]"),
        ("scores", np.zeros((2, 2), np.complex64), "scores: expected float32"),
        ("targets", np.zeros((2, 2), np.uint16), "targets: expected uint8"),
        ("targets", np.full((2, 2), 2, np.uint8), "targets: expected 0 or 1, got 2"),
        ("activation", np.str_("relu"), "activation: expected sigmoid, softmax, mixed, got 'relu'"),
        ("members", np.int64(0), "members: expected at least 1, got 0"),
    ],
)
def test_files_that_cannot_be_trusted(tmp_path: Path, name, value, message) -> None:
    path = tmp_path / "s.npz"
    np.savez(path, **{key: v for key, v in (GOOD | {name: value}).items() if v is not None})
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_no_clips_or_no_labels(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    empty = {"ids": np.array([], "U1"), "targets": np.zeros((0, 2), np.uint8), "scores": np.zeros((0, 2), np.float32)}
    np.savez(path, **(GOOD | empty))
    with pytest.raises(DataError, match="ids: expected at least one, got none"):
        read(path)


def test_files_of_other_kinds(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    with pytest.raises(DataError, match="no such file"):
        read(path)
    np.savez(path, **GOOD)
    whole = path.read_bytes()
    array = io.BytesIO()
    np.save(array, GOOD["scores"])
    for content in (b"", b"text", whole[: len(whole) // 2], array.getvalue(), b"\x80\x04K\x01."):
        path.write_bytes(content)
        with pytest.raises(DataError, match="no score file, or damaged"):
            read(path)
    for place in range(0, len(whole), 7):  # a bit of rot anywhere: refused, or harmless
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        with suppress(DataError):
            read(path)


def test_sizes_that_lie(tmp_path: Path) -> None:
    """A header that promises a terabyte, and an array that is none: neither takes memory."""
    path = tmp_path / "s.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (2**19, 2**19)})
    for content, message in ((header.getvalue(), "no score file, or damaged"), (b"no array", "got no array")):
        np.savez(path, **{key: value for key, value in GOOD.items() if key != "scores"})
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("scores.npy", content)
        with pytest.raises(DataError, match=message):
            read(path)


def test_a_small_file_that_unpacks_to_a_large_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.npz"
    np.savez_compressed(path, **GOOD, other=np.zeros(10**6))
    monkeypatch.setattr("spectag.train.scores.LARGEST", 10**6)
    with pytest.raises(DataError, match="unpacks to 80"):
        read(path)


def test_writing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"name a file that ends so"):
        write(table(ONE), tmp_path / "s.parquet")
    with pytest.raises(DataError, match="expected 0 to 1, got nan"):
        write(table([[np.nan, 0], [0, 0], [0, 0]]), tmp_path / "s.npz")
    with pytest.raises(SaveError, match="could not be written"):
        write(table(ONE), tmp_path / "none" / "s.npz")
    assert not any(tmp_path.iterdir())
    path = tmp_path / "s.npz"
    write(table(ONE), path)
    write(table(TWO), path)
    assert read(path).scores.tolist() == TWO


def manifest(*ids: str) -> Manifest:
    labels = LabelSet(("Rain", "Dog_bark"))
    return Manifest(tuple(Clip(name, Path(name), (n % 2,)) for n, name in enumerate(ids)), labels, "test")


def test_tabulate() -> None:
    """The data set's classes in its order, by name; the clips that could be scored."""
    known = LabelSet(("dog bark", "sea", "rain"))
    rows = [np.array([0.1, 0.2, 0.7], np.float32), "2.wav: broken", np.array([0.5, 0.25, 0.25], np.float32)]
    found, failed = tabulate(manifest("1.wav", "2.wav", "3.wav"), rows, known, model="m", activation="softmax")
    assert (found.ids, found.labels, failed) == (("1.wav", "3.wav"), ("Rain", "Dog_bark"), ("2.wav: broken",))
    np.testing.assert_array_equal(found.scores, np.array([[0.7, 0.1], [0.25, 0.5]], np.float32))
    assert found.targets.tolist() == [[1, 0], [1, 0]]
    with pytest.raises(DataError, match=r"not one of 1 clips could be scored; the first error: broken"):
        tabulate(manifest("1.wav"), ["broken"], known, model="m", activation="softmax")
    with pytest.raises(LabelMismatch, match="Dog_bark"):
        tabulate(manifest("1.wav"), rows[:1], LabelSet(("a", "b", "rain")), model="m", activation="softmax")


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(InputError, match=r"expected targets and scores \[3, 2\] for 3 clips and 2 classes"):
        table([[0.1, 0.2]])
