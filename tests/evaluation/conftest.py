"""Landscapes and models small enough for the tests of this folder; pretrained networks, where the
optional extra is installed.
"""

from typing import NamedTuple

import numpy as np
import pytest
import torch

from evaluation.networks.efficientnet_lite import EfficientNetLite
from evaluation.networks.st_lpips import STLPIPS
from evaluation.networks.weights import MissingWeightsError
from evaluation.seasons.domain_classifier import DomainClassifier, train_classifier
from pipelines.synthetic.dataset import DOMAINS, Triples, draw_content, draw_style, render
from tests.conftest import TINY
from vqi2i import Translator
from vqi2i.networks.autoencoder import Autoencoder
from vqi2i.priors.style_prior import StylePrior

SIZE = TINY.resolution


def landscapes(domain: str, count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack(
        [
            render(draw_content(rng), draw_style(rng, domain), height=SIZE, width=SIZE)
            for _ in range(count)
        ]
    )


def draw_triples(source: str, target: str, count: int, seed: int) -> Triples:
    rng = np.random.default_rng(seed)
    drawn: list[tuple[np.ndarray, ...]] = []
    for _ in range(count):
        content, other = draw_content(rng), draw_content(rng)
        before, after = draw_style(rng, source), draw_style(rng, target)
        pictures = ((content, before), (other, after), (content, after))
        drawn.append(tuple(render(c, s, height=SIZE, width=SIZE) for c, s in pictures))
    return Triples(*(np.stack(images) for images in zip(*drawn, strict=True)))


class Drawn(NamedTuple):
    """Real images of each domain: to learn from and to be tested on."""

    train: dict[str, np.ndarray]
    test: dict[str, np.ndarray]


@pytest.fixture(scope="session")
def drawn() -> Drawn:
    train, test = (
        {domain: landscapes(domain, count, seed + index) for index, domain in enumerate(DOMAINS)}
        for count, seed in ((150, 0), (60, 10))
    )
    return Drawn(train, test)


@pytest.fixture(scope="session")
def classifier(drawn: Drawn) -> DomainClassifier:
    return train_classifier(drawn.train, steps=150)


@pytest.fixture(scope="session")
def triples() -> dict[tuple[str, str], Triples]:
    summer, winter = DOMAINS
    return {
        (summer, winter): draw_triples(summer, winter, 7, seed=20),
        (winter, summer): draw_triples(winter, summer, 5, seed=21),
    }


@pytest.fixture(scope="session")
def tiny_translator() -> Translator:
    """Random weights: its pictures mean nothing, but every path is the real one."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        styles = StylePrior({domain: torch.randn(4, TINY.style_dim) for domain in TINY.domains})
        return Translator(Autoencoder(TINY), styles)


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
