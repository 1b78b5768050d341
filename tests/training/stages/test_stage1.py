import copy
import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import imaging
from pipelines.images_to_shards import build_shards
from pipelines.reading.reader import ShardReader
from pipelines.synthetic.dataset import DOMAINS
from tests.training.conftest import FSQ, WITHOUT_WEIGHT
from training.config import LossWeights
from training.distributed.worker import LocalWorker
from training.job import Job
from training.settings import override
from training.stages.adversarial import Loss
from training.stages.build import make_stage
from training.stages.nan_guard import DivergenceError
from training.stages.stage1 import Stage1


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
        stage1_job,
        worker,
        "game.discriminator_from=1000",
        "game.generator_from=1000",
        "schedule.images=1000",
    )
    pixel = [float(stage.train_step(batch)["pixel"]) for batch in _batches(stage, 40)]
    assert sum(pixel[-5:]) < 0.8 * sum(pixel[:5])


def test_each_term_of_the_objective_is_reported_under_the_name_of_its_weight(stage: Stage1) -> None:
    (batch,) = _batches(stage, 1)
    metrics = stage.train_step(batch)
    not_computed = WITHOUT_WEIGHT | {"adversarial_reconstruction"}  # nobody judges them
    assert (
        metrics.keys()
        == {*LossWeights.model_fields, "discriminator", "restarted_codes"} - not_computed
    )
    assert float(metrics["adversarial"]) != 0


def test_what_a_step_does_not_compute_it_does_not_report(
    stage1_job: Job, worker: LocalWorker
) -> None:
    stage = _stage(
        stage1_job,
        worker,
        "codebook.start_at=4",
        "game.discriminator_from=8",
        "game.generator_from=12",
        "game.r1=1",
        "game.r1_every=2",
        "weights.patch_nce=0",
        "weights.style=0",
        "perceptual.kind=none",
        "weights.perceptual=0",
    )
    steps = [set(stage.train_step(batch)) for batch in _batches(stage, 4)]
    unasked = WITHOUT_WEIGHT | {"patch_nce", "style", "perceptual"}
    later = {"commitment", "adversarial", "adversarial_reconstruction"}
    always = {*LossWeights.model_fields} - unasked - later
    codes = {"commitment", "restarted_codes"}
    assert steps[0] == always
    assert steps[1] == always | codes
    assert steps[2] == always | codes | {"discriminator", "gradient_penalty"}
    assert steps[3] == always | codes | {"discriminator", "adversarial"}


def test_every_parameter_learns(stage: Stage1) -> None:
    (batch,) = _batches(stage, 1)
    before = _copy(stage.averaged.module)
    stage.train_step(batch)
    for module in (stage.autoencoder, stage.discriminator):
        gradients = _gradients(module)
        assert [
            name for name, gradient in gradients.items() if gradient is None or not gradient.any()
        ] == []
    assert not _same(stage.averaged.module, before)


def test_the_generators_step_leaves_the_discriminators_alone(
    stage: Stage1, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle = Loss(torch.zeros((), requires_grad=True), {})
    monkeypatch.setattr(stage.adversaries, "discriminators", lambda shown, penalised: idle)
    before = _copy(stage.discriminator)
    (batch,) = _batches(stage, 1)
    stage.train_step(batch)
    assert set(_gradients(stage.discriminator).values()) == {None}
    assert _same(stage.discriminator, before)
    assert all(parameter.requires_grad for parameter in stage.discriminator.parameters())


@pytest.mark.parametrize("settings", [(), FSQ], ids=["vectors", "levels"])
def test_a_step_that_is_not_finite_is_left_out(
    settings: tuple[str, ...], stage1_job: Job, worker: LocalWorker
) -> None:
    stage = _stage(stage1_job, worker)
    first, second, third = _batches(stage, 3)
    stage.train_step(first)
    before = copy.deepcopy(stage.state_dict())
    assert stage.train_step(second * torch.nan) == {}
    assert stage.position == 8
    assert stage.measure()["left_out_steps"] == 1
    after = stage.state_dict()
    for name in ("generators", "averaged", "discriminator"):
        assert all(torch.equal(value, after[name][key]) for key, value in before[name].items()), (
            name
        )
    assert "pixel" in stage.train_step(third)


def test_too_many_steps_that_are_not_finite_end_the_run(
    stage1_job: Job, worker: LocalWorker
) -> None:
    stage = _stage(
        stage1_job,
        worker,
        "max_nonfinite=1",
        "game.discriminator_from=1000",
        "game.generator_from=1000",
    )
    worker.save(stage, 0, {})
    worker.close()
    first, second = _batches(stage, 2)
    before = _copy(stage.autoencoder)
    stage.train_step(first * torch.nan)
    images = re.escape(", ".join(stage.feed.names(4, 0)[:6]))
    sentence = rf"pixel.* not finite after 4 images, on {images}.* in 2 was: lower .*these images"
    with pytest.raises(DivergenceError, match=sentence):
        stage.train_step(second * torch.nan)
    assert _same(stage.autoencoder, before)


def test_averaged_weights_keep_most_of_what_they_were(stage1_job: Job, worker: LocalWorker) -> None:
    stage = _stage(stage1_job, worker, "ema_decay=0.9")
    first, second = _batches(stage, 2)
    stage.train_step(first)
    before = _copy(stage.averaged.module)
    stage.train_step(second)
    learned, averaged = (
        dict(network.named_parameters()) for network in (stage.autoencoder, stage.averaged.module)
    )
    for name, weight in averaged.items():
        torch.testing.assert_close(weight, 0.9 * before[name] + 0.1 * learned[name])
    assert not _same(stage.autoencoder, before)


def test_steps_of_both_sides_are_as_long_as_the_schedule_says(
    stage1_job: Job, worker: LocalWorker
) -> None:
    moves = []
    for time_gone in (0.0, 0.9):
        stage = _stage(stage1_job, worker, "schedule.constant_until=0.6")
        networks = stage.autoencoder, stage.discriminator
        before = [_copy(network) for network in networks]
        (batch,) = _batches(stage, 1)
        stage.train_step(batch, time_gone)  # a quarter of the falling part is left
        moves.append(
            [
                (p - old[name]).detach()
                for old, net in zip(before, networks, strict=True)
                for name, p in net.named_parameters()
            ]
        )
    for full, quarter in zip(*moves, strict=True):
        torch.testing.assert_close(quarter, 0.25 * full, atol=1e-7, rtol=1e-3)


def test_the_codebook_follows_all_parts_of_a_batch(stage1_job: Job, worker: LocalWorker) -> None:
    whole, parted = (_stage(stage1_job, worker, f"accumulate={parts}") for parts in (1, 2))
    (batch,) = _batches(whole, 1)
    for stage in (whole, parted):
        stage.train_step(batch)
    tokens = (whole.config.crop // whole.config.network.stride) ** 2
    for name, kept in whole.autoencoder.codebook.named_buffers():
        torch.testing.assert_close(
            parted.autoencoder.codebook.get_buffer(name), kept, atol=1e-4, rtol=1e-4
        )
    assert whole.usage.history().sum() == parted.usage.history().sum() == tokens * len(batch)


R1 = ("game.r1=1", "discriminator_optim.clip_norm=1e9")


def test_a_penalty_weighs_as_many_steps_as_it_stands_for(
    stage1_job: Job, worker: LocalWorker
) -> None:
    gradients = []
    for settings in ((), (*R1, "game.r1_every=1"), (*R1, "game.r1_every=4")):
        stage = _stage(stage1_job, worker, "discriminator_optim.clip_norm=1e9", *settings)
        (batch,) = _batches(stage, 1)
        stage.train_step(batch)
        gradients.append(
            torch.cat(
                [p.grad.flatten() for p in stage.discriminator.parameters() if p.grad is not None]
            )
        )
    without, every, fourth = gradients
    assert (every - without).norm() > 0.01 * without.norm()
    torch.testing.assert_close(fourth - without, 4 * (every - without), atol=1e-5, rtol=1e-2)


def test_penalties_come_at_their_interval(stage1_job: Job, worker: LocalWorker) -> None:
    stage = _stage(stage1_job, worker, *R1, "game.r1_every=2")
    penalties = [stage.train_step(batch).get("gradient_penalty") for batch in _batches(stage, 3)]
    assert [penalty is not None and float(penalty) > 0 for penalty in penalties] == [
        True,
        False,
        True,
    ]
    assert penalties[1] is None  # and none is reported


def test_the_bundles_styles_are_those_of_training_images(stage: Stage1) -> None:
    styles = stage.translator().style_prior
    reader = stage.feed.reader
    for domain in stage.config.network.domains:
        images = reader.read_some("train", domain, range(reader.count("train", domain)))
        side = stage.config.crop
        seen = imaging.to_tensor([imaging.center_crop(image, side, side) for image in images])
        torch.testing.assert_close(
            styles.styles(domain), stage.model.encode_style(seen, domain), atol=1e-4, rtol=1e-4
        )


def test_held_out_figures_are_those_of_the_averaged_weights(stage: Stage1) -> None:
    (batch,) = _batches(stage, 1)
    stage.train_step(batch)
    figures = stage.measure()
    assert 0 < figures["codes_used"] <= 1
    assert 5 < figures["held_out_psnr"] < 50
    nn.init.zeros_(next(stage.autoencoder.parameters()))
    assert stage.measure()["held_out_psnr"] == figures["held_out_psnr"]
    assert stage.measure()["codes_used"] == figures["codes_used"]  # however often somebody looks


def test_weights_are_chosen_by_validation_images(
    stage1_job: Job, validated: Path, worker: LocalWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    monkeypatch.setattr(ShardReader, "read_some", _noting(ShardReader.read_some, read))
    chosen = _stage(stage1_job.model_copy(update={"data": str(validated)}), worker)
    assert chosen.translator().provenance["measured_on"] == "validation"
    assert chosen.translator().provenance["chosen"] == "last"
    best = chosen.translator("held_out_psnr").provenance
    assert best["chosen"] == "held_out_psnr on validation"
    reader = ShardReader(validated)
    for domain, images in chosen.feed.held_out().items():
        wanted = reader.read_some("validation", domain, range(reader.count("validation", domain)))
        side = chosen.config.crop
        assert torch.equal(
            images, imaging.to_tensor([imaging.center_crop(image, side, side) for image in wanted])
        )
    chosen.measure()
    chosen.samples()
    assert set(read) == {"train", "validation"}  # train: to fit the style prior on
    older = _stage(stage1_job, worker)
    assert older.translator().provenance["measured_on"] == "test"
    assert older.translator("held_out_psnr").provenance["chosen"] == "held_out_psnr on test"
    assert older.translator("perplexity").provenance["chosen"] == "perplexity on train"


def _noting(read_some: Callable[..., Any], splits: list[str]) -> Callable[..., Any]:
    def noted(reader: ShardReader, split: str, *rest: Any) -> Any:
        splits.append(split)
        return read_some(reader, split, *rest)

    return noted


def test_data_to_measure_nothing_on_is_refused_before_the_first_step(
    stage1_job: Job, shards: Path, worker: LocalWorker, tmp_path: Path
) -> None:
    folders = {domain: shards.parent / "images/train" / domain for domain in DOMAINS}
    build_shards(folders, out=tmp_path / "shards", size=32, test_fraction=0)
    with pytest.raises(
        ValueError,
        match="neither validation nor test images of summer, winter to measure models on",
    ):
        _stage(stage1_job.model_copy(update={"data": str(tmp_path / "shards")}), worker)


def test_a_state_has_the_names_under_which_checkpoints_keep_it(stage: Stage1) -> None:
    assert set(stage.state_dict()) == {
        "position",
        "quantizes",
        "generators",
        "averaged",
        "discriminator",
        "generator_adam",
        "discriminator_adam",
        "usage",
        "guard",
    }


def test_a_checkpoint_of_before_the_clock_begins_its_codebook_by_its_position(
    stage1_job: Job, worker: LocalWorker
) -> None:
    for position, begun in ((8, False), (9, True)):
        stage = _stage(stage1_job, worker, "codebook.start_at=8")
        state = stage.state_dict() | {"position": position}
        del state["quantizes"]
        stage.load_state_dict(state)
        assert (stage.position, stage.state_dict()["quantizes"]) == (position, begun)


def test_damaged_images_of_all_workers_are_reported(
    stage: Stage1, worker: LocalWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "sum", lambda counted: counted.mul_(2))  # as many of another worker
    stage.feed.replaced = 3
    assert stage.measure()["replaced_images"] == 6


@pytest.mark.parametrize("side", ["generators", "discriminators"])
def test_gradients_that_are_not_finite_are_told_by_whose_they_are(
    side: str, stage1_job: Job, worker: LocalWorker
) -> None:
    stage = _stage(stage1_job, worker, "max_nonfinite=0")
    network = stage.autoencoder if side == "generators" else stage.discriminator
    next(network.parameters()).register_hook(lambda gradient: gradient * torch.inf)
    (batch,) = _batches(stage, 1)
    with pytest.raises(
        DivergenceError, match=rf"^gradients of the {side} not finite after 0 images"
    ):
        stage.train_step(batch)


def test_the_time_of_a_step_is_told_by_its_parts(stage: Stage1) -> None:
    (batch,) = _batches(stage, 1)
    stage.collectives.stopwatch.read(1)
    stage.train_step(batch)
    figures = stage.collectives.stopwatch.read(1)
    for part in ("backward", "optimiser"):
        assert figures[f"time/{part}"] > 0, part


def test_label_maps_are_shown_to_the_content_encoder_in_their_own_colours(
    stage1_job: Job, worker: LocalWorker
) -> None:
    stage = _stage(stage1_job, worker, "recolor=1")
    stage.feed.labels = frozenset({"winter"})
    (batch,) = _batches(stage, 1)
    shown = stage._recolored(batch, stage._draws())
    assert shown is not None
    assert torch.equal(shown[4:], batch[4:])
    assert all(not torch.equal(own, other) for own, other in zip(shown[:4], batch, strict=False))
    assert _stage(stage1_job, worker, "recolor=0")._recolored(batch, stage._draws()) is None


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
