"""Fixtures for the tests of data sets."""

import pytest
from loose import make_loose

from spectag.data.manifest import Manifest


@pytest.fixture(scope="session")
def loose(tmp_path_factory) -> Manifest:
    return make_loose(tmp_path_factory.mktemp("loose"))
