"""What transformers writes we run, and what we write transformers runs."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from small import edit, make_bundle, with_facts

from spectag.audio.fbank import compute_inputs, normalise
from spectag.errors import SpectagWarning
from spectag.labels import LabelSet
from spectag.model.bundle import Bundle
from spectag.model.loading import load

INPUTS = torch.randn(2, 100, 128, generator=torch.Generator().manual_seed(1))


def logits(bundle: Bundle) -> torch.Tensor:
    with torch.no_grad():
        return bundle.network(INPUTS)


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
    # Before version 5, transformers applied softmax to everything by default.
    options = {} if int(transformers.__version__.split(".")[0]) >= 5 else {"function_to_apply": activation}
    answer = {tag["label"]: tag["score"] for tag in pipeline(waveform, top_k=None, **options)}
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
    front_end = load(saved).front_end
    torch.testing.assert_close(normalise(x, front_end.mean, front_end.std), x)


def as_transformers_writes_it(path: Path, **config) -> Path:
    """The directory of a bundle without what spectag adds."""
    (path / "spectag.json").unlink()
    edit(path / "config.json", **{"spectag": ..., **config})
    return path


@pytest.mark.parametrize(("labels", "activation"), [(527, "sigmoid"), (35, "softmax")])
def test_label_ids_and_activation_of_a_hub_checkpoint(tmp_path, labels, activation):
    names = LabelSet.for_outputs(labels)
    id2label = {str(n): name for n, name in enumerate(names.names)}
    path = as_transformers_writes_it(make_bundle(labels=labels).save(tmp_path), problem_type=..., id2label=id2label)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load(path)
    assert loaded.labels == names
    assert loaded.activation == activation


def test_labels_that_are_missing_are_a_guess_that_shows(tmp_path):
    path = as_transformers_writes_it(make_bundle(labels=50).save(tmp_path), id2label=...)
    with pytest.warns(SpectagWarning, match=r"config\.json: id2label is missing: the labels dog, \.\.\. are a guess"):
        assert load(path).labels == LabelSet.esc50()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(path, labels=LabelSet.numbered(50)).labels == LabelSet.numbered(50)


def test_an_activation_that_is_missing_is_a_guess_that_shows(saved):
    path = as_transformers_writes_it(saved, problem_type=...)
    message = r"config\.json: problem_type is missing: the activation softmax is a guess for 5 labels: give activation="
    with pytest.warns(SpectagWarning, match=message):
        load(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(path, activation="sigmoid").activation == "sigmoid"
