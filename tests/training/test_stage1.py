import copy
import re
from collections.abc import Iterator
from itertools import islice

import pytest
import torch
from torch import Tensor, nn

from tests.training.conftest import FSQ
from training.config import LossWeights, override
from training.guard import DivergenceError
from training.job import Job
from training.stage1 import Stage1
from training.stages import make_stage
from training.worker import LocalWorker


def _stage(job: Job, worker: LocalWorker, *settings: str) -> Stage1:
    stage = make_stage(job.model_copy(update={"config": override(job.config, settings)}), worker)
    assert isinstance(stage, Stage1)
    return stage


@pytest.fixture
def stage(stage1_job: Job, worker: LocalWorker) -> Stage1:
    return _stage(stage1_job, worker)


def _batches(stage: Stage1, count: int) -> Iterator[Tensor]:
    return islice(stage.batches(stage.position), count)


def _gradients(module: nn.Module) -> dict[str, Tensor | None]:
    return {name: parameter.grad for name, parameter in module.named_parameters()}


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def _same(module: nn.Module, before: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_reconstructions_come_closer_to_the_images(stage1_job: Job, worker: LocalWorker) -> None:
    stage = _stage(
        stage1_job, worker, "game.discriminator_from=1000", "game.generator_from=1000", "schedule.images=1000"
    )
    pixel = [float(stage.train_step(batch)["pixel"]) for batch in _batches(stage, 40)]
    assert sum(pixel[-5:]) < 0.8 * sum(pixel[:5])


def test_each_term_of_the_objective_is_reported_under_the_name_of_its_weight(stage: Stage1) -> None:
    (batch,) = _batches(stage, 1)
    metrics = stage.train_step(batch)
    assert metrics.keys() == {*LossWeights.model_fields, "discriminator", "gradient_penalty", "restarted_codes"}
    assert float(metrics["adversarial"]) != 0


def test_every_parameter_learns(stage: Stage1) -> None:
    (batch,) = _batches(stage, 1)
    before = _copy(stage.averaged.module)
    stage.train_step(batch)
    for module in (stage.autoencoder, stage.discriminator):
        gradients = _gradients(module)
        assert [name for name, gradient in gradients.items() if gradient is None or not gradient.any()] == []
    assert not _same(stage.averaged.module, before)


def test_the_generators_step_leaves_the_discriminators_alone(stage: Stage1, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "_teach_discriminator", lambda images, views, draws: {})
    before = _copy(stage.discriminator)
    (batch,) = _batches(stage, 1)
    stage.train_step(batch)
    assert set(_gradients(stage.discriminator).values()) == {None}
    assert _same(stage.discriminator, before)
    assert all(parameter.requires_grad for parameter in stage.discriminator.parameters())


@pytest.mark.parametrize("settings", [(), FSQ], ids=["vectors", "levels"])
def test_a_step_that_is_not_finite_is_left_out(settings: tuple[str, ...], stage1_job: Job, worker: LocalWorker) -> None:
    stage = _stage(stage1_job, worker)
    first, second, third = _batches(stage, 3)
    stage.train_step(first)
    before = copy.deepcopy(stage.state_dict())
    assert stage.train_step(second * torch.nan) == {}
    assert stage.position == 8
    assert stage.measure()["left_out_steps"] == 1
    after = stage.state_dict()
    for name in ("generators", "averaged", "discriminator"):
        assert all(torch.equal(value, after[name][key]) for key, value in before[name].items()), name
    assert "pixel" in stage.train_step(third)


def test_too_many_steps_that_are_not_finite_end_the_run(stage1_job: Job, worker: LocalWorker) -> None:
    stage = _stage(stage1_job, worker, "max_nonfinite=1", "game.discriminator_from=1000", "game.generator_from=1000")
    worker.save(stage, 0, {})
    worker.close()
    first, second = _batches(stage, 2)
    before = _copy(stage.autoencoder)
    stage.train_step(first * torch.nan)
    images = re.escape(", ".join(stage.feed.names(4, 0)[:6]))
    sentence = rf"pixel.* not finite after 4 images, on {images}.* in 2 was: lower .*0000000000\.ckpt is from before"
    with pytest.raises(DivergenceError, match=sentence):
        stage.train_step(second * torch.nan)
    assert _same(stage.autoencoder, before)


def test_held_out_figures_are_those_of_the_averaged_weights(stage: Stage1) -> None:
    (batch,) = _batches(stage, 1)
    stage.train_step(batch)
    figures = stage.measure()
    assert 0 < figures["codes_used"] <= 1
    assert 5 < figures["held_out_psnr"] < 50
    nn.init.zeros_(next(stage.autoencoder.parameters()))
    assert stage.measure()["held_out_psnr"] == figures["held_out_psnr"]
    assert stage.measure()["codes_used"] == figures["codes_used"]  # however often somebody looks


def test_a_resumed_stage_takes_the_same_steps(stage1_job: Job, worker: LocalWorker) -> None:
    stage, resumed = _stage(stage1_job, worker), _stage(stage1_job, worker)
    for batch in _batches(stage, 2):
        stage.train_step(batch)
    resumed.load_state_dict(copy.deepcopy(stage.state_dict()))  # as after a way over the disk
    for each in (stage, resumed):
        for batch in _batches(each, 2):
            each.train_step(batch)
    assert _same(resumed.autoencoder, _copy(stage.autoencoder))
    assert _same(resumed.averaged, _copy(stage.averaged))
    assert _same(resumed.discriminator, _copy(stage.discriminator))
