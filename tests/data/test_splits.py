"""Dividing what comes undivided."""

from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from spectag.data.manifest import Clip, Manifest
from spectag.data.splits import divide, fold_up
from spectag.errors import DataError, InputError, RecipeError
from spectag.labels import LabelSet


def data_set(rows) -> Manifest:
    """Of pairs (labels, group)."""
    clips = [Clip(f"{n:05}.wav", Path(f"{n:05}.wav"), tuple(some), group=group) for n, (some, group) in enumerate(rows)]
    return Manifest(tuple(clips), LabelSet.numbered(8), "mine")


def single(classes: int, each: int) -> Manifest:
    return data_set([((n % classes,), None) for n in range(classes * each)])


labels = st.sets(st.integers(0, 7), max_size=3).map(sorted)
groups = st.one_of(st.none(), st.integers(0, 12).map(str))
manifests = st.lists(st.tuples(labels, groups), min_size=1, max_size=60).map(data_set)
shares = st.floats(0.05, 0.9)


def sides_of_groups(manifest: Manifest, side: str) -> dict[str, set]:
    found = defaultdict(set)
    for clip in manifest.clips:
        found[clip.group or clip.id].add(getattr(clip, side))
    return found


def groups_of_classes(manifest: Manifest) -> dict[int, set]:
    found = defaultdict(set)
    for clip in manifest.clips:
        for label in clip.labels:
            found[label].add(clip.group or clip.id)
    return found


@settings(deadline=None, max_examples=300)
@given(manifests, shares, st.integers(0, 5))
def test_divided(manifest, share, seed):
    try:
        divided = divide(manifest, share=share, seed=seed)
    except DataError:
        return
    assert [(c.id, c.labels) for c in divided.clips] == [(c.id, c.labels) for c in manifest.clips]
    assert divided.splits == ("train", "validation")
    assert all(len(sides) == 1 for sides in sides_of_groups(divided, "split").values()), "no group on both sides"
    train = {label for clip in divided.only(split="train").clips for label in clip.labels}
    assert train == set(groups_of_classes(manifest)), "every class is learned"
    assert divided == divide(manifest, share=share, seed=seed)


@settings(deadline=None)
@given(manifests, st.integers(0, 5))
def test_failing_only_where_nothing_could_be_put_aside(manifest, seed):
    try:
        divide(manifest, seed=seed)
    except DataError:
        alone = {g for g in groups_of_classes(manifest).values() if len(g) == 1 for g in g}
        everyone = set(sides_of_groups(manifest, "split"))
        blank = {c.group or c.id for c in manifest.clips if not c.labels}
        assert everyone <= alone | (blank if len(blank) == 1 else set())


@settings(deadline=None, max_examples=200)
@given(manifests, st.integers(2, 6), st.integers(0, 5))
def test_folded(manifest, folds, seed):
    if len(sides_of_groups(manifest, "fold")) < folds:
        with pytest.raises(DataError, match=f"{folds} folds need as many groups"):
            fold_up(manifest, folds, seed)
        return
    folded = fold_up(manifest, folds, seed)
    assert folded.folds == tuple(range(1, folds + 1))
    assert all(len(sides) == 1 for sides in sides_of_groups(folded, "fold").values())
    assert folded == fold_up(manifest, folds, seed)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 0.75])
@pytest.mark.parametrize("each", [4, 10, 33])
def test_classes_are_divided_alike(share, each):
    manifest = divide(single(8, each), share=share)
    held = Counter(clip.labels[0] for clip in manifest.clips if clip.split == "validation")
    assert all(abs(held[n] - share * each) < 1 for n in range(8))
    assert abs(held.total() - share * 8 * each) <= 4


def test_small_classes_still_give_a_share():
    held = divide(single(8, 2), share=0.2).only(split="validation")
    assert 2 <= len(held) <= 4
    assert len({clip.labels for clip in held.clips}) == len(held)


def test_folds_are_alike():
    manifest = fold_up(single(8, 12), 5)
    counts = Counter((clip.fold, clip.labels[0]) for clip in manifest.clips)
    assert set(counts.values()) == {2, 3}
    assert {len(manifest.only(fold=n)) for n in manifest.folds} <= {18, 19, 20, 21}


def test_speakers_stay_together_and_words_are_even():
    rows = [((word,), f"speaker{speaker}") for speaker in range(20) for word in range(8) for _ in range(3)]
    held = divide(data_set(rows), share=0.25).only(split="validation")
    assert {len([c for c in held.clips if c.labels == (word,)]) for word in range(8)} == {15}


def test_rare_labels_of_clips_with_several():
    rows = [({0} | ({1} if k % 4 == 0 else set()) | ({2} if k % 20 == 0 else set()), None) for k in range(200)]
    held = divide(data_set(rows), share=0.2).only(split="validation")
    assert Counter(label for clip in held.clips for label in clip.labels) == {0: 40, 1: 10, 2: 2}


def test_another_seed_divides_otherwise():
    assert len({divide(single(4, 10), seed=seed).clips for seed in range(10)}) == 10
    assert len({fold_up(single(4, 10), seed=seed).clips for seed in range(10)}) == 10


def test_groups_from_file_names():
    names = [f"{site}{day}_{n}.wav" for site in "ABCDEF" for day in "12" for n in range(3)]
    clips = tuple(Clip(f"x/{name}", Path("x", name), (n % 2,), group=name) for n, name in enumerate(names))
    manifest = Manifest(clips, LabelSet(("a", "b")), "mine")
    divided, folded = divide(manifest, pattern=r"^([A-Z])\d"), fold_up(manifest, 3, pattern=r"^([A-Z])\d")
    for site in "ABCDEF":
        assert len({c.split for c in divided.clips if c.path.name[0] == site}) == 1
        assert len({c.fold for c in folded.clips if c.path.name[0] == site}) == 1
    with pytest.raises(RecipeError, match=r"groups '\(': expected a regular expression; missing \)"):
        divide(manifest, pattern="(")
    with pytest.raises(RecipeError, match=r"groups 'A': expected \(parentheses\)"):
        divide(manifest, pattern="A")
    with pytest.raises(DataError, match=r"groups '\(B\)': not in the file name A1_0\.wav"):
        fold_up(manifest, pattern="(B)")


def test_values_out_of_range():
    for share in (0, 1, -1, float("nan")):
        with pytest.raises(InputError, match="share: expected more than 0"):
            divide(single(2, 4), share=share)
    with pytest.raises(InputError, match="folds: expected a whole number, 2 or more, got 1"):
        fold_up(single(2, 4), 1)
    with pytest.raises(DataError, match="every class has one group only"):
        divide(single(4, 1))


def test_many_clips_are_no_matter_of_minutes():
    manifest = data_set([(sorted({n % 8, n % 5}), str(n // 3)) for n in range(30_000)])
    assert abs(len(divide(manifest, share=0.1).only(split="validation")) - 3000) < 150
