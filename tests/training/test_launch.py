from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from rich.console import Console

from errors import UserError
from pipelines.reading.reader import ShardReader
from tests.servers import nobody
from training.distributed.worker import LocalWorker
from training.job import Job
from training.launch import train
from training.run.errors import TrainingError
from training.run.ray_trainer import RayPlan, active_workers, shared_out
from training.settings import override
from training.stages.image_batches import ImageFeed
from training.tracking.journal import read_metrics
from training.tracking.mlflow_run import tracked_run
from tuning.search import search
from tuning.study import make_study
from vqi2i import Translator

QUIET = Console(quiet=True)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")
def test_two_workers_train_a_bundle(
    stage1_job: Job, tmp_path: Path, mlflow_store: str, ray_session: None
) -> None:
    result = train(stage1_job, tmp_path / "run", RayPlan(workers=2), console=QUIET)
    assert (result.position, result.complete) == (48, True)
    assert Translator.load(result.bundle).domains == ("summer", "winter")
    rows = read_metrics(tmp_path / "run")
    assert [row["position"] for row in rows] == [8, 16, 24, 32, 40, 48]
    assert "held_out_psnr" in rows[-1]
    assert list((tmp_path / "run/samples").glob("*.png"))
    # at once
    assert train(stage1_job, tmp_path / "run", RayPlan(workers=2), console=QUIET) == result


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")
def test_two_ray_workers_read_the_batches_of_one_process(
    stage1_job: Job, shards: Path, tmp_path: Path, ray_session: None
) -> None:
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    def read(settings: dict[str, Any]) -> None:
        """What a worker does: 60 batches as its stage would get them, into a file of its own."""
        import numpy as np
        import ray.train

        from pipelines.reading.reader import ShardReader
        from training.distributed.ray_worker import RayWorker
        from training.job import Job
        from training.stages.image_batches import ImageFeed

        nothing: Any = None
        job = Job.model_validate_json(settings["job"])
        worker = RayWorker(nothing, None, ray.train.get_context().get_world_size())
        assert job.config.stage == "stage1"
        batches = ImageFeed(ShardReader(job.data), job.config, worker).batches(0)
        np.save(f"{settings['out']}/{worker.rank}.npy", [next(batches).numpy() for _ in range(60)])
        batches.close()

    TorchTrainer(
        read,
        train_loop_config={"job": stage1_job.model_dump_json(), "out": str(tmp_path)},
        scaling_config=ScalingConfig(num_workers=2, resources_per_worker={"CPU": 1}),
        run_config=RunConfig(name="read", storage_path=str(tmp_path)),
    ).fit()
    parts = [np.load(tmp_path / f"{rank}.npy").reshape(60, 2, 2, 3, 16, 16) for rank in range(2)]
    # each domain's rows, rank by rank
    together = np.concatenate(parts, axis=2).reshape(60, 8, 3, 16, 16)
    nothing: Any = None
    assert stage1_job.config.stage == "stage1"
    alone = ImageFeed(
        ShardReader(shards), stage1_job.config, LocalWorker(nothing, nothing)
    ).batches(0)
    assert all(np.array_equal(batch, next(alone).numpy()) for batch in together)
    alone.close()


def test_a_runs_folder_refuses_other_settings(
    stage1_job: Job, tmp_path: Path, mlflow_store: str
) -> None:
    short = override(stage1_job.config, ["schedule.images=4", "schedule.log_every=4"])
    job = stage1_job.model_copy(update={"config": short})
    result = train(job, tmp_path / "run", console=QUIET)
    assert result.bundle.is_dir()
    other = job.model_copy(update={"config": override(short, ["seed=1", "weights.style=3"])})
    with pytest.raises(
        ValueError,
        match=r"other settings \(config\.seed, config\.weights\.style\): choose another --run",
    ):
        train(other, tmp_path / "run", console=QUIET)


def test_a_cluster_that_is_gone_ends_a_training_before_mlflow_hears_of_it(
    stage1_job: Job, tmp_path: Path, mlflow_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    address = nobody()
    with pytest.raises(UserError, match=f"no Ray cluster answers at {address}"):
        train(stage1_job, tmp_path / "run", RayPlan(address=address), console=QUIET)
    assert not (tmp_path / "run" / "tracking").exists()
    monkeypatch.setenv("RAY_ADDRESS", address)
    study = make_study(stage1_job, space="method", trials=1, metric="held_out_psnr")
    with pytest.raises(UserError, match=f"no Ray cluster answers at {address}"):
        search(study, tmp_path / "search", console=QUIET)
    assert not (tmp_path / "search" / "tracking").exists()


@pytest.mark.parametrize("name", ["team/seasons", "a:b", "", "x" * 300])
def test_a_name_that_no_model_can_have_is_refused_before_anything_is_done(
    name: str, stage1_job: Job, tmp_path: Path, mlflow_store: str
) -> None:
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match="cannot be the name of a registered model"):
        train(stage1_job, tmp_path / "run", console=QUIET, register=name)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_training_refused_before_its_first_step_does_not_keep_its_name(
    stage1_job: Job, tmp_path: Path, mlflow_store: str
) -> None:
    short = override(
        stage1_job.config, ["schedule.images=4", "schedule.log_every=4", "schedule.save_every=4"]
    )
    too_large = stage1_job.model_copy(
        update={"config": override(short, ["crop=64", "network.resolution=64"])}
    )
    with pytest.raises(ValueError, match="cannot crop 64 px"):
        train(too_large, tmp_path / "run", console=QUIET)
    refused = tracked_run(tmp_path / "run")
    job = stage1_job.model_copy(update={"config": short})
    assert train(job, tmp_path / "run", console=QUIET).position == 4
    trained = tracked_run(tmp_path / "run")
    assert refused is not None
    assert trained is not None
    for run_id, status, crop in ((refused, "FAILED", "64"), (trained, "FINISHED", str(short.crop))):
        run = MlflowClient(mlflow_store).get_run(run_id)
        assert (run.info.status, run.data.params["crop"]) == (status, crop)
    with pytest.raises(ValueError, match="holds a run with other settings"):
        train(too_large, tmp_path / "run", console=QUIET)


@pytest.mark.parametrize("left", ["metrics.jsonl", "checkpoints/0000000004.ckpt"])
def test_a_training_that_has_begun_keeps_its_name(
    left: str, stage1_job: Job, tmp_path: Path, mlflow_store: str
) -> None:
    too_large = stage1_job.model_copy(
        update={"config": override(stage1_job.config, ["crop=64", "network.resolution=64"])}
    )
    with pytest.raises(ValueError, match="cannot crop 64 px"):
        train(too_large, tmp_path / "run", console=QUIET)
    file = tmp_path / "run" / left
    file.parent.mkdir(exist_ok=True)
    file.write_text('{"position": 4}\n')
    with pytest.raises(ValueError, match=r"holds a run with other settings \(config\.crop"):
        train(stage1_job, tmp_path / "run", console=QUIET)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")
def test_what_no_retry_helps_ends_a_run_at_once_with_the_workers_sentence(
    stage1_job: Job, tmp_path: Path, mlflow_store: str, ray_session: None
) -> None:
    with pytest.raises(TrainingError) as trouble:
        train(stage1_job, tmp_path / "run", RayPlan(workers=3, cpus_per_worker=1), console=QUIET)
    assert (
        str(trouble.value) == "global batch 4 cannot be shared by 3 workers: use a multiple of it"
    )


def test_plans_are_read_from_the_command_line() -> None:
    assert RayPlan.parse("2") == RayPlan(2)
    assert RayPlan.parse("1:4", cpus_per_worker=2) == RayPlan(1, 4, 2)
    for wrong in ("two", "0", "4:1"):
        with pytest.raises(
            ValueError, match=f"--workers {wrong} is no (number|range): give N, or N:M"
        ):
            RayPlan.parse(wrong)


def test_processors_are_shared_out_without_splitting_a_worker_over_machines() -> None:
    assert shared_out([2], 1) == 2
    assert shared_out([2], 2) == 1
    assert shared_out([8, 8], 2) == 8
    assert shared_out([8, 4], 3) == 4
    assert shared_out([4], 8) == 1  # there is no room: Ray says so


def test_as_many_workers_train_as_can_share_a_batch_evenly() -> None:
    assert [active_workers(8, 1, there) for there in (1, 2, 3, 4, 5, 7, 8, 9)] == [
        1,
        2,
        2,
        4,
        4,
        4,
        8,
        8,
    ]
    assert active_workers(8, 4, 8) == 2
    assert active_workers(3, 2, 4) == 1
