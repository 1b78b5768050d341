import gzip
import json
from pathlib import Path

from training.distributed.worker import LocalWorker
from training.job import Job
from training.loop.fit import fit
from training.settings import override
from training.stages.build import make_stage


def _steps_seen(run_dir: Path) -> list[str]:
    (trace,) = (run_dir / "profile").iterdir()
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    assert any("convolution_backward" in event["name"] for event in events)
    return sorted({event["name"] for event in events if event["name"].startswith("ProfilerStep#")})


def _fit(job: Job, worker: LocalWorker, images: int, profile: int) -> None:
    config = override(job.config, [f"schedule.images={images}"])
    stage = make_stage(job.model_copy(update={"config": config}), worker)
    fit(stage, worker, config.schedule, stage.images_per_position, profile=profile)


def test_a_trace_of_so_many_steps_lies_in_the_runs_folder(
    stage1_job: Job, worker: LocalWorker, tmp_path: Path
) -> None:
    _fit(stage1_job, worker, images=32, profile=2)
    assert _steps_seen(tmp_path) == ["ProfilerStep#3", "ProfilerStep#4"]  # three warm up


def test_a_run_that_ends_earlier_leaves_a_shorter_trace(
    stage1_job: Job, worker: LocalWorker, tmp_path: Path
) -> None:
    _fit(stage1_job, worker, images=16, profile=9)
    assert _steps_seen(tmp_path)[0] == "ProfilerStep#3"


def test_nothing_is_profiled_unless_asked(
    stage1_job: Job, worker: LocalWorker, tmp_path: Path
) -> None:
    _fit(stage1_job, worker, images=8, profile=0)
    assert not (tmp_path / "profile").exists()
