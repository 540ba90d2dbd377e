"""The JSON files of AST's authors."""

import json
from pathlib import Path

import pytest

from spectag.data.layouts import read_manifest
from spectag.errors import DataError


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def ast(root: Path, name: str, *pairs: tuple[str, str], comment: str = "") -> None:
    data = {"data": [{"wav": wav, "labels": labels} for wav, labels in pairs]}
    (root / name).write_text(comment + json.dumps(data))


def test_ast_json(tmp_path):
    put(tmp_path, "clips/a.wav", "clips/b.wav", "far/c.wav", "clips/d.wav")
    root = tmp_path / "clips"
    ast(root, "esc_train_data.json", ("a.wav", "/m/09x0r,/m/04rlf"), ("gone.wav", "/m/09x0r"), comment="# samples\n")
    ast(root, "esc_val.json", ("../far/c.wav", "/m/09x0r"))
    ast(root, "esc_eval_data.json", (str(root / "b.wav"), "/m/04rlf"))
    (root / "unrelated.json").write_text('{"version": 1}')
    manifest = read_manifest(root)
    assert (manifest.layout, len(manifest.labels), manifest.missing) == ("AST JSON", 527, ("gone.wav",))
    assert [(c.id, c.split, len(c.labels)) for c in manifest.clips] == [
        ("../far/c.wav", "validation", 1),
        ("a.wav", "train", 2),
        ("b.wav", "test", 1),
    ]
    alone = read_manifest(root / "esc_eval_data.json")
    assert [(c.id, c.split) for c in alone.clips] == [("b.wav", None)]


def test_ast_json_absolute_paths_elsewhere(tmp_path):
    put(tmp_path, "far/c.wav", "data/x")
    ast(tmp_path / "data", "all.json", (str(tmp_path / "far" / "c.wav"), "dog"), ("/nowhere/d.wav", "cat"))
    manifest = read_manifest(tmp_path / "data")
    assert (manifest.labels.names, manifest.missing) == (("cat", "dog"), ("/nowhere/d.wav",))
    assert manifest.clips[0].id == str(tmp_path / "far" / "c.wav")


def test_ast_json_with_its_table_of_labels(tmp_path):
    put(tmp_path, "a.wav")
    ast(tmp_path, "x.json", ("a.wav", "/m/07rwj00"))
    (tmp_path / "esc_class_labels_indices.csv").write_text("index,mid,display_name\n0,/m/07rwj00,dog\n1,/m/x,cat\n")
    assert read_manifest(tmp_path).labels.names == ("dog", "cat")
    ast(tmp_path, "x.json", ("a.wav", "/m/y"))
    with pytest.raises(DataError, match=r"x\.json, data\[0\]: no label '/m/y'; nearest: /m/x"):
        read_manifest(tmp_path)
    (tmp_path / "old_class_labels_indices.csv").touch()
    with pytest.raises(DataError, match=r"expected one table class_labels_indices\.csv, found esc_class.*, old_class"):
        read_manifest(tmp_path)


def test_ast_json_speech_commands(tmp_path):
    put(tmp_path, "a.wav")
    ast(tmp_path, "x.json", ("a.wav", "/m/spcmd01"))
    assert read_manifest(tmp_path / "x.json").labels.names[1] == "follow"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"x\.json: expected JSON"),
        ("[]", r'found no list "data"'),
        ('{"data": [{"wav": "a.wav"}]}', r'x\.json, data\[0\]: expected {"wav": path, .*got {"wav": "a\.wav"}'),
        ('{"data": [3]}', r"data\[0\]: .* got 3"),
        ('{"data": []}', r"have no rows"),
    ],
)
def test_ast_json_that_cannot_be_used(tmp_path, content, message):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(DataError, match=message):
        read_manifest(tmp_path / "x.json")


def test_ast_json_in_no_split_or_in_two(tmp_path):
    put(tmp_path, "a.wav")
    ast(tmp_path, "train.json", ("a.wav", "dog"))
    ast(tmp_path, "more.json", ("a.wav", "cat"))
    with pytest.raises(DataError, match=r"more\.json: expected train, val, test or eval in the name"):
        read_manifest(tmp_path)
    (tmp_path / "more.json").rename(tmp_path / "test.json")
    with pytest.raises(
        DataError, match=r"train\.json, data\[0\]: a\.wav has split 'train' here and 'test' in .*test\.json"
    ):
        read_manifest(tmp_path)
