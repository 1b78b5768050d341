import copy
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from errors import UserError
from pipelines.schema import SPLITS
from training.distributed.worker import LocalWorker
from training.job import Job
from training.settings import override
from training.stages.build import make_stage, prepare
from training.stages.nan_guard import DivergenceError
from training.stages.stage2 import Stage2
from training.stages.token_windows import draw_windows, measured_windows


def _stage(job: Job, worker: LocalWorker, *settings: str) -> Stage2:
    job = job.model_copy(update={"config": override(job.config, settings)})
    prepare(job)
    stage = make_stage(job, worker)
    assert isinstance(stage, Stage2)
    return stage


def _step(stage: Stage2, count: int) -> list[float]:
    return [
        float(stage.train_step(batch)["nll"])
        for batch in islice(stage.batches(stage.position), count)
    ]


MASKED = ("prior.kind=masked", "prior.positions=rotary", "prior.local=true")
LOCAL = ("prior.positions=rotary", "prior.local=true", "ema_decay=0.9")
kinds = pytest.mark.parametrize("settings", [(), LOCAL, MASKED], ids=["causal", "local", "masked"])


@kinds
def test_held_out_tokens_become_likelier(
    stage2_job: Job, worker: LocalWorker, settings: tuple[str, ...]
) -> None:
    stage = _stage(stage2_job, worker, "schedule.images=1000", *settings)
    before = stage.measure()
    _step(stage, 40)
    after = stage.measure()
    assert after["held_out_nll"] < before["held_out_nll"] - 0.3
    assert abs(after["gap_bits"]) < 0.5
    assert after["held_out_bits_per_token"] == pytest.approx(
        after["held_out_nll"] / 0.693147, rel=1e-4
    )


def test_a_prior_that_goes_upwards_learns_pictures_upside_down_too(
    stage2_job: Job, worker: LocalWorker
) -> None:
    stage = _stage(stage2_job, worker, "schedule.images=1000", "prior.upwards=true")
    before = stage.measure()
    (batch,) = islice(stage.batches(0), 1)
    assert set(batch.domains.tolist()) <= {0, 1, 2, 3}
    _step(stage, 40)
    after = stage.measure()
    for name in ("held_out_bits_per_token", "held_out_bits_upside_down"):
        assert after[name] < before[name] - 0.3
    assert "held_out_bits_upside_down" not in _stage(stage2_job, worker).measure()


@pytest.mark.parametrize("other", ["prior.condition=coordinates", MASKED])
def test_upwards_is_refused_where_it_would_do_nothing(
    stage2_job: Job, worker: LocalWorker, other: Any
) -> None:
    settings = [other] if isinstance(other, str) else other
    with pytest.raises(UserError, match=r"prior\.upwards is for prior\.kind=causal"):
        _stage(stage2_job, worker, "prior.upwards=true", *settings)


@kinds
def test_a_resumed_stage_takes_the_same_steps(
    stage2_job: Job, worker: LocalWorker, settings: tuple[str, ...]
) -> None:
    stage, resumed = _stage(stage2_job, worker, *settings), _stage(stage2_job, worker, *settings)
    _step(stage, 3)
    state = copy.deepcopy(stage.state_dict())
    uninterrupted = _step(stage, 3)
    torch.rand(7)  # other random draws in between do not matter
    resumed.load_state_dict(state)
    assert _step(resumed, 3) == uninterrupted
    assert resumed.position == stage.position == 24
    for before, after in ((stage.prior, resumed.prior), (stage.averaged, resumed.averaged)):
        kept = after.state_dict()
        assert all(torch.equal(value, kept[name]) for name, value in before.state_dict().items())


def test_a_loss_that_is_not_finite_teaches_nothing_and_names_the_images(
    stage2_job: Job, worker: LocalWorker
) -> None:
    stage = _stage(stage2_job, worker, "max_nonfinite=1")
    (batch,) = islice(stage.batches(0), 1)
    good = copy.deepcopy(stage.prior.state_dict())
    with torch.no_grad():
        stage.prior.head.weight[0, 0] = torch.inf
    assert stage.train_step(batch) == {}
    image = stage.tokens.names(4, global_batch=4, seed=0, rank=0, world_size=1)[0]
    assert image.startswith("train/summer/000000.tar:")
    with pytest.raises(
        DivergenceError, match=rf"nll, gradients of the prior not finite after 4 images, on {image}"
    ):
        stage.train_step(batch)
    kept = stage.prior.state_dict()
    assert all(
        torch.equal(value, kept[name]) for name, value in good.items() if name != "head.weight"
    )


def test_a_state_has_the_names_under_which_checkpoints_keep_it(
    stage2_job: Job, worker: LocalWorker
) -> None:
    state = _stage(stage2_job, worker).state_dict()
    assert set(state) == {"position", "prior", "averaged", "adam", "guard"}


def test_the_time_of_a_step_is_told_by_its_parts(stage2_job: Job, worker: LocalWorker) -> None:
    stage = _stage(stage2_job, worker)
    (batch,) = islice(stage.batches(0), 1)
    stage.collectives.stopwatch.read(1)
    stage.train_step(batch)
    figures = stage.collectives.stopwatch.read(1)
    for part in ("backward", "optimiser"):
        assert figures[f"time/{part}"] > 0, part


@kinds
def test_the_bundle_holds_stage_1_and_the_prior(
    stage2_job: Job, worker: LocalWorker, settings: tuple[str, ...]
) -> None:
    stage = _stage(stage2_job, worker, *settings)
    _step(stage, 1)
    translator = stage.translator()
    assert translator.provenance["prior_images_seen"] == 4
    assert translator.provenance["recipe"] == "untrained"  # stage 1's own
    (image,) = translator.generate(1, domain="summer", height=32, width=32)
    assert image.shape == (3, 32, 32)


def test_averaged_weights_follow_those_that_learn(stage2_job: Job, worker: LocalWorker) -> None:
    stage = _stage(stage2_job, worker, "ema_decay=0.9")
    before = copy.deepcopy(stage.prior.head.weight.detach())
    _step(stage, 3)
    learned, averaged = stage.prior.head.weight, stage.translator().prior.head.weight  # type: ignore[union-attr]
    assert 0 < (averaged - before).norm() < (learned - before).norm()


def test_averaged_weights_keep_most_of_what_they_were(stage2_job: Job, worker: LocalWorker) -> None:
    stage = _stage(stage2_job, worker, "ema_decay=0.9")
    _step(stage, 1)
    before = copy.deepcopy(stage.averaged.module)
    _step(stage, 1)
    weights = zip(
        *(n.parameters() for n in (before, stage.prior, stage.averaged.module)), strict=True
    )
    for old, learned, averaged in weights:
        torch.testing.assert_close(averaged, 0.9 * old + 0.1 * learned)


def test_a_step_is_as_long_as_the_schedule_says(stage2_job: Job, worker: LocalWorker) -> None:
    moves = []
    for time_gone in (0.0, 0.9):
        stage = _stage(stage2_job, worker, "schedule.constant_until=0.6")
        before = copy.deepcopy(stage.prior)
        (batch,) = islice(stage.batches(0), 1)
        stage.train_step(batch, time_gone)  # a quarter of the falling part is left
        moves.append(
            [
                p.detach() - old
                for p, old in zip(stage.prior.parameters(), before.parameters(), strict=True)
            ]
        )
    for full, quarter in zip(*moves, strict=True):
        torch.testing.assert_close(quarter, 0.25 * full, atol=1e-7, rtol=1e-3)


def test_what_is_dropped_depends_on_the_seed_and_the_position(
    stage2_job: Job, worker: LocalWorker
) -> None:
    def nll(seed: int, position: int) -> float:
        stage = _stage(stage2_job, worker, "prior.dropout=0.5", f"seed={seed}")
        stage.prior.load_state_dict(weights)
        stage.position = position
        return float(stage.train_step(batch)["nll"])

    first = _stage(stage2_job, worker, "prior.dropout=0.5")
    (batch,) = islice(first.batches(0), 1)
    weights = copy.deepcopy(first.prior.state_dict())
    assert len({nll(0, 0), nll(1, 0), nll(0, 4)}) == 3
    assert nll(0, 4) == nll(0, 4)


def test_figures_of_pictures_upside_down_are_measured_on_such_pictures(
    stage2_job: Job, worker: LocalWorker
) -> None:
    stage = _stage(stage2_job, worker, "prior.upwards=true")
    for domain in stage.tokens.domains:
        held_out = stage.tokens.tokens("test", domain)
        held_out[:] = 5
        held_out[:, stage.tokens.identity.variants] = 3  # the centre crop turned upside down
    with torch.no_grad():  # it expects this token, and nothing else
        stage._average().head.weight.zero_()
        stage._average().head.weight[3] = 10
        stage._average().norm.bias.fill_(1)
    figures = stage.measure()
    assert figures["held_out_bits_upside_down"] < 0.1
    assert figures["held_out_bits_per_token"] > 1


def test_weights_decay_beside_their_gradients(stage2_job: Job, worker: LocalWorker) -> None:
    stages = [_stage(stage2_job, worker, f"optim.weight_decay={decay}") for decay in (0, 0.5)]
    before = [parameter.detach().clone() for parameter in stages[0].prior.parameters()]
    for stage in stages:
        _step(stage, 1)
    plain, decayed = (list(stage.prior.parameters()) for stage in stages)
    for old, one, other in zip(before, plain, decayed, strict=True):
        torch.testing.assert_close(other, one - 1e-2 * 0.5 * old, atol=1e-6, rtol=1e-4)


@kinds
def test_nothing_is_dropped_while_measuring(
    stage2_job: Job, worker: LocalWorker, settings: tuple[str, ...]
) -> None:
    stage = _stage(stage2_job, worker, "prior.dropout=0.5", *settings)
    _step(stage, 1)
    assert stage.measure() == stage.measure()
    with_dropout = stage.measure()
    state = copy.deepcopy(stage.state_dict())
    undropped = _stage(stage2_job, worker, "prior.dropout=0", *settings)
    undropped.load_state_dict(state)
    assert undropped.measure() == with_dropout


def test_training_goes_on_with_dropout_after_measuring(
    stage2_job: Job, worker: LocalWorker
) -> None:
    stage, undropped = (_stage(stage2_job, worker, f"prior.dropout={share}") for share in (0.5, 0))
    for each in (stage, undropped):
        each.measure()
    assert _step(stage, 1) != _step(undropped, 1)


def test_a_smaller_window_sees_different_parts_of_a_grid(
    stage2_job: Job, worker: LocalWorker
) -> None:
    stage = _stage(stage2_job, worker, "prior.window=[8,4]")
    assert stage.tokens.identity.grid == (8, 8)
    _step(stage, 2)
    grid = torch.arange(64).view(1, 8, 8)
    lefts = {
        int(draw_windows(grid, (8, 4), [(0, place)], seed=0, domain_dropout=0).tokens[0, 0, 0])
        for place in range(60)
    }
    assert lefts == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(("grid", "most"), [((8, 8), 9), ((12, 8), 9), ((13, 17), 40)], ids=str)
def test_measured_windows_see_all_of_the_grids(grid: tuple[int, int], most: int) -> None:
    grids = np.arange(4 * grid[0] * grid[1], dtype=np.uint16).reshape(4, *grid)
    windows = measured_windows(grids, (8, 8), most)
    assert set(windows.flatten().tolist()) == set(range(grids.size))
    assert len(windows) == len({tuple(window.flatten().tolist()) for window in windows}) <= most
    assert {int(window[0, 0]) // (grid[0] * grid[1]) for window in windows[:4]} == {
        0,
        1,
        2,
        3,
    }  # one of each, at first
    if grid == (8, 8):
        assert np.array_equal(windows.numpy(), grids)


def test_no_grids_have_no_windows() -> None:
    assert measured_windows(np.empty((0, 12, 9), np.uint16), (8, 8), 4).shape == (0, 8, 8)


def test_few_windows_of_many_grids_lie_everywhere() -> None:
    grids = np.tile(np.arange(16 * 16).reshape(1, 16, 16), (50, 1, 1))
    windows = measured_windows(grids, (8, 8), 20)
    assert len(windows) == 20
    assert set(windows.flatten().tolist()) == set(range(16 * 16))


@kinds
def test_held_out_figures_are_those_of_whole_crops(
    stage2_job: Job, worker: LocalWorker, settings: tuple[str, ...]
) -> None:
    """What a model does not know on the right and below counts like anything else."""
    stage = _stage(stage2_job, worker, *settings, "prior.window=[4,4]", "crop=32")
    for split in SPLITS:
        for domain in stage.tokens.domains:
            stage.tokens.tokens(split, domain)[:] = 3
    with torch.no_grad():  # it expects this token, and nothing else
        stage._average().head.weight.zero_()
        stage._average().head.weight[3] = 10
        stage._average().norm.bias.fill_(1)
    assert stage.measure()["held_out_nll"] < 0.1
    for domain in stage.tokens.domains:
        stage.tokens.tokens("test", domain)[:, :, 4:, 4:] = 5
    assert stage.measure()["held_out_nll"] > 1


def test_priors_are_chosen_by_validation_images(
    stage2_job: Job, validated: Path, worker: LocalWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = _stage(stage2_job.model_copy(update={"data": str(validated)}), worker)
    seen: list[str] = []
    tokens = stage.tokens.tokens
    monkeypatch.setattr(
        stage.tokens, "tokens", lambda split, domain: seen.append(split) or tokens(split, domain)
    )
    stage.measure()
    assert set(seen) == {"train", "validation"}
    assert stage.translator().provenance["prior_measured_on"] == "validation"
    assert _stage(stage2_job, worker).translator().provenance["prior_measured_on"] == "test"


def test_what_is_hidden_depends_on_the_place_in_the_data_alone() -> None:
    grids = torch.randint(9, (4, 8, 8))
    places = [(0, 5), (0, 6), (1, 5), (1, 6)]
    together = draw_windows(grids, (8, 8), places, seed=3, domain_dropout=0.5)
    assert len({tuple(mask.flatten().tolist()) for mask in together.hidden}) == 4
    for row, place in enumerate(places):
        alone = draw_windows(grids[row : row + 1], (8, 8), [place], seed=3, domain_dropout=0.5)
        assert torch.equal(alone.hidden[0], together.hidden[row])
        assert alone.domains_told[0] == together.domains_told[row]


@pytest.mark.parametrize("crop", [16, 34])
def test_a_crop_that_holds_no_window_is_refused(
    stage2_job: Job, worker: LocalWorker, crop: int
) -> None:
    with pytest.raises(
        ValueError, match=f"crop {crop} must be a multiple of the model's 4 px per token"
    ):
        _stage(stage2_job, worker, f"crop={crop}")


def test_grids_that_hold_no_window_are_refused(stage2_job: Job, worker: LocalWorker) -> None:
    stage = _stage(stage2_job, worker)
    config = override(stage2_job.config, ["prior.window=[8,9]"])
    with pytest.raises(
        ValueError,
        match=r"^the token grids \(8, 8\) are smaller than prior\.window: set a larger crop$",
    ):
        Stage2(config, worker, stage.tokens, stage.stage1, {})  # type: ignore[arg-type]


def test_stage_2_needs_a_bundle(stage2_job: Job, worker: LocalWorker) -> None:
    with pytest.raises(ValueError, match="give it with --model"):
        make_stage(stage2_job.model_copy(update={"model": None}), worker)
