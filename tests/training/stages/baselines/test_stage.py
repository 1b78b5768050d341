"""Baselines as stages: they learn, go on as they were, and take what stage 1 takes."""

import copy
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

import imaging
from baselines.translator import fingerprint, load
from pipelines.images_to_shards import build_shards
from pipelines.synthetic.dataset import DOMAINS
from serving.registry import resolve
from tests.processes import begin, kill_once
from tests.training.conftest import BASELINE
from training.distributed.worker import LocalWorker
from training.job import Job, make_job
from training.launch import train
from training.settings import override
from training.stages.baselines.recipes import BASELINES
from training.stages.baselines.stage import Baseline
from training.stages.build import caution, make_stage
from training.stages.nan_guard import DivergenceError
from training.tracking.journal import read_metrics

QUIET = Console(quiet=True)
TERMS = {
    "cyclegan64": {"adversarial", "cycle", "identity"},
    "cut64": {"adversarial", "patch_nce", "identity_nce"},
}


@pytest.fixture(params=BASELINES)
def job(request: pytest.FixtureRequest, shards: Path) -> Job:
    return make_job("baseline", data=shards, model=None, recipe=request.param, settings=BASELINE)


def _with(job: Job, *settings: str) -> Job:
    return job.model_copy(update={"config": override(job.config, settings)})


def _stage(job: Job, worker: LocalWorker, *settings: str) -> Baseline:
    stage = make_stage(_with(job, *settings), worker)
    assert isinstance(stage, Baseline)
    return stage


def _batches(stage: Baseline, count: int) -> Iterator[Tensor]:
    return islice(stage.batches(stage.position), count)


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def _same(module: nn.Module, before: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_what_ties_a_translation_to_its_source_is_learned(job: Job, worker: LocalWorker) -> None:
    stage = _stage(
        job, worker, "schedule.images=1000", "weights.adversarial=0", "optim.learning_rate=5e-3"
    )
    term = {"cyclegan64": "cycle", "cut64": "patch_nce"}[job.config.recipe]
    values = [float(stage.train_step(batch)[term]) for batch in _batches(stage, 40)]
    assert sum(values[-5:]) < 0.9 * sum(values[:5])


def test_discriminators_learn_to_tell_translations_from_images(
    job: Job, worker: LocalWorker
) -> None:
    stage = _stage(job, worker, "schedule.images=1000", "optim.learning_rate=1e-9")
    answers = [float(stage.train_step(batch)["discriminator"]) for batch in _batches(stage, 30)]
    assert sum(answers[-5:]) < 0.8 * sum(answers[:5])


def test_each_term_is_reported_under_the_name_of_its_weight(job: Job, worker: LocalWorker) -> None:
    stage = _stage(job, worker)
    (batch,) = _batches(stage, 1)
    metrics = stage.train_step(batch)
    assert metrics.keys() == TERMS[job.config.recipe] | {"discriminator"}
    assert all(torch.isfinite(value) for value in metrics.values())


def test_every_parameter_of_both_players_learns(job: Job, worker: LocalWorker) -> None:
    stage = _stage(job, worker)
    before = _copy(stage.averaged.module)
    (batch,) = _batches(stage, 1)
    stage.train_step(batch)
    idle = [
        name
        for player in stage.players.values()
        for name, parameter in player.network.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    # Undecided answers lie inside the margin on both sides, whose pulls on a bias are opposite.
    assert idle == [f"heads.{domain}.bias" for domain in stage.config.domains]
    assert all(parameter.requires_grad for parameter in stage.discriminator.parameters())
    assert not _same(stage.averaged.module, before)


def test_the_generators_are_asked_to_fool_discriminators_whose_weights_stay(
    job: Job, worker: LocalWorker
) -> None:
    stages = [_stage(job, worker, f"weights.adversarial={weight}") for weight in (0, 1)]
    gradients: list[list[Tensor]] = []
    for stage in stages:
        (batch,) = _batches(stage, 1)
        stage.train_step(batch)
        gradients.append(
            [p.grad.clone() for p in stage.discriminator.parameters() if p.grad is not None]
        )
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)
    moved = [_copy(stage.generators) for stage in stages]
    assert any(not torch.equal(tensor, moved[1][name]) for name, tensor in moved[0].items())


def test_a_step_that_is_not_finite_is_left_out_and_too_many_end_the_run(
    job: Job, worker: LocalWorker
) -> None:
    stage = _stage(job, worker, "max_nonfinite=1")
    first, second = _batches(stage, 2)
    before = copy.deepcopy(stage.state_dict())
    assert stage.train_step(first * torch.nan) == {}
    assert stage.position == 4
    assert stage.measure()["left_out_steps"] == 1
    for name in ("generators", "discriminators", "averaged"):
        after = stage.state_dict()[name]
        assert all(torch.equal(value, after[key]) for key, value in before[name].items()), name
    images = re.escape(", ".join(stage.feed.names(4, 0)[:6]))
    with pytest.raises(DivergenceError, match=rf"not finite after 4 images, on {images}"):
        stage.train_step(second * torch.nan)


def test_a_resumed_stage_takes_the_same_steps(job: Job, worker: LocalWorker) -> None:
    stage, resumed = _stage(job, worker), _stage(job, worker)
    for batch in _batches(stage, 2):
        stage.train_step(batch)
    resumed.load_state_dict(copy.deepcopy(stage.state_dict()))  # as after a way over the disk
    for each in (stage, resumed):
        for batch in _batches(each, 2):
            each.train_step(batch)
    for name, player in stage.players.items():
        assert _same(resumed.players[name].network, _copy(player.network)), name
    assert _same(resumed.averaged, _copy(stage.averaged))


def test_steps_of_both_sides_follow_the_schedule_and_its_clock(
    job: Job, worker: LocalWorker
) -> None:
    stage = _stage(job, worker, "schedule.constant_until=0.6")
    (batch,) = _batches(stage, 1)
    full = stage.players["generators"].optim.learning_rate
    for time_gone, share in ((0.0, 1.0), (0.9, 0.25)):
        stage.train_step(batch, time_gone)
        rates = [player.learning_rate for player in stage.players.values()]
        assert rates == pytest.approx([share * full] * 2)


def test_figures_and_pictures_are_those_of_the_averaged_weights(
    job: Job, worker: LocalWorker
) -> None:
    stage = _stage(job, worker)
    (batch,) = _batches(stage, 1)
    stage.train_step(batch)
    figures, pictures = stage.measure(), stage.samples()
    assert 5 < figures["held_out_cycle_psnr"] < 50
    for parameter in stage.generators.parameters():
        nn.init.zeros_(parameter)
    assert stage.measure() == figures
    assert np.array_equal(stage.samples()["translations"], pictures["translations"])
    assert pictures["translations"].shape[0] == 4 * 16 + 3 * 2  # of each domain, and translations


def _train(job: Job, run_dir: Path) -> None:
    torch.set_num_threads(1)
    train(job, run_dir, console=QUIET)


def test_a_killed_run_given_again_ends_with_the_same_bundle(
    job: Job, tmp_path: Path, mlflow_store: str
) -> None:
    undisturbed = train(job, tmp_path / "undisturbed", console=QUIET)
    run_dir = tmp_path / "killed"
    kill_once(begin(_train, job, run_dir), lambda: list(run_dir.glob("checkpoints/*.ckpt")))
    resumed = train(job, run_dir, console=QUIET)
    assert resumed.complete
    assert fingerprint(resumed.bundle) == fingerprint(undisturbed.bundle)
    assert [row["position"] for row in read_metrics(run_dir)] == list(range(8, 49, 8))
    model = load(resumed.bundle)
    assert model.method == job.config.recipe.removesuffix("64")
    assert model.provenance["recipe"] == job.config.recipe
    assert model.provenance["images_seen"] == 48
    assert (run_dir / "samples").is_dir()
    assert not (run_dir / "best").exists()


def test_a_bundle_can_be_registered_with_the_training(
    job: Job, tmp_path: Path, mlflow_store: str
) -> None:
    short = _with(job, "schedule.images=4")
    train(short, tmp_path / "run", console=QUIET, register="opponent")
    assert load(resolve("models:/opponent/1", cache=tmp_path / "cache")).domains == DOMAINS


def test_any_number_of_domains_is_translated_in_all_directions(
    shards: Path, tmp_path: Path, worker: LocalWorker
) -> None:
    folders = {name: shards.parent / "images/train" / name for name in DOMAINS}
    more = tmp_path / "autumn"
    more.mkdir()
    for number, file in enumerate(sorted(folders["summer"].glob("*.png"))):
        imaging.write(more / f"{number}.png", 255 - imaging.read(file))
    build_shards({**folders, "autumn": more}, out=tmp_path / "three", size=32)
    for recipe in BASELINES:
        job = make_job(
            "baseline", data=tmp_path / "three", model=None, recipe=recipe, settings=BASELINE
        )
        stage = _stage(job, worker)
        before = _copy(stage.generators)
        for batch in _batches(stage, 6):
            stage.train_step(batch)
        after = stage.generators.state_dict()
        moved = {
            name.split(".")[1] for name in before if not torch.equal(before[name], after[name])
        }
        assert len(moved) == 6
        assert stage.samples()["translations"].shape[0] == 6 * 16 + 5 * 2


def test_what_does_not_fit_is_refused(job: Job, shards: Path) -> None:
    for setting, sentence in (
        ("crop=18", "crop 18 is not a multiple of the network's stride 4"),
        (
            "schedule.best=held_out_psnr",
            "baseline does not measure schedule.best=held_out_psnr: leave it empty, since nothing "
            "ranks its weights",
        ),
        ("weights.pixel=1", "there is no setting 'weights.pixel'"),
    ):
        with pytest.raises(ValueError, match=re.escape(sentence)):
            override(job.config, [setting])
    with pytest.raises(
        ValueError, match=r"no baseline recipe 'cyclegan' \(did you mean 'cyclegan64"
    ):
        make_job("baseline", data=shards, model=None, recipe="cyclegan")


def test_nothing_is_said_about_choosing_weights_where_none_are_chosen(job: Job) -> None:
    assert caution(job) == ""
    assert Job.model_validate_json(job.model_dump_json()) == job
