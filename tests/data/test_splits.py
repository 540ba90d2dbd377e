"""Dividing data sets that come without splits."""

from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from spectag.data.manifest import Clip, Manifest
from spectag.data.splits import divide
from spectag.errors import DataError, InputError, RecipeError
from spectag.labels import LabelSet


def data_set(rows) -> Manifest:
    """Of pairs (labels, group)."""
    clips = [Clip(f"{n:05}.wav", Path(f"{n:05}.wav"), tuple(some), group=group) for n, (some, group) in enumerate(rows)]
    return Manifest(tuple(clips), LabelSet.numbered(200), "mine")


def single(classes: int, each: int) -> Manifest:
    return data_set([((n % classes,), None) for n in range(classes * each)])


labels = st.sets(st.integers(0, 7), max_size=3).map(sorted)
groups = st.one_of(st.none(), st.integers(0, 12).map(str))
manifests = st.lists(st.tuples(labels, groups), min_size=1, max_size=60).map(data_set)
shares = st.floats(0.05, 0.9)


def splits_of_groups(manifest: Manifest) -> dict[str, set]:
    found = defaultdict(set)
    for clip in manifest.clips:
        found[clip.group or clip.id].add(clip.split)
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
    assert all(len(splits) == 1 for splits in splits_of_groups(divided).values()), "no group on both sides"
    train = {label for clip in divided.only(split="train").clips for label in clip.labels}
    assert train == set(groups_of_classes(manifest)), "every class is learned"
    assert divided == divide(manifest, share=share, seed=seed)


@settings(deadline=None)
@given(manifests, st.integers(0, 5))
def test_failing_only_if_nothing_could_be_held_out(manifest, seed):
    try:
        divide(manifest, seed=seed)
    except DataError:
        alone = {g for g in groups_of_classes(manifest).values() if len(g) == 1 for g in g}
        everyone = set(splits_of_groups(manifest))
        blank = {c.group or c.id for c in manifest.clips if not c.labels}
        assert everyone <= alone | (blank if len(blank) == 1 else set())


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


def test_speakers_stay_together_and_words_are_even():
    rows = [((word,), f"speaker{speaker}") for speaker in range(20) for word in range(8) for _ in range(3)]
    held = divide(data_set(rows), share=0.25).only(split="validation")
    assert {len([c for c in held.clips if c.labels == (word,)]) for word in range(8)} == {15}


def test_rare_labels_of_clips_with_several():
    rows = [({0} | ({1} if k % 4 == 0 else set()) | ({2} if k % 20 == 0 else set()), None) for k in range(200)]
    held = divide(data_set(rows), share=0.2).only(split="validation")
    assert Counter(label for clip in held.clips for label in clip.labels) == {0: 40, 1: 10, 2: 2}


def held_out(rows, share: float, seed: int) -> list[int]:
    """The numbers of the rows that are held out."""
    divided = divide(data_set(rows), share=share, seed=seed)
    return [n for n, clip in enumerate(divided.clips) if clip.split == "validation"]


def of_groups(*groups) -> list:
    """Rows of pairs (labels, number of clips), each a group."""
    return [(labels, f"group {n}") for n, (labels, clips) in enumerate(groups) for _ in range(clips)]


@pytest.mark.parametrize("seed", range(6))
def test_labels_decide_between_sides_of_the_same_size(seed):
    """Half of every label, though the two clips of label 0 bring labels of their own."""
    assert held_out([((0, 1), None), ((0, 2), None), ((1,), None), ((2,), None)], 0.5, seed) in ([0, 3], [1, 2])


@pytest.mark.parametrize("seed", range(6))
def test_the_rarest_label_is_dealt_out_first(seed):
    """A quarter of both labels, which fails if label 0 goes first, or if the largest groups of a label do not."""
    rows = of_groups(((0, 1), 1), ((0, 1), 1), ((0, 1), 2), ((0,), 3), ((0,), 1))
    assert held_out(rows, 0.25, seed) in ([0, 7], [1, 7])
    rows = of_groups(((0, 1), 1), ((0,), 1), ((0,), 2), ((0, 1), 3), ((0,), 1))
    assert held_out(rows, 0.25, seed) in ([0, 1], [0, 7])


@pytest.mark.parametrize("seed", range(6))
def test_the_largest_groups_are_dealt_out_first(seed):
    """Half of ten clips are five, if groups of one clip are left to the end."""
    rows = of_groups(((0, 1), 1), ((0,), 3), ((0,), 2), ((0,), 2), ((0, 1), 1), ((0,), 1))
    assert len(held_out(rows, 0.5, seed)) == 5


@pytest.mark.parametrize("seed", range(6))
def test_the_smallest_group_is_held_out_if_no_class_gives_its_share(seed):
    rows = of_groups(((0,), 4), ((0,), 2), ((1,), 3), ((1,), 5))
    assert held_out(rows, 0.01, seed) == [4, 5]


@pytest.mark.parametrize(("share", "number"), [(0.1, 100), (0.2, 200), (0.3, 300), (0.45, 425), (0.5, 500)])
def test_rounding_of_many_classes_does_not_add_up(share, number):
    assert len(held_out([((n % 200,), None) for n in range(1000)], share, 0)) == number


def test_the_division_of_a_seed_stays_the_same():
    """Runs that held out clips by it are resumed only if their clips are the same."""
    rows = [({n % 3, n * n % 7} - {5}, None if n % 5 == 0 else str(n * n % 11)) for n in range(30)]
    assert [held_out(rows, share, seed) for share in (0.2, 0.5) for seed in (0, 1)] == [
        [5, 6, 16, 17, 27, 28],
        [3, 5, 8, 14, 19, 20],
        [2, 3, 6, 8, 9, 13, 14, 16, 17, 19, 20, 24, 25, 27, 28],
        [2, 4, 6, 7, 9, 13, 16, 17, 18, 20, 24, 26, 27, 28, 29],
    ]


def test_another_seed_divides_otherwise():
    assert len({divide(single(4, 10), seed=seed).clips for seed in range(10)}) == 10


def test_groups_from_file_names():
    names = [f"{site}{day}_{n}.wav" for site in "ABCDEF" for day in "12" for n in range(3)]
    clips = tuple(Clip(f"x/{name}", Path("x", name), (n % 2,), group=name) for n, name in enumerate(names))
    manifest = Manifest(clips, LabelSet(("a", "b")), "mine")
    divided = divide(manifest, pattern=r"^([A-Z])\d")
    for site in "ABCDEF":
        assert len({c.split for c in divided.clips if c.path.name[0] == site}) == 1
    with pytest.raises(RecipeError, match=r"groups '\(': expected a regular expression; missing \)"):
        divide(manifest, pattern="(")
    with pytest.raises(RecipeError, match=r"groups 'A': expected \(parentheses\)"):
        divide(manifest, pattern="A")
    with pytest.raises(DataError, match=r"groups '\(B\)': expected to match .* not in A1_0\.wav"):
        divide(manifest, pattern="(B)")


def test_values_out_of_range():
    for share in (0, 1, -1, float("nan")):
        with pytest.raises(InputError, match="share: expected more than 0"):
            divide(single(2, 4), share=share)
    with pytest.raises(DataError, match="every class has only one group"):
        divide(single(4, 1))


def test_many_clips_do_not_take_minutes():
    manifest = data_set([(sorted({n % 8, n % 5}), str(n // 3)) for n in range(30_000)])
    assert abs(len(divide(manifest, share=0.1).only(split="validation")) - 3000) < 150
