"""Chains: checked as a whole before anything is done, one decode at the end, the same pixels as
single calls.
"""

import math

import pytest
import torch

from tests.conftest import untrained
from vqi2i import Sampling, Translator
from vqi2i.editing.chain import as_mask, finishing, keep_mask, read_chain
from vqi2i.editing.steps import Keep


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


# Which quarters of the rows and of the columns stay.
KEPT: dict[Keep, tuple[str, str]] = {
    "left": ("1111", "1100"),
    "right": ("1111", "0011"),
    "top": ("1100", "1111"),
    "bottom": ("0011", "1111"),
    "top-left": ("1100", "1100"),
    "top-right": ("1100", "0011"),
    "bottom-left": ("0011", "1100"),
    "bottom-right": ("0011", "0011"),
    "center": ("0110", "0110"),
}


@pytest.mark.parametrize("keep", KEPT)
def test_a_completion_keeps_the_part_that_was_named(keep: Keep, translator: Translator) -> None:
    rows, columns = (torch.tensor([mark == "1" for mark in marks]) for marks in KEPT[keep])
    mask = rows.repeat_interleave(8)[:, None] & columns.repeat_interleave(12)
    assert torch.equal(keep_mask(keep, (32, 48)), mask)
    if keep in ("top-left", "bottom-right"):
        batch = images(1, 32, 48)
        assert torch.equal(
            translator.compose(batch, chain({"complete": {"keep": keep}}), seed=4),
            translator.complete(batch, mask=mask, domain="summer", seed=4),
        )


def test_what_a_mask_paints_bright_stays(translator: Translator) -> None:
    batch, painted = images(1), torch.full((1, 3, 32, 32), -1.0)
    painted[..., :20] = torch.tensor([0.9, -0.4, 0.1])[:, None, None]  # bright in the mean
    mask = (torch.arange(32) < 20).expand(32, 32)
    assert torch.equal(as_mask(painted), mask)
    assert torch.equal(
        translator.compose(
            batch, chain({"complete": {"mask": "painted"}}), pictures={"painted": painted}, seed=4
        ),
        translator.complete(batch, mask=mask, domain="summer", seed=4),
    )


def test_a_chain_ends_with_the_look_and_the_pixels_that_were_asked_for() -> None:
    show, paste = {"translate": {"to": "winter", "style": None}}, {"paste": {"feather": 0}}
    assert finishing("summer", "summer") == []
    assert finishing("summer", "winter") == [show]
    assert finishing("summer", "summer", paste=0) == [paste]
    assert finishing("summer", "winter", style="snow", paste=3) == [
        {"translate": {"to": "winter", "style": "snow"}},
        {"paste": {"feather": 3}},
    ]
    assert finishing("summer", "summer", style="dusk") == [
        {"translate": {"to": "summer", "style": "dusk"}}
    ]
    for steps in ([show], [paste]):
        read_chain({"from": "summer", "steps": steps})


def test_a_chain_knows_the_pictures_that_it_asks_for() -> None:
    steps = chain(
        {"translate": {"to": "winter", "style": "snow"}},
        {"complete": {"mask": "hole"}},
        {"transition": {"to": "winter", "styles": ["dusk", "snow"]}},
        {"translate": {"to": "summer"}},
        {"complete": {"keep": "left"}},
    )
    assert steps.pictures == ["snow", "hole", "dusk"]


def test_many_are_made_from_nothing_as_one_by_one(translator: Translator) -> None:
    made = chain({"generate": {"domain": "winter", "height": 40}}, source=None)
    both = translator.compose(None, made, seed=[4, 9])
    assert both.shape == (2, 3, 40, 32)
    assert torch.equal(both[1:], translator.compose(None, made, seed=9))


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
        (
            {"from": "summer", "steps": [{"paste": {}}, {"extent": {}}]},
            r"^step 2: there is no step 'extent' \(did you mean 'extend'\?\), choose one of "
            "translate, extend, complete, generate, transition, paste$",
        ),
        ({"from": "summer", "steps": ["extend"]}, "^step 1 must be one name with its settings"),
        (
            {"from": "summer", "steps": [{"paste": {}}, {"extend": {}, "paste": {}}]},
            "^step 2 must be one name with its settings",
        ),
        ({"from": "summer", "steps": {"paste": {}}}, "a chain is a mapping with `steps`, a list"),
        ({"from": "summer", "steps": [{"translate": {}}]}, r"step 1 \(translate\): to: Field req"),
        (
            {"from": "summer", "steps": [{"paste": {}}, {"generate": {"domain": "winter"}}]},
            r"step 2 \(generate\): a chain begins either",
        ),
        (
            {"from": "summer", "steps": [{"complete": {"keep": "left", "mask": "a"}}]},
            r"step 1 \(complete\): say what stays",
        ),
        (
            {"from": "summer", "steps": [{"extend": {"rigth": 1}}]},
            r"step 1 \(extend\): rigth is no setting of it \(did you mean 'right'\?\), "
            "choose among left, right, top, bottom, draw$",
        ),
        (
            {"from": "summer", "steps": [{"extend": {"right": -1}}]},
            r"step 1 \(extend\): right: .*greater than or equal",
        ),
        (
            {
                "from": "summer",
                "steps": [{"extend": {"right": 1, "draw": {"heat": 1, "top_q": 1}}}],
            },
            r"step 1 \(extend\): draw: it can hold temperature, top_k.*, and no heat, top_q \(did",
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
        ({"from": "summer", "to": "winter", "also": 1, "steps": [{"paste": {}}]}, "no also, to$"),
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
    twice = chain({"translate": {"to": "winter", "style": "a"}}, {"complete": {"mask": "b"}})
    with pytest.raises(ValueError, match=r"given: a, b$"):
        translator.compose(images(), twice)
    with pytest.raises(ValueError, match=r"given: b$"):
        translator.compose(images(), twice, pictures={"a": images()})
    with pytest.raises(ValueError, match="takes no image"):
        translator.compose(None, chain({"translate": {"to": "winter"}}))
    with pytest.raises(ValueError, match="takes no image"):
        translator.compose(images(), chain({"generate": {"domain": "winter"}}, source=None))
