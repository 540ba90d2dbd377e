"""Fixtures for all tests. The shared folder is not part of the project: tests that want it are skipped without it."""

import os
import signal
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

# No property test may fail because the machine is busy. In CI the same examples are tried every time.
settings.register_profile(
    "spectag", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("spectag")

# A shell that starts the suite in the background lets it ignore Ctrl-C, and so would the programs that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parent.parent


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Commands of the pages use what earlier ones wrote, so they keep their order when all else is shuffled."""
    places = [place for place, item in enumerate(items) if item.name.startswith("test_commands[")]
    ordered = sorted((items[place] for place in places), key=lambda item: item.callspec.indices["command"])  # type: ignore[attr-defined]
    for place, item in zip(places, ordered, strict=True):
        items[place] = item


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Tests run in random order (pytest-randomly seeds Python's and NumPy's generators, but not torch's)."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with golden numbers and data, at $SPECTAG_SHARED or beside the repository."""
    folder = Path(os.environ.get("SPECTAG_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no shared folder at {folder} (set SPECTAG_SHARED)")
    return folder


@pytest.fixture(scope="session")
def golden(shared: Path) -> Path:
    """What the published implementation computed."""
    return shared / "golden"
