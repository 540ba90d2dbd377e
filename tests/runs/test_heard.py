"""Which training clips were heard, and why others were not."""

from pathlib import Path

import pytest
import torch

from spectag.data.manifest import Clip, Manifest
from spectag.errors import AudioError
from spectag.labels import LabelSet
from spectag.runs.heard import Heard, count_heard
from spectag.train.examples import Unreadable

UNREADABLE = [Unreadable("a", AudioError("a.wav", "is empty")), Unreadable("b", AudioError("b.wav", "is empty"))]


def make_clips(*labels: tuple[int, ...]) -> Manifest:
    clips = tuple(Clip(name, Path(name), row) for name, row in zip("abcdef", labels, strict=False))
    return Manifest(clips, LabelSet(("owl", "fox")), "a test")


def test_unreadable_clips_are_noted_once():
    heard = Heard(3, strict=False)
    heard.add([], [*UNREADABLE, UNREADABLE[0]])
    assert heard.reasons == {"a": "a.wav: is empty", "b": "b.wav: is empty"}
    assert not heard.flags.any()
    with pytest.raises(AudioError, match=r"a\.wav: is empty"):
        Heard(3, strict=True).add([], UNREADABLE)


def test_a_clip_counts_once_however_often_it_is_heard_and_a_partner_counts_too():
    heard = Heard(5, strict=False)
    heard.add([(0,), (0, 3)], [])
    heard.add([(3, 4)], [])
    assert heard.flags.tolist() == [True, False, False, True, True]
    clips = make_clips((0,), (0,), (1,), (0, 1), ())
    expected = {"clips": 3, "labels": {"owl": 2, "fox": 1}, "without_label": 1}
    assert count_heard(heard.state_dict(), clips) == expected


def test_what_all_processes_heard_is_in_the_checkpoint_of_the_first(monkeypatch):
    """Kind of fault: a checkpoint that holds what the first process saw, while others saw something else."""
    first, second = Heard(3, strict=False), Heard(3, strict=False)
    first.add([(0,)], UNREADABLE[:1])
    second.add([(2,)], UNREADABLE[1:])
    monkeypatch.setattr(
        "spectag.runs.heard.gathered", lambda own: [(one.flags, one.reasons) for one in (first, second)]
    )
    state = first.state_dict()
    assert state["heard"].tolist() == [True, False, True]
    assert state["skipped"] == {"a": "a.wav: is empty", "b": "b.wav: is empty"}
    resumed = Heard(3, strict=False)
    resumed.load_state_dict(state, make_clips((0,), (0,), (0,)))
    assert torch.equal(resumed.flags, state["heard"])
    assert resumed.reasons == state["skipped"]


def test_a_checkpoint_of_an_earlier_version_had_heard_what_it_had_not_skipped():
    heard = Heard(3, strict=False)
    heard.load_state_dict({"skipped": {"b": "b.wav: is empty"}}, make_clips((0,), (0,), (0,)))
    assert heard.flags.tolist() == [True, False, True]
