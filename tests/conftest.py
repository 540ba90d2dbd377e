"""Fixtures for all tests. The shared folder is not part of the project: tests that want it are skipped without it."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


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
