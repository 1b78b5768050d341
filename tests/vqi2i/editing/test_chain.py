"""Chains: checked as a whole before anything is done, one decode at the end, the same pixels as
single calls.
"""

import math

import pytest
import torch

from tests.conftest import untrained
from vqi2i import Sampling, Translator
from vqi2i.editing.chain import read_chain


@pytest.fixture(scope="module")
def translator() -> Translator:
    return untrained()


def images(count: int = 1, height: int = 32, width: int = 32) -> torch.Tensor:
    return (
        torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(height * width))
        * 2
        - 1
    )


def chain(*steps: object, source: str | None = "summer"):
    return read_chain({"from": source, "steps": list(steps)})


def test_a_chain_of_one_step_is_the_application(translator: Translator) -> None:
    batch, snow = images(2), images(1, 40, 40)
    draw = Sampling(temperature=0.7, top_k=5)
    pairs = [
        (
            chain({"translate": {"to": "winter"}}),
            translator.translate(batch, source="summer", target="winter", seed=4),
        ),
        (
            chain({"extend": {"left": 5, "top": 8, "draw": {"temperature": 0.7, "top_k": 5}}}),
            translator.extend(batch, domain="summer", left=5, top=8, seed=4, sampling=draw),
        ),
        (
            chain({"extend": {"right": 8}}, {"translate": {"to": "winter"}}),
            translator.extend(batch, domain="summer", right=8, target="winter", seed=4),
        ),
        (
            chain({"complete": {"keep": "left"}}, {"paste": {"feather": 2}}),
            translator.complete(
                batch,
                mask=(torch.arange(32) < 16).expand(32, 32),
                domain="summer",
                seed=4,
                feather=2,
            ),
        ),
        (
            chain(
                {"transition": {"to": "winter", "styles": ["snow", "snow"], "direction": "radial"}}
            ),
            translator.transition(
                batch,
                domain="summer",
                target="winter",
                direction="radial",
                styles=translator.encode(snow, "winter").style.repeat(2, 1),
            ),
        ),
    ]
    for steps, expected in pairs:
        assert torch.equal(
            translator.compose(batch, steps, pictures={"snow": snow}, seed=4), expected
        )
    made = chain({"generate": {"domain": "winter", "width": 40}}, source=None)
    assert torch.equal(
        translator.compose(None, made, seed=4),
        translator.generate(1, domain="winter", width=40, seed=4),
    )


def test_a_chain_is_decoded_once(translator: Translator, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    decode = translator.autoencoder.decode
    monkeypatch.setattr(
        translator.autoencoder, "decode", lambda *a, **k: calls.append(1) or decode(*a, **k)
    )
    steps = chain(
        {"complete": {"keep": "top-left"}},
        {"extend": {"right": 9}},
        {"extend": {"bottom": 9}},
        {"transition": {"to": "winter", "styles": ["snow", "dusk"]}},
        {"extend": {"right": 4}},
    )
    pictures = {"snow": images(1, 40, 40), "dusk": images(1, 48, 40)}
    assert translator.compose(images(), steps, pictures=pictures).shape == (1, 3, 41, 45)
    assert len(calls) == 1


def test_two_equal_steps_draw_different_numbers(translator: Translator) -> None:
    one = translator.compose(images(), chain({"translate": {"to": "winter"}}))
    two = translator.compose(
        images(), chain({"translate": {"to": "winter"}}, {"translate": {"to": "winter"}})
    )
    assert not torch.allclose(one, two, atol=1e-3)


def test_what_comes_into_being_can_be_watched(translator: Translator) -> None:
    steps = chain({"extend": {"right": 40}})
    states = list(translator.unfold(images(), steps, seed=2))
    assert len(states) > 2
    assert torch.equal(states[-1], translator.compose(images(), steps, seed=2))
    assert (states[1][..., -1] == 0).all()  # not imagined yet: grey


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ([], "a chain is a mapping"),
        ({"steps": []}, "at least one step"),
        ({"steps": [{"extend": {"right": 1}}]}, r"step 1 \(extend\): a chain begins"),
        (
            {"from": "summer", "steps": [{"generate": {"domain": "winter"}}]},
            r"step 1 \(generate\): a chain begins",
        ),
        ({"from": "summer", "steps": [{"stretch": {}}]}, "step 1: there is no step 'stretch'"),
        ({"from": "summer", "steps": ["extend"]}, "step 1 must be one name with its settings"),
        (
            {"from": "summer", "steps": [{"extend": {"rigth": 1}}]},
            r"step 1 \(extend\): rigth .*did you mean 'right'",
        ),
        (
            {"from": "summer", "steps": [{"extend": {"right": -1}}]},
            r"step 1 \(extend\): right: .*greater than or equal",
        ),
        (
            {"from": "summer", "steps": [{"extend": {"right": 1, "draw": {"heat": 1}}}]},
            "it can hold temperature, top_k",
        ),
        (
            {"from": "summer", "steps": [{"extend": {"right": 1, "draw": {"temperature": 0}}}]},
            "temperature must be above",
        ),
        *(
            ({"from": "summer", "steps": [{"extend": {"right": 1, "draw": draw}}]}, complaint)
            for draw, complaint in (
                ({"temperature": math.nan}, "draw: temperature must be above 0"),
                ({"temperature": math.inf}, "temperature must be .* at most 10,000, got inf"),
                ({"temperature": 1e-30}, r"at least 0\.0001"),
                ({"guidance": math.nan}, "guidance must not"),
                ({"guidance": 1e30}, "guidance must not"),
                ({"steps": 10**9}, "steps must be"),
                ({"top_k": 10**9}, "top_k must"),
                ({"top_p": math.nan}, "top_p must lie"),
                ({"context": math.nan}, "context must lie"),
            )
        ),
        ({"from": "summer", "steps": [{"extend": {"left": 10**9}}]}, "left: .*less than or equal"),
        (
            {"steps": [{"generate": {"domain": "summer", "width": 10**9}}]},
            "width: .*less than or equal",
        ),
        (
            {"from": "summer", "steps": [{"paste": {"feather": 99_999_999}}]},
            "feather: .*less than or equal to 256",
        ),
        (
            {
                "from": "summer",
                "steps": [{"transition": {"to": "winter", "styles": ["a"] * 200_000}}],
            },
            "at most 16 items",
        ),
        ({"from": "summer", "steps": [{"complete": {}}]}, "say what stays"),
        ({"from": "summer", "to": "winter", "steps": [{"paste": {}}]}, "no to"),
    ],
)
def test_a_bad_chain_names_the_step(data: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_chain(data)


def test_a_step_that_does_not_fit_is_named(translator: Translator) -> None:
    with pytest.raises(ValueError, match=r"step 2 \(extend\): say how many pixels"):
        translator.compose(images(), chain({"translate": {"to": "winter"}}, {"extend": {}}))
    with pytest.raises(ValueError, match=r"step 2 \(paste\): only pixels of a picture"):
        translator.compose(images(), chain({"translate": {"to": "winter"}}, {"paste": {}}))
    with pytest.raises(ValueError, match=r"not given: snow\.jpg"):
        translator.compose(images(), chain({"translate": {"to": "winter", "style": "snow.jpg"}}))
    with pytest.raises(ValueError, match="takes no image"):
        translator.compose(None, chain({"translate": {"to": "winter"}}))
