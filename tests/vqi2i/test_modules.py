"""A user's own files and folders of our modules' names do not take the place of ours, here and in
Ray's workers.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.building.test_interrupted_builds import write
from vqi2i.__main__ import main
from vqi2i.modules import HOME, MODULES, finding_ours

ENTRANCE = "import sys; from vqi2i.__main__ import main; sys.argv[0] = 'vqi2i'; main()"


@pytest.fixture
def folder(tmp_path: Path, tiny_bundle: Path) -> Path:
    """A folder in which everything is called as ours is: half of it modules that must not be run,
    half of it data.
    """
    for number, name in enumerate(MODULES):
        if name == "vqi2i" or number % 2:
            (tmp_path / name).mkdir()
            (tmp_path / name / "1.jpg").touch()
        else:
            (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('not our {name}')")
    for domain in ("a", "b"):
        write(tmp_path / "photos" / domain, range(4 * ord(domain), 4 * ord(domain) + 4))
    (tmp_path / "bundle").symlink_to(tiny_bundle)
    return tmp_path


def run(
    folder: Path, command: str, *, path: str, entrance: tuple[str, ...]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *entrance, *command.split()],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ
        | {"PYTHONPATH": path, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"},
        timeout=300,
    )


@pytest.mark.parametrize(
    ("path", "entrance"),
    [
        (str(HOME), ("-m", "vqi2i")),  # Python puts the current folder first
        (str(HOME), ("-c", ENTRANCE)),  # so it does here
        (f"{HOME}", (str(HOME / "run.py"),)),
        (f"{HOME}:.", ("-P", "-c", ENTRANCE)),
    ],
)
def test_commands_use_our_modules(path: str, entrance: tuple[str, ...], folder: Path) -> None:
    done = run(
        folder,
        "translate bundle photos/a/0388.png --to winter --out r",
        path=path,
        entrance=entrance,
    )
    assert (done.returncode, done.stdout) == (0, "r/0388_winter.png\n"), done.stderr


@pytest.mark.parametrize("shipped", [False, True])
def test_our_names_are_looked_for_in_our_places_and_no_others(
    shipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("sent", "users"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "errors.py").touch()
    (tmp_path / "users/run.py").touch()
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.syspath_prepend(tmp_path / "users")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "sent"), ""]))
    finding_ours(shipped=shipped)()
    finder = sys.meta_path[0]

    def origin(name: str) -> Path:
        spec = finder.find_spec(name, None)
        assert spec is not None
        return Path(str(spec.origin))

    assert origin("errors") == (tmp_path / "sent" if shipped else HOME) / "errors.py"
    assert origin("run") == HOME / "run.py"  # even if it was not sent
    assert finder.find_spec("numpy", None) is None
    assert finder.find_spec("errors", [str(tmp_path / "users")]) is None  # part of a package
    monkeypatch.delenv("PYTHONPATH")
    finding_ours(shipped=shipped)()
    assert Path(str(sys.meta_path[0].find_spec("errors", None).origin)) == HOME / "errors.py"  # type: ignore[union-attr]


@pytest.mark.parametrize("moment", ["vqi2i.__main__.ours_first", "run.main"])
def test_ctrl_c_ends_with_its_exit_code_at_any_moment(
    moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vqi2i.__main__.ours_first", lambda: None)
    monkeypatch.setattr(moment, interrupted)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 130


@pytest.mark.slow
@pytest.mark.ray
def test_workers_use_our_modules(folder: Path) -> None:
    shard = (
        "data shard --domain a=photos/a --domain b=photos/b --out shards --size 32 --test 0 "
        "--validation 0 --workers 1"
    )
    done = run(folder, shard, path=str(HOME), entrance=("-m", "vqi2i"))
    assert (done.returncode, done.stdout) == (
        0,
        "shards: 4 train/a, 4 train/b, 0 test/a, 0 test/b of 32 px\n",
    ), done.stderr


def hook(shipped: bool) -> bytes:
    """What travels to a process; it is made in another one, for here types are checked in every
    function of ours.
    """
    script = (
        "import sys; from ray import cloudpickle; from vqi2i.modules import finding_ours\n"
        f"sys.stdout.buffer.write(cloudpickle.dumps(finding_ours(shipped={shipped})))"
    )
    return subprocess.run(
        [sys.executable, "-c", script], cwd=HOME, capture_output=True, check=True
    ).stdout


@pytest.mark.parametrize("shipped", [False, True])
def test_a_process_that_knows_nothing_of_ours_finds_our_modules(
    shipped: bool, folder: Path
) -> None:
    script = (
        f"import pickle, sys; pickle.loads({hook(shipped)!r})(); sys.path.insert(0, '{folder}')\n"
        "import errors, imaging, pipelines.building.plan, run, training.metrics, vqi2i\n"
        "print(*(it.__file__ for it in (errors, imaging, pipelines.building.plan, run, "
        "training.metrics, vqi2i)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    assert done.returncode == 0, done.stderr
    assert all(Path(file).is_relative_to(HOME) for file in done.stdout.split())


def test_code_that_was_sent_along_comes_before_what_lies_at_our_place(tmp_path: Path) -> None:
    (tmp_path / "sent/errors").mkdir(parents=True)
    (tmp_path / "sent/errors/__init__.py").write_text("sent = True")
    script = (
        f"import pickle; pickle.loads({hook(shipped=True)!r})(); import errors; assert "
        "errors.sent; import vqi2i.errors"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "sent")}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True)


def test_every_ray_that_is_joined_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    from pipelines.cluster import join_ray

    told: dict[str, Any] = {}
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "cluster_resources", dict)
    monkeypatch.setattr(
        "pipelines.cluster.connect", lambda _, **how: told.update(how["runtime_env"])
    )
    for address, submitted, shipped in (
        (None, False, False),
        ("auto", False, True),
        ("auto", True, False),
    ):
        told.clear()
        if submitted:
            monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
        join_ray(address)
        assert callable(told["worker_process_setup_hook"])
        sent = {Path(path).stem for path in told.get("py_modules", ())}
        assert sent == (set(MODULES) if shipped else set())
        assert all(Path(path).exists() for path in told.get("py_modules", ()))
