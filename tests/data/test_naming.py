"""Names of classes that look like several, or like one another."""

import pytest

from spectag.data.naming import find_twins, split_name
from spectag.labels import LabelSet


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("dog yard", ("dog", "yard")),
        ("dog_yard", ("dog", "yard")),
        ("dog-yard", ("dog", "yard")),
        ("dog/yard", ("dog", "yard")),
        ("dog & yard", ("dog", "yard")),
        ("dog and yard", ("dog", "yard")),
        ("dog, yard", ("dog", "yard")),
        ("Dog Yard", ("dog", "yard")),
        ("dog yard sea waves", ("dog", "yard", "sea waves")),
        ("dog+fox", ("dog", "fox")),
        ("dog + fox", ("dog", "fox")),
        ("dog,fox", ("dog", "fox")),
        ("dog|fox", ("dog", "fox")),
        ("dog;fox", ("dog", "fox")),
        ("dog bark", ()),
        ("dog bark, howl", ()),
        ("sea waves", ()),
        ("dog", ()),
        ("yard dogs", ()),
    ],
)
def test_a_name_of_several(name, parts):
    """The kind: a program joined names with a sign that is not one of those that separate labels here."""
    assert split_name(name, ["dog", "yard", "sea waves", name]) == parts


def test_names_of_published_sets_are_one():
    """False alarms would hide true ones. In AudioSet, Bicycle bell lies between Bicycle and Bell."""
    for labels, few in ((LabelSet.audioset(), 10), (LabelSet.esc50(), 0), (LabelSet.speech_commands(), 0)):
        found = [name for name in labels.names if split_name(name, labels.names)]
        assert len(found) <= few, found
        assert find_twins(labels.names) == []


def test_twins():
    names = ["c", "C", "dog bark", "dog_bark", "Dog-Bark", "owl", "\u00fc", "u\u0308"]
    assert find_twins(names) == [("c", "C"), ("dog bark", "dog_bark", "Dog-Bark"), ("\u00fc", "u\u0308")]
