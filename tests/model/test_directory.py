"""Bundle directories that are damaged, hostile, newer or older."""

import json
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from small import TINY, edit, make_bundle

from spectag import errors
from spectag.labels import LabelSet
from spectag.model import directory, fields
from spectag.model.card import Card
from spectag.model.loading import load

NORM = "audio_spectrogram_transformer.layernorm.weight"


@pytest.mark.parametrize(
    ("file", "fields", "error", "message"),
    [
        ("spectag.json", {"format": 3}, errors.NewerBundle, "format 3 is newer than 2"),
        ("spectag.json", {"format": "x"}, errors.ShapeMismatch, "format: expected a positive whole number"),
        ("spectag.json", {"window": "kaiser"}, errors.ModelError, "window: expected hamming or hanning, got kaiser"),
        ("spectag.json", {"activation": ...}, errors.ModelError, "activation: expected sigmoid or softmax"),
        ("spectag.json", {"label_ids": ["/m/1"]}, errors.LabelMismatch, "as many ids as names"),
        ("spectag.json", {"label_ids": 7}, errors.LabelMismatch, "label_ids"),
        ("config.json", {"id2label": {"0": "a", "1": "b"}}, errors.LabelMismatch, "2 labels do not fit a head of 5"),
        ("config.json", {"id2label": {"0": "a", "2": "b"}}, errors.LabelMismatch, "1 is missing"),
        ("config.json", {"id2label": ["a"]}, errors.ModelError, "id2label: expected a table"),
        ("config.json", {"model_type": "wav2vec2"}, errors.NotAModel, "expected audio-spec.*got 'wav2vec2'"),
        ("config.json", {"hidden_act": "relu"}, errors.NotAModel, "only gelu"),
        ("config.json", {"hidden_size": 10**9}, errors.ShapeMismatch, r"expected shape \[1, 1, 1000000000\]"),
        ("config.json", {"hidden_size": 2**40}, errors.ShapeMismatch, "hidden_size: expected a positive whole number"),
        ("config.json", {"hidden_size": "32"}, errors.ShapeMismatch, "hidden_size"),
        ("config.json", {"num_hidden_layers": 10**9}, errors.ShapeMismatch, "num_hidden_layers"),
        ("config.json", {"num_hidden_layers": 3}, errors.KeyMismatch, "missing .*layer.2"),
        ("config.json", {"num_hidden_layers": 1}, errors.KeyMismatch, "unexpected .*layer.1"),
        ("config.json", {"num_attention_heads": 7}, errors.ShapeMismatch, "multiple of heads"),
        ("config.json", {"frequency_stride": 0}, errors.ShapeMismatch, "frequency_stride"),
        ("config.json", {"time_stride": 5}, errors.ShapeMismatch, "position_embeddings: expected shape"),
        ("config.json", {"patch_size": [16, 16, 16]}, errors.ShapeMismatch, "patch_size"),
        ("config.json", {"patch_size": 2**31 - 1}, errors.ShapeMismatch, "patch"),
        ("config.json", {"layer_norm_eps": None}, errors.ModelError, "layer_norm_eps: expected a finite number"),
        ("preprocessor_config.json", {"sampling_rate": 8000}, errors.ShapeMismatch, "sample_rate must be 16000"),
        ("preprocessor_config.json", {"max_length": 50}, errors.ShapeMismatch, "max_length is 50, but 100"),
        ("preprocessor_config.json", {"std": 0}, errors.ShapeMismatch, "std must be above 0"),
        ("preprocessor_config.json", {"mean": float("nan")}, errors.UnreadableModel, "NaN is not a number"),
        ("preprocessor_config.json", {"mean": None}, errors.ModelError, "mean: expected a finite number"),
        ("preprocessor_config.json", {"max_length": 2**21}, errors.ShapeMismatch, "at most .* 1048576 frames"),
        ("config.json", {"max_length": 2**21}, errors.ShapeMismatch, "frames must be at most 1048576"),
        ("config.json", {"time_stride": 2**30}, errors.ShapeMismatch, r"stride must be at most .* \(10, 1073741824\)"),
        ("preprocessor_config.json", {"feature_extractor_type": "X"}, errors.NotAModel, "feature_extractor_type"),
    ],
)  # fmt: skip
def test_fields_that_do_not_fit(saved, file, fields, error, message):
    edit(saved / file, **fields)
    with pytest.raises(error, match=message) as caught:
        load(saved)
    assert file in str(caught.value) or "safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json", "spectag.json", "model.safetensors"])
@pytest.mark.parametrize("keep", [0, 1, -3])
def test_truncated_files(saved, file, keep):
    content = (saved / file).read_bytes()
    (saved / file).write_bytes(content[:keep])
    with pytest.raises(errors.UnreadableModel, match=file):
        load(saved)


def test_one_byte_cut_from_the_weights(saved):
    content = (saved / "model.safetensors").read_bytes()
    (saved / "model.safetensors").write_bytes(content[:-1])
    with pytest.raises(errors.UnreadableModel, match=r"model\.safetensors: cannot read the weights, the file is trunc"):
        load(saved)


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_missing_files(saved, file):
    (saved / file).unlink()
    with pytest.raises(errors.NotAModel, match=f"{file} is missing"):
        load(saved)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda state: state.pop(NORM), errors.KeyMismatch, f"missing {NORM}"),
        (lambda state: state.update(rogue=torch.zeros(3)), errors.KeyMismatch, "unexpected rogue"),
        (lambda state: state.update({NORM: torch.zeros(7)}), errors.ShapeMismatch, rf"{NORM}: expected shape \[32\]"),
        (lambda state: state[NORM].fill_(float("nan")), errors.NonFiniteWeights, f"{NORM}: 32 of 32"),
        (lambda state: state.update({NORM: torch.zeros(32).int()}), errors.ShapeMismatch, "expected floating point"),
        (lambda state: state.clear(), errors.NotAModel, "holds none"),
    ],
    ids=["missing", "unexpected", "misshapen", "non-finite", "integers", "empty"],
)
def test_weights_that_do_not_fit(saved, change, error, message):
    state = load_file(saved / "model.safetensors")
    change(state)
    save_file(state, saved / "model.safetensors")
    with pytest.raises(error, match=message):
        load(saved)


def test_a_bundle_without_its_description(saved):
    (saved / "spectag.json").unlink()
    with pytest.raises(errors.NotAModel, match=r"spectag\.json is missing, which holds the window"):
        load(saved)


@pytest.mark.parametrize("thresholds", [None, {"class 0": 0.5}, {"dog": "high"}])
def test_thresholds_of_older_bundles_are_ignored(saved, thresholds):
    edit(saved / "spectag.json", thresholds=thresholds)
    again = load(saved).save(saved.parent / "again")
    assert json.loads((again / "spectag.json").read_text()).get("thresholds") is None


def test_weights_of_another_bundle(saved, tmp_path):
    other = make_bundle(seed=1).save(tmp_path / "other")
    shutil.copy(other / "model.safetensors", saved)
    with pytest.raises(errors.UnreadableModel, match="do not belong together"):
        load(saved)
    edit(saved / "spectag.json", weights_sha256=...)  # a bundle from before there were digests
    load(saved)


def test_nothing_is_executed_nor_followed(saved, tmp_path):
    """Paths and code in the JSON files are text like any other."""
    edit(saved / "config.json", auto_map={"AutoModel": "evil.Model"}, _name_or_path="/etc/passwd")
    load(saved)
    assert not any(name == "evil" for name in sys.modules)


def test_documents_are_read_back(tmp_path):
    """The pure half of saving: every field that documents() writes, read() understands."""
    card = Card(TINY, make_bundle().front_end, LabelSet.numbered(5), "sigmoid", {"x": 1})
    for name, document in directory.documents(card).items():
        (tmp_path / name).write_text(fields.to_json(document))
    again = directory.read_card(tmp_path, outputs=5)
    assert again.activation_from == "spectag.json"
    assert replace(again, activation_from=card.activation_from, format=card.format) == card


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


def test_a_pickle_in_place_of_the_weights(saved):
    (saved / "model.safetensors").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(errors.UnreadableModel):
        load(saved)


def test_reading_a_card_needs_no_torch(saved):
    """So that a model can be described, or run by another engine, where there is no torch."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from spectag.model.directory import read_card\n"
        "card = read_card(Path(sys.argv[1]))\n"
        "assert card.labels.names[0] == 'class 0' and card.describe()['parameters'] > 0\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code, saved], capture_output=True, text=True, timeout=900)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_card_is_read_without_weights(saved, bundle):
    (saved / "model.safetensors").unlink()
    card = directory.read_card(saved)
    assert (card.config, card.front_end, card.labels) == (bundle.network.config, bundle.front_end, bundle.labels)
    with pytest.raises(errors.LabelMismatch, match="5 labels do not fit a head of 4"):
        directory.read_card(saved, outputs=4)
    with pytest.raises(errors.NotAModel, match=r"config\.json is missing"):
        directory.read_card(saved.parent)
