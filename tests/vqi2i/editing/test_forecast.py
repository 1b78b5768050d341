"""What a chain will take on a large picture is told from small copies of it, which leave the model
as it was.
"""

import pytest
import torch

from tests.conftest import untrained
from vqi2i import Translator
from vqi2i.editing import forecast
from vqi2i.editing.chain import Chain, read_chain

CHAINS = {
    "translation": {"from": "summer", "steps": [{"translate": {"to": "winter", "style": "snow"}}]},
    "extension": {
        "from": "summer",
        "steps": [{"extend": {"right": 400, "top": 300}}, {"translate": {"to": "winter"}}],
    },
    "completion": {
        "from": "summer",
        "steps": [{"complete": {"mask": "mask"}}, {"paste": {"feather": 3}}],
    },
    "transition": {
        "from": "summer",
        "steps": [{"transition": {"to": "winter", "styles": ["snow", "mask"]}}],
    },
    "generation": {"steps": [{"generate": {"domain": "winter", "width": 1200, "height": 900}}]},
}


@pytest.fixture(autouse=True)
def smaller_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quicker than those that foresee well."""
    monkeypatch.setattr(forecast, "_COPIES", (32, 64))
    monkeypatch.setattr(forecast, "_KEYS", 1024)


@pytest.fixture(scope="module")
def translator() -> Translator:
    return untrained()


def inputs(
    chain: Chain, height: int = 600, width: int = 1000
) -> tuple[torch.Tensor | None, dict[str, torch.Tensor]]:
    mask = torch.ones(1, 3, height, width)
    mask[..., width // 2 :] = -1
    pictures = {"snow": torch.rand(1, 3, 700, 300), "mask": mask}
    image = torch.rand(1, 3, height, width) if chain.source is not None else None
    return image, {name: pictures[name] for name in chain.pictures}


@pytest.mark.parametrize("name", CHAINS)
def test_a_large_picture_is_foreseen_and_the_model_stays_as_it_was(
    name: str, translator: Translator
) -> None:
    chain = read_chain(CHAINS[name])
    found = forecast.forecast(translator, chain, *inputs(chain))
    assert found is not None
    assert (found.width, found.height) == {"extension": (1400, 900), "generation": (1200, 900)}.get(
        name, (1000, 600)
    )
    assert found.seconds > found.half > 0
    assert not any(
        module._forward_hooks or module._forward_pre_hooks
        for module in translator.autoencoder.modules()
    )


def test_small_pictures_and_what_cannot_be_done_are_not_foreseen(translator: Translator) -> None:
    chain = read_chain(CHAINS["translation"])
    assert forecast.forecast(translator, chain, *inputs(chain, 600, 800)) is None
    unknown = read_chain({"from": "summer", "steps": [{"translate": {"to": "night"}}]})
    assert forecast.forecast(translator, unknown, *inputs(unknown)) is None


def test_attention_costs_the_square_of_the_pixels(
    translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        forecast, "_seconds_of_a_pair", lambda device: 1.0
    )  # as if nothing else took time
    chain = read_chain(CHAINS["translation"])
    found = forecast.forecast(translator, chain, *inputs(chain))
    assert found is not None
    assert found.seconds / found.half == pytest.approx(16, rel=0.01)
    double = forecast.forecast(translator, chain, *inputs(chain), count=2)
    assert double is not None
    assert double.seconds == pytest.approx(2 * found.seconds, rel=0.01)


def test_a_line_goes_on_through_its_points_and_never_falls() -> None:
    assert forecast._prolonged(1.0, 3.0, 2.0, 5.0, 10.0) == 21
    assert forecast._prolonged(1.0, 5.0, 2.0, 3.0, 10.0) == 3
    assert forecast._prolonged(2.0, 3.0, 2.0, 3.0, 10.0) == 15
