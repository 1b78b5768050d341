"""Whose place it is: a run goes on with what it was started with, also by a later version."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from errors import UserError
from pipelines.storage.store import Store
from training.job import Job
from training.run.run_record import RunRecord, claim, write_record
from training.settings import override


def without(identity: Mapping[str, Any], setting: str) -> dict[str, Any]:
    """An identity as it was written down before a setting, `a.b`, could be set."""
    first, _, rest = setting.partition(".")
    inner = {first: without(identity[first], rest)} if rest else {}
    return {name: value for name, value in identity.items() if name != first} | inner


def begun_before(job: Job, setting: str, place: Path) -> Store:
    """The place of a run of this job that began before the setting could be set."""
    store = Store(place)
    write_record(store, RunRecord(identity=without(job.identity(), f"config.{setting}")))
    return store


@pytest.mark.parametrize(
    ("stage", "setting"),
    [
        ("stage1", "accumulate"),
        ("stage1", "game.r1"),
        ("stage1", "network.fsq_levels"),
        ("stage1", "codebook"),
        ("stage2", "prior.upwards"),
    ],
)
def test_a_run_that_began_before_something_could_be_set_goes_on(
    stage: str, setting: str, stage1_job: Job, stage2_job: Job, tmp_path: Path
) -> None:
    job = stage1_job if stage == "stage1" else stage2_job
    record = claim(job, begun_before(job, setting, tmp_path), begun=True)
    assert record.identity == job.identity()


def test_what_it_began_without_must_stay_as_it_was(stage1_job: Job, tmp_path: Path) -> None:
    place = begun_before(stage1_job, "game.r1", tmp_path)
    config = override(stage1_job.config, ["game.r1=1"])
    other = stage1_job.model_copy(update={"config": config})
    with pytest.raises(UserError, match=r"with other settings \(config\.game\.r1\): choose"):
        claim(other, place, begun=True)


@pytest.mark.parametrize("setting", ["batch_size", "optim.learning_rate"])
def test_what_has_no_default_is_not_made_up(setting: str, stage1_job: Job, tmp_path: Path) -> None:
    place = begun_before(stage1_job, setting, tmp_path)
    with pytest.raises(UserError, match=rf"with other settings \(config\.{setting}\): choose"):
        claim(stage1_job, place, begun=True)


@pytest.mark.parametrize("damage", [{}, {"config": 3}, {"config": {"game": 3}}])
def test_a_record_of_something_else_is_refused(
    damage: dict[str, Any], stage1_job: Job, tmp_path: Path
) -> None:
    write_record(place := Store(tmp_path), RunRecord(identity=damage))
    with pytest.raises(UserError, match="with other settings"):
        claim(stage1_job, place, begun=True)
