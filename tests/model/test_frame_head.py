"""The frame head: its numbers, its file, and everything that stays as it is without it."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small import edit, make_bundle

from spectag import errors
from spectag.engines.factory import make_engine
from spectag.model.adapt import adapt_state
from spectag.model.directory import digest_of
from spectag.model.ensemble import Ensemble
from spectag.model.frames import pool_frames
from spectag.model.huggingface import compare_with_transformers
from spectag.model.loading import load
from spectag.model.network import AST, find_seen_frames

INPUTS = torch.randn(3, 100, 128, generator=torch.Generator().manual_seed(1))
GEOMETRIES = [{}, {"tokens": 1}, {"patch": (128, 4), "stride": (128, 4)}, {"stride": (16, 8)}]


@pytest.mark.parametrize("fields", GEOMETRIES)
@torch.no_grad()
def test_both_heads_in_one_pass(fields):
    """The clip's logits are those of the fast path; a frame is the mean of its column of patches."""
    network = make_bundle(frame_head=True, **fields).network
    f, t = network.config.grid
    outputs = []
    handle = network.norm.register_forward_hook(lambda *call: outputs.append(call[2]))
    clip, frames = network.forward_frames(INPUTS)
    handle.remove()
    torch.testing.assert_close(clip, network(INPUTS))
    assert frames.shape == (3, t, 5)
    column = outputs[0][:, network.config.tokens :].reshape(3, f, t, -1)[:, :, t // 2].mean(1)
    torch.testing.assert_close(frames[:, t // 2], network.frame_head(column))


@torch.no_grad()
def test_frames_of_another_length():
    network = make_bundle(frame_head=True).network
    assert network.forward_frames(INPUTS[:, :57])[1].shape == (3, network.config.grid_for(57)[1], 5)


@torch.no_grad()
def test_patch_dropout_leaves_the_frames_of_the_remaining_patches():
    network = make_bundle(frame_head=True).network
    f, t = network.config.grid
    everything = torch.arange(f * t).expand(3, -1)
    for ours, theirs in zip(
        network.forward_frames(INPUTS, keep=everything), network.forward_frames(INPUTS), strict=True
    ):
        torch.testing.assert_close(ours, theirs)
    column = everything[:, [0, t, 3, 2 * t + 3]]  # two patches each of frames 0 and 3
    clip, frames = network.forward_frames(INPUTS, keep=column)
    torch.testing.assert_close(clip, network(INPUTS, keep=column))
    seen = find_seen_frames(column, t)
    assert seen.tolist() == [[float(n in (0, 3)) for n in range(t)]] * 3
    silent = network.frame_head(torch.zeros(1, 32))
    torch.testing.assert_close(frames[seen == 0], silent.expand(3 * (t - 2), -1))
    assert not torch.isclose(frames[:, [0, 3]], silent).all()


def test_without_it_there_are_no_frames():
    bundle = make_bundle()
    assert bundle.card.frame_step is None
    with pytest.raises(errors.InputError, match="no frame head"):
        bundle.network.forward_frames(INPUTS)


@pytest.mark.parametrize("fields", GEOMETRIES)
def test_saved_and_loaded(tmp_path, fields):
    bundle = make_bundle(frame_head=True, **fields)
    loaded = load(bundle.save(tmp_path / "bundle"))
    assert loaded.card.config == bundle.card.config
    for name, value in bundle.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], value), name
    facts = loaded.describe()
    assert facts["frame_step"] == loaded.card.frame_step == bundle.card.config.stride[1] / 100
    assert facts["parameters"] == sum(p.numel() for p in bundle.network.parameters())


def test_the_format_is_new_only_where_it_has_to_be(tmp_path):
    """Older versions refuse a bundle with a frame head, and read all others."""
    for framed, format in ((False, 1), (True, 2)):
        path = make_bundle(frame_head=framed).save(tmp_path / str(format))
        extra = json.loads((path / "spectag.json").read_text())
        assert extra["format"] == json.loads((path / "config.json").read_text())["spectag"] == format
        assert extra.get("frame_head") == (True if framed else None)


def test_transformers_ignores_it_and_gives_the_same_scores(tmp_path):
    transformers = pytest.importorskip("transformers")
    bundle = make_bundle(frame_head=True)
    path = bundle.save(tmp_path / "bundle")
    theirs = transformers.AutoModelForAudioClassification.from_pretrained(path)
    with torch.no_grad():
        torch.testing.assert_close(theirs(INPUTS).logits, bundle.network(INPUTS), atol=1e-4, rtol=0)
    assert "no scores of frames" in compare_with_transformers(bundle.card)


def test_tensors_and_flag_must_agree(tmp_path):
    path = make_bundle(frame_head=True).save(tmp_path / "bundle")
    edit(path / "spectag.json", frame_head=...)
    with pytest.raises(errors.KeyMismatch, match=r"unexpected frame_classifier\."):
        load(path)
    edit(path / "spectag.json", frame_head="yes")
    with pytest.raises(errors.ModelError, match=r"spectag\.json: frame_head: expected true or false, got yes"):
        load(path)
    plain = make_bundle().save(tmp_path / "plain")
    edit(plain / "spectag.json", frame_head=True)
    with pytest.raises(errors.KeyMismatch, match=r"missing frame_classifier\."):
        load(plain)
    weights = load_file(path / "model.safetensors")
    weights["frame_classifier.dense.bias"] = torch.zeros(7)
    save_file(weights, path / "model.safetensors", {"format": "pt"})
    edit(path / "spectag.json", frame_head=True, weights_sha256=digest_of(path / "model.safetensors"))
    with pytest.raises(errors.ShapeMismatch, match=r"frame_classifier\.dense\.bias: expected shape \[5\], got \[7\]"):
        load(path)


@pytest.mark.parametrize(
    ("had", "labels", "wanted", "kept"),
    [(True, None, True, True), (True, 7, True, False), (True, None, False, None), (False, None, True, False)],
)
def test_adapted(had, labels, wanted, kept):
    """With new labels both heads are drawn; with the same labels what is there is kept, and what is missing drawn."""
    network = make_bundle(frame_head=had).network
    config = replace(network.config, frame_head=wanted, labels=labels or 5)
    state = adapt_state(
        network.state_dict(), config.grid, config.grid, tokens=2, patch=(16, 16), labels=labels, frame_head=wanted
    )
    AST(config).load_state_dict(state)
    if wanted:
        same = had and torch.equal(state["frame_head.norm.weight"], network.state_dict()["frame_head.norm.weight"])
        assert same == kept


def test_engines_average_the_frames_of_members():
    bundles = [make_bundle(seed, frame_head=True) for seed in (0, 1)]
    singles = [make_engine(bundle).score_frames(INPUTS) for bundle in bundles]
    np.testing.assert_allclose(singles[0][0], make_engine(bundles[0]).scores(INPUTS), atol=1e-6)
    with torch.no_grad():
        frames = bundles[0].network.forward_frames(INPUTS)[1].sigmoid().numpy()  # though the clip's are a softmax
    np.testing.assert_allclose(singles[0][1], frames, atol=1e-6)
    ensemble = Ensemble(tuple(bundles))
    assert ensemble.card.frame_step == ensemble.describe()["frame_step"] == 0.1
    for both, *each in zip(make_engine(ensemble).score_frames(INPUTS), *singles, strict=True):
        assert both.dtype == np.float32
        np.testing.assert_allclose(both, np.mean(each, axis=0), atol=1e-6)


@pytest.mark.parametrize(
    "other", [{}, {"frame_head": True, "stride": (10, 16)}, {"frame_head": True, "patch": (16, 12)}]
)
def test_an_ensemble_of_different_frames_has_none(other):
    ensemble = Ensemble((make_bundle(frame_head=True), make_bundle(**other)))
    assert ensemble.card.frame_step is None
    with pytest.raises(errors.InputError, match=r"frame"):
        make_engine(ensemble).score_frames(INPUTS[:, :92])


def test_pooling_by_hand():
    """Wang, Li and Metze 2019, table 1: sum p^2 / sum p; the gradient by p_i is (2 p_i - pooled) / sum p."""
    scores = torch.tensor([[0.9, 0.0], [0.5, 0.0], [0.1, 0.0]], requires_grad=True)
    pooled = pool_frames(scores)
    torch.testing.assert_close(pooled, torch.tensor([(0.81 + 0.25 + 0.01) / 1.5, 0.0]))
    pooled.sum().backward()
    torch.testing.assert_close(scores.grad[:, 0], (2 * scores[:, 0].detach() - pooled[0].detach()) / 1.5)
    np.testing.assert_allclose(pool_frames(scores.detach().numpy()), pooled.detach().numpy(), rtol=1e-6)


def test_frames_of_no_weight_do_not_count():
    scores = np.random.default_rng(0).random((2, 4, 3), np.float32)
    weights = np.array([[1, 1, 0, 1], [1, 1, 1, 1]], np.float32)
    pooled = pool_frames(scores, weights)
    np.testing.assert_allclose(pooled[0], pool_frames(scores[0, [0, 1, 3]]), rtol=1e-6)
    np.testing.assert_allclose(pooled[1], pool_frames(scores[1]), rtol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (pool_frames(scores, np.zeros_like(weights)) == 0).all()
