import pytest

from training.recipes import recipe
from training.stages.baselines.config import BaselineConfig
from training.stages.baselines.recipes import BASELINES


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_has_the_budget_the_data_and_the_opponent_of_laptop64(name: str) -> None:
    ours, baseline = recipe("stage1", "laptop64", "ab"), recipe("baseline", name, "ab")
    assert isinstance(baseline, BaselineConfig)
    assert ours.stage == "stage1"
    assert baseline.schedule == ours.schedule.model_copy(update={"best": ""})
    for shared in ("batch_size", "crop", "jitter", "order", "precision", "discriminator"):
        assert getattr(baseline, shared) == getattr(ours, shared), shared
    assert baseline.ema_decay == ours.ema_decay
    assert baseline.game == ours.game.loss
    assert baseline.network.stride == ours.network.stride
