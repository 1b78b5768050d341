"""Hostile requests at a real server, and how those who mean well are served meanwhile.

    python benchmarks/hostile.py
    python benchmarks/hostile.py --count 200 --clients 2

Starts `vqi2i serve` with a tiny untrained model and sends it `--count` requests drawn by `--seed`
from several clients: damaged and enormous images, wrong types, huge fields, absurd numbers and deep
JSON in steps, what is no form, and clients that do not wait for their panoramas. Another client
asks for plain translations all the while. One JSON line: answers by status (`gone` are clients that
did not wait), memory in MB of the processes of the model and of the routes before and after, and
the time of plain translations in ms.
"""

import argparse
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.conftest import untrained  # noqa: E402
from tests.pipelines import hostile  # noqa: E402
from tests.serving.attacks import Attacker, Sent, files_of, png  # noqa: E402

PLAIN = Sent("POST", "/v1/translate", {"files": {"image": png(64, 64)}, "data": {"to": "winter"}})


class Server:
    """`vqi2i serve` of one model, and the processes that belong to it."""

    def __init__(self, process: subprocess.Popen[bytes], url: str):
        self._process = process
        self.url = url

    def memory(self, deployment: str) -> float:
        """Resident MB of the largest replica of a deployment."""
        found = 0
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command, status = (folder / "cmdline").read_bytes(), (folder / "status").read_text()
            except OSError:
                continue  # it has ended
            if command.startswith(f"ray::ServeReplica:vqi2i:{deployment}".encode()) and self._owns(
                folder
            ):
                found = max(found, int(re.findall(r"VmRSS:\s+(\d+)", status)[0]))
        return round(found / 1024, 1)

    def _owns(self, folder: Path) -> bool:
        while folder.name not in ("0", "1"):
            if int(folder.name) == self._process.pid:
                return True
            parent = re.findall(r"PPid:\s+(\d+)", (folder / "status").read_text())[0]
            folder = folder.with_name(parent)
        return False


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    """A server of a tiny untrained model called `m`, ready."""
    untrained().save(folder / "bundle")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        sys.executable,
        str(ROOT / "run.py"),
        "serve",
        f"m={folder / 'bundle'}",
        "--port",
        str(port),
    ]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=environment | {"PYTHONPATH": str(ROOT)},
        )
    try:
        yield Server(process, _ready(f"http://127.0.0.1:{port}", process, folder / "log.txt"))
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def _ready(url: str, process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return url
        except httpx.HTTPError:
            time.sleep(0.5)
    raise SystemExit(f"the server did not start:\n{log.read_text()[-2000:]}")


def answer(client: httpx.Client, sent: Sent) -> str:
    """The status of the answer to a request, or `gone` where the client did not wait for one."""
    options: dict[str, Any] = sent.options | ({"timeout": sent.patience} if sent.patience else {})
    try:
        return str(client.request(sent.method, sent.path, **options).status_code)
    except httpx.ReadTimeout:
        return "gone" if sent.patience else "timeout"
    except (
        httpx.HTTPError
    ) as error:  # the server closed the connection on a body that was too large
        return type(error).__name__


class Friend(threading.Thread):
    """Asks for a plain translation again and again, and notes how long it takes."""

    def __init__(self, url: str):
        super().__init__(daemon=True)
        self.seconds: list[float] = []
        self.failures: Counter[str] = Counter()
        self.enough = threading.Event()
        self._url = url

    def run(self) -> None:
        """Ask until it is enough."""
        with httpx.Client(base_url=self._url, timeout=60) as client:
            while not self.enough.wait(0.1):
                start = time.perf_counter()
                status = answer(client, PLAIN)
                if status == "200":
                    self.seconds.append(time.perf_counter() - start)
                else:
                    self.failures[status] += 1


def main() -> None:
    """Attack a server, and print one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--seconds", type=float, default=900, help="after which no more requests are sent"
    )
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name,
        served(Path(name)) as server,
    ):
        attacker = Attacker(files_of(hostile.build(Path(name) / "images").folder), options.seed)
        with httpx.Client(base_url=server.url, timeout=60) as client:
            calm = [answer(client, PLAIN) for _ in range(20)]
            assert calm == ["200"] * 20, calm
            before = {
                deployment: server.memory(deployment) for deployment in ("model-m", "ingress")
            }
            friend = Friend(server.url)
            friend.start()
            start = time.monotonic()

            def attack(sent: Sent) -> str:
                return (
                    answer(client, sent) if time.monotonic() - start < options.seconds else "unsent"
                )

            with ThreadPoolExecutor(options.clients) as pool:
                statuses = Counter(
                    pool.map(attack, attacker.requests(options.count, panoramas=True))
                )
            seconds = time.monotonic() - start
            friend.enough.set()
            friend.join()
            after = {deployment: server.memory(deployment) for deployment in before}
    times = sorted(1000 * took for took in friend.seconds)
    print(
        json.dumps(
            {
                "requests": options.count,
                "clients": options.clients,
                "seed": options.seed,
                "seconds": round(seconds, 1),
                "by_status": dict(sorted(statuses.items())),
                "server_errors": sum(
                    count for status, count in statuses.items() if status.startswith("5")
                ),
                "model_mb": [before["model-m"], after["model-m"]],
                "routes_mb": [before["ingress"], after["ingress"]],
                "plain": {
                    "answered": len(times),
                    "failed": dict(friend.failures),
                    "p50_ms": round(statistics.median(times), 1),
                    "p95_ms": round(times[int(0.95 * (len(times) - 1))], 1),
                },
            }
        )
    )


if __name__ == "__main__":
    main()
