"""`ray_cluster.yaml` is valid for Ray's cluster launcher; Ray itself says so."""

import copy
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parent.parent
CLUSTER: dict[str, Any] = yaml.safe_load((ROOT / "ray_cluster.yaml").read_text())


def validated(cluster: dict[str, Any]) -> dict[str, Any]:
    """What `ray up` makes of a cluster file before it asks the cloud for anything."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(copy.deepcopy(cluster))
    validate_config(config)
    return config


def test_the_launcher_accepts_the_cluster():
    config = validated(CLUSTER)
    assert config["available_node_types"]["training"]["max_workers"] == 4


def misspell(old: str, new: str, *path: str) -> Callable[[dict[str, Any]], None]:
    def change(cluster: dict[str, Any]) -> None:
        for key in path:
            cluster = cluster[key]
        cluster[new] = cluster.pop(old)

    return change


def too_many(cluster: dict[str, Any]) -> None:
    cluster["available_node_types"]["serving"]["min_workers"] = cluster["max_workers"] + 1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (misspell("max_workers", "max_worker"), jsonschema.ValidationError, "max_worker"),
        (
            misspell("labels", "lables", "available_node_types", "serving"),
            jsonschema.ValidationError,
            "lables",
        ),
        (misspell("head", "haed", "available_node_types"), ValueError, "head_node_type"),
        (too_many, ValueError, "max_workers"),
    ],
)
def test_the_launcher_refuses_a_misspelt_cluster(change, error, message):
    cluster = copy.deepcopy(CLUSTER)
    change(cluster)
    with pytest.raises(error, match=message):
        validated(cluster)


def test_the_head_has_no_accelerator_and_both_kinds_of_workers_do():
    types = CLUSTER["available_node_types"]
    assert "GPU" not in types["head"]["resources"]
    roles = {
        name: kind["labels"]["vqi2i/role"]
        for name, kind in types.items()
        if kind["resources"].get("GPU")
    }
    assert roles == {"training": "training", "serving": "serving"}


def test_setup_installs_the_lock_and_the_project_that_are_mounted():
    (mount,) = (remote for remote, local in CLUSTER["file_mounts"].items() if local == ".")
    commands = CLUSTER["setup_commands"]
    assert any(f"-r {mount}/requirements.lock" in command for command in commands)
    assert any(command.endswith(f"-e {mount}") for command in commands)
    assert (ROOT / "requirements.lock").is_file()
    (torch,) = re.findall(r"^TORCH := (\S+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert f"pip install --quiet {torch}" in commands
    constraints = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"][
        "constraint-dependencies"
    ]
    assert constraints == [torch]


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_locks_are_complete_and_name_the_hashes_of_their_files(name: str):
    text = (ROOT / name).read_text()
    pinned = dict(
        re.findall(
            r"^([a-z0-9.-]+)==([^ ]+) \\\n    --hash=sha256:[0-9a-f]{64}", text, re.MULTILINE
        )
    )
    assert len(pinned) == len(re.findall(r"^[a-z]", text, re.MULTILINE)) > 100
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {re.split(r"[\[<>=]", line)[0] for line in wanted} - {"torch"} <= pinned.keys()


def test_the_images_have_the_locked_ray():
    (locked,) = (
        line.removeprefix("ray==").split()[0]
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if line.startswith("ray==")
    )
    for image in (CLUSTER["docker"]["head_image"], CLUSTER["docker"]["worker_image"]):
        assert image.startswith(f"rayproject/ray:{locked}-py311")
