"""Score files: round trips, files of earlier versions, files that cannot be trusted."""

import io
import warnings
import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spectag.errors import DataError, InputError, SaveError, SpectagWarning
from spectag.score.npz import read_scores, write_scores
from spectag.score.table import ScoreTable

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


def table(scores=((0.5, 0.25), (0.0, 1.0)), **fields) -> ScoreTable:
    fields = {"activation": "sigmoid", "model": "m"} | fields
    return ScoreTable(("a/1.wav", "ü 2.wav"), np.eye(2), np.array(scores, np.float32), ("cat", "dog"), **fields)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    write_scores(path, table(activation="mixed", members=3))
    found = read_scores(path)
    assert (found.ids, found.labels) == (("a/1.wav", "ü 2.wav"), ("cat", "dog"))
    assert (found.model, found.activation, found.members, found.source) == ("m", "mixed", 3, str(path))
    assert (found.scores.dtype, found.targets.dtype) == (np.float32, np.uint8)
    assert found.scores.tolist() == [[0.5, 0.25], [0.0, 1.0]]
    assert found.targets.tolist() == [[1, 0], [0, 1]]
    with np.load(path, allow_pickle=False) as file:
        kinds = "".join(file[name].dtype.kind for name in GOOD)
        assert (kinds, set(file.files)) == ("iUufUUUi", {*GOOD, "data_classes"})
    assert list(tmp_path.iterdir()) == [path]


def test_classes_that_the_data_set_lacks_and_groups_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    whole = replace(
        table(),
        labels=("cat", "dog", "owl"),
        scores=np.array([[0.5, 0.25, 0.25], [0, 0, 1]], np.float32),
        targets=np.array([[1, 0, 0], [0, 1, 0]]),
        data_classes=2,
        groups=("", "night"),
    )
    write_scores(path, whole)
    found = read_scores(path)
    assert (found.data_labels, found.other_labels, found.groups) == (("cat", "dog"), ("owl",), ("", "night"))
    assert found.compute_metrics().accuracy == 0.5


def test_an_accuracy_from_an_earlier_file_is_doubted(tmp_path: Path) -> None:
    """Classes may be missing from it, unless the scores of a softmax are all there."""
    path = tmp_path / "s.npz"
    for fields, doubted in (
        ({}, True),
        ({"activation": np.str_("softmax")}, False),
        ({"activation": np.str_("softmax"), "scores": np.array([[0.5, 0.25], [0.0, 1.0]], np.float32)}, True),
        ({"targets": np.array([[1, 1], [0, 1]], np.uint8)}, False),
        ({"data_classes": np.int64(2)}, False),
    ):
        np.savez(path, **(GOOD | fields))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            read_scores(path)
        assert len(said) == doubted, fields
        assert all("the accuracy is too high" in str(warning.message) for warning in said)


def test_a_file_of_version_0_1_0_still_loads() -> None:
    found = read_scores(Path(__file__).parents[1] / "golden" / "scores.npz")
    assert found.ids == (*(f"dogs/{n}.wav" for n in range(5)), "vögel/6.wav#0.5-2.5")
    assert found.labels == ("Dog", "Rain", "Vögel")
    assert found.targets.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 0, 0], [0, 1, 1]]
    expected = [
        *([0.637, 0.27, 0.041], [0.017, 0.813, 0.913], [0.607, 0.729, 0.544]),
        *([0.935, 0.816, 0.003], [0.857, 0.034, 0.73], [0.176, 0.863, 0.541]),
    ]
    np.testing.assert_array_equal(found.scores, np.array(expected, np.float32))
    assert (found.activation, found.model, found.members) == ("mixed", "runs/a/bundle, runs/b/bundle", 3)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        *((name, None, f"{name} is missing") for name in GOOD),
        ("format", np.int64(2), "format 2 is newer than 1, .* pip install --upgrade spectag"),
        ("format", np.str_("1"), "format: expected a whole number"),
        ("ids", np.array(["a", "a"]), "ids: expected each once, got 'a' twice"),
        ("ids", np.array([1, 2]), "ids: expected text"),
        ("ids", np.array([["a", "b"]]), r"ids: expected text with 1 axes, got <U1 \[1, 2\]"),
        ("ids", np.array(["a", "b", "c"]), r"expected targets and scores \[3, 2\]"),
        ("ids", np.array(["a", "b"], dtype=object), r"expected a score file, got .* damaged one \(Object arrays"),
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
        *(("data_classes", np.int64(n), f"data_classes: expected 1 to 2, .* got {n}") for n in (-1, 0, 1, 3)),
        ("data_classes", np.array([1]), "data_classes: expected a whole number"),
        ("groups", np.array([1, 2]), "groups: expected text"),
        ("groups", np.array(["a"]), "groups: expected 2, one per clip, got 1"),
    ],
)
def test_files_that_cannot_be_trusted(tmp_path: Path, name, value, message) -> None:
    path = tmp_path / "s.npz"
    np.savez(path, **{key: v for key, v in (GOOD | {name: value}).items() if v is not None})
    with pytest.raises(DataError, match=message) as caught:
        read_scores(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_no_clips_or_no_labels(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    empty = {"ids": np.array([], "U1"), "targets": np.zeros((0, 2), np.uint8), "scores": np.zeros((0, 2), np.float32)}
    np.savez(path, **(GOOD | empty))
    with pytest.raises(DataError, match="ids: expected at least one, got none"):
        read_scores(path)


def test_files_of_other_kinds(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    with pytest.raises(DataError, match="no such file"):
        read_scores(path)
    np.savez(path, **GOOD)
    whole = path.read_bytes()
    warnings.simplefilter("ignore", SpectagWarning)
    array = io.BytesIO()
    np.save(array, GOOD["scores"])
    for content in (b"", b"text", whole[: len(whole) // 2], array.getvalue(), b"\x80\x04K\x01."):
        path.write_bytes(content)
        with pytest.raises(DataError, match="expected a score file, got another kind of file or a damaged one"):
            read_scores(path)
    for place in range(0, len(whole), 7):  # one flipped bit anywhere is refused or harmless
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        with suppress(DataError):
            read_scores(path)


def test_false_sizes(tmp_path: Path) -> None:
    """Neither a header that promises a terabyte nor an entry that is no array takes memory."""
    path = tmp_path / "s.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (2**19, 2**19)})
    for content, message in ((header.getvalue(), "expected a score file, got"), (b"no array", "got no array")):
        np.savez(path, **{key: value for key, value in GOOD.items() if key != "scores"})
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("scores.npy", content)
        with pytest.raises(DataError, match=message):
            read_scores(path)


def test_a_small_file_that_unpacks_to_a_large_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.npz"
    np.savez_compressed(path, **GOOD, other=np.zeros(10**6))
    monkeypatch.setattr("spectag.score.npz.LARGEST", 10**6)
    with pytest.raises(DataError, match="at most 1000000 bytes unpacked, got 80"):
        read_scores(path)


def test_writing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"s\.parquet: expected the name of a score file, ending in \.npz"):
        write_scores(tmp_path / "s.parquet", table())
    with pytest.raises(DataError, match="expected 0 to 1, got nan"):
        write_scores(tmp_path / "s.npz", table([[np.nan, 0], [0, 0]]))
    with pytest.raises(SaveError, match="could not be written"):
        write_scores(tmp_path / "none" / "s.npz", table())
    assert not any(tmp_path.iterdir())
    path = tmp_path / "s.npz"
    write_scores(path, table())
    write_scores(path, table([[0.125, 0], [0, 0.125]]))
    assert read_scores(path).scores.tolist() == [[0.125, 0], [0, 0.125]]


def test_a_failed_write_keeps_the_file_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.npz"
    write_scores(path, table())
    before = path.read_bytes()

    def fill_the_disk(file, **_):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", fill_the_disk)
    with pytest.raises(SaveError, match=r"s\.npz: could not be written \(No space left on device\)"):
        write_scores(path, table())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
