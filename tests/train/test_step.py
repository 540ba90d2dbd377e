"""The loss of a batch, and that it follows from the batch's number."""

import numpy as np
import pytest
import torch

from spectag.audio.fbank import compute_inputs
from spectag.audio.front_end import FRAME, HOP, FrontEnd
from spectag.train.examples import Batch
from spectag.train.recipe import Recipe
from spectag.train.step import TrainingStep, make_loss

FRONT_END = FrontEnd(frames=8, mean=-5.0, std=4.0)


def recipe(**keys) -> Recipe:
    return Recipe.model_validate({"name": "x", "epochs": 2, "batch_size": 4, "lr": 1e-3} | keys)


def test_mixed_targets_keep_their_mixture():
    """A trap of existing code: argmax or a cast to whole numbers would make every mixed target class 0."""
    logits = torch.tensor([[2.0, -1.0, 0.5]])
    target = torch.tensor([[0.0, 0.3, 0.7]])
    log = logits.log_softmax(1)
    expected = -(0.3 * log[0, 1] + 0.7 * log[0, 2])
    torch.testing.assert_close(make_loss(recipe(loss="ce"))(logits, target), expected)


def test_label_smoothing_spreads_a_share_over_all_classes():
    logits = torch.tensor([[2.0, -1.0, 0.5]])
    expected = -(logits.log_softmax(1) * torch.tensor([0.8 + 0.2 / 3, 0.2 / 3, 0.2 / 3])).sum()
    loss = make_loss(recipe(loss="ce", label_smoothing=0.2))(logits, torch.tensor([[1.0, 0.0, 0.0]]))
    torch.testing.assert_close(loss, expected)


def test_bce_takes_logits_not_scores():
    """Another trap: sigmoid applied twice gives 0.694 for anything."""
    loss = make_loss(recipe(loss="bce"))
    assert loss(torch.tensor([[20.0, -20.0]]), torch.tensor([[1.0, 0.0]])) < 1e-6


def make_batch(size: int = 4) -> Batch:
    rng = np.random.default_rng(0)
    waveform = torch.from_numpy(rng.uniform(-0.5, 0.5, (size, FRAME + 7 * HOP)).astype(np.float32))
    target = torch.eye(2)[torch.arange(size) % 2]
    return Batch(waveform, torch.full((size,), 8), target, torch.arange(size), [])


class Network:
    """Remembers what it was given, and computes the logits 1 and 0 for everything."""

    def __init__(self) -> None:
        self.inputs, self.keep, self.noise = [], [], []

    def __call__(self, inputs, keep=None):
        self.inputs.append(inputs)
        self.keep.append(keep)
        self.noise.append(torch.rand(3))  # as drop path draws
        return torch.tensor([[1.0, 0.0]]).expand(len(inputs), 2)


def test_without_augmentation_the_network_gets_the_inputs_of_the_front_end():
    network, batch = Network(), make_batch()
    loss = TrainingStep(network, (1, 4), FRONT_END, recipe(loss="bce"))(batch, 0)
    torch.testing.assert_close(network.inputs[0], compute_inputs(batch.waveform, FRONT_END))
    assert network.keep == [None]
    expected = torch.nn.functional.binary_cross_entropy_with_logits(torch.tensor([[1.0, 0.0]] * 4), batch.target)
    torch.testing.assert_close(loss, expected)


AUGMENT = {"equalise_db": 6, "freq_mask": 40, "noise_and_roll": True, "patch_drop": 0.5}


def test_everything_random_follows_from_the_number_of_the_batch():
    network = Network()
    step = TrainingStep(network, (1, 4), FRONT_END, recipe(augment=AUGMENT))
    for number in (3, 4, 3):
        torch.rand(5)  # whatever was drawn before
        step(make_batch(), number)
    for seen in (network.inputs, network.keep, network.noise):
        assert torch.equal(seen[0], seen[2])
        assert not torch.equal(seen[0], seen[1])


@pytest.mark.parametrize("world", [2, 4])
def test_processes_together_compute_what_one_does(world):
    whole = Network()
    TrainingStep(whole, (1, 4), FRONT_END, recipe(augment=AUGMENT))(make_batch(), 0)
    for rank in range(world):
        network, batch = Network(), make_batch()
        own = Batch(*(x[rank::world] for x in batch[:4]), [])
        TrainingStep(network, (1, 4), FRONT_END, recipe(augment=AUGMENT), rank, world)(own, 0)
        assert torch.equal(network.keep[0], whole.keep[0][rank::world])
        torch.testing.assert_close(network.inputs[0], whole.inputs[0][rank::world])
