"""Files of tensors that are damaged, hostile or something else."""

import pickle
import zipfile

import pytest
import torch
from small import make_bundle, renamed

from spectag import errors
from spectag.model import tensors
from spectag.model.loading import load
from spectag.model.naming import TABLES
from spectag.model.official import OFFICIAL


@pytest.fixture
def state():
    """As the published code saves it: DataParallel's prefix, and DeiT's unused heads."""
    theirs = renamed(make_bundle(norm_eps=1e-6), OFFICIAL)
    theirs |= {key: torch.zeros(4) for key in OFFICIAL.dropped}
    return {f"module.{key}": value for key, value in theirs.items()}


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


def test_a_pickle_with_code_is_not_executed(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"module.v.pos_embed": Evil()}, path)
    with pytest.raises(errors.UnreadableModel, match=r"more than tensors.*not executed"):
        load(path)
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(errors.UnreadableModel, match=r"not executed|damaged"):
        load(path)


def test_an_archive_that_unpacks_to_more_than_it_is(state, tmp_path):
    torch.save(state | {"module.rogue": torch.zeros(10**6)}, tmp_path / "a.pth")
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as stored,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for member in stored.infolist():
            bomb.writestr(member.filename, stored.read(member))
    with pytest.raises(errors.UnreadableModel, match=r"bomb\.pth: \d+ bytes that unpack to \d+"):
        load(tmp_path / "bomb.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_counted(tmp_path, value):
    state = {"good": torch.ones(2), "bad": torch.tensor([1.0, value, 2.0])}
    tensors.write_safetensors(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "a.pth")
    for read, name in ((tensors.read_safetensors, "a.safetensors"), (tensors.read_weights, "a.pth")):
        with pytest.raises(errors.NonFiniteWeights, match=rf"{name}: bad: 1 of 3 values are NaN or infinite"):
            read(tmp_path / name)


def test_an_optimiser_state(tmp_path):
    network = torch.nn.Linear(2, 2)
    optimiser = torch.optim.Adam(network.parameters())
    network(torch.zeros(1, 2)).sum().backward()
    optimiser.step()
    torch.save(optimiser.state_dict(), tmp_path / "optim.pth")
    with pytest.raises(errors.NotAModel, match="the state of an optimiser"):
        load(tmp_path / "optim.pth")


@pytest.mark.parametrize("old", [False, True])
def test_every_truncation_is_an_error(state, tmp_path, old):
    path = tmp_path / "a.pth"
    torch.save(state, path, _use_new_zipfile_serialization=not old)
    content = path.read_bytes()
    for keep in (0, 1, 2, 9, 1000, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:keep])
        with pytest.raises(errors.UnreadableModel, match=r"a\.pth") as caught:
            load(path, heads=2)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ([1, 2], errors.NotAModel),
        ({}, errors.NotAModel),
        ({"a": 1}, errors.NotAModel),
        ({"a": torch.zeros(2)}, errors.NotAModel),
        ({"a": torch.zeros(2, dtype=torch.int64)}, errors.ShapeMismatch),
        ({"a": torch.zeros(1).expand(10**12)}, errors.UnreadableModel),
        (torch.zeros(2), errors.NotAModel),
    ],
)
def test_readable_but_no_model(tmp_path, content, error):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(error, match=r"a\.pth"):
        load(tmp_path / "a.pth")


def test_text(tmp_path):
    (tmp_path / "a.pth").write_text("hello, I am no model")
    with pytest.raises(errors.UnreadableModel, match="neither safetensors nor a torch checkpoint"):
        load(tmp_path / "a.pth")


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.kind)
@pytest.mark.parametrize("tokens", [1, 2])
def test_there_and_back(table, tokens):
    state = make_bundle(tokens=tokens).network.state_dict()
    rows = table.rows(2, tokens)
    theirs = tensors.from_ours(state, rows)
    back = tensors.to_ours(theirs, rows)
    assert len(back) == len(rows)
    assert all(value.equal(state[key]) for key, value in back.items())
    assert len({id(value) for value in theirs.values()}) == len(theirs)
