"""Runs that train a frame head: from labels of clips alone, from times of events, and after an interruption."""

import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from test_run import TINY, build, make_plan, read_manifest, run, scorer

from spectag.audio.fbank import compute_inputs
from spectag.data.events import join_events
from spectag.errors import RunInterrupted
from spectag.model.loading import load
from spectag.runs.finish import finish
from spectag.runs.watcher import Watcher

FRAMES = {
    **TINY,
    "epochs": 25,
    "batch_size": 8,
    "lr": 3e-3,
    "loss": "bce",
    "ema": 0.0,
    "evaluate_every": 25,
    "model": TINY["model"] | {"frames": True},
    "front_end": {"frames": 96},
    "augment": {"mix_rate": 0.3, "noise_and_roll": True, "patch_drop": 0.1},
}
SECONDS = 0.96 + 0.015  # 96 frames


@pytest.fixture(scope="module")
def tones(tmp_path_factory) -> Path:
    """A table of events: a short tone, low or high, somewhere in each second of noise; a third has both."""
    root = tmp_path_factory.mktemp("events")
    rng = np.random.default_rng(0)
    rows = ["filename\tonset\toffset\tevent_label\tfold"]
    for i in range(48):
        x = rng.standard_normal(int(SECONDS * 16000)) * 0.02
        for label, hertz in (("low", 300), ("high", 3000)):
            if i % 3 in (2, ("low", "high").index(label)):
                onset, length = rng.uniform(0, 0.6), rng.uniform(0.15, 0.35)
                first, last = int(onset * 16000), int((onset + length) * 16000)
                x[first:last] += 0.3 * np.sin(
                    2 * np.pi * hertz * rng.uniform(0.8, 1.25) * np.arange(last - first) / 16000
                )
                rows.append(f"{i}.wav\t{onset:.4f}\t{onset + length:.4f}\t{label}\t{1 + i % 2}")
        soundfile.write(root / f"{i}.wav", x.astype(np.float32), 16000)
    (root / "events.tsv").write_text("\n".join(rows) + "\n")
    return root


def read_clips(tones, events: bool):
    """The same clips, with or without the times of their events."""
    manifest = join_events(read_manifest(tones))
    if events:
        return manifest
    return replace(manifest, clips=tuple(replace(clip, events=None) for clip in manifest.clips))


def go(manifest, out: Path, watcher=None, **keys):
    return run(make_plan(build(FRAMES | keys, "tiny"), manifest, out, fold=1), scorer, watcher)


@pytest.mark.parametrize(
    ("events", "epochs", "least"), [(False, 50, 0.65), (True, 20, 0.9)], ids=["labels of clips", "times of events"]
)
def test_it_learns_when(tones, tmp_path, events, epochs, least):
    """In held-out clips: how often a frame inside an event scores higher than one outside (AUC)."""
    report = go(read_clips(tones, events), tmp_path / "run", epochs=epochs, evaluate_every=epochs)
    assert report["recipe"]["model"]["frames"] is True
    assert report["result"]["clips"] == 24
    bundle = load(tmp_path / "run" / "bundle")
    assert bundle.card.frame_step == 0.04
    inside, outside = [], []
    for clip in read_clips(tones, True).only(fold=1).clips:
        inputs = compute_inputs(torch.from_numpy(soundfile.read(clip.path, dtype="float32")[0]), bundle.front_end)[None]
        with torch.no_grad():
            frames = bundle.network.forward_frames(inputs)[1].sigmoid()[0].numpy()
        middles = (np.arange(len(frames)) + 0.5) * 0.04
        for label in range(2):
            heard = np.zeros(len(frames), bool)
            for event in clip.events:
                heard |= (event.label == label) & (event.onset <= middles) & (middles <= event.offset)
            inside.append(frames[heard, label])
            outside.append(frames[~heard, label])
    inside, outside = np.concatenate(inside), np.concatenate(outside)
    auc = (inside[:, None] > outside).mean()
    assert auc > least, auc


class Stop(Watcher):
    def on_batch(self, job):
        if job.steps == 4:
            signal.raise_signal(signal.SIGTERM)


def test_an_interrupted_run_resumes_to_the_same_weights(tones, tmp_path):
    keys = {"epochs": 3, "ema": 0.9, "average": [1, 3], "precision": "fp32"}
    manifest = read_clips(tones, True)
    with pytest.raises(RunInterrupted):
        go(manifest, tmp_path / "stopped", Stop(), **keys)
    assert load(finish(tmp_path / "stopped").bundle).card.frame_step == 0.04
    plan = make_plan(build(FRAMES | keys, "tiny"), manifest, tmp_path / "stopped", fold=1)
    resumed = run(replace(plan, options=replace(plan.options, resume=True)), scorer)
    whole = go(manifest, tmp_path / "whole", **keys)
    assert [row["loss"] for row in resumed["epochs"]] == [row["loss"] for row in whole["epochs"]]
    for name in ("bundle", "bundle-averaged"):
        a, b = (load(tmp_path / out / name).network.state_dict() for out in ("stopped", "whole"))
        assert all(torch.equal(a[key], b[key]) for key in a), name
        assert "frame_head.linear.weight" in a


def test_a_frame_head_is_kept_or_drawn_or_left_out(tones, tmp_path):
    """A run from a checkpoint takes its frame head over unless the recipe says otherwise."""
    manifest = read_clips(tones, True)
    go(manifest, tmp_path / "first", epochs=1)
    keys = {"init": str(tmp_path / "first" / "bundle"), "epochs": 1, "lr": 1e-9}
    for frames, step in ((None, 0.04), (True, 0.04), (False, None)):
        model = {key: value for key, value in FRAMES["model"].items() if key == "drop_path"} | {"frames": frames}
        go(manifest, tmp_path / str(frames), model=model, **keys)
        assert load(tmp_path / str(frames) / "bundle").card.frame_step == step
    first, kept = (load(tmp_path / name / "bundle").network.frame_head for name in ("first", "None"))
    torch.testing.assert_close(first.linear.weight, kept.linear.weight, atol=1e-6, rtol=0)
