"""The names that other programs give to the tensors, in files that they write."""

import itertools

import pytest
import torch
from safetensors.torch import save_file
from small import make_bundle, renamed

from spectag import errors
from spectag.model.deit import DEIT
from spectag.model.huggingface import TRANSFORMERS
from spectag.model.keys import KeyTable
from spectag.model.loading import load, read_checkpoint
from spectag.model.naming import find_naming
from spectag.model.official import OFFICIAL

INPUTS = torch.randn(2, 100, 128, generator=torch.Generator().manual_seed(1))
PREFIXES = ["", "module.", "model.", "net.", "_orig_mod.", "backbone.ast.", "_fsdp_wrapped_module."]
NESTED = ["".join(pair) for pair in itertools.permutations(("module.", "model.", "_orig_mod.", "net."), 2)]


@pytest.fixture(scope="module")
def bundle():
    return make_bundle(norm_eps=1e-6)


@pytest.fixture(scope="module")
def logits(bundle):
    with torch.no_grad():
        return bundle.network(INPUTS)


def prefixed(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize("prefix", [*PREFIXES, *NESTED, "module._orig_mod.model.net."])
@pytest.mark.parametrize("kind", ["pickle", "safetensors"])
def test_whatever_all_names_begin_with(bundle, logits, tmp_path, prefix, kind):
    """The kind: a program puts the network into another module, and all names get longer.

    Any prefix that all names share is taken off, in any order and depth, from pickles and safetensors.
    """
    state = prefixed(renamed(bundle, OFFICIAL), prefix)
    path = tmp_path / "a.pth"
    torch.save(state, path) if kind == "pickle" else save_file(state, path)
    loaded = load(path, heads=2)
    with torch.no_grad():
        torch.testing.assert_close(loaded.network(INPUTS), logits)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("table", [OFFICIAL, DEIT, TRANSFORMERS], ids=lambda table: table.kind)
def test_every_kind_of_names_is_found_behind_a_prefix(bundle, table: KeyTable, prefix):
    """Also of files without a head, of which all names begin with ``v.`` or with transformers' name of the encoder."""
    state = renamed(bundle, table)
    for kept in (state, {key: value for key, value in state.items() if "head" not in key and "classifier" not in key}):
        naming = find_naming(prefixed(kept, prefix))
        assert naming is not None
        assert naming.table is table
        assert {naming.spell(key) for key in prefixed(kept, prefix)} == set(kept)


def test_wrappers_in_the_middle_of_names(bundle, logits, tmp_path):
    """The kind: a part of the network was compiled or parallelised, and its name stands inside of the others'."""
    state = {
        key.replace("v.blocks.1.", "v.blocks.1._orig_mod.").replace("mlp_head.", "mlp_head.module."): value
        for key, value in renamed(bundle, OFFICIAL).items()
    }
    assert "v.blocks.1._orig_mod.norm1.weight" in state
    torch.save(state, tmp_path / "a.pth")
    with torch.no_grad():
        torch.testing.assert_close(load(tmp_path / "a.pth", heads=2).network(INPUTS), logits)


def test_a_prefix_that_not_all_names_share_is_no_prefix(bundle, tmp_path):
    """Two networks in one file: neither is guessed to be meant."""
    state = renamed(bundle, OFFICIAL)
    torch.save(prefixed(state, "student.") | prefixed(state, "teacher."), tmp_path / "a.pth")
    with pytest.raises(errors.NotAModel, match=r"a\.pth: not the weights of .* holds student\.v\.cls_token"):
        load(tmp_path / "a.pth")
    torch.save(state | prefixed(state, "module."), tmp_path / "a.pth")
    with pytest.raises(errors.KeyMismatch, match=r"a\.pth: module\.v\.\S+: another tensor is called v\."):
        load(tmp_path / "a.pth")


@pytest.mark.parametrize("integers", [{"n_averaged": torch.tensor(3)}, {"module.v.position_ids": torch.arange(5)}])
def test_integers_beside_the_weights(bundle, logits, tmp_path, integers):
    """The kind: a buffer that counts something (AveragedModel, BatchNorm) lies among the weights.

    It is no weight, and does not keep the others' prefix from being found.
    """
    state = integers | prefixed(renamed(bundle, OFFICIAL), "module.")
    torch.save(state, tmp_path / "a.pth")
    save_file(state, tmp_path / "a.safetensors")
    for name in ("a.pth", "a.safetensors"):
        with torch.no_grad():
            torch.testing.assert_close(load(tmp_path / name, heads=2).network(INPUTS), logits)


def test_weights_that_are_integers(bundle, tmp_path):
    """Quantised weights are not taken for counters: what is in the table must be floating point."""
    state = prefixed(renamed(bundle, OFFICIAL), "model.")
    state["model.v.blocks.1.attn.qkv.weight"] = state["model.v.blocks.1.attn.qkv.weight"].to(torch.int8)
    torch.save(state, tmp_path / "a.pth")
    message = r"model\.v\.blocks\.1\.attn\.qkv\.weight: expected floating point, got torch\.int8"
    with pytest.raises(errors.ShapeMismatch, match=message):
        load(tmp_path / "a.pth")


def test_torchs_own_averaged_model(bundle, logits, tmp_path):
    averaged = torch.optim.swa_utils.AveragedModel(torch.nn.DataParallel(bundle.network))
    state = averaged.state_dict()
    theirs = {f"module.module.{key}": value for key, value in renamed(bundle, OFFICIAL).items()}
    torch.save({"n_averaged": state["n_averaged"], **theirs}, tmp_path / "a.pth")
    with torch.no_grad():
        torch.testing.assert_close(load(tmp_path / "a.pth", heads=2).network(INPUTS), logits)


def test_the_state_of_a_run_away_from_its_folder(bundle, tmp_path):
    torch.save({"format": 1, "network": bundle.network.state_dict()}, tmp_path / "last.ckpt")
    with pytest.raises(errors.NotAModel, match=r"last\.ckpt: the state of a run of spectag, away from its folder"):
        read_checkpoint(tmp_path / "last.ckpt")
