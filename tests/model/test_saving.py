from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from small import make_bundle, with_facts

from spectag import errors
from spectag.model.loading import load


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


def test_others_may_read_what_the_umask_lets_them(saved):
    modes = {path.name: path.stat().st_mode for path in saved.iterdir()}
    assert len(set(modes.values())) == 1, modes
