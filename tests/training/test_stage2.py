import copy
from itertools import islice

import pytest
import torch

from training.config import override
from training.job import Job
from training.stage2 import Stage2
from training.stages import make_stage, prepare
from training.worker import LocalWorker


def _stage(job: Job, worker: LocalWorker, *settings: str) -> Stage2:
    job = job.model_copy(update={"config": override(job.config, settings)})
    prepare(job)
    stage = make_stage(job, worker)
    assert isinstance(stage, Stage2)
    return stage


def _step(stage: Stage2, count: int) -> list[float]:
    return [float(stage.train_step(batch)["nll"]) for batch in islice(stage.batches(stage.position), count)]


def test_held_out_tokens_become_likelier(stage2_job: Job, worker: LocalWorker) -> None:
    stage = _stage(stage2_job, worker, "schedule.images=1000")
    before = stage.measure()
    _step(stage, 40)
    after = stage.measure()
    assert after["held_out_nll"] < before["held_out_nll"] - 0.3
    assert after["held_out_bits_per_token"] == pytest.approx(after["held_out_nll"] / 0.693147, rel=1e-4)


def test_a_resumed_stage_takes_the_same_steps(stage2_job: Job, worker: LocalWorker) -> None:
    stage, resumed = _stage(stage2_job, worker), _stage(stage2_job, worker)
    _step(stage, 3)
    state = copy.deepcopy(stage.state_dict())
    uninterrupted = _step(stage, 3)
    torch.rand(7)  # other random draws in between do not matter
    resumed.load_state_dict(state)
    assert _step(resumed, 3) == uninterrupted
    assert resumed.position == stage.position == 24
    before, after = stage.prior.state_dict(), resumed.prior.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_bundle_holds_stage_1_and_the_prior(stage2_job: Job, worker: LocalWorker) -> None:
    stage = _stage(stage2_job, worker)
    _step(stage, 1)
    translator = stage.translator()
    assert translator.provenance["prior_images_seen"] == 4
    assert translator.provenance["recipe"] == "untrained"  # stage 1's own
    (image,) = translator.generate(1, domain="summer", height=32, width=32)
    assert image.shape == (3, 32, 32)


def test_a_window_of_another_size_than_the_tokens_is_refused(stage2_job: Job, worker: LocalWorker) -> None:
    with pytest.raises(ValueError, match="the model makes 8x8 tokens: set both equal"):
        _stage(stage2_job, worker, "prior.window=[8,4]")


def test_stage_2_needs_a_bundle(stage2_job: Job, worker: LocalWorker) -> None:
    with pytest.raises(ValueError, match="give it with --model"):
        make_stage(stage2_job.model_copy(update={"model": None}), worker)
