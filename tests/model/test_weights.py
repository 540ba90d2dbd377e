"""Directories whose weights are pickles, or in several files."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small import edit, make_bundle

from spectag import errors
from spectag.model.loading import load, read_checkpoint
from spectag.model.weights import find_weights

INPUTS = torch.randn(2, 100, 128, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def plain(saved: Path) -> Path:
    """As transformers writes it."""
    (saved / "spectag.json").unlink()
    edit(saved / "config.json", spectag=...)
    return saved


def split(folder: Path, name: str, parts: int) -> list[Path]:
    """Move the weights into several files with an index, as transformers does beyond a size."""
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    stem, suffix = name.split(".")
    keys, table = list(state), {}
    for number in range(parts):
        file = f"{stem}-{number + 1:05}-of-{parts:05}.{suffix}"
        part = {key: state[key] for key in keys[number::parts]}
        save_file(part, folder / file) if suffix == "safetensors" else torch.save(part, folder / file)
        table |= dict.fromkeys(part, file)
    document = {"metadata": {"total_size": 1}, "weight_map": table}
    (folder / f"{name}.index.json").write_text(json.dumps(document))
    return sorted(folder.glob(f"{stem}-*"))


def pickle_weights(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


LAYOUTS = {
    "a pickle": pickle_weights,
    "pickles": lambda folder: split(folder, "pytorch_model.bin", 2),
    "safetensors": lambda folder: split(folder, "model.safetensors", 3),
}


@pytest.mark.parametrize("arrange", LAYOUTS.values(), ids=LAYOUTS)
def test_weights_that_are_not_in_one_safetensors_file(plain, arrange):
    """The kind: a directory that transformers reads is refused for how its weights are stored.

    The message once said to load the file alone, which said to give the directory.
    """
    arrange(plain)
    loaded = load(plain)
    with torch.no_grad():
        torch.testing.assert_close(loaded.network(INPUTS), make_bundle().network(INPUTS))
    for file in find_weights(plain):
        if "of" not in file.name:  # a whole model; a part of one may be too little to recognise
            assert torch.equal(read_checkpoint(file).state["norm.bias"], loaded.network.norm.bias)


def test_a_weight_file_leads_to_its_directory(plain):
    assert load(plain / "model.safetensors").labels == load(plain).labels
    other = shutil.copy(plain / "model.safetensors", plain / "other.safetensors")
    with pytest.raises(
        errors.NotAModel, match=r"other\.safetensors: weights of transformers' AST without their config"
    ):
        load(other)


def test_a_directory_without_weights(tmp_path):
    with pytest.raises(errors.NotAModel, match=r"model\.safetensors is missing, and so is pytorch_model\.bin"):
        find_weights(tmp_path)


def test_safetensors_go_before_a_pickle(plain):
    (plain / "pytorch_model.bin").write_bytes(b"not even a pickle")
    load(plain)


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


def test_a_hostile_pickle_in_a_directory(plain):
    pickle_weights(plain)
    torch.save({"a": Evil()}, plain / "pytorch_model.bin")
    with pytest.raises(errors.UnreadableModel, match=r"pytorch_model\.bin: .*not executed"):
        load(plain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: dict.fromkeys(table, "../../secret.safetensors"), "names of files beside it, got '../../secret"),
        (lambda table: dict.fromkeys(table, "/etc/passwd"), "names of files beside it, got '/etc/passwd'"),
        (lambda table: dict.fromkeys(table, 3), "names of files beside it, got '3'"),
        (lambda table: dict.fromkeys(table, "gone.safetensors"), r"the file gone\.safetensors is missing"),
        (lambda table: {}, "expected the file of every tensor, got none"),
        (lambda table: ["a"], "weight_map: expected a table"),
    ],
)
def test_an_index_that_cannot_be_trusted(plain, change, message):
    split(plain, "model.safetensors", 2)
    index = plain / "model.safetensors.index.json"
    edit(index, weight_map=change(json.loads(index.read_text())["weight_map"]))
    with pytest.raises(errors.ModelError, match=rf"model\.safetensors\.index\.json: weight_map: .*{message}|{message}"):
        load(plain)


def test_files_that_do_not_fit_together(plain):
    files = split(plain, "model.safetensors", 2)
    shutil.copy(files[0], files[1])
    with pytest.raises(errors.KeyMismatch, match=r"is in another file of the same model, too"):
        load(plain)
    save_file({"rogue": torch.zeros(1)}, files[1])
    with pytest.raises(errors.KeyMismatch, match=r"missing .*; unexpected .*rogue"):
        load(plain)


def test_a_bundle_keeps_to_its_one_file(saved):
    """Its digest is of that file: a pickle cannot take its place."""
    pickle_weights(saved)
    with pytest.raises(errors.UnreadableModel, match="do not belong together"):
        load(saved)
