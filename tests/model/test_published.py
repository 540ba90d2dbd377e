import pickle
import re
import warnings
import zipfile

import pytest
import torch
from hypothesis import given, settings, strategies as st
from safetensors.torch import save_file
from small import TINY, make_bundle

from spectag import errors
from spectag.labels import LabelSet
from spectag.model import convert, published
from spectag.model.bundle import load


@pytest.fixture
def state():
    """As the published code saves it: DataParallel's prefix, and DeiT's unused heads."""
    theirs = convert.from_ours(make_bundle(norm_eps=1e-6).network.state_dict(), "published", TINY.depth, TINY.tokens)
    theirs |= {key: torch.zeros(4) for key in convert.DROPPED["published"]}
    return {f"module.{key}": value for key, value in theirs.items()}


@pytest.fixture
def deit():
    """A DeiT with timm's names, 4 x 4 patches of an image of three colours."""
    ours = make_bundle().network.state_dict()
    ours |= {"patch_embed.proj.weight": torch.randn(32, 3, 16, 16), "pos_embed": torch.randn(1, 18, 32)}
    theirs = convert.from_ours(ours, "timm", TINY.depth, TINY.tokens)
    return theirs | {"head.weight": torch.zeros(1000, 32), "head.bias": torch.zeros(1000)}


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
    [(10, 86, True), (10, 100, True), (14, 86, True), (10, 1024, False), (16, 512, False)],
)
def test_an_unusual_geometry_is_a_guess_that_shows(tmp_path, stride, frames, guess):
    ours = make_bundle(stride=(stride, stride), frames=frames).network.state_dict()
    torch.save(convert.from_ours(ours, "published", 2, 2), tmp_path / "a.pth")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        config = load(tmp_path / "a.pth").network.config
        load(tmp_path / "a.pth", stride=(stride, stride), frames=frames)
    assert (config.stride, config.frames) == ((stride, stride), frames)
    assert len(caught) == guess
    for warning in caught:
        assert issubclass(warning.category, errors.SpectagWarning)
        for part in (f"stride {config.stride} and {frames} frames are a guess", "give stride= and frames="):
            assert part in str(warning.message)


@given(stride=STRIDES, frames=st.integers(16, 2000))
@settings(max_examples=100, deadline=None)
def test_what_is_given_settles_the_grid(stride, frames):
    patches = published._count(stride, frames)
    assert list(published.grids(patches, stride, frames)) == [(stride, frames)]
    assert list(published.grids(patches + 1, stride, frames)) == []
    for options in ((stride, None), (None, frames), (None, None)):
        for found, length in published.grids(patches, *options):
            assert published._count(found, length) == patches
    assert any(abs(length - frames) < stride[1] for _, length in published.grids(patches, stride, None))


@pytest.mark.parametrize("stride", [10, 12, 14, 16])
@pytest.mark.parametrize("frames", [1024, 512, 128])
def test_the_recipes_geometries_are_the_first_guess(stride, frames):
    assert next(published.grids(published._count((stride, stride), frames), None, None)) == ((stride, stride), frames)


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
    theirs = convert.from_ours(make_bundle(labels=labels).network.state_dict(), "published", 2, 2)
    torch.save(theirs, tmp_path / "a.pth")
    bundle = load(tmp_path / "a.pth", statistics=statistics)
    assert bundle.labels == LabelSet.for_outputs(labels)
    assert bundle.front_end.mean == pytest.approx(mean, abs=0.01)
    assert bundle.activation == activation


def test_initial_weights(deit, tmp_path):
    torch.save({"model": deit}, tmp_path / "deit.pth")
    save_file(deit, tmp_path / "deit.safetensors")
    bundle = load(tmp_path / "deit.pth", num_labels=6, frames=200, stride=(16, 16), heads=2)
    assert bundle.network.config.frames == bundle.front_end.frames == 200
    assert bundle.front_end.window == "hamming"
    assert bundle.provenance["format"] == "initial weights (DeiT/ViT), untrained head"
    torch.testing.assert_close(
        bundle.network.patch_embed.proj.weight, deit["patch_embed.proj.weight"].mean(1, keepdim=True)
    )
    same = load(tmp_path / "deit.safetensors", num_labels=6, frames=200, stride=(16, 16), heads=2)
    assert all(a.equal(b) for a, b in zip(bundle.network.parameters(), same.network.parameters(), strict=True))
    default = load(tmp_path / "deit.pth")
    assert (default.network.config.frames, default.network.config.stride) == (1024, (10, 10))
    assert len(default.labels) == 527


def test_a_fresh_head_is_told_until_it_is_trained(deit, tmp_path):
    torch.save(deit, tmp_path / "deit.pth")
    message = r"the classification head of .* is freshly drawn: train it before tagging"
    with pytest.warns(errors.SpectagWarning, match=message):
        bundle = load(tmp_path / "deit.pth", num_labels=3, frames=64)
    assert bundle.provenance["head"] == "untrained"
    with pytest.warns(errors.SpectagWarning, match=message):
        again = load(bundle.save(tmp_path / "converted"))
    del again.provenance["head"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(again.save(tmp_path / "trained"))


def test_a_vit_has_one_token(deit, tmp_path):
    del deit["dist_token"]
    deit["pos_embed"] = torch.randn(1, 17, 32)
    torch.save(deit, tmp_path / "vit.pth")
    assert load(tmp_path / "vit.pth", num_labels=2).network.config.tokens == 1


def test_initial_weights_that_do_not_fit(deit, tmp_path):
    path = tmp_path / "deit.pth"
    torch.save(deit | {"pos_embed": torch.zeros(1, 19, 32)}, path)
    with pytest.raises(errors.ShapeMismatch, match=r"pos_embed: expected 2 \+ n \* n positions, got 19"):
        load(path)
    torch.save(deit | {"patch_embed.proj.weight": torch.zeros(32, 4, 16, 16)}, path)
    with pytest.raises(errors.ShapeMismatch, match="3 colour channels, got 4"):
        load(path)
    torch.save({key: value for key, value in deit.items() if key != "norm.bias"}, path)
    with pytest.raises(errors.KeyMismatch, match=r"missing norm\.bias"):
        load(path)


# --- files that are something else --------------------------------------------------------------------------------


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


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


def test_a_pickle_with_code_is_not_executed(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"module.v.pos_embed": Evil()}, path)
    with pytest.raises(errors.UnreadableModel, match=r"more than tensors.*not executed"):
        load(path)
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(errors.UnreadableModel, match=r"not executed|damaged"):
        load(path)


def test_an_archive_that_unpacks_to_more_than_it_is(state, tmp_path):
    torch.save(state | {"module.rogue": torch.zeros(10**6)}, tmp_path / "a.pth")
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as stored,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for member in stored.infolist():
            bomb.writestr(member.filename, stored.read(member))
    with pytest.raises(errors.UnreadableModel, match=r"bomb\.pth: \d+ bytes that unpack to \d+"):
        load(tmp_path / "bomb.pth")


def test_an_optimiser_state(tmp_path):
    network = torch.nn.Linear(2, 2)
    optimiser = torch.optim.Adam(network.parameters())
    network(torch.zeros(1, 2)).sum().backward()
    optimiser.step()
    torch.save(optimiser.state_dict(), tmp_path / "optim.pth")
    with pytest.raises(errors.NotAModel, match="the state of an optimiser"):
        load(tmp_path / "optim.pth")


@pytest.mark.parametrize("old", [False, True])
def test_every_truncation_is_an_error(state, tmp_path, old):
    path = tmp_path / "a.pth"
    torch.save(state, path, _use_new_zipfile_serialization=not old)
    content = path.read_bytes()
    for keep in (0, 1, 2, 9, 1000, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:keep])
        with pytest.raises(errors.UnreadableModel, match=r"a\.pth") as caught:
            load(path, heads=2)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ([1, 2], errors.NotAModel),
        ({}, errors.NotAModel),
        ({"a": 1}, errors.NotAModel),
        ({"a": torch.zeros(2)}, errors.NotAModel),
        ({"a": torch.zeros(2, dtype=torch.int64)}, errors.ShapeMismatch),
        ({"a": torch.zeros(1).expand(10**12)}, errors.UnreadableModel),
        (torch.zeros(2), errors.NotAModel),
    ],
)
def test_readable_but_no_model(tmp_path, content, error):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(error, match=r"a\.pth"):
        load(tmp_path / "a.pth")


def test_weights_of_a_directory_without_it(tmp_path):
    save_file(convert.from_ours(make_bundle().network.state_dict(), "transformers", 2, 2), tmp_path / "a.safetensors")
    with pytest.raises(errors.NotAModel, match=r"without their config\.json: give the directory"):
        load(tmp_path / "a.safetensors")


def test_text(tmp_path):
    (tmp_path / "a.pth").write_text("hello, I am no model")
    with pytest.raises(errors.UnreadableModel, match="neither safetensors nor a torch checkpoint"):
        load(tmp_path / "a.pth")


def test_a_width_that_leaves_the_heads_open(tmp_path):
    ours = make_bundle(width=40, heads=4).network.state_dict()
    torch.save(convert.from_ours(ours, "published", 2, 2), tmp_path / "a.pth")
    with pytest.raises(errors.ShapeMismatch, match="width 40 leaves the number of attention heads open: give heads="):
        load(tmp_path / "a.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(tmp_path / "a.pth", heads=4, stride=(10, 10)).network.config.heads == 4
