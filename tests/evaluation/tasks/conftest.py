"""A small evaluation: landscapes, a model with random weights, the networks that are installed."""

import pytest
import torch

from evaluation.images import Direction, DomainImages, TestSet
from evaluation.networks.sight import Networks
from evaluation.results import Settings, Subject
from evaluation.tasks.context import Context
from pipelines.synthetic.dataset import DOMAINS
from tests.conftest import untrained
from tests.evaluation.conftest import draw_triples, landscapes
from vqi2i import Translator

TESTS, TRAINING = 8, 12


def pictures() -> dict[str, DomainImages]:
    return {
        domain: DomainImages(
            landscapes(domain, TESTS, seed),
            [f"{domain}-{number}" for number in range(TESTS)],
            landscapes(domain, TRAINING, seed + 10),
        )
        for seed, domain in enumerate(DOMAINS)
    }


def triples(source: str, target: str) -> Direction:
    drawn = draw_triples(source, target, TESTS, seed=5)
    return Direction(*drawn, keys=[f"{source}{number}" for number in range(TESTS)])


@pytest.fixture(scope="session")
def networks() -> Networks:
    found = Networks()
    if found.lite0 is None:
        pytest.skip(found.gaps[0])
    return found


@pytest.fixture(scope="session")
def settings() -> Settings:
    return Settings(images=TESTS, training_images=TRAINING, samples=2, diverse=3, shown=2)


@pytest.fixture(scope="session")
def context(networks: Networks, settings: Settings) -> Context:
    """Unpaired landscapes."""
    return Context(
        TestSet(Subject(name="landscapes", fingerprint="0"), pictures()), networks, settings
    )


@pytest.fixture(scope="session")
def known_truth(networks: Networks, settings: Settings) -> Context:
    """Landscapes whose truth shows the exemplar's style."""
    summer, winter = DOMAINS
    truths = {pair: triples(*pair) for pair in ((summer, winter), (winter, summer))}
    about = Subject(name="seasons", fingerprint="1")
    images = TestSet(about, pictures(), truths, truth_has_exemplars_style=True)
    return Context(images, networks, settings)


@pytest.fixture(scope="session")
def model() -> Translator:
    return untrained()


class Returns:
    """Translates by returning what it is given: its figures are those of the control."""

    domains = DOMAINS

    def translate(self, images: torch.Tensor, **_: object) -> torch.Tensor:
        return images
