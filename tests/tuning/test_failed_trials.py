"""Trials that fail: a sentence is told once and not tried again, a fault of ours with its
traceback.
"""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, RayTaskError
from rich.console import Console

from errors import UserError
from tests.training.conftest import STAGE1
from training.job import make_job
from tuning.failure import TrialFault, failure
from tuning.search import search
from tuning.study import make_study


def failing() -> Callable[..., None]:
    """Trials whose training fails: the first has a reason, the second meets a fault. It travels by
    value.
    """

    def run(sampled: dict[str, Any], **how: Any) -> None:
        from contextlib import suppress

        from ray import tune

        from errors import UserError
        from tuning import trial

        own = tune.get_context().get_trial_id()
        with suppress(FileExistsError):
            (how["run_dir"] / "first").mkdir()
            (how["run_dir"] / "first" / own).touch()
        is_first = (how["run_dir"] / "first" / own).exists()

        def fit(*_: object) -> None:
            with (how["run_dir"] / f"attempts of {own}").open("a") as file:
                file.write("once\n")
            raise UserError("the moon is full: wait") if is_first else KeyError("no such crater")

        vars(trial)["fit_here"] = fit
        trial.run_trial(sampled, **how)

    return run


@pytest.mark.ray
@pytest.mark.slow
def test_failed_trials_tell_why(
    shards: Path, tmp_path: Path, ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tuning.search.run_trial", failing())
    job = make_job("stage1", data=shards, model=None, recipe="laptop64", settings=STAGE1)
    study = make_study(job, space="rates", trials=2, metric="held_out_psnr")
    said = io.StringIO()
    with pytest.raises(TrialFault) as fault:
        search(study, tmp_path / "search", console=Console(file=said, width=1000))
    assert not isinstance(fault.value, UserError)
    assert "got to a checkpoint; the first failed with:" in str(fault.value)
    assert str(fault.value).endswith("KeyError: 'no such crater'")
    rows = {row["error"]: row for row in json.loads((tmp_path / "search/trials.json").read_text())}
    reason, met = rows["the moon is full: wait"], rows["KeyError: 'no such crater'"]
    assert not reason["fault"]
    assert met["fault"].endswith("KeyError: 'no such crater'")
    assert f"{reason['trial']}: failed: the moon is full: wait\n" in said.getvalue()
    assert (
        f"{met['trial']}: failed: KeyError: 'no such crater', a fault of vqi2i, not of yours"
        in said.getvalue()
    )
    assert (tmp_path / f"search/attempts of {reason['trial']}").read_text() == "once\n"
    assert (tmp_path / f"search/attempts of {met['trial']}").read_text() == "once\n" * 2


def test_what_tune_keeps_of_an_error_is_told_apart() -> None:
    def met(error: Exception) -> Exception:
        return RayTaskError(
            "train", "Traceback\n  File 'x'\nKeyError: 'x'", error
        ).as_instanceof_cause()

    assert failure(met(UserError("lower the rate"))) == ("lower the rate", "")
    assert failure(met(KeyError("x")))[0] == "KeyError: 'x'"
    assert failure(met(KeyError("x"))).fault.startswith("Traceback")
    assert failure("Traceback\nKeyError: 'x'") == ("KeyError: 'x'", "Traceback\nKeyError: 'x'")
    assert failure(ActorDiedError()).sentence.startswith(
        "its process died (The actor died unexpectedly"
    )
    assert not failure(ActorDiedError()).fault
