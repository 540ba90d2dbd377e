"""Ensembles: made, saved, loaded and used like any other model; files that cannot be trusted."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small import make_bundle, with_facts

import spectag
from spectag.errors import InputError, LabelMismatch, ModelError, NewerBundle, NotAModel, SaveError, UnreadableModel
from spectag.labels import LabelSet
from spectag.model.bundle import Bundle
from spectag.model.ensemble import Ensemble
from spectag.model.loading import is_ensemble, load, load_bundle
from spectag.tag.tagger import Tagger


def three() -> list[Bundle]:
    """Other weights, other strides, other sizes and patches."""
    return [
        make_bundle(0),
        make_bundle(1, stride=(12, 12)),
        make_bundle(2, width=16, depth=1, patch=(128, 4), stride=(128, 4), tokens=1),
    ]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Ensemble(three()).save(tmp_path_factory.mktemp("ensembles") / "three")


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    shutil.copytree(saved, tmp_path / "copy")
    return tmp_path / "copy"


def sounds() -> list[np.ndarray]:
    """From shorter than a window to several."""
    rng = np.random.default_rng(0)
    return [(0.1 * rng.standard_normal(n)).astype(np.float32) for n in (400, 16_240, 50_000)]


def test_scores_are_the_mean_of_the_members(saved: Path) -> None:
    tagger = Tagger(saved, batch_size=2)
    alone = [Tagger(member) for member in three()]
    assert tagger.labels == alone[0].labels
    rows = list(tagger.scores_many(sounds()))
    for sound, row in zip(sounds(), rows, strict=True):
        each = np.stack([member.scores(sound) for member in alone])
        assert np.ptp(each, axis=0).max() > 0.01, "the members should not agree"
        np.testing.assert_allclose(row, each.mean(0), atol=1e-6)
        np.testing.assert_allclose(tagger.scores(sound), row, atol=1e-6)
        assert row.sum() == pytest.approx(1), "the mean of probabilities is one"


def test_embedding_is_that_of_all_members(saved: Path) -> None:
    sound = sounds()[2]
    each = [Tagger(member).embed(sound) for member in three()]
    assert [row.size for row in each] == [32, 32, 16]
    np.testing.assert_allclose(Tagger(saved).embed(sound), np.concatenate(each), atol=1e-5)


def test_of_sigmoid_members_by_hand() -> None:
    """Two networks whose heads are constants: the mean of the scores, not of the logits."""
    members = [with_facts(make_bundle(n), activation="sigmoid") for n in range(2)]
    for member, logit in zip(members, (0.0, 4.0), strict=True):
        with torch.no_grad():
            for name, parameter in member.network.head.named_parameters():
                parameter.zero_()
                if name.endswith("bias") and len(parameter) == 5:
                    parameter.fill_(logit)
    expected = (0.5 + 1 / (1 + np.exp(-4.0))) / 2
    np.testing.assert_allclose(Tagger(Ensemble(members)).scores(sounds()[0]), expected, atol=1e-6)


def test_round_trip(saved: Path) -> None:
    assert is_ensemble(saved)
    ensemble = spectag.load(saved)
    assert isinstance(ensemble, spectag.Ensemble)
    for member, original in zip(ensemble.members, three(), strict=True):
        assert member.network.config == original.network.config
        theirs = original.network.state_dict()
        assert all(torch.equal(value, theirs[key]) for key, value in member.network.state_dict().items())
    assert (ensemble.front_end, ensemble.activation) == (three()[0].front_end, "softmax")
    assert json.loads((saved / "ensemble.json").read_text())["members"] == ["member-0", "member-1", "member-2"]


def test_describe(saved: Path) -> None:
    facts = load(saved).describe()
    assert json.loads(json.dumps(facts))
    assert facts["source"] == str(saved)
    assert facts["format"] == "spectag ensemble, format 1"
    members = facts["members"]
    assert [members[f"member-{n}"]["network"]["stride"] for n in range(3)] == [(10, 10), (12, 12), (128, 4)]
    assert facts["parameters"] == sum(member["parameters"] for member in members.values())
    assert Ensemble(three()).describe()["source"] == "built in memory"
    assert Ensemble(three()).card.labels == three()[0].labels


def test_an_ensemble_among_the_models_counts_as_its_members(saved: Path) -> None:
    whole = Ensemble.of([load(saved), make_bundle(3)])
    assert len(whole.members) == 4
    sound = sounds()[1]
    expected = np.mean([Tagger(member).scores(sound) for member in (*three(), make_bundle(3))], axis=0)
    np.testing.assert_allclose(Tagger(whole).scores(sound), expected, atol=1e-6)


def test_half_precision(saved: Path, tmp_path: Path) -> None:
    half = Ensemble(three()).save(tmp_path / "half", dtype=torch.float16)
    weights = "member-0/model.safetensors"
    assert (half / weights).stat().st_size < 0.7 * (saved / weights).stat().st_size
    np.testing.assert_allclose(Tagger(half).scores(sounds()[1]), Tagger(saved).scores(sounds()[1]), atol=0.02)


def relabelled(bundle: Bundle, *names: str) -> Bundle:
    return with_facts(bundle, labels=LabelSet(names))


@pytest.mark.parametrize(
    ("other", "kind", "message"),
    [
        (lambda b: relabelled(b, *"abcde"), LabelMismatch, "label 0: expected class 0 as member 0 has, got a;"),
        (lambda b: make_bundle(1, labels=4), LabelMismatch, "labels: expected 5 as member 0 has, got 4;"),
        (lambda b: with_facts(b, activation="sigmoid"), ModelError, "activation: expected softmax .* got sigmoid;"),
        (lambda b: make_bundle(1, frames=90), ModelError, "frames: expected 100 as member 0 has, got 90;"),
        (lambda b: make_bundle(1, mel_bins=64), ModelError, "mel_bins: expected 128 as member 0 has, got 64;"),
        (
            lambda b: with_facts(b, front_end=replace(b.front_end, mean=-5.0)),
            ModelError,
            "mean: expected -6.0 .* -5.0;",
        ),
        (lambda b: with_facts(b, front_end=replace(b.front_end, std=4.0)), ModelError, "std: expected 5.0 .* 4.0;"),
        (
            lambda b: with_facts(b, front_end=replace(b.front_end, window="hamming")),
            ModelError,
            "window: expected hanning .* hamming;",
        ),
    ],
)
def test_members_that_do_not_go_together(other, kind, message) -> None:
    with pytest.raises(kind, match=rf"^member 2 \(built in memory\): {message} .*spectag score, spectag ensemble$"):
        Ensemble((make_bundle(0), make_bundle(1), other(make_bundle(2))))


def test_label_ids_may_be_missing() -> None:
    named = make_bundle(1)
    assert len(Ensemble((make_bundle(0), relabelled(named, *named.labels.names))).members) == 2


def test_no_members() -> None:
    with pytest.raises(InputError, match="at least one member"):
        Ensemble(())


@pytest.mark.parametrize(
    ("document", "kind", "message"),
    [
        ("{", UnreadableModel, "not JSON"),
        ("[]", NotAModel, "expected a JSON object"),
        ({}, ModelError, "format: expected a positive whole number"),
        ({"format": 2, "members": ["member-0"]}, NewerBundle, "format 2 is newer than 1"),
        ({"format": 1}, NotAModel, "members: expected a list of 1 to"),
        ({"format": 1, "members": []}, NotAModel, "members: expected a list of 1 to"),
        ({"format": 1, "members": "member-0"}, NotAModel, "members: expected a list of 1 to"),
        ({"format": 1, "members": ["member-0"] * 1001}, NotAModel, "members: expected a list of 1 to"),
        ({"format": 1, "members": ["member-0", "member-0"]}, NotAModel, "expected each folder once"),
        ({"format": 1, "members": ["member-7"]}, NotAModel, "the folder member-7 is missing"),
        ({"format": 1, "members": ["ensemble.json"]}, NotAModel, "the folder ensemble.json is missing"),
        *(
            ({"format": 1, "members": [name]}, NotAModel, "expected plain names of folders")
            for name in ("../copy/member-0", "..", ".", "", "/tmp", "a/b", "a\\b", "C:member-0", "member-0\n", 0, None)
        ),
    ],
)
def test_a_damaged_or_hostile_file(copy: Path, document, kind, message) -> None:
    file = copy / "ensemble.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    with pytest.raises(kind, match=message) as caught:
        load(copy)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def test_a_member_is_not_an_ensemble(copy: Path) -> None:
    shutil.copy(copy / "ensemble.json", copy / "member-1")
    with pytest.raises(NotAModel, match="member-1: is an ensemble, and one network is needed"):
        load(copy)


def test_members_on_disk_that_do_not_go_together(copy: Path) -> None:
    shutil.rmtree(copy / "member-1")
    make_bundle(1, frames=90).save(copy / "member-1")
    with pytest.raises(ModelError, match=r"member 1 \(.*member-1\): frames: expected 100") as caught:
        load(copy)
    assert str(caught.value).startswith(str(copy))


def test_a_damaged_member(copy: Path) -> None:
    weights = copy / "member-2" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="member-2"):
        load(copy)


def test_where_one_network_is_needed(saved: Path) -> None:
    with pytest.raises(NotAModel, match="is an ensemble, and one network is needed here"):
        load_bundle(saved)


def test_options_are_for_one_network(saved: Path) -> None:
    with pytest.raises(InputError, match="activation= is for one network"):
        load(saved, activation="sigmoid")
    assert load(saved / "member-0", activation="sigmoid").activation == "sigmoid"
    assert isinstance(load("esc10"), Bundle)
    with pytest.raises(InputError, match="expected a path or a name, got int"):
        load(3)  # type: ignore[arg-type]


def test_nothing_is_overwritten(saved: Path, tmp_path: Path) -> None:
    before = sorted(saved.rglob("*"))
    with pytest.raises(SaveError, match="already exists"):
        Ensemble(three()).save(saved)
    assert sorted(saved.rglob("*")) == before
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(SaveError, match="already exists"):
        Ensemble(three()).save(file)
    empty = tmp_path / "some" / "empty"
    empty.mkdir(parents=True)
    assert is_ensemble(Ensemble(three()).save(empty))


def test_all_or_nothing(tmp_path: Path) -> None:
    members = three()
    with torch.no_grad():
        next(members[2].network.parameters()).fill_(1e6)
    with pytest.raises(SaveError, match=r"do not fit torch\.float16"):
        Ensemble(members).save(tmp_path / "half", dtype=torch.float16)
    assert not any(tmp_path.iterdir())
