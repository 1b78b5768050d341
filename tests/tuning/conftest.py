"""Data small enough for the tests of this folder."""

from pathlib import Path

import pytest

from pipelines.images_to_shards import build_shards
from pipelines.synthetic import DOMAINS, synthesize


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty landscapes of each season, 32 px."""
    root = tmp_path_factory.mktemp("data")
    synthesize(root / "images", pairs=20, size=32, tests=1, wide=0)
    build_shards({domain: root / "images/train" / domain for domain in DOMAINS}, out=root / "shards", size=32)
    return root / "shards"
