import json
import pickle
import shutil
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small import TINY, make_bundle, with_facts

from spectag import errors
from spectag.audio.fbank import compute_inputs, normalise
from spectag.labels import LabelSet
from spectag.model import convert, directory, fields
from spectag.model.bundle import Bundle, load
from spectag.model.card import Card

INPUTS = torch.randn(2, 100, 128, generator=torch.Generator().manual_seed(1))


def logits(bundle: Bundle) -> torch.Tensor:
    with torch.no_grad():
        return bundle.network(INPUTS)


def edit(path: Path, **fields) -> None:
    """Change fields of a JSON file; a field set to ... is removed."""
    data = json.loads(path.read_text()) | fields
    path.write_text(json.dumps({key: value for key, value in data.items() if value is not ...}))


# --- round trip ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"stride": (12, 14), "frames": 203},
        {"tokens": 1},
        {"patch": (128, 2), "stride": (1, 2)},
        {"mel_bins": 64, "norm_eps": 1e-5, "mlp_ratio": 3.5},
        {"labels": 1, "depth": 1, "heads": 4},
    ],
)
def test_round_trip(tmp_path, fields):
    bundle = make_bundle(**fields)
    loaded = load(bundle.save(tmp_path / "a/b"))
    assert loaded.network.config == bundle.network.config
    assert loaded.front_end == bundle.front_end
    assert loaded.labels == bundle.labels
    assert (loaded.activation, loaded.provenance) == ("softmax", {"source": "a test"})
    ours, theirs = bundle.network.state_dict(), loaded.network.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(ours[key].equal(theirs[key]) for key in ours)
    assert not loaded.network.training


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_the_size_and_float32_again(bundle, tmp_path, dtype):
    full = (bundle.save(tmp_path / "full") / "model.safetensors").stat().st_size
    half = bundle.save(tmp_path / "half", dtype=dtype)
    assert (half / "model.safetensors").stat().st_size < 0.6 * full
    loaded = load(half)
    assert {parameter.dtype for parameter in loaded.network.parameters()} == {torch.float32}
    torch.testing.assert_close(loaded.network.pos_embed, bundle.network.pos_embed.to(dtype).float())


def test_saving_over_what_was_loaded(saved):
    loaded = load(saved)
    (saved / "README.md").write_text("mine")
    before = logits(loaded)
    with torch.no_grad():
        loaded.network.head.linear.bias.add_(1)
    loaded.save(saved)
    torch.testing.assert_close(logits(load(saved)), before + 1)
    assert (saved / "README.md").read_text() == "mine"
    assert len(list(saved.iterdir())) == 5  # no scratch left


@pytest.mark.parametrize("mode", [False, True])
def test_a_loaded_network_trains(saved, mode):
    with torch.inference_mode(mode):
        network = load(saved).network
        network(INPUTS[:, :50])
    network(INPUTS).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_scores(bundle):
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]], dtype=torch.bfloat16)
    assert bundle.scores(x).dtype == torch.float32
    torch.testing.assert_close(bundle.scores(x).sum(), torch.tensor(1.0))
    bundle = with_facts(bundle, activation="sigmoid")
    torch.testing.assert_close(bundle.scores(x), x.float().sigmoid())


def test_describe_is_plain_and_complete(saved):
    facts = load(saved).describe()
    json.dumps(facts)
    assert facts["source"] == str(saved)
    assert facts["format"] == "spectag bundle, format 1"
    assert facts["parameters"] == sum(p.numel() for p in load(saved).network.parameters())
    assert facts["labels"] == {"count": 5, "first": [f"class {n}" for n in range(5)], "ids": True}
    assert facts["activation"] == {"name": "softmax", "from": "spectag.json"}
    assert facts["front_end"]["window"] == "hanning"
    assert facts["network"]["grid"] == (12, 9)
    assert make_bundle().describe()["source"] == "built in memory"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"labels": LabelSet(("a",))}, errors.LabelMismatch, "1 labels do not fit a head of 5"),
        ({"activation": "tanh"}, errors.InputError, "sigmoid, softmax"),
    ],
)
def test_parts_that_do_not_fit(bundle, change, error, message):
    with pytest.raises(error, match=message):
        with_facts(bundle, **change)
    with pytest.raises(errors.ShapeMismatch, match="frames of the front end is 99, of the network 100"):
        with_facts(bundle, front_end=replace(bundle.front_end, frames=99))
    with pytest.raises(
        errors.ShapeMismatch, match=r"the card describes .*frames=100.*, but the network is .*frames=90"
    ):
        replace(bundle, network=make_bundle(frames=90).network)


# --- transformers -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip("transformers")


@pytest.mark.parametrize(("activation", "dtype"), [("softmax", torch.float32), ("sigmoid", torch.float16)])
def test_transformers_runs_our_bundle(transformers, tmp_path, activation, dtype):
    bundle = with_facts(make_bundle(frames=120), activation=activation)
    path = bundle.save(tmp_path / "bundle", dtype=dtype)
    bundle = load(path)
    generator = np.random.default_rng(0)
    waveform = (0.1 * generator.standard_normal(17_000)).astype(np.float32)
    inputs = compute_inputs(torch.from_numpy(waveform), bundle.front_end)[None]
    with torch.no_grad():
        scores = bundle.scores(bundle.network(inputs))[0]

    extractor = transformers.AutoFeatureExtractor.from_pretrained(path)
    theirs = extractor(waveform, sampling_rate=16_000, return_tensors="pt")["input_values"]
    torch.testing.assert_close(inputs, theirs, atol=1e-3, rtol=0)
    model = transformers.AutoModelForAudioClassification.from_pretrained(path)
    assert type(model).__name__ == "ASTForAudioClassification"
    with torch.no_grad():
        torch.testing.assert_close(model(inputs).logits, bundle.network(inputs), atol=1e-4, rtol=0)

    pipeline = transformers.pipeline("audio-classification", model=str(path), device="cpu")
    # Before 5, transformers applied softmax to everything unless told otherwise.
    told = {} if int(transformers.__version__.split(".")[0]) >= 5 else {"function_to_apply": activation}
    answer = {tag["label"]: tag["score"] for tag in pipeline(waveform, top_k=None, **told)}
    assert answer == pytest.approx(dict(zip(bundle.labels.names, scores.tolist(), strict=True)), abs=1e-3)


@pytest.mark.parametrize("original", [True, False], ids=["hub names", "names of transformers 5"])
@pytest.mark.parametrize("problem", [None, "multi_label_classification"])
def test_we_run_what_transformers_writes(transformers, tmp_path, original, problem):
    torch.manual_seed(0)
    config = transformers.ASTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, max_length=100, num_labels=5,
        time_stride=14, problem_type=problem,
    )  # fmt: skip
    theirs = transformers.ASTForAudioClassification(config).eval()
    try:
        theirs.save_pretrained(tmp_path, save_original_format=original)
    except TypeError:  # transformers before 5 knows one format
        theirs.save_pretrained(tmp_path)
    transformers.ASTFeatureExtractor(max_length=100, mean=-6.0).save_pretrained(tmp_path)
    bundle = load(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(logits(bundle), theirs(INPUTS).logits, atol=1e-4, rtol=0)
    assert bundle.network.config.norm_eps == 1e-12
    assert bundle.front_end.window == "hanning"
    assert bundle.front_end.mean == -6.0
    assert bundle.activation == ("softmax" if problem is None else "sigmoid")
    why = "default for 5 labels" if problem is None else "problem_type multi_label_classification in config.json"
    assert bundle.describe()["activation"]["from"] == why
    assert load(bundle.save(tmp_path / "ours")).provenance["activation_from"] == why


@pytest.mark.parametrize("fields", [{"tokens": 1}, {"patch": (128, 2), "stride": (1, 2)}])
def test_transformers_refuses_what_it_cannot_express(transformers, tmp_path, fields):
    path = make_bundle(**fields).save(tmp_path / "bundle")
    with pytest.raises(ValueError, match="spectag-ast"):
        transformers.AutoModelForAudioClassification.from_pretrained(path)


def test_a_preprocessor_nested_in_a_processor(saved):
    nested = {"feature_extractor": json.loads((saved / "preprocessor_config.json").read_text())}
    (saved / "preprocessor_config.json").unlink()
    (saved / "processor_config.json").write_text(json.dumps(nested))
    assert load(saved).front_end == make_bundle().front_end


def test_inputs_that_are_not_normalised(saved):
    edit(saved / "preprocessor_config.json", do_normalize=False)
    x = torch.randn(3, 128)
    torch.testing.assert_close(normalise(x, load(saved).front_end.mean, load(saved).front_end.std), x)


@pytest.mark.parametrize(("labels", "activation"), [(527, "sigmoid"), (35, "softmax")])
def test_label_ids_and_activation_of_a_hub_checkpoint(tmp_path, labels, activation):
    names = LabelSet.for_outputs(labels)
    bundle = make_bundle(labels=labels)
    path = bundle.save(tmp_path)
    (path / "spectag.json").unlink()
    edit(
        path / "config.json",
        spectag=...,
        problem_type=...,
        id2label={str(n): name for n, name in enumerate(names.names)},
    )
    loaded = load(path)
    assert loaded.labels == names
    assert loaded.activation == activation


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "fields", "error", "message"),
    [
        ("spectag.json", {"format": 2}, errors.NewerBundle, "format 2 is newer than 1"),
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
        ("preprocessor_config.json", {"mean": float("nan")}, errors.UnreadableModel, "NaN is no number"),
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


NORM = "audio_spectrogram_transformer.layernorm.weight"


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


def test_published_names_in_a_directory(saved):
    for layout in ("published", "timm"):
        state = convert.from_ours(make_bundle().network.state_dict(), layout, TINY.depth, TINY.tokens)
        save_file(state, saved / "model.safetensors")
        with pytest.raises(errors.NotAModel, match=f"{layout} names, a directory holds those of transformers"):
            load(saved)


def test_a_bundle_without_its_description(saved):
    (saved / "spectag.json").unlink()
    with pytest.raises(errors.NotAModel, match=r"spectag\.json is missing, which holds the window"):
        load(saved)


@pytest.mark.parametrize("thresholds", [None, {"class 0": 0.5}, {"dog": "high"}])
def test_thresholds_of_older_bundles_are_ignored(saved, thresholds):
    edit(saved / "spectag.json", thresholds=thresholds)
    again = load(saved).save(saved.parent / "again")
    assert "thresholds" not in json.loads((again / "spectag.json").read_text())


def test_weights_of_another_bundle(saved, tmp_path):
    other = make_bundle(seed=1).save(tmp_path / "other")
    shutil.copy(other / "model.safetensors", saved)
    with pytest.raises(errors.UnreadableModel, match="do not belong together"):
        load(saved)
    edit(saved / "spectag.json", weights_sha256=...)  # a bundle from before there were digests
    load(saved)


def test_options_that_do_not_apply(saved):
    with pytest.raises(errors.InputError, match="channels= is for initial weights"):
        load(saved, channels="sum")
    for source in (None, 3, b"bytes", make_bundle()):
        with pytest.raises(errors.InputError, match="expected a path or a name, got"):
            load(source)
    with pytest.raises(errors.InputError, match="stride= is for weight files"):
        load(saved, stride=(10, 10))
    with pytest.raises(errors.LabelMismatch, match="2 labels do not fit a head of 5"):
        load(saved, labels=LabelSet(("a", "b")))
    other = load(saved, labels=LabelSet.numbered(5), window="hamming", activation="sigmoid")
    assert (other.labels.names[4], other.front_end.window, other.activation) == ("LABEL_4", "hamming", "sigmoid")
    assert other.describe()["activation"]["from"] == "given by the caller"


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
    monkeypatch.setattr("spectag.model.source.bundled", lambda: {"esc10": saved})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "esc10").mkdir()  # a data set, say
    assert load("esc10").describe()["source"] == "esc10"
    shutil.copytree(saved, tmp_path / "esc10", dirs_exist_ok=True)
    edit(tmp_path / "esc10/spectag.json", provenance={"source": "local"})
    assert load("esc10").provenance == {"source": "local"}  # an existing model goes first


# --- saving -------------------------------------------------------------------------------------------------------


@contextmanager
def files_limited_to(size: int):
    """As good as a full disk: writing more raises OSError."""
    resource = pytest.importorskip("resource", reason="limits file sizes as POSIX does")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [100, 20_000], ids=["in the JSON files", "in the weights"])
def test_a_full_disk_leaves_the_old_bundle(saved, tmp_path, size):
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    bundle = make_bundle(seed=1)
    for target, kept in ((saved, "what was there before is intact"), (tmp_path / "new", "nothing was written")):
        message = f"{target}: cannot save the bundle: .*{kept}$"
        with pytest.raises(errors.SaveError, match=message), files_limited_to(size):
            bundle.save(target)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_a_save_that_stops_between_the_files(saved, monkeypatch, done):
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    move, moved = Path.replace, []

    def stop(self, target):
        if len(moved) == done:
            raise OSError("unplugged")
        moved.append(target)
        return move(self, target)

    monkeypatch.setattr(Path, "replace", stop)
    message = f"{done} of 4 files were replaced already" if done else "what was there before is intact"
    with pytest.raises(errors.SaveError, match=f"unplugged; {message}"):
        make_bundle(seed=1).save(saved)
    assert ({path.name: path.read_bytes() for path in saved.iterdir()} == before) == (done == 0)
    if done:
        with pytest.raises(errors.UnreadableModel, match="do not belong together"):
            load(saved)


def test_what_cannot_be_saved(bundle, saved, tmp_path):
    before = (saved / "model.safetensors").read_bytes()
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.SaveError, match="file"):
        bundle.save(tmp_path / "file")
    with torch.no_grad():
        bundle.network.norm.weight[0] = 1e6
    with pytest.raises(errors.SaveError, match=r"do not fit torch\.float16"):
        bundle.save(saved, dtype=torch.float16)
    with torch.no_grad():
        bundle.network.norm.weight[0] = float("inf")
    with pytest.raises(errors.NonFiniteWeights, match=r"norm\.weight"):
        bundle.save(saved)
    for odd in (object(), float("nan")):
        with pytest.raises(errors.SaveError, match="bundle: provenance holds more than plain values: "):
            with_facts(make_bundle(), provenance={"a": odd}).save(saved)
    assert (saved / "model.safetensors").read_bytes() == before


def test_nothing_is_executed_nor_followed(saved, tmp_path):
    """Paths and code in the JSON files are text like any other."""
    edit(saved / "config.json", auto_map={"AutoModel": "evil.Model"}, _name_or_path="/etc/passwd")
    load(saved)
    assert not any(name == "evil" for name in sys.modules)


def test_documents_are_read_back(tmp_path):
    """The pure half of saving: every field that documents() writes, read() understands."""
    card = Card(TINY, make_bundle().front_end, LabelSet.numbered(5), "sigmoid", {"x": 1})
    for name, document in directory.documents(card).items():
        fields.write_json(tmp_path / name, document)
    again = directory.read(tmp_path, outputs=5)
    assert again.activation_from == "spectag.json"
    assert replace(again, activation_from=card.activation_from, format=card.format) == card


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


def test_a_pickle_in_place_of_the_weights(saved):
    (saved / "model.safetensors").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(errors.UnreadableModel):
        load(saved)


def test_others_may_read_what_the_umask_lets_them(saved):
    modes = {path.name: path.stat().st_mode for path in saved.iterdir()}
    assert len(set(modes.values())) == 1, modes
