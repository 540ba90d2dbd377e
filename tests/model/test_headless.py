"""Encoders without a classification head: an ``ASTModel`` of transformers, the authors' encoder, an SSAST."""

import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file
from small import edit, make_bundle, renamed

from spectag import errors
from spectag.labels import LabelSet
from spectag.model.config import ASTConfig
from spectag.model.given import Given
from spectag.model.keys import HEAD
from spectag.model.loading import load, read_checkpoint
from spectag.model.official import OFFICIAL
from spectag.train.recipe import Recipe
from spectag.train.start import build_start

ROOT = "audio_spectrogram_transformer."
INPUTS = torch.randn(1, 100, 128, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def encoder(saved):
    """What ``ASTModel.save_pretrained`` writes."""
    (saved / "spectag.json").unlink()
    edit(saved / "config.json", spectag=..., architectures=["ASTModel"], id2label=..., problem_type=...)
    state = load_file(saved / "model.safetensors")
    encoder = {key.removeprefix(ROOT): value for key, value in state.items() if key.startswith(ROOT)}
    save_file(encoder, saved / "model.safetensors")
    return saved


def without_head(**geometry) -> dict[str, torch.Tensor]:
    state = renamed(make_bundle(norm_eps=1e-6, **geometry), OFFICIAL)
    return {key: value for key, value in state.items() if not key.startswith("mlp_head.")}


def ssast(patch: tuple[int, int], frames: int = 1024, **geometry) -> dict[str, torch.Tensor]:
    """As the authors' code saves it while it learns: patches side by side, and what predicts masked ones."""
    width, size = 32, patch[0] * patch[1]
    beside = {
        "p_input_fdim": torch.tensor(128),
        "p_input_tdim": torch.tensor(frames),
        "mask_embed": torch.randn(1, 1, width),
        "v.head.weight": torch.zeros(1000, width),
        "v.head_dist.bias": torch.zeros(1000),
    }
    for layer in ("cpredlayer", "gpredlayer"):
        for number, shape in (("0", (width, width)), ("2", (size, width))):
            beside |= {f"{layer}.{number}.weight": torch.randn(shape), f"{layer}.{number}.bias": torch.randn(shape[0])}
    state = without_head(patch=patch, stride=patch, frames=frames, **geometry) | beside
    return {f"module.{key}": value for key, value in state.items()}


def start(checkpoint, labels: LabelSet) -> dict[str, torch.Tensor]:
    """The first weights of a run."""
    recipe = Recipe(name="mine", epochs=1, batch_size=4, lr=1e-4)
    own = checkpoint.card.config
    config = ASTConfig(**{**own.to_dict(), "labels": len(labels)})
    return dict(build_start(recipe, config, labels, checkpoint).state_dict())


def test_an_ast_model_of_transformers_starts_a_run(encoder):
    """The kind: weights without a head are as good a start as weights whose head is thrown away."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is guessed that a run would use
        checkpoint = read_checkpoint(encoder)
    assert checkpoint.headless
    assert checkpoint.card.untrained
    state, ours = start(checkpoint, LabelSet(("owl", "fox"))), make_bundle().network.state_dict()
    assert state["head.linear.weight"].shape == (2, 32)
    for key, value in ours.items():
        assert key.startswith(HEAD) or torch.equal(state[key], value), key


def test_an_ast_model_that_transformers_wrote(tmp_path):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ASTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, max_length=100
    )
    theirs = transformers.ASTModel(config).eval()
    theirs.save_pretrained(tmp_path)
    transformers.ASTFeatureExtractor(max_length=100).save_pretrained(tmp_path)
    with pytest.warns(errors.SpectagWarning, match="freshly drawn"):
        bundle = load(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(bundle.network.embed(INPUTS), theirs(INPUTS).pooler_output, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kept", ["id2label", None])
def test_a_model_without_a_head_says_so_when_it_is_loaded(encoder, kept):
    names = {"0": "owl", "1": "fox", "2": "hen"}
    if kept:
        edit(encoder / "config.json", id2label=names)
    with pytest.warns(errors.SpectagWarning, match=r"the classification head is freshly drawn: train it before"):
        bundle = load(encoder)
    assert bundle.labels.names == (tuple(names.values()) if kept else LabelSet.audioset().names)
    with pytest.warns(errors.SpectagWarning, match=r"its 2 labels \(a, b, \.\.\.\) say nothing about the weights"):
        assert load(encoder, labels=LabelSet(("a", "b"))).labels.names == ("a", "b")


def test_half_a_head_is_no_head_that_was_left_out(saved, encoder, tmp_path):
    state = renamed(make_bundle(norm_eps=1e-6), OFFICIAL)
    del state["mlp_head.1.bias"]
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(errors.KeyMismatch, match=r"missing mlp_head\.1\.bias"):
        load(tmp_path / "a.pth", heads=2)


def test_a_bundle_has_a_head(tmp_path):
    """Without, it is damaged, even where no digest tells."""
    path = make_bundle().save(tmp_path / "bundle")
    edit(path / "spectag.json", weights_sha256=...)
    state = load_file(path / "model.safetensors")
    save_file({key: value for key, value in state.items() if key.startswith(ROOT)}, path / "model.safetensors")
    with pytest.raises(errors.KeyMismatch, match=r"missing classifier\.layernorm\.weight"):
        load(path)


def test_the_authors_encoder_alone(tmp_path):
    """All of its names begin with ``v.``, which is no prefix that a program put there."""
    torch.save(without_head(), tmp_path / "a.pth")
    with pytest.warns(
        errors.SpectagWarning, match=r"a\.pth: guessed, as there is no head: statistics audioset; give s"
    ):
        checkpoint = read_checkpoint(tmp_path / "a.pth", Given(heads=2))
    assert checkpoint.headless
    assert checkpoint.card.config.frames == 100
    assert checkpoint.card.untrained
    state, ours = start(checkpoint, LabelSet(("owl", "fox"))), make_bundle().network.state_dict()
    assert torch.equal(state["pos_embed"], ours["pos_embed"])
    with pytest.warns(errors.SpectagWarning, match="freshly drawn"):
        assert load(tmp_path / "a.pth", heads=2, num_labels=3).labels.names == ("LABEL_0", "LABEL_1", "LABEL_2")


@pytest.mark.parametrize("patch", [(16, 16), (128, 2)], ids=["patches", "frames"])
@pytest.mark.parametrize("frames", [1024, 512])
def test_an_ssast_starts_a_run(tmp_path, patch, frames):
    """The kind: what a pretraining leaves beside the encoder is not unexpected. What it records is no guess."""
    torch.save(ssast(patch, frames), tmp_path / "SSAST-Tiny.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checkpoint = read_checkpoint(tmp_path / "SSAST-Tiny.pth", Given(heads=2, statistics="audioset"))
    config = checkpoint.card.config
    assert (config.patch, config.stride, config.frames) == (patch, patch, frames)
    assert checkpoint.card.provenance["geometry"] == "recorded in the file"
    assert checkpoint.card.front_end.window == "hanning"
    state = start(checkpoint, LabelSet(("owl", "fox")))
    ours = make_bundle(patch=patch, stride=patch, frames=frames).network.state_dict()
    for key, value in ours.items():
        assert key.startswith(HEAD) or torch.equal(state[key], value), key


@pytest.mark.parametrize("frames", [torch.tensor(2**40), torch.tensor(-1), torch.zeros(3, dtype=torch.int64)])
def test_an_ssast_that_records_nonsense(tmp_path, frames):
    torch.save(ssast((16, 16)) | {"module.p_input_tdim": frames}, tmp_path / "a.pth")
    assert read_checkpoint(tmp_path / "a.pth", Given(heads=2)).card.config.frames == 1024


def test_an_ssast_of_another_length_than_it_records(tmp_path):
    torch.save(ssast((16, 16)) | {"module.p_input_tdim": torch.tensor(700)}, tmp_path / "a.pth")
    with pytest.raises(errors.ShapeMismatch, match=r"stride \(16, 16\) with 700 frames cannot give its 512 patches"):
        read_checkpoint(tmp_path / "a.pth")
