"""The authors' checkpoints."""

import re
import warnings

import pytest
import torch
from hypothesis import given, settings, strategies as st
from safetensors.torch import save_file
from small import TINY, make_bundle, renamed

from spectag import errors
from spectag.labels import LabelSet
from spectag.model import tensors
from spectag.model.loading import load
from spectag.model.official import OFFICIAL, count_patches, possible_grids


@pytest.fixture
def state():
    """As the published code saves it: DataParallel's prefix, and DeiT's unused heads."""
    theirs = renamed(make_bundle(norm_eps=1e-6), OFFICIAL)
    theirs |= {key: torch.zeros(4) for key in OFFICIAL.dropped}
    return {f"module.{key}": value for key, value in theirs.items()}


@pytest.fixture
def path(state, tmp_path):
    torch.save(state, tmp_path / "any name.pth")
    return tmp_path / "any name.pth"


def test_a_published_checkpoint(path):
    bundle = load(path, heads=2)
    assert bundle.network.config == TINY
    assert bundle.front_end.window == "hanning"
    assert (bundle.front_end.mean, bundle.front_end.frames) == (-4.2677393, 100)
    assert bundle.provenance["source"] == "any name.pth"
    inputs = torch.randn(1, 100, 128)
    torch.testing.assert_close(bundle.network(inputs), make_bundle().network(inputs))


def test_with_and_without_the_prefix_pickle_or_safetensors(state, tmp_path):
    bare = {key.removeprefix("module."): value for key, value in state.items()}
    torch.save(bare, tmp_path / "bare.pth")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "a.safetensors")
    for name in ("bare.pth", "old.pth", "a.safetensors"):
        assert load(tmp_path / name, heads=2).network.config == TINY


@pytest.mark.parametrize(
    ("name", "stride", "frames"),
    [
        ("00_base384_f10_t10_len1024_imagenet", (10, 10), 1024),
        ("01_base384_f12_t12_len512_imagenet", (12, 12), 512),
        ("02_base384_f16_t16_len1024_imagenet", (16, 16), 1024),
        ("03_base384_f10_t10_len128_imagenet", (10, 10), 128),
        ("04_base224_f10_t10_len100_imagenet", (10, 10), 100),
        ("05_base224_f14_t14_len1024_imagenet", (14, 14), 1024),
        ("07_base384_f10_t10_len998_scratch", (10, 10), 998),
    ],
)
def test_equal_strides_and_usual_lengths_are_found(golden, name, stride, frames):
    bundle = load(golden / f"official/{name}.pth")
    assert (bundle.network.config.stride, bundle.network.config.frames) == (stride, frames)
    assert bundle.network.config.heads == 3
    assert "guessed" in bundle.provenance["geometry"]


def test_unequal_strides_must_be_given(golden):
    path = golden / "official/06_tiny224_f10_t16_len300_imagenet.pth"
    with pytest.warns(UserWarning, match="a guess from 216 patches: give stride= and frames="):
        load(path)
    with pytest.raises(errors.ShapeMismatch, match=r"stride \(10, 16\).* or stride \(14, 12\)"):
        load(path, frames=300)
    assert load(path, stride=(10, 16)).network.config.frames == 300


STRIDES = st.tuples(st.integers(1, 30), st.integers(1, 30))


@pytest.mark.parametrize(
    ("stride", "frames", "guess"),
    [(10, 86, True), (10, 100, True), (14, 86, True), (10, 512, True), (10, 1024, False), (16, 512, False)],
)
def test_an_unusual_geometry_is_a_guess_that_shows(tmp_path, stride, frames, guess):
    ours = make_bundle(stride=(stride, stride), frames=frames).network.state_dict()
    torch.save(tensors.from_ours(ours, OFFICIAL.rows(2, 2)), tmp_path / "a.pth")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        config = load(tmp_path / "a.pth").network.config
        load(tmp_path / "a.pth", stride=(stride, stride), frames=frames)
    assert (config.stride, config.frames) == ((stride, stride), frames)
    caught = [warning for warning in caught if "frames are a guess" in str(warning.message)]
    assert len(caught) == guess
    for warning in caught:
        assert issubclass(warning.category, errors.SpectagWarning)
        for part in (f"stride {config.stride} and {frames} frames are a guess", "give stride= and frames="):
            assert part in str(warning.message)


@given(stride=STRIDES, frames=st.integers(16, 2000))
@settings(max_examples=100, deadline=None)
def test_what_is_given_settles_the_grid(stride, frames):
    patches = count_patches(stride, frames)
    assert list(possible_grids(patches, stride, frames)) == [(stride, frames)]
    assert list(possible_grids(patches + 1, stride, frames)) == []
    for options in ((stride, None), (None, frames), (None, None)):
        for found, length in possible_grids(patches, *options):
            assert count_patches(found, length) == patches
    assert any(abs(length - frames) < stride[1] for _, length in possible_grids(patches, stride, None))


@pytest.mark.parametrize("stride", [10, 12, 14, 16])
@pytest.mark.parametrize("frames", [1024, 512, 128])
def test_the_recipes_geometries_are_the_first_guess(stride, frames):
    assert next(possible_grids(count_patches((stride, stride), frames), None, None)) == ((stride, stride), frames)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"stride": (7, 7)}, errors.ShapeMismatch, r"stride \(7, 7\) cannot give its 108 patches; .*with 100 frames"),
        ({"stride": (10, 10), "frames": 512}, errors.ShapeMismatch, "with 512 frames cannot give"),
        ({"stride": (10,)}, errors.InputError, "two positive whole numbers"),
        ({"stride": 10}, errors.InputError, "two positive whole numbers"),
        ({"frames": 0}, errors.InputError, "frames: expected a positive"),
        ({"heads": 5}, errors.ShapeMismatch, "multiple of heads"),
        ({"num_labels": 6}, errors.LabelMismatch, "num_labels is 6, but the head has 5"),
        ({"labels": LabelSet(("a",))}, errors.LabelMismatch, "1 labels do not fit a head of 5"),
        ({"channels": "sum"}, errors.InputError, "channels= is for initial weights"),
        ({"channels": "max"}, errors.InputError, "one of mean, sum"),
        ({"statistics": "mine"}, errors.InputError, "audioset, esc50, speech-commands"),
    ],
)
def test_impossible_options(path, options, error, message):
    with pytest.raises(error, match=message):
        load(path, **options)


@pytest.mark.parametrize(
    ("labels", "statistics", "mean", "activation"),
    [
        (527, None, -4.27, "sigmoid"),
        (50, None, -6.63, "softmax"),
        (35, None, -6.85, "softmax"),
        (50, "audioset", -4.27, "softmax"),
    ],
)
def test_labels_statistics_and_activation(tmp_path, labels, statistics, mean, activation):
    theirs = renamed(make_bundle(labels=labels), OFFICIAL)
    torch.save(theirs, tmp_path / "a.pth")
    bundle = load(tmp_path / "a.pth", statistics=statistics)
    assert bundle.labels == LabelSet.for_outputs(labels)
    assert bundle.front_end.mean == pytest.approx(mean, abs=0.01)
    assert bundle.activation == activation


@pytest.mark.parametrize("key", ["v.pos_embed", "v.dist_token", "mlp_head.1.weight", "v.blocks.1.norm1.weight"])
def test_missing_and_misshapen(state, tmp_path, key):
    path = tmp_path / "a.pth"
    torch.save({k: v for k, v in state.items() if k != f"module.{key}"}, path)
    with pytest.raises(errors.KeyMismatch, match=re.escape(key)):
        load(path)
    torch.save(state | {f"module.{key}": torch.zeros(3, 3)}, path)
    with pytest.raises(errors.ShapeMismatch, match=re.escape(key)):
        load(path)
    torch.save(state | {"module.rogue": torch.zeros(3)}, path)
    with pytest.raises(errors.KeyMismatch, match="unexpected rogue"):
        load(path)
    torch.save(state | {f"module.{key}": state[f"module.{key}"] * float("nan")}, path)
    with pytest.raises(errors.NonFiniteWeights, match=re.escape(key)):
        load(path)


def test_a_width_that_leaves_the_heads_open(tmp_path):
    ours = make_bundle(width=40, heads=4).network.state_dict()
    torch.save(tensors.from_ours(ours, OFFICIAL.rows(2, 2)), tmp_path / "a.pth")
    with pytest.raises(errors.ShapeMismatch, match="width 40 leaves the number of attention heads open: give heads="):
        load(tmp_path / "a.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        given = {"statistics": "audioset", "activation": "softmax"}
        assert load(tmp_path / "a.pth", heads=4, stride=(10, 10), **given).network.config.heads == 4


@pytest.mark.parametrize(
    ("outputs", "given", "message"),
    [
        (
            50,
            {},
            "50 outputs: the labels of esc50, statistics esc50, activation softmax; "
            "give labels=, statistics=, activation=",
        ),
        (
            35,
            {"labels": LabelSet.numbered(35)},
            "35 outputs: statistics speech-commands, activation softmax; give statistics=, activation=",
        ),
        (5, {}, "5 outputs: statistics audioset, activation softmax; give statistics=, activation="),
        (5, {"activation": "sigmoid"}, "5 outputs: statistics audioset; give statistics="),
    ],
)
def test_what_the_number_of_outputs_decides_is_a_guess_that_shows(tmp_path, outputs, given, message):
    torch.save(renamed(make_bundle(labels=outputs), OFFICIAL), tmp_path / "a.pth")
    with pytest.warns(errors.SpectagWarning, match=rf"a\.pth: guessed from its {message}$"):
        load(tmp_path / "a.pth", stride=(10, 10), frames=100, heads=2, **given)


@pytest.mark.parametrize(
    ("outputs", "given"),
    [(527, {}), (50, {"labels": LabelSet.esc50(), "statistics": "esc50", "activation": "softmax"})],
    ids=["AudioSet's classes", "all is given"],
)
def test_no_warning_without_a_guess(tmp_path, outputs, given):
    torch.save(renamed(make_bundle(labels=outputs), OFFICIAL), tmp_path / "a.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(tmp_path / "a.pth", stride=(10, 10), frames=100, heads=2, **given)


TWELVE_SECONDS = {"stride": (16, 16), "frames": 1200}


@pytest.mark.parametrize("outputs", [5, 50, 527])
@pytest.mark.parametrize("geometry", [{"stride": (10, 10), "frames": 512}, TWELVE_SECONDS], ids=["5 s", "12 s"])
def test_patches_that_several_networks_have_are_a_guess_that_shows(tmp_path, outputs, geometry):
    """The kind: a number that means one thing or another is taken for the more usual one in silence.

    600 patches are 12 x 50 (stride 10, 512 frames), 10 x 60 (stride 12) or 8 x 75 (stride 16, 12 s). The guess is said
    whichever of them it was, and whatever the number of outputs; what is given is taken without a word.
    """
    torch.save(renamed(make_bundle(labels=outputs, **geometry), OFFICIAL), tmp_path / "a.pth")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert load(tmp_path / "a.pth").network.config.stride == (10, 10)
    [said] = [str(warning.message) for warning in caught if "600 patches" in str(warning.message)]
    assert said.endswith(
        "a.pth: stride (10, 10) and 512 frames are a guess from 600 patches: give stride= and frames= "
        "(stride (12, 12) with 724 frames or stride (16, 16) with 1200 frames would fit, too)"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        facts = {"heads": 2, "labels": LabelSet.numbered(outputs), "statistics": "esc50", "activation": "softmax"}
        bundle = load(tmp_path / "a.pth", **geometry, **facts)
    assert (bundle.network.config.stride, bundle.network.config.frames) == tuple(geometry.values())


@pytest.mark.parametrize("stride", [10, 12, 14, 16])
@pytest.mark.parametrize("frames", [128, 512, 998, 1024])
def test_the_papers_geometries_are_said_where_another_would_fit(tmp_path, stride, frames):
    """Only equal strides are usual. Where no other one gives as many patches, nothing is said of a usual length."""
    torch.save(renamed(make_bundle(stride=(stride, stride), frames=frames, depth=1), OFFICIAL), tmp_path / "a.pth")
    patches = count_patches((stride, stride), frames)
    others = [s for s in (10, 12, 14, 16) if s != stride and any(possible_grids(patches, (s, s), None))]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load(tmp_path / "a.pth")
    said = [str(warning.message) for warning in caught if "are a guess from" in str(warning.message)]
    assert len(said) == bool(others)
    assert all(f"stride ({other}, {other}) with" in said[0] for other in others)


@pytest.mark.parametrize("outputs", [35, 50])
def test_guessed_labels_are_said_and_stay_marked_in_the_bundle(tmp_path, outputs):
    """The kind: a guess becomes a fact when it is saved. The bundle's provenance still calls it a guess."""
    torch.save(renamed(make_bundle(labels=outputs), OFFICIAL), tmp_path / "a.pth")
    with pytest.warns(errors.SpectagWarning, match=f"guessed from its {outputs} outputs: the labels of"):
        bundle = load(tmp_path / "a.pth")
    again = load(bundle.save(tmp_path / "bundle"))
    assert again.describe()["provenance"]["labels"] == f"guessed from {outputs} outputs"
    assert "guessed" in again.provenance["geometry"]
    given = load(tmp_path / "a.pth", labels=LabelSet.numbered(outputs))
    assert "labels" not in given.provenance


@pytest.mark.parametrize(("width", "heads", "said"), [(32, 2, True), (128, 2, True), (192, 3, False), (384, 6, False)])
def test_heads_that_no_published_network_settles_are_a_guess_that_shows(tmp_path, width, heads, said):
    """The kind: no tensor shows the number of heads, and a wrong one gives wrong scores without an error."""
    torch.save(renamed(make_bundle(width=width, heads=heads, depth=1), OFFICIAL), tmp_path / "a.pth")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert load(tmp_path / "a.pth").network.config.heads == heads
        load(tmp_path / "a.pth", heads=heads)
    messages = [str(warning.message) for warning in caught if "heads=" in str(warning.message)]
    assert [message.split(": ", 1)[1] for message in messages] == [
        f"heads={heads} is a guess from the width {width}: give heads="
    ] * said
