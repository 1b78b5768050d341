"""A computation ends soon after it is told to, and is the same if it is not."""

from collections.abc import Callable

import pytest
import torch

from tests.conftest import untrained, untrained_masked
from vqi2i import Translator
from vqi2i.editing.chain import read_chain
from vqi2i.networks import layers
from vqi2i.networks.layers import Attention
from vqi2i.networks.stopping import may_stop, stoppable
from vqi2i.priors.sampling import Sampling


class EnoughError(Exception):
    """What the checks of these tests raise."""


def after(count: int) -> Callable[[], None]:
    """A check that ends a computation the `count`-th time that it is asked."""
    asked = 0

    def check() -> None:
        nonlocal asked
        asked += 1
        if asked >= count:
            raise EnoughError

    return check


def counted(computation: Callable[[], object]) -> int:
    """How often a computation can be stopped."""
    asked = 0

    def check() -> None:
        nonlocal asked
        asked += 1

    with stoppable(check):
        computation()
    return asked


def images() -> torch.Tensor:
    return torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


STEPS = {
    "translate": [{"translate": {"to": "winter"}}],
    "extend": [{"extend": {"right": 16}}],
    "complete": [{"complete": {"keep": "left"}}],
    "transition": [
        {"translate": {"to": "winter"}},
        {"transition": {"to": "winter", "styles": ["a", "a", "a"]}},
    ],
    "paste": [{"extend": {"right": 4}}, {"paste": {"feather": 64}}],
}


@pytest.fixture(scope="module", params=[untrained, untrained_masked], ids=["causal", "masked"])
def translator(request: pytest.FixtureRequest) -> Translator:
    return request.param()


@pytest.mark.parametrize("name", STEPS)
def test_every_application_can_be_stopped_at_many_places(translator: Translator, name: str) -> None:
    chain = read_chain({"from": "summer", "steps": STEPS[name]})

    def compose() -> torch.Tensor:
        return translator.compose(images(), chain, pictures={"a": images()}, seed=1)

    places = counted(compose)
    assert places > 15
    for place in (1, places // 2, places):
        with pytest.raises(EnoughError), stoppable(after(place)):
            compose()
    with stoppable(lambda: None):
        watched = compose()
    assert torch.equal(watched, compose())


def test_imagining_can_be_stopped_at_every_token_or_step() -> None:
    causal, masked = (
        counted(lambda model=model: model.generate(1, domain="summer", sampling=Sampling(steps=4)))
        for model in (untrained(), untrained_masked())
    )
    decode = counted(
        lambda: untrained().decode(
            torch.zeros(1, 8, 8, dtype=torch.long), torch.zeros(1, 8), "summer"
        )
    )
    assert causal - decode >= 64
    assert masked - decode >= 4


def test_a_style_is_read_once_however_often_it_is_met() -> None:
    model = untrained()
    once, often = (
        counted(
            lambda styles=styles: model.compose(
                images(),
                read_chain(
                    {
                        "from": "summer",
                        "steps": [{"transition": {"to": "winter", "styles": styles}}],
                    }
                ),
                pictures={"a": images(), "b": images()},
            )
        )
        for styles in (["a", "b"], ["a", "b"] * 8)
    )
    assert once == often


def test_attention_in_parts_is_attention_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    block = Attention(8).eval()
    for size in ((2, 8, 50, 50), (1, 8, 53, 97)):
        x = torch.randn(size, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            whole = block(x)
            before = counted(lambda x=x: block(x))
            monkeypatch.setattr(layers, "_MOST_PAIRS", 1)
            assert torch.equal(block(x), whole)
            assert counted(lambda x=x: block(x)) >= before + 2
            monkeypatch.undo()


def test_what_is_not_watched_goes_on() -> None:
    may_stop()
    with pytest.raises(EnoughError), stoppable(after(1)):
        may_stop()
    may_stop()
