"""The guide's commands: run as a reader would, or checked by the command line itself where they
want more.

More is a Ray cluster, a bucket, a server, a GPU or minutes. Requests go to the routes in this
process.
"""

import argparse
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
import typer
import yaml

import imaging
from run import app
from tests.documents import ROOT, SHORT, blocks, broken_links, shell_lines
from tests.processes import command
from vqi2i.modules import MODULES

GUIDE = ROOT / "docs" / "guide"
PAGES = sorted(GUIDE.glob("*.md"))
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
SUMMER, WINTER = "photos/summer", "photos/winter"
WANT_MORE = ("demo", "tune", "serve", "evaluate", "compare", "reproduce", "import-authors")
FASTER = " --set network.base_channels=8 --set schedule.images=16 --set schedule.log_every=16"

page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def first(page: str, beginning: str) -> list[str]:
    """The arguments of a page's first command that begins so."""
    return shlex.split(
        next(line for line in shell_lines(GUIDE / page) if line.startswith(f"vqi2i {beginning}"))
    )[1:]


def made(arguments: list[str], folder: Path) -> None:
    """Run a command to its end."""
    done = command(arguments, folder)
    assert done.returncode == 0, (
        f"vqi2i {shlex.join(arguments)}\n{done.stdout}\n{done.stderr[-4000:]}"
    )


@pytest.fixture(scope="module")
def reader(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_bundle: Path,
    tiny_bundle_without_prior: Path,
    mlflow_tables: Path,
) -> Iterator[Path]:
    """A reader's folder: photographs, and what the first commands of the guide leave; models are
    very small.
    """
    folder = tmp_path_factory.mktemp("reader")
    shutil.copy(mlflow_tables, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        environment.setenv("VQI2I_CACHE", str(folder / "cache"))
        made(first("data.md", "data synthesize"), folder)
        painted = {
            season: sorted((folder / "seasons/train" / season).glob("*.png"))
            for season in ("summer", "winter")
        }
        for season, other in (("summer", "day"), ("winter", "night")):
            for number, file in enumerate(painted[season]):
                imaging.write(folder / f"photos/{season}/{number}.jpg", imaging.read(file))
            shutil.copytree(folder / "photos" / season, folder / "pairs" / other)
        for number, pair in enumerate(zip(*painted.values(), strict=True)):
            imaging.write(
                folder / f"facades/{number}.png", np.hstack([imaging.read(file) for file in pair])
            )
        for name, file in zip(("snow.jpg", "dusk.jpg"), painted["winter"], strict=False):
            imaging.write(folder / name, imaging.read(file))
        imaging.write(
            folder / "mask.png", np.full((64, 64, 3), [[[255]] * 32 + [[0]] * 32], np.uint8)
        )
        for file in (block for path in PAGES for block in blocks(path, "yaml")):
            (folder / file.partition("\n")[0].removeprefix("# ")).write_text(file)
        models = {"first": tiny_bundle_without_prior, "second": tiny_bundle, "other": tiny_bundle}
        for name, bundle in models.items():
            shutil.copytree(bundle, folder / "runs" / name / "bundle")
        shutil.copytree(tiny_bundle, folder / "demo" / "model")
        made(first("data.md", "data shard"), folder)
        made(first("training.md", "publish"), folder)
        yield folder


@page
@pytest.mark.slow
def test_every_command_is_one(page: Path, reader: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(reader)
    for line in shell_lines(page):
        words = shlex.split(line)
        while re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            words = words[1:]
        print(line)  # of a failed test, the last one is at fault
        program, *arguments = words
        if program == "curl":
            asked(arguments, reader)
        elif program != "vqi2i":
            understood(program, arguments, reader)
        elif wants_more(arguments):
            checked(arguments, reader)
        else:
            stage = arguments[1] if arguments[0] == "train" and "--help" not in arguments else ""
            made(
                arguments
                + shlex.split(SHORT.get(stage, "") + (FASTER if stage == "stage1" else "")),
                reader,
            )


def wants_more(arguments: list[str]) -> bool:
    """Whether a command cannot be run by a test in seconds."""
    if "--help" in arguments:
        return False
    if arguments[0] == "train":
        return "--local" not in arguments
    return (
        arguments[0] in WANT_MORE
        or arguments[:2] == ["study", "serve"]
        or "--workers" in arguments
        or any("s3://" in each for each in arguments)
    )


def parsed(verb: Any, arguments: list[str]) -> Mapping[str, Any]:
    """What a command line takes the arguments for; it fails if it does not know one of them."""
    while hasattr(verb, "resolve_command"):
        _, verb, arguments = verb.resolve_command(verb.context_class(verb), arguments)
    return verb.make_context("vqi2i", list(arguments)).params


def checked(arguments: list[str], reader: Path) -> None:
    """See that the command line takes a command, and what stands behind it the values."""
    given = parsed(typer.main.get_command(app), arguments)
    if arguments[0] == "serve":
        from serving.names import check, named

        check(given["name"])
        assert named(given["models"])
    elif arguments[0] == "reproduce":
        from commands.evaluation.protocols import Options, make_protocol, parse_sizes
        from training.recipes import recipe
        from training.settings import override

        sizes = parse_sizes(given["codes"], "--codes"), parse_sizes(given["dims"], "--dims")
        protocol = make_protocol(given["protocol"], Options(given["scale"], *sizes, given["prior"]))
        for variant in protocol.variants:
            if variant.stage == "stage1":
                config = recipe("stage1", variant.recipe, ("summer", "winter"))
                override(config, [*(given["settings"] or []), *variant.settings])
    elif arguments[0] == "study":
        answered(reader / given["folder"])
    elif arguments[0] in ("train", "tune"):
        from commands.train import ray_plan
        from training.job import make_job
        from tuning.study import make_study

        settings = given["settings"] or []
        model = reader / given["model"] if arguments[1] == "stage2" else None
        job = make_job(
            arguments[1],
            data=reader / "shards",
            model=model,
            recipe=given["recipe"],
            settings=settings,
        )
        if arguments[0] == "tune":
            better = given["mode"] and given["mode"].value
            how = {
                "space": given["space"],
                "trials": given["trials"],
                "metric": given["metric"],
                "mode": better,
            }
            make_study(job, **how, fixed=settings)
        else:
            ray_plan(
                False,
                **{
                    name: given[name]
                    for name in ("workers", "cpus_per_worker", "max_failures", "address")
                },
            )


def answered(folder: Path) -> None:
    """Give the answers that a participant would give while a study is served."""
    from evaluation.study.answers import AnswerLog
    from evaluation.study.trials import read_study
    from tests.evaluation.study.conftest import answers

    study = read_study(folder)
    with AnswerLog(folder, study) as log:
        for answer in answers(study, 1, lambda trial: "real"):
            log.add(answer)


def understood(program: str, arguments: list[str], reader: Path) -> None:
    """See that a program of Ray takes a command, or that there is the extra that pip installs."""
    if program == "pip":
        verb, wanted = arguments
        assert verb == "install"
        assert wanted.removeprefix("vqi2i[").removesuffix("]") in EXTRAS
    elif program == "ray":
        from ray.scripts.scripts import cli

        given = parsed(cli, arguments)
        if (entrypoint := given.get("entrypoint")) is not None:  # of a job
            assert entrypoint[:2] == ("python", "run.py")
            checked(list(entrypoint[2:]), reader)
    else:
        from ray.serve.scripts import cli

        assert program == "serve"
        assert (reader / parsed(cli, arguments)["config_or_import_path"]).is_file()


def asked(arguments: list[str], reader: Path) -> None:
    """Send what `curl` would send; the answer must be one of the kind that its file's name says."""
    from tests.serving.local import LocalBackend, send

    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("-F", dest="fields", action="append", default=[])
    parser.add_argument("-H", dest="headers", action="append", default=[])
    parser.add_argument("-o", dest="out", type=Path)
    given = parser.parse_args(arguments)
    form: list[tuple[str, tuple[str | None, bytes]]] = []
    for field in given.fields:
        name, _, value = field.partition("=")
        file = reader / value[1:]
        form.append(
            (
                name,
                (file.name, file.read_bytes()) if value.startswith("@") else (None, value.encode()),
            )
        )
    headers = {"Accept": "*/*"} | dict(header.split(": ", 1) for header in given.headers)
    request = {"files": form} if form else {}
    route = given.url.removeprefix("http://127.0.0.1:8000")
    backend = LocalBackend(second=reader / "runs/second/bundle")
    answer = send(backend, "POST" if form else "GET", route, headers=headers, **request)
    assert answer.status_code == 200, answer.text
    kind = given.out.suffix[1:] if given.out is not None else "json"
    assert answer.headers["content-type"].endswith(kind)
    assert answer.json() if kind == "json" else imaging.decode(answer.content).any()


@page
@pytest.mark.slow
def test_every_block_of_python_runs(
    page: Path, reader: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from serving.app import Settings, build

    def served(models: dict[str, str], *, port: int, settings: Settings) -> SimpleNamespace:
        # all that is done before a Ray is asked for
        build({"models": models, **settings.model_dump()})
        return SimpleNamespace(url=f"http://127.0.0.1:{port}", stop=lambda: None)

    monkeypatch.chdir(reader)
    monkeypatch.setattr("serving.launch.run", served)
    names: dict[str, Any] = {}
    for block in blocks(page, "python"):
        exec(compile(block, page.name, "exec"), names)


@pytest.mark.slow
def test_the_config_file_of_serve_is_one(reader: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.serve.schema import ServeDeploySchema

    from serving.app import build

    monkeypatch.chdir(reader)
    config = yaml.safe_load((reader / "serve.yaml").read_text())
    (application,) = ServeDeploySchema.model_validate(config).applications
    assert application.import_path == "serving.app:build"
    assert build(application.args)


@pytest.mark.slow
def test_models_are_called_as_the_guide_says(reader: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from serving.names import named

    monkeypatch.chdir(reader)
    for models, name in rows("serving.md", "argument"):
        for model in re.findall("`(.*?)`", models):
            assert list(named([model])) == [name.strip("`")]


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the tables whose first heading is this one."""
    found = []
    inside = False
    for line in (GUIDE / page).read_text().splitlines():
        cells = (
            [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("|") else []
        )
        inside = bool(cells) and (inside or cells[0] == heading)
        if inside and cells[0] != heading and not line.startswith("|---"):
            found.append(cells)
    return found


def table(page: str, heading: str) -> dict[str, str]:
    """Names in the first column of a table, each with its cell in the second; cells may hold
    several of both.
    """
    pairs = {}
    for names, values, *_ in rows(page, heading):
        several = re.findall("`(.*?)`", names)
        shared = values.split(", ")
        pairs |= dict(
            zip(
                several,
                shared if len(shared) == len(several) else [values] * len(several),
                strict=True,
            )
        )
    return pairs


def number(cell: str) -> float:
    return float(cell.replace(",", ""))


def test_recipes_quantizers_and_spaces_are_listed_as_they_are() -> None:
    from training.recipes import BASELINES, STAGE1, STAGE2
    from tuning.spaces import SPACES
    from vqi2i.config import NetworkConfig

    assert [*table("training.md", "stage 1")] == [*STAGE1]
    assert [*table("training.md", "stage 2")] == [*STAGE2]
    assert [*table("training.md", "baseline")] == [*BASELINES]
    assert {*table("training.md", "quantizer")} == {
        *get_args(NetworkConfig.model_fields["quantizer"].annotation)
    }
    told = {
        (f"stage{stage}", space.strip("`")): varied
        for stage, space, varied in rows("tuning.md", "stage")
    }
    spaces = {
        (stage, name): space() for stage, named in SPACES.items() for name, space in named.items()
    }
    assert {which: re.findall("`(.*?)`", varied) for which, varied in told.items()} == {
        which: [*space] for which, space in spaces.items()
    }


def test_protocols_are_listed_with_their_variants() -> None:
    from commands.evaluation.protocols import PROTOCOLS, Options, make_protocol

    told = table("evaluation.md", "protocol")
    assert [*told] == [*PROTOCOLS]
    for name in set(PROTOCOLS) - {"table4", "figure8"}:
        variants = [variant.name for variant in make_protocol(name, Options()).variants]
        assert name == "uni" or re.findall("`(.*?)`", told[name]) == variants


def test_figures_of_the_guide_are_measured() -> None:
    from training.config import LossWeights
    from tuning.spaces import METRICS

    for stage, ranked in rows("tuning.md", "trials of stage"):
        own = {*METRICS[f"stage{stage}"]} - {*LossWeights.model_fields}
        assert own <= {*re.findall("`(.*?)`", ranked)} <= {*METRICS[f"stage{stage}"]}
        shown = table("training.md", f"figure of stage {stage}") | table(
            "training.md", "figure of both stages"
        )
        assert own <= {*shown}


def test_the_guide_lists_every_route_and_every_field() -> None:
    from serving.http.api import make_api
    from tests.serving.local import LocalBackend

    document = make_api(LocalBackend()).openapi()
    served = {f"{m.upper()} {path}" for path, methods in document["paths"].items() for m in methods}
    told = {name for name in table("serving.md", "route") if name.startswith(("GET ", "POST "))}
    assert told - {"GET /docs", "GET /openapi.json"} == served
    fields = {route: cell for route, cell, *_ in rows("serving.md", "route") if "`" not in route}
    of_all = {*re.findall("`(.*?)`", fields.pop("all"))}
    assert {f"POST /v1/{route}" for route in fields} == {n for n in served if n.startswith("POST")}
    for route, cell in fields.items():
        (body,) = document["paths"][f"/v1/{route}"]["post"]["requestBody"]["content"].values()
        form = document["components"]["schemas"][body["schema"]["$ref"].rpartition("/")[2]]
        assert {*re.findall("`(.*?)`", cell)} == {*form["properties"]} - of_all, route
        assert {*re.findall(r"\*\*`(.*?)`\*\*", cell)} == {*form["required"]}, route


def test_limits_and_settings_have_the_defaults_that_the_guide_names() -> None:
    from serving.app import Settings
    from vqi2i import Sampling

    limits = Settings().limits.model_dump()
    assert {name: number(cell) for name, cell in table("serving.md", "limit").items()} == limits
    told = table("serving.md", "setting")
    assert {*told} == {*Settings.model_fields}
    plain = {
        name: value
        for name, value in Settings().model_dump().items()
        if isinstance(value, int | float)
    }
    assert {name: number(told[name]) for name in plain} == plain
    drawn = {field.name: field.default for field in fields(Sampling)}
    said = table("applications.md", "setting")
    assert {*said} == {*drawn}
    for name, default in drawn.items():
        assert (
            number(said[name]) == default
            if isinstance(default, int | float)
            else said[name] == str(default).lower()
        )


def test_settings_and_steps_of_the_guide_exist() -> None:
    from training.recipes import recipe

    known = {
        name
        for stage in ("stage1", "stage2")
        for name in dotted(recipe(stage, "laptop64", "ab").model_dump())
    }
    assert {name for name in table("training.md", "setting") if name != "weights.NAME"} <= known


def dotted(settings: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for name, value in settings.items():
        yield before + name
        if isinstance(value, Mapping):
            yield from dotted(value, f"{before}{name}.")


def options(verb: Any) -> set[str]:
    """All options of a command and of those below it."""
    own = {name for parameter in verb.params for name in parameter.opts}
    return own.union(*(options(each) for each in getattr(verb, "commands", {}).values()))


def test_the_guide_names_every_option_and_no_other() -> None:
    named = {
        name
        for path in PAGES
        for name in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", path.read_text())
    }
    there = {name for name in options(typer.main.get_command(app)) if name.startswith("--")} - {
        "--show-completion"
    }
    assert there <= named | {"--help"}
    of_others = {"--backend-store-uri", "--working-dir", "--generate"}
    assert named <= there | {"--help"} | of_others


def test_every_variable_of_ours_is_read_somewhere() -> None:
    files = [path for name in MODULES for path in (ROOT / name).rglob("*.py")] + [ROOT / "run.py"]
    code = "".join(path.read_text() for path in files)
    ours = [name for name in table("README.md", "variable") if name.startswith("VQI2I_")]
    assert ours
    assert {*re.findall(r'"(VQI2I_[A-Z_]+)"', code)} == {*ours}


@page
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken_links(page) == []
