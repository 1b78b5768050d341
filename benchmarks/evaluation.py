"""What an evaluation costs, and whether it goes on where it was killed, to the same bytes.

`vqi2i evaluate` runs with an empty cache, then in another folder until it is killed after half of
the parts, then there to its end.

    python benchmarks/evaluation.py runs/second/bundle --data shards [--images 100]
"""

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

METRICS = "metrics.json"


def command(bundle: Path, data: str, images: int, out: Path) -> list[str]:
    """The command line of an evaluation."""
    program = [sys.executable, "-m", "vqi2i", "evaluate", str(bundle), "--data", data]
    return [*program, "--images", str(images), "--out", str(out)]


def parts(out: Path) -> int:
    """How many parts are whole."""
    return len(list((out / "parts").glob("[!.]*.json")))


def killed(arguments: list[str], out: Path, after: int, environment: dict[str, str]) -> None:
    """Run an evaluation, and kill it once so many parts are there."""
    process = subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL)
    while parts(out) < after and process.poll() is None:
        time.sleep(0.2)
    process.kill()
    process.wait()


def digest(out: Path) -> str:
    """sha256 over all files of an evaluation."""
    found = hashlib.sha256()
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        found.update(path.relative_to(out).as_posix().encode() + path.read_bytes())
    return found.hexdigest()


def main() -> None:
    """Measure, kill, go on, print one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", required=True, help="shards")
    parser.add_argument("--images", type=int, default=100, help="test images of each domain")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "VQI2I_CACHE": f"{folder}/cache"}
        whole, broken = Path(folder) / "whole", Path(folder) / "broken"
        given = options.bundle, options.data, options.images
        start = time.perf_counter()
        subprocess.run(
            command(*given, whole), env=environment, stdout=subprocess.DEVNULL, check=True
        )
        seconds = time.perf_counter() - start
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        killed(command(*given, broken), broken, parts(whole) // 2, environment)
        kept = parts(broken)
        subprocess.run(
            command(*given, broken), env=environment, stdout=subprocess.DEVNULL, check=True
        )
        result = {
            "benchmark": "evaluation",
            "images_of_each_domain": options.images,
            "seconds": round(seconds, 1),
            "processor_seconds": round(used.ru_utime + used.ru_stime, 1),
            "peak_mb": round(used.ru_maxrss * 1024 / 1e6),
            "parts": parts(whole),
            "parts_when_killed": kept,
            "same_bytes": digest(broken) == digest(whole) and (broken / METRICS).is_file(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
    print(json.dumps(result))
    if not result["same_bytes"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
