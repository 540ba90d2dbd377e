"""The worker for clusters, called as Ray Data, Daft, Spark and Dask call it: batches of rows in, rows out."""

from pathlib import Path

import fsspec
import numpy as np
import pytest
import soundfile

import spectag
from spectag.errors import InputError
from spectag.jobs.worker import COLUMNS, TagFiles, fetched
from spectag.tag.events import EventRule


@pytest.fixture(scope="module")
def worker() -> TagFiles:
    return TagFiles("esc10", top_k=2)


@pytest.fixture
def site(tmp_path: Path) -> list[str]:
    rng = np.random.default_rng(0)
    for n in range(4):
        soundfile.write(tmp_path / f"{n}.wav", 0.1 * rng.standard_normal(8_000 * (n + 1)), 16_000)
    (tmp_path / "1.wav").write_text("text")
    soundfile.write(tmp_path / "silent.wav", np.zeros(8_000), 16_000)
    return [*(str(tmp_path / f"{n}.wav") for n in range(4)), str(tmp_path / "silent.wav")]


def test_rows(worker: TagFiles, site: list[str]) -> None:
    """All columns are passed on, and a file that fails is a row."""
    rows = worker({"path": np.array(site, object), "site": np.arange(5)})
    assert list(rows) == ["path", "site", *COLUMNS]
    assert rows["path"] == site
    assert rows["site"] == [0, 1, 2, 3, 4]
    assert rows["duration"] == [0.5, None, 1.5, 2.0, 0.5]
    assert [len(tags) for tags in rows["tags"]] == [2, 0, 2, 2, 0]
    assert [error is not None for error in rows["error"]] == [False, True, False, False, False]
    assert "digital silence" in rows["warnings"][4][0]
    expected = spectag.Tagger("esc10").tag(site[2], top_k=2).to_dict()
    assert [tag["label"] for tag in rows["tags"][2]] == [tag["label"] for tag in expected["tags"]]
    for tag, other in zip(rows["tags"][2], expected["tags"], strict=True):
        assert tag["score"] == pytest.approx(other["score"], abs=2e-6)


def test_events(site: list[str]) -> None:
    """The same as those of the detector, and none for a file that fails."""
    rule = EventRule("threshold", 0.0)
    rows = TagFiles("esc10", top_k=2, hop=0.5, events=rule)({"path": site})
    assert rows["events"][1] is None
    for path, events in ((path, rows["events"][n]) for n, path in enumerate(site) if n != 1):
        expected = spectag.Detector(spectag.Tagger("esc10"), rule, 0.5).detect(path).to_dict()["events"]
        assert [(event["label"], event["onset"], event["offset"]) for event in events] == [
            (event["label"], event["onset"], event["offset"]) for event in expected
        ]
    with pytest.raises(InputError, match="hop must be more than 0"):
        TagFiles("esc10", hop=0.0)


def test_rows_do_not_depend_on_the_batch(worker: TagFiles, site: list[str]) -> None:
    """A cluster cuts batches as it likes, and again after a worker died."""
    whole = worker({"path": site})
    for size in (1, 2, 3):
        parts = [worker({"path": site[at : at + size]}) for at in range(0, len(site), size)]
        assert {name: [value for part in parts for value in part[name]] for name in whole} == whole


def test_paths_of_every_kind(worker: TagFiles, site: list[str]) -> None:
    rows = worker({"path": [Path(site[0]), site[0].encode(), None, 3, "", "caf\udce9.wav"]})
    assert rows["path"] == [site[0], site[0], "None", "3", "", "caf\\udce9.wav"]
    assert rows["duration"] == [0.5, 0.5, None, None, None, None]
    assert rows["error"][2:4] == ["expected a path, got NoneType", "expected a path, got int"]
    assert worker({"path": []}) == {name: [] for name in ("path", *COLUMNS)}


def test_files_of_other_machines(worker: TagFiles, site: list[str]) -> None:
    """Copied by fsspec, and named by their URL everywhere."""
    memory = fsspec.filesystem("memory")
    for name in ("0.wav", "1.wav", "silent.wav"):
        memory.pipe_file(f"/worker/{name}", (Path(site[0]).parent / name).read_bytes())
    urls = [f"memory://worker/{name}" for name in ("0.wav", "1.wav", "silent.wav", "none.wav")]
    paths = [urls[0], site[2], *urls[1:], "nosuch://host/a.wav"]
    rows = worker({"path": paths})
    assert rows["path"] == paths
    assert rows["duration"] == [0.5, 1.5, None, 0.5, None, None]
    here = worker({"path": site})
    assert rows["tags"][0] == here["tags"][0]
    assert rows["error"][2] == here["error"][1]
    assert rows["warnings"][3] == [here["warnings"][4][0].replace(site[4], urls[2])]
    assert rows["error"][4] == "cannot be fetched: FileNotFoundError: /worker/none.wav"
    assert "nosuch" in rows["error"][5]


def test_no_copy_is_left() -> None:
    fsspec.filesystem("memory").pipe_file("/worker/0.wav", b"RIFF")
    with fetched(["memory://worker/0.wav", "memory://worker/none.wav"]) as copies:
        first = Path(str(copies[0]))
        assert first.read_bytes() == b"RIFF"
    assert not first.parent.exists()


def test_batches_that_cannot_be(worker: TagFiles) -> None:
    with pytest.raises(InputError, match="expected a column 'path' of paths, got file"):
        worker({"file": ["a.wav"]})
    with pytest.raises(InputError, match="the column 'error' would be overwritten: rename it"):
        worker({"path": ["a.wav"], "error": [None]})
    assert TagFiles("esc10", column="file")({"file": ["none.wav"]})["error"] != [None]
