"""What tests of serving share."""

from pathlib import Path

import pytest

from tests.serving.local import LocalBackend


@pytest.fixture
def backend(tiny_bundle: Path) -> LocalBackend:
    return LocalBackend(seasons=tiny_bundle)
