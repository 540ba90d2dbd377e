"""Events move as the sound does: the sound of these clips is 1 while an event is heard, and 0.25 otherwise."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from spectag.audio.front_end import FRAME, HOP, FrontEnd
from spectag.data.manifest import Clip, Heard
from spectag.model.config import ASTConfig
from spectag.train.augment import build_example
from spectag.train.events import Sound, cut_events, events_of, label_mixture
from spectag.train.examples import Batch, Example, collate
from spectag.train.frames import FrameLoss
from spectag.train.inputs import build_inputs
from spectag.train.rng import make_rng
from spectag.train.sections import AugmentRecipe

QUIET, LOUD = 0.25, 1.0


def make_clip(samples: int, times: list[tuple[int, int]], silence: int = 0) -> Sound:
    x = torch.full((samples,), QUIET)
    for onset, offset in times:
        x[onset:offset] = LOUD
    events = torch.tensor([(0.0, onset, offset, 1.0) for onset, offset in times], dtype=torch.float64).view(-1, 4)
    return Sound(torch.cat([x, torch.zeros(silence)]), torch.ones(1), events)


def heard(example: Sound) -> np.ndarray:
    """Where the events say that it is heard, by sample."""
    out = np.zeros(len(example.waveform), bool)
    for _, onset, offset, _ in example.events.tolist():
        out[int(np.ceil(onset)) : int(np.ceil(offset))] = True
    return out


@given(
    samples=st.integers(2000, 9000),
    onset=st.integers(0, 1500),
    length=st.integers(20, 4000),
    silence=st.sampled_from([0, 3000]),
    window=st.integers(500, 20_000),
    seed=st.integers(0, 10_000),
)
def test_excerpts_of_any_speed_carry_their_events(samples, onset, length, silence, window, seed):
    clip = make_clip(samples, [(onset, min(onset + length, samples))], silence)
    recipe = AugmentRecipe(excerpt=True, speed=1.5, short_rate=0.5)
    example = build_example(0, lambda _: clip, 1, window, recipe, make_rng(seed))
    loud = example.waveform.numpy() > (LOUD + QUIET) / 2
    # The sound is interpolated between two samples, so an edge may be a sample away.
    edges = 2 * len(example.events) + 2
    assert (loud != heard(example)).sum() <= edges
    assert example.target.tolist() == [float(len(example.events) > 0)]


def test_without_excerpt_events_end_with_the_window():
    example = build_example(
        0, lambda _: make_clip(5000, [(100, 900), (4000, 5000)]), 1, 4500, AugmentRecipe(), make_rng(0)
    )
    assert example.events[:, 1:3].tolist() == [[100, 900], [4000, 4500]]
    example = build_example(0, lambda _: make_clip(5000, [(4700, 5000)]), 1, 4500, AugmentRecipe(), make_rng(0))
    assert (example.target.tolist(), len(example.events)) == ([0.0], 0), "not heard in this part of the clip"


def test_a_mixture_has_the_events_of_both_with_their_shares():
    owl = Sound(torch.ones(400), torch.tensor([1.0, 0.0]), torch.tensor([[0.0, 0.0, 100.0, 1.0]]))
    both = Sound(torch.ones(400), torch.ones(2), torch.tensor([[1.0, 50.0, 80.0, 1.0], [0.0, 300.0, 400.0, 1.0]]))
    target, events = label_mixture([(owl, 0.75), (both, 0.25)], length=200)
    assert target.tolist() == [0.75, 0.25], "the owl of the second clip is beyond the end"
    assert events.tolist() == [[0, 0, 100, 0.75], [1, 50, 80, 0.25]]
    weak = both._replace(events=None)
    target, events = label_mixture([(owl, 0.75), (weak, 0.25)], length=200)
    assert (target.tolist(), events) == ([1.0, 0.25], None), "when the second is heard is not known"


def test_events_of_clips():
    clip = Clip("1.wav", Path("1.wav"), (0, 2), events=(Heard(0, 0.5, 1.0), Heard(2, 0.0, 3.0)))
    assert events_of(clip).tolist() == [[0, 8000, 16000, 1], [2, 0, 48000, 1]]
    assert events_of(Clip("1.wav", Path("1.wav"), (0,))) is None
    assert events_of(Clip("1.wav", Path("1.wav"), ())).shape == (0, 4), "nothing is heard at any time"
    assert cut_events(torch.empty(0, 4), 5).shape == (0, 4)


CONFIG = ASTConfig(width=16, depth=1, heads=1, patch=(128, 4), stride=(128, 4), frames=40, labels=2, frame_head=True)
LOGITS = torch.randn(3, 10, 2, generator=torch.Generator().manual_seed(0))


def make_batch(*events: list[tuple[float, ...]] | None, frames=40) -> Batch:
    """Events by label, onset and offset in frames, and share."""
    rows = [
        None if e is None else torch.tensor([(a, b * HOP, c * HOP, d) for a, b, c, d in e]).view(-1, 4) for e in events
    ]
    target = torch.tensor([[0.5, 0.0], [0.0, 1.0], [1.0, 1.0]])
    waveform = torch.zeros(FRAME + 39 * HOP)
    return collate([Example(waveform, frames, t, (0,), (), e) for t, e in zip(target, rows, strict=True)])


def bce(p, t):
    return -(t * np.log(p) + (1 - t) * np.log(1 - p))


def test_the_loss_by_hand():
    """Of two examples with events and one without; a frame's target is the fraction of it that an event covers."""
    batch = make_batch([(0, 2.75, 8.75, 0.5), (0, 30.75, 40, 1)], None, [])
    loss = FrameLoss(CONFIG)(LOGITS, batch, np.zeros(3, int), None)
    p = LOGITS.sigmoid().double().numpy()
    first, last = np.zeros((10, 2)), np.zeros((10, 2))
    first[:, 0] = [0.25, 0.5, 0, 0, 0, 0, 0, 0.5, 1, 1]  # frame k begins at 0.75 + 4 k
    first[9, 0] = (40 - 36.75) / 4
    pooled = (p[1] ** 2).sum(0) / p[1].sum(0)
    expected = [bce(p[0], first).mean(), bce(pooled, np.array([0.0, 1.0])).mean(), bce(p[2], last).mean()]
    assert float(loss) == pytest.approx(np.mean(expected), rel=1e-5)


def test_padding_and_dropped_frames_do_not_count():
    config, batch = CONFIG, make_batch(None, [(1, 0, 40, 1)], None, frames=20)
    keep = torch.tensor([[0, 2, 7]] * 3)
    loss = FrameLoss(config)(LOGITS, batch, np.zeros(3, int), keep)
    p = LOGITS.sigmoid().double().numpy()
    expected = []
    for i, target in ((0, [0.5, 0.0]), (2, [1.0, 1.0])):
        heard = p[i][[0, 2]]  # frame 7 is padding
        expected.append(bce((heard**2).sum(0) / heard.sum(0), np.array(target)).mean())
    strong = np.zeros((10, 2))
    strong[:, 1] = 1
    expected.append(bce(p[1], strong)[[0, 2, 7]].mean())
    assert float(loss) == pytest.approx(np.mean(expected), rel=1e-5)
    nothing = FrameLoss(config)(
        LOGITS, make_batch(None, None, None, frames=20), np.zeros(3, int), torch.tensor([[7]] * 3)
    )
    assert float(nothing) == 0, "neither is known to be heard nor not to be"


def test_a_roll_moves_the_targets_with_the_sound():
    """The loss of rolled inputs is that of events that lie where the roll puts the sound, also across the end."""
    shifts = np.array([5, -7, 3])
    batch = make_batch([(0, 4, 8, 1)], [(1, 2, 12, 1)], [(0, 35, 39, 1)])
    moved = make_batch([(0, 9, 13, 1)], [(1, 0, 5, 1), (1, 35, 40, 1)], [(0, 38, 40, 1), (0, 0, 2, 1)])
    loss = FrameLoss(CONFIG)
    torch.testing.assert_close(loss(LOGITS, batch, shifts, None), loss(LOGITS, moved, np.zeros(3, int), None))


def test_the_shifts_are_those_of_the_inputs():
    front_end = FrontEnd(frames=40)
    waveform = torch.randn(6, FRAME + 39 * HOP, generator=torch.Generator().manual_seed(0))
    frames = torch.full((6,), 40)
    plain, none = build_inputs(waveform, frames, front_end, AugmentRecipe(), make_rng(0))
    rolled, shifts = build_inputs(waveform, frames, front_end, AugmentRecipe(noise_and_roll=True), make_rng(0))
    assert none.tolist() == [0] * 6
    assert len(set(shifts.tolist())) > 2
    for before, after, shift in zip(plain, rolled, shifts.tolist(), strict=True):
        assert (after - before.roll(shift, 0)).abs().max() <= 0.1, "only the noise remains"
