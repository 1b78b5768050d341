"""What a chain will take on a large picture is told from small copies of it, which leave the model
as it was.
"""

from typing import Any

import pytest
import torch
from torch import nn

from tests.conftest import untrained
from vqi2i import Translator
from vqi2i.editing import forecast
from vqi2i.editing.chain import Chain, read_chain
from vqi2i.editing.steps import Extend, Generate
from vqi2i.networks.batching import CallLimits
from vqi2i.networks.layers import Attention

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
    # as if nothing else took time
    monkeypatch.setattr(forecast, "_seconds_of_a_pair", lambda device: 1.0)
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


SMALL = forecast._Cost(pixels=1e3, seconds=0.1, decoding=0.05, pairs=10.0)
LARGER = forecast._Cost(pixels=4e3, seconds=0.4, decoding=0.11, pairs=100.0)


def foreseen(
    translator: Translator, monkeypatch: pytest.MonkeyPatch, *costs: Any, count: int = 1
) -> tuple[forecast.Forecast | None, list[float]]:
    """What is foreseen for 1000 x 600 pixels when copies cost so much, and how large they were."""
    scales: list[float] = []

    def measured(model: Any, chain: Any, image: Any, pictures: Any, scale: float, pair: float):
        scales.append(scale)
        return costs[len(scales) - 1]

    monkeypatch.setattr(forecast, "_measured", measured)
    monkeypatch.setattr(forecast, "_seconds_of_a_pair", lambda device: 1e-4)
    chain = read_chain(CHAINS["translation"])
    return forecast.forecast(translator, chain, *inputs(chain), count=count), scales


def test_more_pixels_cost_what_the_difference_of_two_copies_cost(
    translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, scales = foreseen(translator, monkeypatch, SMALL, LARGER, count=3)
    assert scales == pytest.approx([32 / 600_000**0.5, 64 / 600_000**0.5])
    assert found is not None
    # 1e-4 s for a pixel more, and 100 pairs times the square of 150 (37.5) as many pixels
    assert found.seconds == pytest.approx(3 * (0.4 + 596e3 * 1e-4 + 100 * 1e-4 * 150**2))
    assert found.half == pytest.approx(3 * (0.4 + 146e3 * 1e-4 + 100 * 1e-4 * 37.5**2))


def test_a_canvas_in_tiles_is_decoded_many_times(
    translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = foreseen(translator, monkeypatch, SMALL, LARGER)
    small = untrained()
    small.limits = CallLimits(tile_pixels=599_999)
    tiled, _ = foreseen(small, monkeypatch, SMALL, LARGER)
    assert whole is not None
    assert tiled is not None
    assert tiled.seconds - whole.seconds == pytest.approx(8 * (0.11 + 596e3 * 2e-5))
    assert tiled.half == whole.half  # it is decoded at once


def test_there_is_no_patience_for_a_second_copy_when_the_first_was_slow(
    translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SMALL._replace(seconds=0.5, pairs=0.0)
    found, scales = foreseen(translator, monkeypatch, slow)
    assert len(scales) == 1
    assert found is not None
    assert found.seconds == pytest.approx(600 * 0.5)
    assert foreseen(translator, monkeypatch, SMALL, None) == (None, [*scales, scales[0] * 2])


def test_the_meter_counts_pairs_of_positions_and_the_time_of_decoders(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr("vqi2i.editing.forecast.time.monotonic", lambda: now)

    class Slow(nn.Module):
        """Takes two seconds."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            nonlocal now
            now += 2
            return x

    monkeypatch.setattr(forecast, "Decoder", Slow)
    parts = nn.ModuleList([Attention(8), Slow()])
    model = untrained(prior=False)
    model.autoencoder = parts  # type: ignore[assignment]
    with forecast._Meter(model) as meter:
        for _ in range(2):
            parts[1](parts[0](torch.rand(2, 8, 3, 5)))
        now += 0.5
    assert meter.pairs == 2 * (2 * 8 * 15**2)
    assert (meter.seconds, meter.decoding) == (4.5, 4.0)
    parts[1](parts[0](torch.rand(2, 8, 3, 5)))
    assert (meter.pairs, meter.decoding) == (2 * (2 * 8 * 15**2), 4.0)  # it has let go of them


def test_copies_are_smaller_on_all_sides(translator: Translator) -> None:
    assert forecast._scaled(Extend(right=400, top=1), 0.1, translator) == Extend(right=40, top=1)
    made = forecast._scaled(Generate(domain="winter", width=1200), 0.1, translator)
    assert made == Generate(domain="winter", width=120, height=3)
    flat = forecast._scaled(Generate(domain="winter", width=100, height=2), 0.1, translator)
    assert flat == Generate(domain="winter", width=10, height=1)
    picture = torch.arange(16.0).view(1, 1, 4, 4)
    assert forecast._reduced(picture, 0.5).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert forecast._reduced(torch.rand(1, 3, 10, 3), 0.1).shape == (1, 3, 1, 1)


def test_seconds_of_a_pair_are_those_of_the_fastest_of_three(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    marks = iter([0.0, 9.0, 10.0, 14.0, 20.0, 27.0])
    monkeypatch.setattr("vqi2i.editing.forecast.time.monotonic", lambda: next(marks))
    assert forecast._seconds_of_a_pair(torch.device("cpu")) == 4 / (1024 * 1024 * 64)
