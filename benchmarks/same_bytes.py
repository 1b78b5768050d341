"""Whether two commits make the same files: data, tokens, models, pictures, help, the OpenAPI
document.

    python benchmarks/same_bytes.py BEFORE AFTER --work FOLDER

Both are checked out side by side and given the same commands, in the environment of this Python.
One JSON line: how many results there are and which differ. A run that is killed goes on with the
other commit, too.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
SMALL = (
    "network.base_channels=16 network.codebook_size=64 batch_size=4 schedule.images=48 "
    "schedule.log_every=16 schedule.save_every=16 schedule.save_seconds=null "
    "schedule.minutes=null codebook.start_at=8 schedule.log_seconds=null "
    "game.discriminator_from=8 game.generator_from=16 precision=float32"
)
PRIOR = (
    "prior.width=32 prior.num_layers=1 batch_size=4 schedule.images=48 schedule.log_every=16 "
    "schedule.save_every=16 schedule.save_seconds=null schedule.log_seconds=null "
    "schedule.minutes=null precision=float32"
)
STAGE1 = {
    "ema_restart": "",
    "vq": "network.quantizer=vq weights.codebook=1",
    "fsq": (
        "network.quantizer=fsq network.fsq_levels=[4,4] network.codebook_size=16 "
        "network.embed_dim=2 weights.commitment=0"
    ),
}
STAGE2 = {"causal": "--recipe laptop64", "masked": "--recipe masked64"}
VERBS = (
    "",
    "demo",
    "data",
    "data synthesize",
    "data shard",
    "data inspect",
    "data verify",
    "data copy",
    "train",
    "train stage1",
    "train stage2",
    "tune",
    "tune stage1",
    "tune stage2",
    "evaluate",
    "publish",
    "import-authors",
    "translate",
    "extend",
    "complete",
    "generate",
    "transition",
    "compose",
    "serve",
)
CHAIN = """from: summer
steps:
  - extend: {left: 8, right: 16, draw: {temperature: 0.9}}
  - translate: {to: winter, style: example.png}
"""


def run(command: str, code: Path, work: Path, *, kill_after: str | None = None) -> str:
    """What a command of one commit prints; with `kill_after`, it is killed once that file is
    there.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": str(code),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "120",
        "MLFLOW_TRACKING_URI": f"sqlite:///{work}/mlflow.db",
    }
    arguments = [sys.executable, str(code / "run.py"), *command.split()]
    process = subprocess.Popen(
        arguments,
        cwd=work,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    if kill_after is not None:
        while process.poll() is None and not (work / kill_after).exists():
            time.sleep(0.01)
        process.kill()
        process.communicate()
        return ""
    out, err = process.communicate()
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {process.returncode}:\n{err[-3000:]}")
    return out


def words(shown: str) -> bytes:
    """What a page of help says, wherever its lines break."""
    return " ".join(re.sub("[│╭╮╰╯─]", " ", shown).split()).encode()


def settings(text: str) -> str:
    return " ".join(f"--set {setting}" for setting in text.split())


def make(code: Path, work: Path, other: Path) -> Iterator[tuple[str, str]]:
    """Names of results and their sha256, made by one commit; `other` goes on with what is
    killed.
    """
    work.mkdir(parents=True)
    run("data synthesize seasons --pairs 24 --tests 2", code, work)
    domains = "--domain summer=seasons/train/summer --domain winter=seasons/train/winter"
    run(f"data shard {domains} --out shards --size 64 --validation 0.2 --test 0.1", code, work)
    yield from digests(work / "shards", "shards")
    stage1 = f"train stage1 --data shards --recipe laptop64 --local {settings(SMALL)}"
    for name, more in STAGE1.items():
        run(f"{stage1} {settings(more)} --run {name}", code, work)
        yield from digests(work / f"runs/{name}/bundle", f"stage1 {name}")
    killed = f"{stage1} --run killed"
    run(killed, code, work, kill_after="runs/killed/checkpoints/0000000016.ckpt")
    run(killed, other, work)
    yield from digests(
        work / "runs/killed/bundle", "stage1 killed, gone on with by the other commit"
    )
    run(f"{stage1.replace('--local', '--workers 2 --cpus-per-worker 1')} --run two", code, work)
    yield from digests(work / "runs/two/bundle", "stage1 on two workers")
    for name, recipe in STAGE2.items():
        stage2 = f"train stage2 --data shards --model runs/ema_restart/bundle --local {recipe}"
        run(f"{stage2} {settings(PRIOR)} --run {name}", code, work)
        yield from digests(work / f"runs/{name}/bundle", f"stage2 {name}")
        yield from pictures(code, work, name)
    yield from digests(work / "shards/tokens", "tokens")
    for verb in VERBS:
        yield f"--help of {verb or 'all'}", sha(words(run(f"{verb} --help", code, work)))
    script = f"import sys; sys.path.insert(0, {str(code)!r}); {_document(code)}"
    done = subprocess.run([sys.executable, "-c", script], cwd=work, capture_output=True, check=True)
    yield "OpenAPI", sha(done.stdout)


def _document(code: Path) -> str:
    place = "serving.http.api" if (code / "serving/http").is_dir() else "serving.api"
    return (
        f"import json; from {place} import make_api; print(json.dumps(make_api(None).openapi(), "
        "sort_keys=True))"
    )


def pictures(code: Path, work: Path, name: str) -> Iterator[tuple[str, str]]:
    """Every application of a model at a fixed seed."""
    (work / "chain.yaml").write_text(CHAIN)
    summer, winter = (
        sorted((work / f"seasons/train/{season}").iterdir())[0] for season in ("summer", "winter")
    )
    (work / "example.png").write_bytes(winter.read_bytes())
    model, out = f"runs/{name}/bundle", f"pictures/{name}"
    sides = (
        "--right 16 --bottom 8" if name == "causal" else "--left 8 --right 16 --top 8 --bottom 8"
    )
    for command in (
        f"translate {model} {summer} --from summer --to winter --seed 3 --out {out}/sampled",
        f"translate {model} {summer} --from summer --to winter --style {winter} --out "
        f"{out}/example",
        f"extend {model} {summer} --from summer {sides} --seed 3 --out {out}/extended",
        f"complete {model} {summer} --from summer --keep left --seed 3 --out {out}/completed",
        f"generate {model} --domain winter --count 2 --seed 3 --out {out}/generated",
        f"transition {model} {summer} --from summer --to winter --style {winter} --style {winter} "
        f"--out {out}/blended",
        f"compose {model} {summer} --steps chain.yaml --seed 3 --out {out}/composed",
    ):
        run(command, code, work)
    yield from digests(work / out, f"pictures {name}")


def digests(folder: Path, name: str) -> Iterator[tuple[str, str]]:
    """sha256 of every file."""
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        yield f"{name}: {file.relative_to(folder)}", sha(file.read_bytes())


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def compared(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    return sorted(
        name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for the checkouts and what they make"
    )
    options = parser.parse_args()
    codes = {}
    for side in ("before", "after"):
        codes[side] = (options.work / side / "code").absolute()
        clone = ["git", "clone", "--quiet", "--no-checkout", str(ROOT), str(codes[side])]
        subprocess.run(clone, check=True)
        subprocess.run(
            ["git", "checkout", "--quiet", getattr(options, side)], cwd=codes[side], check=True
        )
    found = {}
    for side, other in (("before", "after"), ("after", "before")):
        found[side] = dict(make(codes[side], options.work.absolute() / side / "work", codes[other]))
    different = compared(found["before"], found["after"])
    print(
        json.dumps(
            {"benchmark": "same_bytes", "results": len(found["before"]), "different": different}
        )
    )


if __name__ == "__main__":
    main()
