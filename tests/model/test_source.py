import shutil
from pathlib import Path

import pytest
from small import edit

from spectag import errors
from spectag.model.loading import load


@pytest.mark.parametrize(
    "source",
    ["", "esc11", "/nowhere/at/all", "./nowhere", "~/nowhere", "a/b/c", "nowhere/model.pth", Path("a/b"), "a b/c"],
)
def test_nothing_there_is_found_out_without_the_network(monkeypatch, source):
    monkeypatch.setattr("spectag.model.source.fetch", lambda repository: pytest.fail("asked the Hub"))
    with pytest.raises(errors.ModelNotFound, match="no such file or directory"):
        load(source)


def test_the_nearest_name_is_offered():
    with pytest.raises(errors.ModelNotFound, match="nearest: audioset"):
        load("audio-set")


@pytest.mark.parametrize(
    ("source", "repository"),
    [
        ("audioset", "MIT/ast-finetuned-audioset-10-10-0.4593"),
        ("speech-commands", "MIT/ast-finetuned-speech-commands-v2"),
    ],
)
def test_aliases(monkeypatch, saved, source, repository):
    asked = []
    monkeypatch.setattr("spectag.model.source.fetch", lambda name: asked.append(name) or saved)
    load(source)
    assert asked == [repository]


def test_bundled_models_and_what_shares_their_name(monkeypatch, saved, tmp_path):
    monkeypatch.setattr("spectag.model.source.find_bundled", lambda: {"esc10": saved})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "esc10").mkdir()  # a data set, for example
    assert load("esc10").describe()["source"] == "esc10"
    shutil.copytree(saved, tmp_path / "esc10", dirs_exist_ok=True)
    edit(tmp_path / "esc10/spectag.json", provenance={"source": "local"})
    assert load("esc10").provenance == {"source": "local"}  # an existing model goes first
