"""The import rule: who may know whom, and who may know Ray and MLflow."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from vqi2i.modules import MODULES

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "run",
    "errors",
    "commands",
    "tuning",
    "serving",
    "training",
    "evaluation",
    "pipelines",
    "platforms",
    "imaging",
    "baselines",
    "vqi2i",
)

ALLOWED = {
    "run": {"errors", "commands", "vqi2i"},
    "errors": {"vqi2i"},
    "commands": {
        "errors",
        "platforms",
        "tuning",
        "serving",
        "training",
        "evaluation",
        "pipelines",
        "imaging",
        "baselines",
        "vqi2i",
    },
    "tuning": {"errors", "platforms", "training", "pipelines", "imaging", "vqi2i"},
    "serving": {"errors", "platforms", "imaging", "vqi2i"},
    "training": {
        "errors",
        "platforms",
        "pipelines",
        "evaluation",
        "imaging",
        "baselines",
        "vqi2i",
    },
    "evaluation": {"errors", "imaging", "vqi2i"},
    "pipelines": {"errors", "platforms", "imaging", "vqi2i"},
    "platforms": {"errors"},
    "imaging": {"errors"},
    "baselines": {"errors", "vqi2i"},
    "vqi2i": set(),
}
# the way into the command line, by the one name that nobody else bears
ENTRANCE = ROOT / "vqi2i/__main__.py"
THE_METHOD_MAY_USE = {"torch", "numpy", "einops", "pydantic", "safetensors"}
RAY = (
    "platforms/ray_cluster.py",
    "pipelines/cluster.py",
    "pipelines/images_to_shards.py",
    "training/distributed/ray_worker.py",
    "training/run/ray_trainer.py",
    "training/tracking/report_actor.py",
    "tuning/",
    "serving/",
    "commands/serve.py",
)
MLFLOW = (
    "platforms/mlflow_store.py",
    "training/tracking/mlflow_client.py",
    "training/tracking/evaluations.py",
    "training/tracking/publication.py",
    "serving/registry.py",
)


def modules() -> list[Path]:
    found = [path for package in PACKAGES[2:] for path in sorted((ROOT / package).rglob("*.py"))]
    return [ROOT / "run.py", ROOT / "errors.py", *(path for path in found if path != ENTRANCE)]


def imported(path: Path, *, only_at_import: bool = False) -> set[str]:
    """Top-level names that a module imports, anywhere in it or only while it is imported itself."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if only_at_import else ast.walk(tree)
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the rule"
            names.add((node.module or "").split(".")[0])
    return names


def owner(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_packages_know_only_what_lies_below_them(path: Path) -> None:
    own = owner(path)
    others = imported(path) & set(PACKAGES) - {own}
    assert others <= ALLOWED[own], (
        f"{path.relative_to(ROOT)} must not import {sorted(others - ALLOWED[own])}"
    )


def known_modules(path: Path, names: dict[str, Path]) -> set[str]:
    """Modules of ours that a module imports, anywhere in it, for type checkers alone included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found & names.keys()


def floors() -> tuple[list[set[str]], set[str]]:
    """Modules by floor, each floor resting on those before it; and those that circles keep up."""
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in modules()}
    left = {name: known_modules(path, names) - {name} for name, path in names.items()}
    found: list[set[str]] = []
    while free := {name for name, known in left.items() if not known & left.keys()}:
        found.append(free)
        left = {name: known for name, known in left.items() if name not in free}
    return found, set(left)


def test_no_module_comes_back_to_itself() -> None:
    found, circles = floors()
    folders = [path.parent for path in modules()]
    print(
        f"\n{len(folders)} modules in {len(set(folders))} folders, at most "
        f"{max(map(folders.count, folders))} in one, on {len(found)} floors; "
        f"{len(circles)} modules in circles or above them"
    )
    assert not circles, f"circles among {sorted(circles)}"


def test_a_stage_knows_nothing_of_reports_checkpoints_workers_and_ray() -> None:
    hidden = (
        "ray",
        "training.run",
        "training.loop",
        "training.tracking",
        "training.distributed.worker",
        "training.distributed.ray_worker",
        "training.checkpointing.checkpoints",
    )
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in modules()}
    for path in sorted((ROOT / "training/stages").rglob("*.py")):
        seen = known_modules(path, names) | imported(path) & {"ray"}
        assert not {name for name in seen if name.startswith(hidden)}, path.name


@pytest.mark.parametrize("package", PACKAGES[2:])
def test_a_folder_shows_at_most_fourteen_entries(package: str) -> None:
    folders = [ROOT / package, *(path for path in (ROOT / package).rglob("*") if path.is_dir())]
    folders = [folder for folder in folders if folder.name != "__pycache__"]
    for folder in folders:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith("__")]
        assert len(entries) <= 14, f"{folder.relative_to(ROOT)} shows {len(entries)}"


@pytest.mark.parametrize("path", sorted((ROOT / "vqi2i").rglob("*.py")), ids=lambda path: path.name)
def test_the_method_runs_alone(path: Path) -> None:
    foreign = (
        imported(path) - sys.stdlib_module_names - {"vqi2i", "run" if path == ENTRANCE else ""}
    )
    assert foreign <= THE_METHOD_MAY_USE


@pytest.mark.parametrize(("library", "places"), [("ray", RAY), ("mlflow", MLFLOW)])
def test_platform_libraries_stay_in_their_places(library: str, places: tuple[str, ...]) -> None:
    users = {str(path.relative_to(ROOT)) for path in modules() if library in imported(path)}
    assert {user for user in users if not user.startswith(places)} == set()


def test_the_command_line_answers_before_heavy_libraries_load() -> None:
    heavy = {"torch", "ray", "mlflow", "cv2", "numpy", "training", "pipelines", "serving"}
    for path in [
        ROOT / "run.py",
        ENTRANCE,
        ROOT / "vqi2i/__init__.py",
        *sorted((ROOT / "commands").glob("*.py")),
    ]:
        assert not imported(path, only_at_import=True) & heavy, path.name


def test_the_command_line_loads_of_the_method_its_errors_alone() -> None:
    code = (
        "import sys, run; print(*sorted(name for name in sys.modules if name.partition('.')[0] in "
        "('vqi2i', 'torch')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["vqi2i", "vqi2i.errors"]


def test_every_package_is_listed_for_installation() -> None:
    import tomllib

    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = (
        path.parent for package in PACKAGES[2:] for path in (ROOT / package).rglob("__init__.py")
    )
    assert sorted(listed["packages"]) == sorted(
        ".".join(path.relative_to(ROOT).parts) for path in found
    )
    top = {package.split(".")[0] for package in listed["packages"]}
    assert sorted(top | set(listed["py-modules"])) == sorted(MODULES)
