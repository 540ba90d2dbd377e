import pytest
import torch
from safetensors.torch import save_file
from small import edit, make_bundle, renamed

from spectag import errors
from spectag.errors import NotAModel
from spectag.labels import LabelSet
from spectag.model.deit import DEIT
from spectag.model.huggingface import TRANSFORMERS
from spectag.model.loading import load, load_bundle
from spectag.model.naming import TABLES, recognise_table
from spectag.model.official import OFFICIAL


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.kind)
def test_recognised_even_when_a_tensor_is_missing(table):
    theirs = renamed(make_bundle(), table)
    assert recognise_table(theirs) is table
    assert table.count_layers(theirs) == 2
    for key in theirs:
        assert recognise_table(theirs.keys() - {key}) is table


def test_something_else_is_not_recognised(tmp_path):
    assert recognise_table(torch.nn.Transformer(8, 2, 1, 1, 8).state_dict()) is None
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 2)).state_dict(), tmp_path / "a.pth")
    with pytest.raises(NotAModel, match=r"a\.pth: not the weights of an Audio Spectrogram Transformer.*0\.weight"):
        load(tmp_path / "a.pth")


def test_options_that_do_not_apply(saved):
    with pytest.raises(errors.InputError, match="channels= is for initial weights"):
        load(saved, channels="sum")
    for source in (None, 3, b"bytes", make_bundle()):
        with pytest.raises(errors.InputError, match="expected a path or a name, got"):
            load(source)
    weights_only = {"stride": (10, 10), "frames": 100, "heads": 2, "statistics": "esc50", "num_labels": 5}
    for name, value in weights_only.items():
        with pytest.raises(
            errors.InputError, match=f"{name}= is for weight files; a directory contains this information"
        ):
            load(saved, **{name: value})
    with pytest.raises(errors.LabelMismatch, match="2 labels do not fit a head of 5"):
        load(saved, labels=LabelSet(("a", "b")))
    other = load(saved, labels=LabelSet.numbered(5), window="hamming", activation="sigmoid")
    assert (other.labels.names[4], other.front_end.window, other.activation) == ("LABEL_4", "hamming", "sigmoid")
    assert other.describe()["activation"]["from"] == "given by the caller"


def test_weights_of_a_directory_without_it(tmp_path):
    save_file(renamed(make_bundle(), TRANSFORMERS), tmp_path / "a.safetensors")
    with pytest.raises(errors.NotAModel, match=r"without their config\.json: give the directory"):
        load(tmp_path / "a.safetensors")


def test_published_names_in_a_directory(saved):
    for table in (OFFICIAL, DEIT):
        save_file(renamed(make_bundle(), table), saved / "model.safetensors")
        with pytest.raises(errors.NotAModel, match=f"{table.kind} names, a directory holds those of transformers"):
            load(saved)


def test_a_loaded_bundle_remembers_where_it_came_from(saved):
    (saved / "spectag.json").unlink()
    edit(saved / "config.json", spectag=...)
    card = load_bundle(saved).card
    assert card.source == str(saved)
    assert card.provenance == {
        "source": "bundle",
        "format": "transformers",
        "activation_from": "problem_type single_label_classification in config.json",
    }
