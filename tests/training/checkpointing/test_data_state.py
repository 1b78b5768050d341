"""What a run does about its data: where it lies, when it is damaged, and when it is no longer the
same.
"""

import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from pipelines.images_to_shards import build_shards
from pipelines.reading.order import Order
from pipelines.reading.reader import CorruptSample, ShardReader
from pipelines.storage.shard_cache import CacheSettings
from pipelines.synthetic.dataset import DOMAINS, synthesize
from run import app
from tests.pipelines.conftest import flip_byte
from tests.servers import upload
from tests.training.conftest import STAGE1
from training.job import Job, make_job
from training.launch import train
from training.run.attempt import checkpoints_of
from training.run.run_record import RunRecord
from training.settings import override
from training.stages.build import prepare
from training.tracking.journal import read_metrics
from vqi2i.bundle import fingerprint

QUIET = Console(quiet=True)
pytestmark = pytest.mark.usefixtures("mlflow_store")


def _with(job: Job, *settings: str, **fields: object) -> Job:
    return job.model_copy(update={"config": override(job.config, settings), **fields})


@pytest.fixture(scope="module")
def bucket(shards: Path, s3: str) -> str:
    """The shards on S3."""
    return upload(shards, f"s3://training/shards?{s3}")


def test_a_run_on_s3_ends_with_the_weights_of_a_run_on_the_folder(
    stage1_job: Job, bucket: str, tmp_path: Path
) -> None:
    short = _with(stage1_job, "schedule.images=16")
    here = train(short, tmp_path / "here", console=QUIET)
    cache = CacheSettings(folder=str(tmp_path / "cache"), gigabytes=1)
    there = train(_with(short, data=bucket, cache=cache), tmp_path / "there", console=QUIET)
    assert fingerprint(there.bundle) == fingerprint(here.bundle)
    assert any((tmp_path / "cache").iterdir())


def test_the_command_trains_on_s3_without_a_cache(
    stage1_job: Job, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = [*STAGE1, "schedule.images=16", "order=blocks"]
    here = train(_with(stage1_job, *settings), tmp_path / "here", console=QUIET)
    monkeypatch.setenv("VQI2I_SHARD_CACHE_GB", "0")
    monkeypatch.setenv("VQI2I_SHARD_CACHE", str(tmp_path / "cache"))
    arguments = [
        "train",
        "stage1",
        "--data",
        bucket,
        "--local",
        "--json",
        "--runs",
        str(tmp_path),
        "--run",
        "there",
    ]
    result = CliRunner().invoke(
        app, [*arguments, *(part for s in settings for part in ("--set", s))]
    )
    assert result.exit_code == 0, result.output
    there = json.loads(result.stdout.splitlines()[-1])
    assert fingerprint(Path(there["bundle"])) == fingerprint(here.bundle)
    assert not (tmp_path / "cache").exists()


def test_token_shards_of_remote_data_need_a_folder(
    stage2_job: Job, bucket: str, shards: Path, tmp_path: Path
) -> None:
    cache = CacheSettings(folder=str(tmp_path / "cache"), gigabytes=1)
    job = stage2_job.model_copy(update={"data": bucket, "cache": cache})
    with pytest.raises(ValueError, match="name a folder for its token shards with --tokens"):
        prepare(job)
    prepare(job.model_copy(update={"tokens": tmp_path / "tokens"}))
    prepare(stage2_job)
    (made,) = (tmp_path / "tokens").iterdir()
    for path in sorted(made.rglob("*.tar")):
        assert (
            path.read_bytes()
            == (shards / "tokens" / made.name / path.relative_to(made)).read_bytes()
        )


def test_damaged_images_are_replaced_and_counted_up_to_a_limit(
    stage1_job: Job, shards: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "shards"
    shutil.copytree(shards, folder)
    key = flip_byte(folder / "train/summer/000000.tar", 2)
    job = _with(stage1_job, data=str(folder))
    train(job, tmp_path / "run", console=QUIET)
    counted = [row["replaced_images"] for row in read_metrics(tmp_path / "run")]
    assert counted == sorted(counted)
    order = Order(seed=0, stream="summer", count=ShardReader(folder).count("train", "summer"))
    assert counted[-1] == [order.at(position) for position in range(48)].count(2) > 1
    assert any(key in record.message for record in caplog.records)
    with pytest.raises(
        CorruptSample, match=rf"1 samples are damaged, more than max_corrupt=0: .*{key}"
    ):
        train(_with(job, "max_corrupt=0"), tmp_path / "strict", console=QUIET)


def _interrupted(job: Job, run_dir: Path) -> None:
    """A run that ended after its first checkpoint, as a kill leaves it."""
    half = _with(job, "schedule.images=16")
    train(half, run_dir, console=QUIET)
    record = RunRecord.model_validate_json((run_dir / "run.json").read_text())
    left = record.model_copy(update={"identity": job.identity(), "outcome": None})
    (run_dir / "run.json").write_text(left.model_dump_json())


@pytest.mark.parametrize(
    ("setting", "named"),
    [("seed=1", r"config\.seed"), ("batch_size=8", r"config\.batch_size"), (None, "data")],
)
def test_a_run_goes_on_with_other_data_only_when_told(
    stage1_job: Job, tmp_path: Path, setting: str | None, named: str
) -> None:
    job = _with(stage1_job, "schedule.images=32")
    _interrupted(job, tmp_path / "run")
    if setting is None:
        synthesize(tmp_path / "images", pairs=20, size=32, tests=1, wide=0, seed=1)
        folders = {domain: tmp_path / "images/train" / domain for domain in DOMAINS}
        build_shards(folders, out=tmp_path / "shards", size=32)
        other = _with(job, data=str(tmp_path / "shards"))
    else:
        other = _with(job, setting)
    with pytest.raises(
        ValueError, match=rf"other settings \({named}\): .* or say --accept-other-data"
    ):
        train(other, tmp_path / "run", console=QUIET)
    told = other.model_copy(update={"accept_other_data": True})
    assert train(told, tmp_path / "run", console=QUIET).position == 32
    record = RunRecord.model_validate_json((tmp_path / "run/run.json").read_text())
    assert record.identity == other.identity()
    with pytest.raises(ValueError, match=rf"other settings \({named}\)"):
        train(job, tmp_path / "run", console=QUIET)


def test_what_is_no_data_may_not_change_at_all(stage1_job: Job, tmp_path: Path) -> None:
    job = _with(stage1_job, "schedule.images=32")
    _interrupted(job, tmp_path / "run")
    other = _with(job, "weights.style=3", accept_other_data=True)
    with pytest.raises(
        ValueError, match=r"\(config\.weights\.style\): choose another --run, or delete it"
    ):
        train(other, tmp_path / "run", console=QUIET)


def test_a_checkpoint_of_another_order_is_refused(
    stage1_job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = _with(stage1_job, "schedule.images=32")
    _interrupted(job, tmp_path / "run")
    checkpoints = checkpoints_of(job, tmp_path / "run")
    snapshot = checkpoints.read(16)
    snapshot.state["data"]["order_version"] = (
        0  # as if an earlier version had dealt the samples differently
    )
    checkpoints.write(snapshot)
    with pytest.raises(
        ValueError, match=r"made on other data \(order_version 0 -> 1\): .* say --accept-other-data"
    ):
        train(job, tmp_path / "run", console=QUIET)


def test_settings_of_the_cache_come_from_options_or_the_environment(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VQI2I_SHARD_CACHE", str(tmp_path))
    monkeypatch.setenv("VQI2I_SHARD_CACHE_GB", "3")
    seen: list[CacheSettings] = []

    def stop(*_: object, cache: CacheSettings, **__: object) -> None:
        seen.append(cache)
        raise ValueError

    monkeypatch.setattr("training.job.make_job", stop)
    CliRunner().invoke(app, ["train", "stage1", "--data", str(shards)])
    CliRunner().invoke(app, ["train", "stage1", "--data", str(shards), "--cache-gb", "0"])
    assert [(cache.folder, cache.gigabytes) for cache in seen] == [
        (str(tmp_path), 3),
        (str(tmp_path), 0),
    ]


def test_a_folder_given_as_a_path_or_as_text_is_the_same_job(
    shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shards.parent)
    given = [
        make_job("stage1", data=d, model=None, recipe="laptop64").data
        for d in (shards, "shards", Path("shards"))
    ]
    assert given == [str(shards)] * 3
