"""Every null of a recipe is answered: by the recipe, then the checkpoint, then the paper, then the clips."""

from dataclasses import replace

import pytest
import torch
from deciding import MEASURED, SMALL, decide_for, make_recipe
from tests.model.small import make_bundle

from spectag.audio.front_end import FrontEnd
from spectag.errors import RecipeError
from spectag.model.loading import load
from spectag.model.network import ASTConfig


@pytest.fixture
def checkpoint(tmp_path):
    return str(make_bundle(frames=100).save(tmp_path / "bundle"))


def test_from_scratch_the_nulls_are_the_papers():
    decided = decide_for(make_recipe(model=SMALL))
    assert decided.config == ASTConfig(**SMALL, labels=2)
    assert decided.front_end == FrontEnd("hamming", 128, *MEASURED, 1024)
    model = decided.recipe.model
    assert (model.patch, model.stride, model.mlp_ratio, model.tokens) == ((16, 16), (10, 10), 4, 2)


def test_a_checkpoint_brings_its_front_end_and_geometry(checkpoint):
    decided = decide_for(make_recipe(init=checkpoint))
    assert decided.config == replace(load(checkpoint).network.config, labels=2)
    assert decided.front_end == FrontEnd("hanning", 128, -6.0, 5.0, 100)


def test_the_recipe_has_the_first_word(checkpoint):
    front_end = {"window": "hamming", "frames": 200, "mean": 1, "std": 3}
    decided = decide_for(make_recipe(init=checkpoint, front_end=front_end, model={"stride": [12, 12]}))
    assert decided.front_end == FrontEnd("hamming", 128, 1.0, 3.0, 200)
    assert (decided.config.frames, decided.config.stride) == (200, (12, 12))


@pytest.mark.parametrize("init", [True, False])
def test_the_complete_recipe_decides_the_same(checkpoint, init):
    """So that the recipe in a run's directory, or in a bundle, repeats the run."""
    decided = decide_for(make_recipe(init=checkpoint if init else None, model={} if init else SMALL))
    assert None not in decided.recipe.model.model_dump().values()
    assert None not in decided.recipe.front_end.model_dump().values()
    assert decide_for(decided.recipe) == decided


def test_images_have_no_statistics(shared):
    path = str(shared / "golden" / "deit_384.pth")
    decided = decide_for(make_recipe(init=path, front_end={"frames": 512}, model={"heads": 3, "stride": [10, 10]}))
    assert decided.front_end == FrontEnd("hamming", 128, *MEASURED, 512)
    assert decided.config.grid == ASTConfig(frames=512).grid


@pytest.mark.parametrize(("section", "field", "value"), [("model", "width", 64), ("front_end", "mel_bins", 64)])
def test_sizes_that_a_checkpoint_does_not_have(checkpoint, section, field, value):
    with pytest.raises(RecipeError, match=rf"{section}\.{field} is {value}, but .*bundle has (32|128): set it to null"):
        decide_for(make_recipe(init=checkpoint, **{section: {field: value}}))


def test_a_geometry_that_cannot_be(checkpoint):
    with pytest.raises(RecipeError, match=r"do not fit .*bundle: 5 frames are shorter than one patch"):
        decide_for(make_recipe(init=checkpoint, front_end={"frames": 5}))


@pytest.mark.parametrize(("loss", "activation"), [("bce", "sigmoid"), ("ce", "softmax")])
def test_the_loss_decides_the_activation(loss, activation):
    assert decide_for(make_recipe(loss=loss, model=SMALL)).activation == activation


@pytest.mark.parametrize(("precision", "expected"), [("fp32", "32-true"), ("bf16", "bf16-mixed")])
def test_precision_as_asked(precision, expected):
    assert decide_for(make_recipe(precision=precision, model=SMALL)).precision == expected


@pytest.mark.parametrize("amx", [True, False])
def test_auto_is_bf16_where_the_processor_has_amx(monkeypatch, amx):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": amx}, raising=False)
    assert decide_for(make_recipe(model=SMALL)).precision == ("bf16-mixed" if amx else "32-true")


def test_half_precision_needs_a_gpu():
    with pytest.raises(RecipeError, match="precision fp16 needs a CUDA device, got cpu"):
        decide_for(make_recipe(precision="fp16", model=SMALL))
