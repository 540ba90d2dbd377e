"""The loss of a student is its formula; teachers hear what the student hears and answer in its labels."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

import spectag
from spectag.audio.front_end import FRAME, HOP
from spectag.errors import InputError, ModelError, RecipeError
from spectag.model.ensemble import Ensemble
from spectag.tag.tagger import Tagger
from spectag.train.distill import DistillLoss, compare_features
from spectag.train.sections import TeacherRecipe
from spectag.train.teachers import FunctionTeacher, ModelTeacher, find_teacher

RNG = np.random.default_rng(0)


def some(*shape):
    return torch.from_numpy(np.random.default_rng(0).normal(0, 2, shape).astype(np.float32))


@given(st.floats(0.5, 8), st.floats(0, 3))
def test_independent_labels(temperature, weight):
    student, teacher = some(3, 5), some(3, 5).flip(0)
    loss = DistillLoss(TeacherRecipe(temperature=temperature, logits=weight), exclusive=False)
    s, t = student.double().numpy(), teacher.double().numpy()
    p, q = (1 / (1 + np.exp(-x / temperature)) for x in (t, s))
    expected = temperature**2 * -(p * np.log(q) + (1 - p) * np.log(1 - q)).mean() + weight * np.square(s - t).mean()
    assert math.isclose(float(loss(student, teacher.sigmoid())), expected, rel_tol=1e-4)


@given(st.floats(0.5, 8), st.floats(0, 3))
def test_exclusive_labels(temperature, weight):
    student, teacher = some(3, 5), some(3, 5).flip(0)
    loss = DistillLoss(TeacherRecipe(temperature=temperature, logits=weight), exclusive=True)
    s, t = student.double().numpy(), teacher.double().numpy()
    p, q = (np.exp(x / temperature) / np.exp(x / temperature).sum(1, keepdims=True) for x in (t, s))
    apart = (s - s.mean(1, keepdims=True)) - (t - t.mean(1, keepdims=True))
    expected = temperature**2 * -(p * np.log(q)).sum(1).mean() + weight * np.square(apart).mean()
    assert math.isclose(float(loss(student, teacher.softmax(1))), expected, rel_tol=1e-3)


@pytest.mark.parametrize("exclusive", [False, True])
def test_the_teacher_itself_has_the_least_loss(exclusive):
    teacher = some(4, 6)
    scores = teacher.softmax(1) if exclusive else teacher.sigmoid()
    loss = DistillLoss(TeacherRecipe(temperature=3.0, logits=1.0), exclusive)
    logits = teacher.clone().requires_grad_()
    loss(logits, scores).backward()
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-5
    assert loss(teacher + some(4, 6).flip(1), scores) > loss(teacher, scores)


def test_scores_of_0_and_1_give_finite_losses():
    loss = DistillLoss(TeacherRecipe(logits=1.0), exclusive=False)
    assert torch.isfinite(loss(some(2, 2), torch.eye(2)))


def test_features_are_compared_by_what_they_find_alike():
    student, teacher = some(6, 7), some(6, 3)
    turned = torch.linalg.qr(some(7, 7))[0]
    for same in (student, 3 * student, student + 5, student @ turned):
        assert abs(compare_features(student, same)) < 1e-5
    s, t = (x.double().numpy() - x.double().numpy().mean(0) for x in (student, teacher))
    alike = np.square(s.T @ t).sum() / (np.linalg.norm(s.T @ s) * np.linalg.norm(t.T @ t))
    assert math.isclose(float(compare_features(student, teacher)), 1 - alike, rel_tol=1e-4)


def test_a_model_that_teaches_gives_the_scores_that_it_tags_with():
    bundle = spectag.load("esc10")
    sound = (RNG.standard_normal(20_000) * 0.1).astype(np.float32)
    expected = Tagger(bundle).scores(sound)
    padded = torch.from_numpy(np.pad(sound, (0, FRAME + (bundle.front_end.frames - 1) * HOP - len(sound))))[None]
    frames = torch.tensor([1 + (len(sound) - FRAME) // HOP])
    opinion = ModelTeacher(bundle)(padded, frames)
    assert np.allclose(opinion.scores[0], expected, atol=1e-5)
    assert opinion.features is not None
    assert np.allclose(opinion.features[0], Tagger(bundle).embed(sound), atol=1e-4)

    both = ModelTeacher(Ensemble((bundle, bundle)))(padded, frames)
    assert np.allclose(both.scores, opinion.scores, atol=1e-6)
    assert both.features is None


def test_a_window_longer_than_the_teachers_is_refused():
    teacher = ModelTeacher(spectag.load("esc10"))
    with pytest.raises(
        RecipeError, match=r"its window has \d+ frames, and the student's has 3000: set front_end\.frames"
    ):
        teacher(torch.zeros(1, FRAME + 2999 * HOP), torch.tensor([3000]))


def test_a_function_hears_the_sound_without_its_padding():
    heard = []

    def loudest(waveform, rate):
        heard.append((len(waveform), waveform.dtype, rate))
        return np.array([0.25, 0.5]), waveform[:3]

    loudest.labels = ["owl", "fox"]
    teacher = FunctionTeacher(loudest)
    opinion = teacher(torch.zeros(2, 4000), torch.tensor([10, 23]))
    assert heard == [(FRAME + 9 * HOP, np.float32, 16_000), (FRAME + 22 * HOP, np.float32, 16_000)]
    assert opinion.scores.tolist() == [[0.25, 0.5]] * 2
    assert opinion.features is not None
    assert opinion.features.shape == (2, 3)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([0.5], r"expected 2 scores between 0 and 1, got shape \[1\]"),
        ([0.5, 1.5], "got others"),
        ([0.5, math.nan], "others"),
    ],
)
def test_a_function_that_answers_something_else(answer, message):
    teacher = FunctionTeacher(lambda waveform, rate: answer, labels=["owl", "fox"])
    with pytest.raises(InputError, match=message):
        teacher(torch.zeros(1, 4000), torch.tensor([10]))


def test_teachers_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_teacher.py").write_text(
        "def loud(waveform, rate):\n    return [0.5]\n\nbare = lambda waveform, rate: [0.5]\nloud.labels = ['loud']\n"
    )
    assert find_teacher("my_teacher:loud").labels.names == ("loud",)
    with pytest.raises(RecipeError, match=r"--teacher my_teacher:bare: expected an attribute labels"):
        find_teacher("my_teacher:bare")
    with pytest.raises(RecipeError, match=r"--teacher my_teacher:none: expected a function in a module; .*none"):
        find_teacher("my_teacher:none")
    with pytest.raises(RecipeError, match=r"--teacher no_such_module:f: expected a function in a module"):
        find_teacher("no_such_module:f")
    with pytest.raises(ModelError):
        find_teacher("no-such-model.pth")


def test_labels_that_are_published_keep_their_ids():
    names = spectag.LabelSet.audioset().names
    teacher = FunctionTeacher(lambda waveform, rate: np.zeros(527), labels=names)
    assert teacher.labels.ids == spectag.LabelSet.audioset().ids
