"""The loop: what a step's gradient is, what its checkpoints do not depend on, what its watcher is told."""

import torch
from test_run import TINY, build, make_plan, read_manifest, run, scorer, tones  # noqa: F401  # tones is a fixture

from spectag.runs import loop
from spectag.runs.watcher import Watcher
from spectag.train.schedule import compute_lr_factor

PLAIN = TINY | {"ema": 0.0, "augment": {}, "model": TINY["model"] | {"drop_path": 0.0}, "precision": "fp32"}


class Gradients(Watcher):
    """Keeps the gradients and the learning rate of every step."""

    def __init__(self) -> None:
        self.gradients, self.rates, self.events = [], [], []

    def on_start(self, job):
        self.events.append("start")

    def on_gradients(self, job):
        self.gradients.append({name: p.grad.clone() for name, p in job.network.named_parameters()})
        self.rates.append(job.optimizer.param_groups[0]["lr"])

    def on_epoch(self, job, row):
        self.events.append(row["epoch"])

    def on_end(self, job):
        self.events.append("end")


def watch(tones, out, **keys) -> Gradients:  # noqa: F811
    watcher = Gradients()
    run(make_plan(build(PLAIN | keys, "tiny"), read_manifest(tones), out, fold=1), scorer, watcher)
    return watcher


def test_a_step_in_parts_has_the_gradient_of_the_whole(tones, tmp_path):  # noqa: F811
    """Twelve clips are a step of nine and one of three, which is a single part: it weighs as a whole step."""
    whole = watch(tones, tmp_path / "whole", batch_size=9, epochs=1)
    parts = watch(tones, tmp_path / "parts", batch_size=9, epochs=1, accumulate=3)
    assert len(whole.gradients) == len(parts.gradients) == 2
    for one, other in zip(whole.gradients, parts.gradients, strict=True):
        for name in one:
            torch.testing.assert_close(one[name], other[name], rtol=0, atol=1e-6, msg=name)


def test_gradients_are_clipped_to_their_norm(tones, tmp_path):  # noqa: F811
    free, clipped = (watch(tones, tmp_path / str(n), epochs=1, clip_norm=n) for n in (0.0, 0.01))
    norms = [
        [float(torch.stack([g.norm() for g in step.values()]).norm()) for step in w.gradients] for w in (free, clipped)
    ]
    assert min(norms[0]) > 0.1
    torch.testing.assert_close(norms[1], [0.01] * len(norms[1]), rtol=1e-4, atol=0)


def test_every_step_has_the_learning_rate_of_the_schedule(tones, tmp_path):  # noqa: F811
    schedule = {"kind": "cosine", "warmup_steps": 4}
    rates = watch(tones, tmp_path / "run", schedule=schedule).rates
    recipe = build(PLAIN | {"schedule": schedule}, "tiny")
    assert rates == [1e-3 * compute_lr_factor(step, 3, 9, recipe.schedule) for step in range(9)]


def test_a_watcher_is_told_the_end_also_of_a_run_that_fails(tones, tmp_path):  # noqa: F811
    assert watch(tones, tmp_path / "run").events == ["start", 1, 2, 3, "end"]

    class Fails(Gradients):
        def on_batch(self, job):
            if job.steps == 4:
                raise ZeroDivisionError

    watcher = Fails()
    todo = make_plan(build(PLAIN, "tiny"), read_manifest(tones), tmp_path / "fails", fold=1)
    try:
        run(todo, scorer, watcher)
    except ZeroDivisionError:
        watcher.events.append("raised")
    assert watcher.events == ["start", 1, "end", "raised"]


def test_checkpoints_within_epochs_change_nothing(tones, tmp_path, monkeypatch):  # noqa: F811
    before = watch(tones, tmp_path / "seldom")
    saved = []
    original = loop.write_state
    monkeypatch.setattr(
        loop, "write_state", lambda path, state: (saved.append(state["batches"]), original(path, state))
    )
    monkeypatch.setattr(loop, "SAVE_EVERY", 0)
    monkeypatch.setattr(loop, "LOOK_EVERY", 1)
    after = watch(tones, tmp_path / "often")
    assert saved == [1, 2, 3] * 3
    for one, other in zip(before.gradients, after.gradients, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
