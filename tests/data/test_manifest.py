"""The table of clips itself."""

from pathlib import Path

import numpy as np
import pytest

from spectag.audio.source import Member, Segment
from spectag.data.manifest import Clip, Manifest
from spectag.errors import DataError, SpectagWarning
from spectag.labels import LabelSet

LABELS = LabelSet(("dog", "rain"))


def table(*clips: Clip) -> Manifest:
    return Manifest(clips, LABELS, "ESC-50")


def clip(id: str, **fields) -> Clip:
    return Clip(id, Path(id), (0,), **fields)


def test_absent_fold_and_split_list_what_there_is():
    manifest = table(clip("a.wav", fold=1), clip("b.wav", fold=3))
    assert (manifest.folds, manifest.splits, len(manifest)) == ((1, 3), (), 2)
    with pytest.raises(DataError, match=r"--fold 4: .* it has: 1, 3"):
        manifest.only(fold=4)
    with pytest.raises(DataError, match=r"--split test: .* it has: none"):
        manifest.only(split="test")


def test_parts_by_one_name_or_several():
    manifest = table(*(clip(f"{name}.wav", split=name) for name in ("balanced_train", "unbalanced_train", "eval")))
    assert [c.id for c in manifest.only(split="eval").clips] == ["eval.wav"]
    train = manifest.only(split=("balanced_train", "unbalanced_train"))
    assert train.splits == ("balanced_train", "unbalanced_train")
    assert [c.id for c in manifest.without(train).clips] == ["eval.wav"]
    with pytest.raises(DataError, match=r"--split test: .* it has: balanced_train, eval, unbalanced_train"):
        manifest.only(split=("eval", "test"))


def test_names_to_exclude_mean_clips_in_any_format_and_must_exist():
    manifest = table(clip("audio/1-40730-A-1.wav"), clip("audio/1-40731-A-1.wav"))
    with pytest.warns(SpectagWarning, match=r"not in the data set: typo\.ogg"):
        left = manifest.excluding(["1-40730-A.ogg", "typo.ogg"])
    assert [c.id for c in left.clips] == ["audio/1-40731-A-1.wav"]


def test_excluding_takes_the_group_along():
    manifest = table(clip("1-5-A.wav", group="5"), clip("1-5-B.wav", group="5"), clip("1-6-A.wav", group="6"))
    assert [c.id for c in manifest.excluding(["1-5-A.wav"]).clips] == ["1-6-A.wav"]


def test_source():
    assert clip("a.wav").source == Path("a.wav")
    assert clip("a.wav", end=2.0).source == Segment(Path("a.wav"), 0.0, 2.0)
    assert clip("a.tar", place=(512, 44)).source == Member(Path("a.tar"), 512, 44)


def test_targets():
    manifest = Manifest(
        (clip("a.wav"), Clip("b.wav", Path("b.wav"), (0, 1)), Clip("c.wav", Path("c.wav"), ())), LABELS, ""
    )
    assert manifest.targets().dtype == np.float32
    assert manifest.targets().tolist() == [[1, 0], [1, 1], [0, 0]]
