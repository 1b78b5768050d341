import pytest

from training.config import ScheduleConfig
from training.recipes import BASELINES, STAGE1, STAGE2, recipe, stage1_laptop64, stage2_laptop64
from training.settings import override

SEASONS = ("summer", "winter")


def test_a_setting_is_changed_by_its_dotted_name_and_the_original_is_not() -> None:
    config = stage1_laptop64(SEASONS)
    changed = override(
        config, ["weights.style=2.5", "network.decoder=per_domain", "schedule.minutes=3"]
    )
    assert (changed.weights.style, changed.network.decoder, changed.schedule.minutes) == (
        2.5,
        "per_domain",
        3,
    )
    assert changed.weights.pixel == config.weights.pixel
    assert config.weights.style != 2.5


def test_lists_and_paths_are_settings_too() -> None:
    assert override(stage2_laptop64(SEASONS), ["prior.window=[8,4]"]).prior.window == (8, 4)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        (
            "weights.stile=1",
            r"there is no setting 'weights.stile' \(did you mean 'weights.style'\?\); known here: "
            r"pixel, perceptual",
        ),
        (
            "stile=1",
            r"there is no setting 'stile' \(did you mean 'weights.style'\?\); known here: recipe, "
            r"seed",
        ),
        (
            "learning_rate=1",
            r"there is no setting 'learning_rate' \(did you mean 'optim.learning_rate'\?\)",
        ),
        (
            "netwrk.base_channels=8",
            r"no setting 'netwrk.base_channels' \(did you mean 'network.base_channels'\?\)",
        ),
        ("quux=1", r"there is no setting 'quux'; known here: recipe, seed"),
        ("seed=99999999999999999999", "the seed 99999999999999999999 is out of range"),
        (
            "schedule.best=held_out_pnsr",
            r"schedule.best=held_out_pnsr \(did you mean 'held_out_psnr'\?\): choose",
        ),
        (
            'network.domains=["Summer","b"]',
            "a domain cannot be called 'Summer': .* call it 'summer'",
        ),
        ("weights.style.deep=1", "there is no setting 'weights.style.deep'"),
        ("weights.style", "--set 'weights.style' is not of the form name=value"),
        ("batch_size=many", "batch_size: Input should be a valid integer"),
        ("optim.learning_rate=-1", "optim.learning_rate: Input should be greater than 0"),
        ("crop=30", "crop 30 is not a multiple of the network's stride 4"),
        (
            "game.generator_from=0",
            "game.generator_from must not come before game.discriminator_from",
        ),
        (
            "perceptual.kind=none weights.perceptual=1",
            "set perceptual.kind and weights.perceptual together",
        ),
    ],
)
def test_a_wrong_setting_is_one_sentence(setting: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as raised:
        override(stage1_laptop64(SEASONS), setting.split())
    assert "\n" not in str(raised.value)


def test_several_settings_may_be_consistent_only_together() -> None:
    changed = override(
        stage1_laptop64(SEASONS), ["game.discriminator_from=0", "game.generator_from=0"]
    )
    assert changed.game.generator_from == 0


@pytest.mark.parametrize("domains", [SEASONS, ("spring", "summer", "winter")], ids=["two", "three"])
@pytest.mark.parametrize(
    ("stage", "name"),
    [("stage1", name) for name in STAGE1]
    + [("stage2", name) for name in STAGE2]
    + [("baseline", name) for name in BASELINES],
)
def test_a_recipe_fits_any_number_of_domains(
    stage: str, name: str, domains: tuple[str, ...]
) -> None:
    config = recipe(stage, name, domains)
    assert (config.stage, config.recipe) == (stage, name)
    assert type(config).model_validate_json(config.dump()) == config
    if config.stage != "stage2":
        assert config.network.domains == domains


def test_an_unknown_recipe_names_those_there_are() -> None:
    with pytest.raises(
        ValueError,
        match="no stage2 recipe 'huge': choose one of laptop64, plus64, masked64, paper256",
    ):
        recipe("stage2", "huge", SEASONS)


def test_the_learning_rate_rises_stays_and_falls() -> None:
    schedule = ScheduleConfig(images=100, warmup_images=10, constant_until=0.6)
    factors = [schedule.learning_rate_factor(position) for position in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[:10] == sorted(factors[:10])
    assert factors[10:60] == pytest.approx([1.0] * 50)
    assert factors[60:] == sorted(factors[60:], reverse=True)
    assert factors[80] == pytest.approx(0.5)
    assert factors[100] == 0


def test_without_warm_up_and_fall_the_learning_rate_is_constant() -> None:
    schedule = ScheduleConfig(images=100, warmup_images=0, constant_until=1)
    assert {schedule.learning_rate_factor(position) for position in (0, 50, 100)} == {1.0}


def test_a_run_that_its_clock_will_end_slows_down_in_time() -> None:
    schedule = ScheduleConfig(images=100, constant_until=0.5)
    assert schedule.learning_rate_factor(10, time_gone=0.75) == 0.5
    assert schedule.learning_rate_factor(10, time_gone=1.1) == 0
    assert schedule.learning_rate_factor(75, time_gone=0.2) == 0.5


def test_what_begins_in_the_course_of_a_run_begins_by_its_clock_where_that_is_ahead() -> None:
    schedule = ScheduleConfig(images=1000, minutes=1, warmup_images=100)
    assert schedule.gone(300, time_gone=0.2) == 300
    assert schedule.gone(300, time_gone=0.5) == 500
    assert schedule.learning_rate_factor(9) == pytest.approx(0.1)
    assert schedule.learning_rate_factor(9, time_gone=0.049) == pytest.approx(0.5)
