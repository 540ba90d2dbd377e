"""The network: its numbers are those of the published implementation and of transformers."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from small import TINY, make_bundle

from spectag.errors import InputError, ShapeMismatch
from spectag.model import network as module, tensors
from spectag.model.config import ASTConfig
from spectag.model.huggingface import TRANSFORMERS, TRANSFORMERS_5
from spectag.model.loading import load
from spectag.model.network import AST, build_network, stacked_parts

PUBLISHED = [
    "00_base384_f10_t10_len1024_imagenet",
    "01_base384_f12_t12_len512_imagenet",
    "02_base384_f16_t16_len1024_imagenet",
    "03_base384_f10_t10_len128_imagenet",
    "04_base224_f10_t10_len100_imagenet",
    "05_base224_f14_t14_len1024_imagenet",
    "06_tiny224_f10_t16_len300_imagenet",
    "07_base384_f10_t10_len998_scratch",
]


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", PUBLISHED)
def test_logits_of_the_published_implementation(golden, name):
    numbers = np.load(golden / f"official/{name}.npz")
    stride_f, stride_t, frames = map(int, re.search(r"_f(\d+)_t(\d+)_len(\d+)", name).groups())
    bundle = load(golden / f"official/{name}.pth", stride=(stride_f, stride_t), frames=frames)
    with torch.no_grad():
        logits = bundle.network(torch.from_numpy(numbers["inputs"]))
    torch.testing.assert_close(logits, torch.from_numpy(numbers["logits"]), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("stride", "frames"), [((10, 10), 100), ((16, 16), 64), ((12, 14), 203), ((5, 20), 37)])
def test_logits_of_transformers(stride, frames):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.ASTForAudioClassification(
        transformers.ASTConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            num_labels=5,
            max_length=frames,
            frequency_stride=stride[0],
            time_stride=stride[1],
            layer_norm_eps=1e-6,
        )
    ).eval()
    ours = make_bundle(stride=stride, frames=frames).network
    state = tensors.from_ours(ours.state_dict(), TRANSFORMERS_5.rows(2, 2))
    if any(".encoder.layer." in key for key in theirs.state_dict()):  # transformers before 5
        state = tensors.from_ours(ours.state_dict(), TRANSFORMERS.rows(2, 2))
    theirs.load_state_dict(state)
    inputs = draw(3, frames, 128)
    with torch.no_grad():
        torch.testing.assert_close(ours(inputs), theirs(inputs).logits, atol=1e-4, rtol=0)


@given(
    mel=st.integers(1, 140),
    frames=st.integers(1, 300),
    patch=st.tuples(st.integers(1, 140), st.integers(1, 40)),
    stride=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
@settings(max_examples=60, deadline=None)
def test_grid_is_what_the_convolution_makes(mel, frames, patch, stride):
    fields = {"width": 2, "depth": 1, "heads": 1, "mel_bins": mel, "frames": frames, "patch": patch, "stride": stride}
    if mel < patch[0] or frames < patch[1]:
        with pytest.raises(ShapeMismatch):
            ASTConfig(**fields)
        return
    with torch.device("meta"):
        network = AST(ASTConfig(**fields))
        patches = network.patch_embed(torch.empty(1, frames, mel))
    assert patches.shape[1] == math.prod(network.config.grid)


@pytest.mark.parametrize("patch", [(16, 16), (128, 2), (32, 32)])
def test_patch_shapes(patch):
    network = make_bundle(patch=patch, stride=patch, frames=64).network
    assert network(draw(2, 64, 128)).shape == (2, 5)
    assert network(draw(2, 99, 128)).shape == (2, 5)


@pytest.mark.parametrize("tokens", [1, 2])
def test_features_are_the_averaged_outputs_of_the_class_tokens(tokens):
    network = make_bundle(tokens=tokens).network
    x = network._embed_patches(draw(2, 100, 128), None)
    for block in network.blocks:
        x = block(x)
    torch.testing.assert_close(network.embed(draw(2, 100, 128)), network.norm(x)[:, :tokens].mean(1))


@given(frames=st.integers(16, 400))
@settings(max_examples=10, deadline=None)
def test_any_length_at_run_time(frames):
    network = make_bundle().network
    with torch.no_grad():
        logits = network(draw(1, frames, 128))
        assert logits.shape == (1, 5)
        assert torch.isfinite(logits).all()


def test_another_length_is_the_network_adapted_to_it():
    from spectag.model import adapt

    network = make_bundle().network
    other = AST(replace(TINY, frames=230)).eval()
    state = adapt.adapt_state(
        network.state_dict(), network.config.grid, other.config.grid, tokens=2, patch=(16, 16), labels=None
    )
    other.load_state_dict(state)
    torch.testing.assert_close(network(draw(1, 230, 128)), other(draw(1, 230, 128)))


@pytest.mark.parametrize("frames", [60, 100, 230], ids=["cut", "as configured", "interpolated"])
def test_a_network_can_be_exported(frames):
    network, inputs = make_bundle().network, draw(1, frames, 128)
    with torch.no_grad():
        exported = torch.export.export(network, (inputs,)).module()
        torch.testing.assert_close(exported(inputs), network(inputs))


def test_positions_of_another_length_receive_gradients():
    network = make_bundle().network.train()
    network(draw(1, 200, 128)).sum().backward()
    assert network.pos_embed.grad.abs().sum() > 0


def test_one_frame_less_than_a_patch():
    network = make_bundle().network
    assert network(draw(1, 16, 128)).shape == (1, 5)
    with pytest.raises(ShapeMismatch, match="15 frames are shorter than one patch of 16"):
        network(draw(1, 15, 128))


@pytest.mark.parametrize(
    ("shape", "hint"), [((1, 128, 100), "transpose"), ((100, 128), "batch axis"), ((1, 100, 64), r"\[1, 100, 64\]")]
)
def test_inputs_of_the_wrong_shape(shape, hint):
    with pytest.raises(InputError, match=hint):
        make_bundle().network(draw(*shape))


def test_keeping_all_patches_changes_nothing_and_dropping_some_does():
    network = make_bundle().network
    inputs = draw(2, 100, 128)
    n = math.prod(network.config.grid)
    shuffled = torch.stack([torch.randperm(n, generator=torch.Generator().manual_seed(s)) for s in (0, 1)])
    torch.testing.assert_close(network(inputs, keep=torch.arange(n).expand(2, n)), network(inputs))
    torch.testing.assert_close(network(inputs, keep=shuffled), network(inputs), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(network(inputs, keep=shuffled[:, : n // 2]), network(inputs))


def test_dropped_paths_only_in_training():
    network = make_bundle().network
    inputs = draw(1, 100, 128)
    before = network(inputs)
    for block in network.blocks:
        block.drop_path = 0.999
    torch.testing.assert_close(network(inputs), before)
    assert not torch.allclose(network.train()(inputs), before)


@pytest.mark.parametrize(("depth", "rates"), [(1, [0]), (2, [0, 0.3]), (4, [0, 0.1, 0.2, 0.3])])
def test_drop_path_grows_linearly(depth, rates):
    network = AST(replace(TINY, depth=depth))
    network.set_drop_path(0.3)
    assert [block.drop_path for block in network.blocks] == pytest.approx(rates)


def test_dropped_paths_keep_the_mean():
    """A branch is dropped for a whole clip, and the others are scaled by 1 / (1 - rate)."""
    block = AST(TINY).blocks[0].train()
    block.drop_path = 0.25
    scales = block._drop(torch.ones(20_000, 2, 3))
    assert scales.flatten(1).std(1).max() == 0
    assert scales.unique().tolist() == pytest.approx([0, 4 / 3])
    assert (scales == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)


def test_every_norm_has_the_configured_epsilon():
    network = AST(replace(TINY, norm_eps=1e-3))
    norms = [layer.eps for layer in network.modules() if isinstance(layer, torch.nn.LayerNorm)]
    assert norms == [1e-3] * (2 * TINY.depth + 2)


def test_fresh_weights_are_those_of_vit():
    for name, parameter in AST(replace(TINY, width=128)).named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif "norm" in name:
            assert (parameter == 1).all(), name
        else:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.2), name


def test_recomputed_activations_change_nothing(monkeypatch):
    network, counts = AST(replace(TINY, depth=3)).train(), []
    attend = module.attend
    monkeypatch.setattr(module, "attend", lambda *parts: counts.append(1) or attend(*parts))
    gradients = []
    for recompute in (False, True):
        network.recompute = recompute
        network.zero_grad()
        network(draw(2, 100, 128)).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in network.parameters()])
    assert len(counts) == 3 + 5  # all layers but the last are computed twice
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
    network.eval()(draw(2, 100, 128)).sum().backward()
    assert len(counts) == 3 + 5 + 3


@pytest.mark.parametrize("frames", [64, 1024 * 4])
def test_gradients_in_bf16_are_those_in_fp32(frames):
    """Short and long inputs, whose attention is computed in different precisions."""
    torch.manual_seed(0)
    network = AST(replace(TINY, patch=(128, 4), stride=(128, 4), frames=frames))
    inputs, gradients = draw(2, frames, TINY.mel_bins), []
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            loss = network(inputs).float().square().mean()
        gradients.append(torch.autograd.grad(loss, list(network.parameters())))
    for exact, rough in zip(*gradients, strict=True):
        torch.testing.assert_close(rough, exact, rtol=0, atol=0.03 * float(exact.abs().max()))


def test_gradients_of_weights_in_bf16():
    network = AST(TINY).bfloat16()
    network(draw(2, 100, TINY.mel_bins).bfloat16()).sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.bfloat16 for p in network.parameters())


def test_stacked_parts_are_the_queries_keys_and_values():
    network = AST(replace(TINY, mlp_ratio=3.0))  # whose MLP has the shape of queries, keys and values
    width = network.config.width
    stacked = {name for name, parameter in network.named_parameters() if stacked_parts(name) == 3}
    assert stacked == {f"blocks.{layer}.attn.qkv.weight" for layer in range(2)}
    assert {tuple(network.get_parameter(name).shape) for name in stacked} == {(3 * width, width)}
    assert stacked_parts("blocks.0.mlp.fc1.weight") == 1


def test_a_network_is_built_around_its_tensors():
    state = {key: value.clone() for key, value in make_bundle().network.state_dict().items()}
    network = build_network(TINY, state)
    assert not network.training
    for key, value in network.state_dict().items():
        assert value.data_ptr() == state[key].data_ptr(), key
