"""Pretrained networks, where the optional extra is installed."""

import pytest

from evaluation.metrics.efficientnet_lite import EfficientNetLite
from evaluation.metrics.st_lpips import STLPIPS
from evaluation.metrics.weights import MissingWeightsError


@pytest.fixture(scope="session")
def lite0() -> EfficientNetLite:
    try:
        return EfficientNetLite("lite0")
    except MissingWeightsError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def lite2() -> EfficientNetLite:
    try:
        return EfficientNetLite("lite2")
    except MissingWeightsError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def st_lpips() -> STLPIPS:
    try:
        return STLPIPS()
    except MissingWeightsError as missing:
        pytest.skip(str(missing))
