"""Small models for the tests of this folder."""

from pathlib import Path

import pytest
from small import make_bundle

from spectag.model.bundle import Bundle


@pytest.fixture
def bundle() -> Bundle:
    return make_bundle()


@pytest.fixture
def saved(bundle: Bundle, tmp_path: Path) -> Path:
    return bundle.save(tmp_path / "bundle")
