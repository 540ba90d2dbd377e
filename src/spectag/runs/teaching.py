"""What a run learns: the labels of its clips, or the scores of a teacher (distillation)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from spectag.ahead import in_order
from spectag.audio.find import has_audio_extension
from spectag.audio.front_end import FRAME, HOP, FrontEnd, num_frames
from spectag.audio.read import SAMPLE_RATE
from spectag.choices import THRESHOLD, Activation
from spectag.cores import count_cores
from spectag.data.class_folders import CLASS_FOLDERS, SPLIT_FOLDERS
from spectag.data.layouts import read_manifest
from spectag.data.manifest import Clip, Manifest
from spectag.data.sounds import LAYOUT, read_sounds
from spectag.errors import AudioError, DataError, LabelMismatch, RecipeError
from spectag.labels import LabelSet, align, name_some
from spectag.runs.plan import Plan
from spectag.score.npz import read_scores, write_scores
from spectag.score.table import ScoreTable
from spectag.train.examples import Waveforms
from spectag.train.recipe import Recipe
from spectag.train.teachers import Teacher, find_teacher, is_score_file

SCORES = "teacher.npz"  # in the directory of a run


def follow_teacher(recipe: Recipe, data: Path) -> tuple[Recipe, Manifest]:
    """Read what a run hears that learns from a teacher.

    The data may be any recordings. Labels of a data set are used for its folds and figures only, and only where the
    teacher has all of them. What is held out without labels gets those that the teacher gives a score of at least 0.5,
    so its figures tell how far student and teacher agree.

    Args:
        recipe: names the teacher.
        data: a data set in any known layout, a folder of recordings, or one recording.

    Returns:
        the recipe with the loss that the teacher's scores ask for, and the clips, with the teacher's label set, to make
        a plan of (:func:`spectag.runs.plan.make_plan`).

    Raises:
        RecipeError: the teacher cannot be found.
        ModelError: the teacher cannot be loaded.
        DataError: there are no recordings, or a score file lacks the scores of some.

    >>> import soundfile
    >>> for name in ("1.wav", "2.wav"):
    ...     soundfile.write(name, np.zeros(800), 16_000)
    >>> recipe = Recipe(name="mine", epochs=1, batch_size=2, lr=1e-3, teacher={"model": "esc10"})
    >>> recipe, manifest = follow_teacher(recipe, Path("."))
    >>> recipe.loss, len(manifest), len(manifest.labels)
    ('ce', 2, 10)
    """
    name = _teacher_of(recipe)
    table = read_scores(Path(name)) if is_score_file(name) else None
    if table is None:
        teacher = find_teacher(name)
        labels, activation = teacher.labels, str(teacher.activation)
    else:
        labels, activation = LabelSet.named(table.labels), str(table.activation)
    manifest = read_taught(data, labels, separator=recipe.labels.separator)
    if table is not None:
        _require_scores(table, manifest)
    loss = "ce" if activation == "softmax" else "bce"
    metric = recipe.metric if manifest.layout != LAYOUT else "mean_ap"
    return recipe.replace(loss=loss, label_smoothing=0.0, metric=metric), manifest


def read_taught(data: Path, labels: LabelSet, *, separator: str | None = None) -> Manifest:
    """Read the clips that a student hears, with the teacher's labels as their label set.

    Their own labels are kept where the teacher has all of them. Otherwise they are left out. A folder per class is then
    taken for a folder of recordings.

    Raises:
        DataError: there are no recordings.

    >>> Path("site").mkdir()
    >>> Path("site", "1.wav").touch()
    >>> read_taught(Path("."), spectag.LabelSet(("owl",))).clips[0].labels
    ()
    """
    try:
        manifest = read_manifest(data, separator=separator)
    except DataError:
        if not (data.is_dir() or (data.is_file() and has_audio_extension(data.name))):
            raise
        return read_sounds(data, labels)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            places = align(manifest.labels, labels)
    except LabelMismatch:
        if manifest.layout in (CLASS_FOLDERS, SPLIT_FOLDERS):
            return read_sounds(data, labels)
        bare = (replace(clip, labels=(), events=None) for clip in manifest.clips)
        return replace(manifest, clips=tuple(bare), labels=labels, layout=LAYOUT)

    def moved(clip: Clip) -> Clip:
        return replace(clip, labels=tuple(sorted(places[label] for label in clip.labels)), events=None)

    return replace(manifest, clips=tuple(map(moved, manifest.clips)), labels=labels)


@dataclass(frozen=True)
class Teaching:
    """What the training clips teach.

    Args:
        plan: of the run; held-out clips without labels have got those of the teacher.
        targets: of the training clips, ``[clips, C]``, 0..1: their labels, or what the teacher says of them.
        teacher: scores every example anew, since no two examples of a clip sound the same; None otherwise.

    >>> Teaching(plan, plan.train.targets(), teacher=None).targets.shape
    (2, 2)
    """

    plan: Plan
    targets: NDArray[np.float32]
    teacher: Teacher | None


def prepare_teaching(plan: Plan, waveforms: Waveforms, front_end: FrontEnd, device: torch.device) -> Teaching:
    """Find the teacher, and let it score all that will always sound the same.

    If the recipe does not vary the sounds, the teacher scores each clip once, and the scores are kept in the run's
    directory.

    Args:
        plan: of the run.
        waveforms: of the training clips.
        front_end: of the student. Its window is what the teacher hears of a clip.
        device: where a model that is a teacher computes.

    Raises:
        as :func:`follow_teacher`; RecipeError also if the plan was not made of what that function returns.

    >>> waveforms = Waveforms(plan.train.clips, cache_bytes=0)
    >>> prepare_teaching(plan, waveforms, FrontEnd(), torch.device("cpu")).teacher  # the labels are learned
    """
    recipe, train = plan.recipe, plan.train
    if recipe.teacher.model is None:
        return Teaching(plan, train.targets(), None)
    name = _teacher_of(recipe)
    if is_score_file(name):
        table = read_scores(Path(name))

        def known(clips: Manifest) -> tuple[NDArray[np.float32], list[bool]]:
            return _rows(table, clips), [False] * len(clips)  # of whole clips

        return Teaching(_answered(plan, known, math.inf), _rows(table, train), None)
    teacher = find_teacher(name, device)
    if teacher.labels.names != train.labels.names:
        raise RecipeError(
            f"recipe {recipe.name}: its teacher has {len(teacher.labels)} labels, and the plan has others: make it of "
            "what spectag.runs.teaching.follow_teacher returns"
        )
    if recipe.teacher.features and _lacks_features(teacher, front_end, device):
        raise RecipeError(
            f"recipe {recipe.name}: teacher.features: {name} gives no features to compare: set it to 0, or let the "
            "function return (scores, features)"
        )

    def ask(clips: Manifest) -> tuple[NDArray[np.float32], list[bool]]:
        sounds = waveforms if clips is train else Waveforms(clips.clips, 0)
        return score_once(sounds, teacher, front_end, device)

    plan = _answered(plan, ask, front_end.frames * HOP / SAMPLE_RATE)
    if recipe.augment.varies_sound or recipe.teacher.features:
        return Teaching(plan, train.targets(), teacher)
    if plan.options.resume and (plan.out / SCORES).is_file():
        return Teaching(plan, _rows(read_scores(plan.out / SCORES), train), None)
    return Teaching(plan, ask(train)[0], None)


def score_once(
    waveforms: Waveforms, teacher: Teacher, front_end: FrontEnd, device: torch.device
) -> tuple[NDArray[np.float32], list[bool]]:
    """Let a teacher score the beginning of each clip, as long as the student's window.

    Returns:
        ``[clips, C]``, zeros for a clip that cannot be read; and which of the clips are longer than that.

    >>> waveforms = Waveforms([Clip("1.wav", Path("1.wav"), ())], cache_bytes=0)  # there is no such file
    >>> scores, longer = score_once(waveforms, find_teacher("esc10"), FrontEnd(), torch.device("cpu"))
    >>> scores.any(), longer
    (np.False_, [False])
    """
    samples = FRAME + (front_end.frames - 1) * HOP

    def score(index: int) -> tuple[NDArray[np.float32], bool]:
        try:
            sound = waveforms[index]
        except AudioError:
            return np.zeros(len(teacher.labels), np.float32), False
        heard = sound[:samples]
        padded = functional.pad(heard, (0, samples - len(heard)))[None].to(device)
        frames = torch.tensor([num_frames(len(heard))], device=device)
        return teacher(padded, frames).scores[0].cpu().numpy(), len(sound) > samples

    rows, longer = zip(*in_order(score, range(len(waveforms)), count_cores()), strict=True)
    return np.stack(rows), list(longer)


def write_taught(plan: Plan, targets: NDArray[np.float32]) -> None:
    """Write what a teacher says of the training clips into the run's directory, as a score file.

    >>> write_taught(replace(plan, out=Path(".")), np.ones((2, 2), np.float32))
    >>> read_scores(Path("teacher.npz")).scores.shape
    (2, 2)
    """
    ids = [clip.id for clip in plan.train.clips]
    activation: Activation = "softmax" if plan.recipe.loss == "ce" else "sigmoid"
    names = plan.train.labels.names
    write_scores(plan.out / SCORES, ScoreTable(ids, np.zeros_like(targets), targets, names, activation))


def _lacks_features(teacher: Teacher, front_end: FrontEnd, device: torch.device) -> bool:
    """Whether a teacher gives nothing but scores, asked about noise."""
    noise = torch.rand(1, FRAME + (front_end.frames - 1) * HOP, generator=torch.Generator().manual_seed(0)) - 0.5
    return teacher(noise.to(device), torch.tensor([front_end.frames], device=device)).features is None


def _answered(plan: Plan, ask: Callable[[Manifest], tuple[NDArray[np.float32], list[bool]]], seconds: float) -> Plan:
    """The plan with the teacher's labels for held-out clips that have none, cut to what the teacher heard of them."""

    def answer(manifest: Manifest | None) -> Manifest | None:
        if manifest is None or manifest.layout != LAYOUT:
            return manifest
        clips = []
        for clip, row, longer in zip(manifest.clips, *ask(manifest), strict=True):
            start = clip.start or 0.0
            cut = replace(clip, start=start, end=start + seconds) if longer else clip
            clips.append(replace(cut, labels=tuple(np.flatnonzero(row >= THRESHOLD).tolist())))
        return replace(manifest, clips=tuple(clips))

    return replace(plan, validation=answer(plan.validation), test=answer(plan.test))


def _teacher_of(recipe: Recipe) -> str:
    if recipe.teacher.model is None:
        raise RecipeError(f"recipe {recipe.name}: it has no teacher: name one with --teacher")
    return recipe.teacher.model


def _rows(table: ScoreTable, clips: Manifest) -> NDArray[np.float32]:
    """The scores of clips, in their order."""
    place = {name: row for row, name in enumerate(table.ids)}
    return np.asarray(table.scores[[place[clip.id] for clip in clips.clips]], np.float32)


def _require_scores(table: ScoreTable, manifest: Manifest) -> None:
    known = set(table.ids)
    if missing := [clip.id for clip in manifest.clips if clip.id not in known]:
        raise DataError(
            f"--teacher {table.source}: expected the scores of {len(manifest)} clips, and those of {len(missing)} are "
            f"missing: {name_some(missing)}"
        )
