import json

import pytest

from training.config import LossWeights
from training.recipes import STAGE1, STAGE2
from training.settings import override
from tuning.spaces import METRICS, SPACES, direction, search_space

RECIPES = {"stage1": STAGE1, "stage2": STAGE2}
CASES = [
    (stage, space, recipe)
    for stage, spaces in SPACES.items()
    for space in spaces
    for recipe in RECIPES[stage]
]


@pytest.mark.parametrize(("stage", "space", "recipe"), CASES)
def test_every_recipe_takes_every_setting_of_a_space(stage: str, space: str, recipe: str) -> None:
    config = RECIPES[stage][recipe](["summer", "winter"])
    for name, domain in search_space(stage, space).items():
        value = domain.sample()
        changed = override(config, [f"{name}={json.dumps(value)}"])
        for part in name.split("."):
            changed = getattr(changed, part)
        assert changed == pytest.approx(value)


@pytest.mark.parametrize(("stage", "space", "recipe"), CASES)
def test_a_space_reaches_to_both_sides_of_what_the_recipes_have(
    stage: str, space: str, recipe: str
) -> None:
    config = RECIPES[stage][recipe](["summer", "winter"])
    for name, domain in search_space(stage, space).items():
        usual = config
        for part in name.split("."):
            usual = getattr(usual, part)
        if hasattr(domain, "categories"):
            sizes = domain.categories  # each twice as large as the last
            assert [size // sizes[0] for size in sizes] == [2**n for n in range(len(sizes))]
            assert all(size % sizes[0] == 0 for size in sizes)
        elif usual:
            assert domain.lower <= usual <= domain.upper, name


def test_an_unknown_space_names_those_there_are() -> None:
    with pytest.raises(
        ValueError, match="no stage1 space 'speed': choose one of method, codebook, rates"
    ):
        search_space("stage1", "speed")
    with pytest.raises(ValueError, match=r"no stage2 space 'rate' \(did you mean 'rates'\?\)"):
        search_space("stage2", "rate")


def test_a_setting_cannot_be_fixed_and_varied() -> None:
    with pytest.raises(
        ValueError,
        match=r"^space 'rates' varies optim\.learning_rate: leave --set .* or take another space$",
    ):
        search_space("stage1", "rates", fixed=["optim.learning_rate=1e-3", "seed=1"])


def test_an_unknown_metric_names_those_there_are() -> None:
    with pytest.raises(
        ValueError,
        match=r"^stage1 trials cannot be ranked by 'psnr': choose one of held_out_psnr, ",
    ):
        direction("stage1", "psnr")
    with pytest.raises(
        ValueError, match=r"ranked by 'held_out_nl' \(did you mean 'held_out_nll'\?\)"
    ):
        direction("stage2", "held_out_nl")


def test_each_loss_term_is_a_metric_that_is_better_low() -> None:
    assert {METRICS["stage1"][name] for name in LossWeights.model_fields} == {"min"}
